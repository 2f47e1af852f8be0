"""Partitions are made where they are missing, by whoever asks first, without getting in readers' way."""

import asyncio
from datetime import date

import pytest

from app.errors import OperationError
from app.operations import partitions
from app.operations.connect import connected
from app.operations.partitions import Quarter
from app.operations.server import LocalServer
from app.settings import Settings

INSERT = """
    INSERT INTO orders (user_id, total_amount, shipping_address_id, created_at)
    VALUES (gen_random_uuid(), 1, gen_random_uuid(), $1::text::timestamptz)
"""
# Without the foreign keys that PostgreSQL adds to a table for each partition of the one referred to.
COUNTS = """
    SELECT (SELECT count(*) FROM pg_index WHERE indrelid = oid) AS indexes,
        (SELECT count(*) FROM pg_trigger WHERE tgrelid = oid AND NOT tgisinternal) AS triggers,
        (SELECT count(*) FROM pg_attribute WHERE attrelid = oid AND attnotnull AND attnum > 0) AS not_null,
        (SELECT count(*) FROM pg_attrdef WHERE adrelid = oid) AS defaults,
        (SELECT array_agg(DISTINCT pg_get_constraintdef(pg_constraint.oid)) FROM pg_constraint
            WHERE conrelid = pg_class.oid AND (relispartition OR conparentid = 0)) AS constraints
    FROM pg_class WHERE oid = $1::text::regclass
"""


@pytest.fixture
def url(settings: Settings, server: LocalServer, scratch_url: str) -> str:
    """An orders database that a test may leave as it likes."""

    async def copy() -> None:
        async with connected("users", server.url("postgres")) as connection:
            await connection.execute("CREATE DATABASE scratch TEMPLATE ecommerce_orders")

    asyncio.run(copy())
    return scratch_url


async def ensure(url: str, first: date, last: date) -> list[str]:
    async with connected("orders", url) as connection:
        return await partitions.ensure(connection, first, last)


def test_quarters() -> None:
    assert list(partitions.quarters(date(2023, 12, 31), date(2024, 4, 1))) == [
        Quarter(2023, 4),
        Quarter(2024, 1),
        Quarter(2024, 2),
    ]
    assert [Quarter.of(date(2024, month, 1)).number for month in range(1, 13)] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert Quarter(2024, 4).bounds == "FOR VALUES FROM ('2024-10-01 00:00:00+00') TO ('2025-01-01 00:00:00+00')"
    assert Quarter.with_bounds(Quarter(2024, 4).bounds) == Quarter(2024, 4)
    assert Quarter.with_bounds("DEFAULT") is None


def test_makes_what_is_missing_and_says_what(url: str) -> None:
    assert asyncio.run(ensure(url, date(2019, 12, 31), date(2020, 1, 1))) == [
        "orders_2019_q4",
        "orders_2020_q1",
        "order_items_2019_q4",
        "order_items_2020_q1",
    ]
    assert asyncio.run(ensure(url, date(2019, 10, 1), date(2020, 4, 1))) == ["orders_2020_q2", "order_items_2020_q2"]
    assert asyncio.run(ensure(url, date(2019, 10, 1), date(2020, 4, 1))) == []


def test_bounds_are_those_of_utc(url: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as connection:
            await partitions.ensure(connection, date(2020, 1, 1), date(2020, 12, 31))
            await connection.execute(INSERT, "2020-04-01 01:59:59+02")
            await connection.execute(INSERT, "2020-04-01 02:00:00+02")
            assert await connection.fetchval("SELECT count(*) FROM orders_2020_q1") == 1
            assert await connection.fetchval("SELECT count(*) FROM orders_2020_q2") == 1

    asyncio.run(run())


@pytest.mark.parametrize("table", partitions.TABLES)
def test_a_partition_has_all_that_its_table_has_and_nothing_of_its_own(url: str, table: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as connection:
            await partitions.ensure(connection, date(2020, 1, 1), date(2020, 1, 1))
            of_table = await connection.fetchrow(COUNTS, table)
            assert of_table is not None
            assert of_table["indexes"] >= 4
            assert await connection.fetchrow(COUNTS, f"{table}_2020_q1") == of_table
            alone = (
                "SELECT count(*) FROM pg_index WHERE indrelid = $1::text::regclass AND indexrelid NOT IN (TABLE heirs)"
            )
            heirs = "WITH heirs AS (SELECT inhrelid FROM pg_inherits)"
            assert await connection.fetchval(f"{heirs} {alone}", f"{table}_2020_q1") == 0

    asyncio.run(run())


def test_a_role_with_other_habits_changes_nothing(url: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as connection:
            await connection.execute("ALTER DATABASE scratch SET datestyle TO 'SQL, DMY'")
            await connection.execute("ALTER DATABASE scratch SET TimeZone TO 'Asia/Tokyo'")
        assert len(await ensure(url, date(2020, 1, 1), date(2020, 1, 1))) == 2
        assert await ensure(url, date(2020, 1, 1), date(2020, 1, 1)) == []

    asyncio.run(run())


def test_two_at_once_share_the_work(url: str) -> None:
    async def run() -> None:
        made = await asyncio.gather(*(ensure(url, date(2010, 1, 1), date(2012, 12, 31)) for _ in range(4)))
        assert sorted(map(len, made)) == [0, 0, 0, 24]

    asyncio.run(run())


def test_a_reader_neither_waits_nor_is_waited_for(url: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as reader, reader.transaction():
            await reader.fetch("SELECT FROM orders JOIN order_items ON order_id = orders.id")
            async with asyncio.timeout(20):  # for ever, if it waited
                assert await ensure(url, date(2020, 1, 1), date(2020, 1, 1)) == [
                    "orders_2020_q1",
                    "order_items_2020_q1",
                ]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("setup", "first", "last", "message"),
    [
        ("SELECT", date(2020, 1, 2), date(2020, 1, 1), "2020-01-02 is after 2020-01-01"),
        ("SELECT", date(202, 1, 1), date(2020, 1, 1), "At most 100 years"),
        ("SELECT", date(9999, 1, 1), date(9999, 1, 1), "At most 100 years"),
        ("CREATE TABLE orders_2020_q1 ()", date(2020, 1, 1), date(2020, 1, 1), "orders_2020_q1 exists but is no"),
        (
            "CREATE TABLE orders_2020 PARTITION OF orders FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
            date(2020, 1, 1),
            date(2020, 1, 1),
            'cannot make partition orders_2020_q1: .* would overlap partition "orders_2020"',
        ),
        ("DROP TABLE orders CASCADE", date(2020, 1, 1), date(2020, 1, 1), "run `storegraph db upgrade"),
    ],
)
def test_what_cannot_be_made_is_one_clear_line(url: str, setup: str, first: date, last: date, message: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as connection:
            await connection.execute(setup)
        with pytest.raises(OperationError, match=message):
            await ensure(url, first, last)
        async with connected("orders", url) as connection:
            assert await connection.fetchval("SELECT to_regclass('order_items_2020_q1')") is None

    asyncio.run(run())
