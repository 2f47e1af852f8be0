"""The search of products as SQL: what a text finds, in which order, and by which index."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.domains.products.reads import products_found
from app.domains.products.tables import Product
from app.errors import OperationError
from app.operations.check import check
from app.operations.connect import Connection, connected
from app.operations.databases import create
from app.operations.migrations import upgrade
from app.operations.server import LocalServer
from app.settings import Settings
from app.statements import Slice, statement
from tests.factories import TODAY, Make

pytestmark = pytest.mark.anyio

FIND = statement(products_found, (Product.name,), Slice(21))
WORDS = "SELECT DISTINCT word FROM product_words ORDER BY word"


@pytest.fixture
async def products(settings: Settings, clean: None) -> AsyncGenerator[Connection]:
    """A connection to the products database."""
    async with connected("products", settings.products_database_url) as connection:
        yield connection


async def find(connection: Connection, said: str) -> list[str]:
    """The names of the products found, best first."""
    return [row["name"] for row in await connection.fetch(FIND.sql, *FIND.arguments({"search": said}))]


async def words(connection: Connection) -> list[str]:
    return [row["word"] for row in await connection.fetch(WORDS)]


@pytest.fixture
async def shop(make: Make, products: Connection) -> Connection:
    for name, description, sku in (
        ("Red Kettle", "Boils a litre, whistles when it is done.", "KIT-000123"),
        ("Red Kettle Deluxe", "Two litres.", "KIT-000124"),
        ("Teapot", "Goes with a red kettle. Kettle, kettle, kettle!", "KIT-000200"),
        ("Black/White T-shirt", "Organic cotton.", "CLO.7/XL"),
        ("Drill GSR-120", None, None),
        ("Blåfjell Café Table", "For two.", ""),
    ):
        await make.product(name=name, description=description, sku=sku)
    return products


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("red kettle", ["Red Kettle", "Red Kettle Deluxe", "Teapot"]),
        ("KETTLES", ["Red Kettle", "Red Kettle Deluxe", "Teapot"]),  # the stem counts, wherever the word stands
        ("deluxe kettle", ["Red Kettle Deluxe"]),
        ('"red kettle deluxe"', ["Red Kettle Deluxe"]),
        ("kettle -deluxe", ["Red Kettle", "Teapot"]),
        ("drill or teapot", ["Teapot", "Drill GSR-120"]),
        ("whistling", ["Red Kettle"]),
        ("white shirt", ["Black/White T-shirt"]),
        ("black/white", ["Black/White T-shirt"]),
        ("t-shirt", ["Black/White T-shirt"]),
        ("gsr 120", ["Drill GSR-120"]),
        ("GSR-120", ["Drill GSR-120"]),
        ("blåfjell CAFÉ", ["Blåfjell Café Table"]),
        # the sku: whole, and its words
        ("KIT-000123", ["Red Kettle"]),
        (" kit-000123 ", ["Red Kettle"]),
        ("clo.7/xl", ["Black/White T-shirt"]),
        ("000123", ["Red Kettle"]),
        ("-000123", ["Red Kettle"]),  # nothing but exclusions are words
        # not there as they are written: what begins so, or is much like it
        ("kit-0001", ["Red Kettle", "Red Kettle Deluxe"]),
        ("ket", ["Red Kettle", "Red Kettle Deluxe", "Teapot"]),
        ("kettel", ["Red Kettle", "Red Kettle Deluxe", "Teapot"]),
        ("red kettel", ["Red Kettle", "Red Kettle Deluxe", "Teapot"]),
        ("the red kettel", ["Red Kettle", "Red Kettle Deluxe", "Teapot"]),
        ("kettel -deluxe", ["Red Kettle", "Teapot"]),
        ("teopot", ["Teapot"]),
        ("organnic coton", ["Black/White T-shirt"]),  # of the description
        ("wistles", ["Red Kettle"]),
        ("blafjell", ["Blåfjell Café Table"]),
        ("red kettle submarine", []),
        ("xylophone", []),
        ("", []),
        (" \t ", []),
        ("?!", []),
    ],
)
async def test_what_a_text_finds_best_first(shop: Connection, said: str, found: list[str]) -> None:
    assert await find(shop, said) == found


async def test_two_words_that_no_product_has_both_are_both_taken_for_others(shop: Connection, make: Make) -> None:
    await make.product(name="Kettel Drum")
    assert await find(shop, "kettel deluxe") == ["Red Kettle Deluxe"]


async def test_the_best_come_first(make: Make, products: Connection) -> None:
    await make.product(name="Spout", description="For the kettle. " + "Kettle! " * 500)
    await make.product(name="Kettle for a very large kitchen, with a lid and a whistle")
    await make.product(name="Kettle", description="Fine words. " * 200)
    await make.product(name="Whistle", sku="kettle-1")
    assert await find(products, "kettle") == [
        "Kettle",
        "Kettle for a very large kitchen, with a lid and a whistle",
        "Whistle",
        "Spout",
    ]


async def test_what_is_deleted_is_not_found_and_leads_nowhere(make: Make, products: Connection) -> None:
    await make.product(name="Kettle", deleted_at=TODAY)
    assert await find(products, "kettle") == []
    await make.product(name="Nettle")
    assert await find(products, "kettle") == ["Nettle"]


async def test_words_that_no_product_has_any_more_stand_in_no_ones_way(make: Make, products: Connection) -> None:
    await make.product(name="Kettle")
    for letter in "abcdefghijklmnopqrstuvwxyz":
        await make.product(name=f"Kettel{letter} kettel")
    await make.execute("products", "UPDATE products SET name = 'Renamed' WHERE name <> 'Kettle'")
    assert "kettel" in await words(products)
    assert await find(products, "kettel") == ["Kettle"]


@given(said=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200))
@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=False)
def test_any_text_is_taken_and_finds_itself_as_a_sku(settings: Settings, said: str) -> None:
    async def run() -> None:
        async with connected("products", settings.products_database_url) as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await find(connection, said)
                sku = said[:100].strip(" ")
                await connection.execute("INSERT INTO products (name, price, sku) VALUES ($1, 1, $2)", said, sku)
                assert await find(connection, sku) == ([said] if sku else [])
            finally:
                await transaction.rollback()

    asyncio.run(run())


@pytest.mark.parametrize(
    "said",
    [
        "'",
        "\\",
        "''\\''",
        "a & b | !c <-> (d:*)",
        ":*",
        "the of and",
        "-",
        "--",
        '"',
        "😀",
        "k" * 200,
        "a " * 100,
        "%_",
    ],
)
async def test_a_hostile_text_is_only_a_text(shop: Connection, said: str) -> None:
    await find(shop, said)


async def test_words_are_learnt_whoever_writes_and_however(products: Connection) -> None:
    insert = "INSERT INTO products (name, description, price) VALUES ($1, $2, 1)"
    await products.execute(insert, "Usb-c Cable 2m", "Cable by E.T. Ltd, 100% copper")
    assert await words(products) == ["cable", "copper", "ltd", "usb"]
    await products.execute("UPDATE products SET description = 'Silver', stock_quantity = 1")
    await products.execute("UPDATE products SET stock_quantity = 2")
    await products.copy_records_to_table("products", records=[("Gold wire", 1)], columns=["name", "price"])
    assert await words(products) == ["cable", "copper", "gold", "ltd", "silver", "usb", "wire"]


async def test_a_text_of_any_length_can_be_kept(make: Make, products: Connection) -> None:
    long = " ".join(chr(0x4E00 + number % 5000) + chr(0x4E00 + number // 50) for number in range(200_000))
    await make.product(name="N" * 255, description=long + "x" * 3000)
    assert await find(products, "N" * 200) == ["N" * 255]


async def test_sessions_that_meet_the_same_new_words_do_not_wait_for_each_other(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        url = settings.products_database_url
        one, other = [await stack.enter_async_context(connected("products", url)) for _ in range(2)]
        transactions = [one.transaction(), other.transaction()]
        for connection, transaction in zip((one, other), transactions, strict=True):
            await transaction.start()
            await connection.execute("SET LOCAL lock_timeout = 1")
        insert = "INSERT INTO products (name, price) VALUES ($1, 1)"
        await one.execute(insert, "zebra")
        await other.execute(insert, "apple")
        await one.execute(insert, "apple")
        await other.execute(insert, "zebra")
        for transaction in transactions:
            await transaction.commit()
        assert await find(one, "aple") == ["apple", "apple"]
        await one.execute("DELETE FROM products; DELETE FROM product_words")


def scans(plan: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Every step of a plan that reads a table or an index: what it is, and of what."""
    name = plan.get("Index Name") or plan.get("Relation Name")
    here = [(plan["Node Type"], name)] if name else []
    return here + [scan for child in plan.get("Plans", []) for scan in scans(child)]


async def test_the_plan_reads_the_index(products: Connection) -> None:
    await products.execute(
        "INSERT INTO products (name, description, price, sku) "
        "SELECT 'Kettle ' || n, 'Number ' || n || ' of many', 1, 'KIT-' || n FROM generate_series(1, 3000) AS n"
    )
    await products.execute("VACUUM ANALYZE products")
    await products.execute("SET plan_cache_mode = force_generic_plan")
    await products.execute(f"PREPARE find AS {FIND.sql}")
    explained = await products.fetchval("EXPLAIN (FORMAT json) EXECUTE find ('kettle')")
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    assert scans(plan) == [("Bitmap Heap Scan", "products"), ("Bitmap Index Scan", "idx_products_search")]
    assert await find(products, "kettel 2718") == ["Kettle 2718"]


async def test_a_change_of_the_stock_alone_keeps_the_time_of_the_last_change_right(
    make: Make, products: Connection
) -> None:
    before = (await make.product(updated_at=TODAY))["updated_at"]
    assert await products.fetchval("UPDATE products SET price = price RETURNING updated_at") == before
    assert await products.fetchval("UPDATE products SET stock_quantity = 7 RETURNING updated_at") != before


def test_who_may_not_add_the_extension_is_told_in_one_line(server: LocalServer, scratch_url: str) -> None:
    async def run() -> None:
        await create("products", scratch_url)
        guest = scratch_url.replace("postgres@", "clerk@")
        async with connected("products", server.url("postgres")) as connection:
            await connection.execute("CREATE ROLE clerk LOGIN")
        try:
            async with connected("products", scratch_url) as connection:
                await connection.execute("GRANT CREATE ON SCHEMA public TO clerk")
            with pytest.raises(OperationError) as refused:
                await upgrade("products", guest, TODAY.date())
            assert str(refused.value) == (
                "products database: migration 0003 failed and was undone: the search of products needs the extension "
                'pg_trgm of PostgreSQL\'s contrib package: permission denied to create extension "pg_trgm"'
            )
            async with connected("products", scratch_url) as connection:
                await connection.execute("CREATE EXTENSION pg_trgm")
            assert (await upgrade("products", guest, TODAY.date())).before == "0002"
        finally:
            async with connected("products", server.url("postgres")) as connection:
                await connection.execute("DROP DATABASE scratch WITH (FORCE)")
                await connection.execute("DROP ROLE clerk")

    asyncio.run(run())


def test_the_extension_may_be_in_a_schema_of_its_own(scratch_url: str) -> None:
    async def run() -> None:
        await create("products", scratch_url)
        async with connected("products", scratch_url) as connection:
            await connection.execute("CREATE SCHEMA extensions; CREATE EXTENSION pg_trgm SCHEMA extensions")
            await connection.execute("ALTER DATABASE scratch SET search_path TO public, extensions")
        await upgrade("products", scratch_url, TODAY.date())
        assert (await check("products", scratch_url, TODAY.date())).findings == []
        async with connected("products", scratch_url) as connection:
            await connection.execute("INSERT INTO products (name, price) VALUES ('Kettle', 1)")
            assert await find(connection, "kettel") == ["Kettle"]

    asyncio.run(run())
