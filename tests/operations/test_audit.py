"""The audit finds each fault that is planted, and that alone; and nothing where all is right."""

import asyncio
import json
from datetime import date
from uuid import UUID, uuid4

import pytest

from app.errors import OperationError
from app.operations.audit import Audited, audit, named
from app.operations.audit_checks import CHECKS
from app.operations.connect import connected
from app.operations.seed import seed
from app.operations.server import LocalServer
from app.settings import DatabaseName, Settings
from tests.factories import Make
from tests.operations.rows import rows, storegraph

anyio = pytest.mark.anyio
NEW = "gen_random_uuid()"
LATER = "created_at + interval '4 months'"  # another partition, which is always there

# By the check that finds it: where, what, and which other checks find something as well. Each is of one row.
PLANTED: dict[str, tuple[DatabaseName, str, set[str]]] = {
    "orders.user_id": ("orders", f"UPDATE orders SET user_id = {NEW} WHERE id = '{{order}}'", {"order-addresses"}),
    "orders.shipping_address_id": (
        "orders",
        f"UPDATE orders SET shipping_address_id = {NEW} WHERE id = '{{order}}'",
        set(),
    ),
    "order_items.product_id": ("orders", f"UPDATE order_items SET product_id = {NEW} WHERE id = '{{line}}'", set()),
    "payments.order_id": (
        "payments",
        f"UPDATE payments SET order_id = {NEW} WHERE id = '{{payment}}'",
        {"payment-totals"},
    ),
    "order-totals": ("orders", "UPDATE order_items SET quantity = 4 WHERE id = '{line}'", set()),
    "payment-totals": ("payments", "UPDATE payments SET amount = 3.01 WHERE id = '{payment}'", set()),
    "refund-totals": (
        "payments",
        "INSERT INTO refunds (payment_id, amount) VALUES ('{payment}', 2.01)",
        set(),
    ),
    "refund-states": ("payments", "UPDATE payments SET status = 'refunded' WHERE id = '{payment}'", set()),
    "order-addresses": ("orders", "UPDATE orders SET user_id = '{stranger}' WHERE id = '{order}'", set()),
    "orders.id": (
        "orders",
        "INSERT INTO orders (id, user_id, total_amount, shipping_address_id, created_at) "
        f"SELECT id, user_id, 3, shipping_address_id, {LATER} FROM orders WHERE id = '{{order}}';"
        "INSERT INTO order_items (order_id, order_created_at, product_id, quantity, unit_price) "
        f"SELECT order_id, order_{LATER}, product_id, 3, 1 FROM order_items WHERE id = '{{line}}'",
        set(),
    ),
    "order_items.id": (
        "orders",
        "INSERT INTO orders (id, user_id, total_amount, shipping_address_id, created_at) "
        f"SELECT '{{line}}', user_id, 0, shipping_address_id, {LATER} FROM orders WHERE id = '{{order}}';"
        "INSERT INTO order_items (id, order_id, order_created_at, product_id, quantity, unit_price) "
        f"SELECT id, id, order_{LATER}, product_id, 3, 0 FROM order_items WHERE id = '{{line}}'",
        set(),
    ),
    "category-cycles": ("products", "UPDATE categories SET parent_id = id WHERE id = '{root}'", set()),
    "user_profiles.user_id": (
        "users",
        f"UPDATE user_profiles SET user_id = {NEW} WHERE id = '{{profile}}'",
        {"order-addresses"},
    ),
    "categories.parent_id": ("products", f"UPDATE categories SET parent_id = {NEW} WHERE id = '{{root}}'", set()),
    "products.category_id": ("products", f"UPDATE products SET category_id = {NEW} WHERE id = '{{product}}'", set()),
    "product_images.product_id": (
        "products",
        f"UPDATE product_images SET product_id = {NEW} WHERE id = '{{image}}'",
        set(),
    ),
    "order_items.order_id": (
        "orders",
        f"UPDATE order_items SET order_id = {NEW} WHERE id = '{{line}}'",
        {"order-totals"},
    ),
    "refunds.payment_id": ("payments", f"UPDATE refunds SET payment_id = {NEW} WHERE id = '{{refund}}'", set()),
}


async def sound(make: Make) -> dict[str, UUID]:
    """A row of each table, which agree with one another; their ids."""
    profile = await make.profile()
    root = await make.category()
    category = await make.category(parent_id=root["id"])
    product = await make.product(category_id=category["id"])
    owned = {"user_id": profile["user_id"], "shipping_address_id": profile["id"]}
    order = await make.order(**owned, total_amount="3.00", status="delivered")
    payment = await make.payment(order_id=order["id"], amount="3.00", status="captured")
    return {
        name: row["id"]
        for name, row in {
            "profile": profile,
            "root": root,
            "product": product,
            "image": await make.image(product_id=product["id"]),
            "order": order,
            "line": await make.item(order, product_id=product["id"], quantity=3),
            "payment": payment,
            "refund": await make.refund(payment_id=payment["id"], status="succeeded"),
        }.items()
    } | {"stranger": profile["user_id"]}


async def plant(make: Make, name: str) -> None:
    """Two sound sets of rows, and a fault in one."""
    stranger = (await sound(make))["stranger"]
    ids = await sound(make) | {"stranger": stranger}
    database, sql, _ = PLANTED[name]
    await make.execute(database, f"SET session_replication_role = replica; {sql.format(**ids)}")


async def findings(settings: Settings, samples: int = 5) -> dict[str, Audited]:
    """What the audit finds, without the checks that find nothing."""
    found = await audit(settings, CHECKS, samples)
    assert list(found) == [check.name for check in CHECKS]
    return {name: result for name, result in found.items() if result.count}


def test_everything_that_is_checked_is_planted() -> None:
    assert {check.name for check in CHECKS} == {*PLANTED, "stock"}
    assert len(CHECKS) == len(PLANTED) + 1


@anyio
@pytest.mark.parametrize("name", PLANTED)
async def test_finds_what_is_planted_and_that_alone(name: str, settings: Settings, make: Make) -> None:
    await plant(make, name)
    found = await findings(settings)
    assert {check: result.count for check, result in found.items()} == dict.fromkeys({name, *PLANTED[name][2]}, 1)
    for result in found.values():
        assert len(result.samples) == 1


@anyio
async def test_what_is_marked_as_deleted_is_there(settings: Settings, make: Make) -> None:
    await sound(make)
    await make.execute("users", "UPDATE users SET deleted_at = now()")
    await make.execute("products", "UPDATE products SET deleted_at = now(); UPDATE categories SET deleted_at = now()")
    assert await findings(settings) == {}


@pytest.mark.usefixtures("clean")
def test_finds_nothing_in_a_seeded_shop(settings: Settings) -> None:
    asyncio.run(seed(settings, orders=300, until=date(2024, 2, 29)))
    assert asyncio.run(findings(settings)) == {}


@pytest.fixture
async def without_the_check(settings: Settings, server: LocalServer, scratch_url: str) -> Settings:
    """The databases, but the products' is another one, in which stock can be anything."""
    async with connected("users", server.url("postgres")) as connection:
        await connection.execute("CREATE DATABASE scratch TEMPLATE ecommerce_products")
    return settings.model_copy(update={"products_database_url": scratch_url})


@anyio
async def test_finds_stock_below_nothing_where_nothing_refuses_it(without_the_check: Settings) -> None:
    async with connected("products", without_the_check.products_database_url) as connection:
        await connection.execute("ALTER TABLE products DROP CONSTRAINT check_stock_not_negative")
        await connection.execute(
            "INSERT INTO products (name, price, sku, stock_quantity) VALUES ('Tea', 1, 'T-1', -2), ('Nuts', 1, 'N', 0)"
        )
    found = await findings(without_the_check)
    assert list(found) == ["stock"]
    [sample] = found["stock"].samples
    assert (sample["sku"], sample["stock_quantity"]) == ("T-1", "-2")


@anyio
async def test_finds_whole_circles_and_not_what_is_below_them(settings: Settings, make: Make) -> None:
    above = [await make.category() for _ in range(5)]
    chain = [row["id"] for row in above]
    parents = [chain[2], chain[0], chain[1], chain[0], chain[3]]  # three in a circle, and two below
    await make.execute(
        "products",
        "SET session_replication_role = replica;"
        + ";".join(
            f"UPDATE categories SET parent_id = '{p}' WHERE id = '{c}'" for c, p in zip(chain, parents, strict=True)
        ),
    )
    found = await findings(settings)
    assert list(found) == ["category-cycles"]
    assert {sample["id"] for sample in found["category-cycles"].samples} == {str(key) for key in chain[:3]}


@anyio
async def test_counts_all_and_shows_some(settings: Settings, make: Make) -> None:
    ids = await sound(make)
    orders = [await make.order(user_id=ids["stranger"], shipping_address_id=ids["profile"]) for _ in range(7)]
    nobody = UUID(int=1)
    for row in orders[:4]:
        await make.execute("orders", "UPDATE orders SET user_id = $1 WHERE id = $2", nobody, row["id"])
    for row in orders[4:]:
        await make.execute("orders", "UPDATE orders SET user_id = gen_random_uuid() WHERE id = $1", row["id"])
    broken = {str(row["id"]) for row in orders}
    for samples in (0, 2, 6, 7, 100):
        found = await findings(settings, samples)
        assert {name: result.count for name, result in found.items()} == {"orders.user_id": 7, "order-addresses": 7}
        for result in found.values():
            shown = {sample["id"] for sample in result.samples}
            assert len(shown) == len(result.samples) == min(samples, 7)
            assert shown <= broken


STATES = [
    # of the order, of the payment, its amount, and whether that is wrong for an order of 3.00
    ("pending", "pending", "3.00", False),
    ("pending", "captured", "1.00", False),
    ("pending", "captured", "3.01", True),
    ("paid", "pending", "3.00", True),
    ("paid", "authorized", "3.00", False),
    ("paid", "captured", "2.99", True),
    ("shipped", "failed", "3.00", True),
    ("refunded", "voided", "3.00", True),
    ("cancelled", "voided", "3.00", False),
    ("cancelled", "captured", "1.00", False),
    ("cancelled", "captured", "4.00", True),
]


@anyio
async def test_what_was_paid_is_the_total_where_the_order_says_so(settings: Settings, make: Make) -> None:
    ids = await sound(make)
    owned = {"user_id": ids["stranger"], "shipping_address_id": ids["profile"], "total_amount": "3.00"}
    wrong: set[str] = set()
    for status, state, amount, is_wrong in STATES:
        order = await make.order(**owned, status=status)
        await make.item(order, product_id=ids["product"], quantity=3)
        await make.payment(order_id=order["id"], status=state, amount=amount)
        wrong |= {str(order["id"])} if is_wrong else set()
    unpaid = await make.order(**owned, status="paid")
    await make.item(unpaid, product_id=ids["product"], quantity=3)
    found = await findings(settings, 100)
    assert list(found) == ["payment-totals"]
    assert {sample["id"] for sample in found["payment-totals"].samples} == wrong | {str(unpaid["id"])}
    [shown] = [sample for sample in found["payment-totals"].samples if sample["id"] == str(unpaid["id"])]
    assert shown == {"id": str(unpaid["id"]), "status": "paid", "total_amount": "3.00", "paid": "0.00"}


async def sell(settings: Settings, enough: asyncio.Event) -> int:
    """Sign up, order and pay, one sale after the other, each step a transaction of its own."""
    sales = 0
    async with Make(settings) as make:
        while not enough.is_set():
            user = await make.user(email=str(uuid4()))
            profile = await make.profile(user_id=user["id"])
            product = await make.product()
            owned = {"user_id": profile["user_id"], "shipping_address_id": profile["id"]}
            async with make.connections["orders"].transaction():
                order = await make.order(**owned, total_amount="1.00")
                await make.item(order, product_id=product["id"])
            await make.payment(order_id=order["id"], amount="1.00", status="captured")
            await make.execute("orders", "UPDATE orders SET status = 'paid' WHERE id = $1", order["id"])
            sales += 1
    return sales


@anyio
async def test_what_is_sold_meanwhile_is_right(settings: Settings, clean: None) -> None:
    enough = asyncio.Event()
    sellers = [asyncio.create_task(sell(settings, enough)) for _ in range(3)]
    try:
        for _ in range(10):
            assert await findings(settings) == {}
    finally:
        enough.set()
        sales = await asyncio.gather(*sellers)
    assert min(sales) > 0


def test_changes_nothing_and_asks_only_what_it_needs(settings: Settings) -> None:
    alone = settings.model_copy(
        update={f"{name}_database_url": "postgresql://127.0.0.1:1/none" for name in ("users", "orders", "payments")}
    )
    found = asyncio.run(audit(alone, named(["stock", "category-cycles"]), 1))
    assert {name: result.count for name, result in found.items()} == {"category-cycles": 0, "stock": 0}
    with pytest.raises(OperationError, match="cannot connect to the users database"):
        asyncio.run(audit(alone, CHECKS, 1))


def test_a_database_without_tables_is_told(settings: Settings, server: LocalServer, scratch_url: str) -> None:
    rows(settings, "users", "CREATE DATABASE scratch")
    with pytest.raises(OperationError, match="does not exist; run `storegraph db upgrade` first"):
        asyncio.run(audit(settings.model_copy(update={"payments_database_url": scratch_url}), CHECKS, 1))


@anyio
async def test_the_command_says_what_is_wrong_and_what_to_do(
    settings: Settings, make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[object, str, str]:
        code = storegraph(settings, monkeypatch, "db", "audit", *arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    await sound(make)
    code, out, _ = await asyncio.to_thread(run)
    assert (code, out.splitlines()[-1]) == (0, "nothing is wrong")
    await plant(make, "payment-totals")
    code, out, _ = await asyncio.to_thread(run)
    assert code == 1
    assert "payment-totals: 1 orders that were paid more than their total" in out
    assert "paid=3.01" in out
    assert "UPDATE orders SET status" in out
    code, out, _ = await asyncio.to_thread(run, "--json", "--only", "payment-totals", "--only", "stock")
    results = json.loads(out)
    assert code == 1
    assert {name: result["count"] for name, result in results.items()} == {"payment-totals": 1, "stock": 0}
    assert results["payment-totals"]["samples"][0]["paid"] == "3.01"
    code, out, _ = await asyncio.to_thread(run, "--only", "stock")
    assert code == 0
    code, out, error = await asyncio.to_thread(run, "--only", "stocks")
    assert (code, out) == (2, "")
    assert error.startswith("storegraph: there is no check stocks; there are orders.user_id, ")
    code, out, _ = await asyncio.to_thread(run, "--list", "--json")
    assert code == 0
    listed = json.loads(out)
    assert list(listed) == [check.name for check in CHECKS]
    assert listed["stock"]["kept_by"] == "check_stock_not_negative"
