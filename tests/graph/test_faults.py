"""A database that does not answer costs its own fields and nothing else."""

import asyncio
from collections.abc import AsyncGenerator
from time import monotonic
from typing import Any, cast

import pytest

from app.settings import DATABASE_NAMES, DatabaseName, Settings
from tests.factories import Make
from tests.graph.conftest import Gateway, gateway_of
from tests.proxy import Proxy, proxied

pytestmark = pytest.mark.anyio

LIMIT = 1.2  # seconds

QUERY = """{
  users { nodes { email orders { totalCount nodes { status } } orderStats { orderCount } } }
  products { nodes { name category { name } stats { totalOrders } } }
  orders { nodes {
    status user { email } shippingAddress { city } items { quantity product { name } } payments { amount }
  } }
  payments { nodes { amount refunds { amount } order { status } } }
}"""

WHOLE = {
    "users": {
        "nodes": [
            {
                "email": "a@example.com",
                "orders": {"totalCount": 1, "nodes": [{"status": "PENDING"}]},
                "orderStats": {"orderCount": 1},
            }
        ]
    },
    "products": {"nodes": [{"name": "Assam", "category": {"name": "Tea"}, "stats": {"totalOrders": 0}}]},
    "orders": {
        "nodes": [
            {
                "status": "PENDING",
                "user": {"email": "a@example.com"},
                "shippingAddress": {"city": "Lyon"},
                "items": [{"quantity": 1, "product": {"name": "Assam"}}],
                "payments": [{"amount": "10.00"}],
            }
        ]
    },
    "payments": {"nodes": [{"amount": "10.00", "refunds": [{"amount": "1.00"}], "order": {"status": "PENDING"}}]},
}

# Which fields are null when a database is down: their paths.
MISSING: dict[DatabaseName, list[list[str | int]]] = {
    "users": [["users"], ["orders", "nodes", 0, "user"], ["orders", "nodes", 0, "shippingAddress"]],
    "products": [["products"], ["orders", "nodes", 0, "items", 0, "product"]],
    "orders": [
        ["orders"],
        ["users", "nodes", 0, "orders"],
        ["users", "nodes", 0, "orderStats"],
        ["products", "nodes", 0, "stats"],
        ["payments", "nodes", 0, "order"],
    ],
    "payments": [["payments"], ["orders", "nodes", 0, "payments"]],
}


async def _fill(make: Make) -> None:
    user = await make.user(email="a@example.com")
    address = await make.profile(user_id=user["id"], city="Lyon")
    category = await make.category(name="Tea")
    product = await make.product(name="Assam", category_id=category["id"])
    order = await make.order(user_id=user["id"], shipping_address_id=address["id"])
    await make.item(order, product_id=product["id"])
    payment = await make.payment(order_id=order["id"])
    await make.refund(payment_id=payment["id"])


def _without(paths: list[list[str | int]]) -> dict[str, Any]:
    """The whole answer with null at these paths."""

    def copied(value: Any, path: list[str | int]) -> Any:
        if path in paths:
            return None
        if isinstance(value, dict):
            return {key: copied(item, [*path, key]) for key, item in cast("dict[str, Any]", value).items()}
        if isinstance(value, list):
            return [copied(item, [*path, index]) for index, item in enumerate(cast("list[Any]", value))]
        return value

    return copied(WHOLE, [])


@pytest.fixture
async def proxies(settings: Settings) -> AsyncGenerator[tuple[dict[DatabaseName, Proxy], Settings]]:
    """The four databases, each behind a proxy."""
    async with (
        proxied(settings.users_database_url) as users,
        proxied(settings.products_database_url) as products,
        proxied(settings.orders_database_url) as orders,
        proxied(settings.payments_database_url) as payments,
    ):
        four = dict(zip(DATABASE_NAMES, (users, products, orders, payments), strict=True))
        urls = {f"{name}_database_url": url for name, (_, url) in four.items()}
        limits = {"connect_timeout": LIMIT, "read_timeout": LIMIT}
        yield {name: proxy for name, (proxy, _) in four.items()}, settings.model_copy(update=urls | limits)


@pytest.mark.parametrize("fault", ["refuse", "swallow"])
@pytest.mark.parametrize("name", DATABASE_NAMES)
@pytest.mark.parametrize("warm", [False, True])
async def test_one_database_down(
    proxies: tuple[dict[DatabaseName, Proxy], Settings], make: Make, name: DatabaseName, fault: str, warm: bool
) -> None:
    await _fill(make)
    by_name, settings = proxies
    async for gateway in gateway_of(settings):
        if warm:
            assert await gateway.ask(QUERY) == WHOLE
        getattr(by_name[name], fault)()
        started = monotonic()
        data, errors = await gateway.refuse(QUERY)
        assert monotonic() - started < 2 * LIMIT + 1  # two levels ask that database, one after the other
        assert data == _without(MISSING[name])
        message = f"The {name} database does not answer."
        assert sorted(map(str, errors)) == sorted(
            str((path, "DATABASE_UNAVAILABLE", message)) for path in MISSING[name]
        )
        by_name[name].restore()
        assert await _until_whole(gateway) < 5


async def _until_whole(gateway: Gateway) -> float:
    """How long it takes until the answer is whole again, in seconds."""
    started = monotonic()
    async with asyncio.timeout(10):
        while (await gateway.execute(QUERY)).data != WHOLE:
            pass
    return monotonic() - started


@pytest.mark.parametrize("limits", [{}, {"statement_timeout": 0.1}], ids=["lock", "statement"])
async def test_what_the_server_gives_up(settings: Settings, make: Make, limits: dict[str, float]) -> None:
    """With the settings' defaults it is the lock that is waited for no longer than a second."""
    await make.user()
    await make.execute("users", "BEGIN")
    await make.execute("users", "LOCK TABLE users")
    try:
        async for gateway in gateway_of(settings.model_copy(update=limits)):
            data, errors = await gateway.refuse("{ users { nodes { email } } products { nodes { name } } }")
            assert data == {"users": None, "products": {"nodes": []}}
            assert errors == [(["users"], "TIMEOUT", "The users database took too long to answer.")]
    finally:
        await make.execute("users", "ROLLBACK")


async def test_a_failure_costs_no_other_place_its_answer(gateway: Gateway, make: Make) -> None:
    """The orders that are still on their way when `a` fails, and is cancelled with all below it, are `b`'s as well."""
    await make.payment(order_id=(await make.order())["id"])
    await make.execute("payments", "ALTER TABLE refunds RENAME TO hidden")
    await make.execute("orders", "BEGIN")
    await make.execute("orders", "LOCK TABLE orders")

    async def unlock() -> None:
        await asyncio.wait_for(_until_waiting(make), 5)
        await make.execute("orders", "COMMIT")

    query = "{ payments { nodes { refunds { uuid } order { status } } } b: payments { nodes { order { status } } } }"
    try:
        (data, errors), _ = await asyncio.gather(gateway.refuse(query), unlock())
    finally:
        await make.execute("payments", "ALTER TABLE hidden RENAME TO refunds")
    assert data == {"payments": None, "b": {"nodes": [{"order": {"status": "PENDING"}}]}}
    assert [(path, code) for path, code, _ in errors] == [(["payments", "nodes", 0, "refunds"], "INTERNAL")]


async def _until_waiting(make: Make) -> None:
    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass)"
    while not await make.connections["orders"].fetchval(waiting):
        pass


async def test_a_value_that_is_no_int_is_a_fault_of_ours(gateway: Gateway, make: Make) -> None:
    product = await make.product()
    for _ in range(2):
        await make.item(product_id=product["id"], quantity=2147483647)
    await make.execute("orders", "REFRESH MATERIALIZED VIEW product_stats")
    data, errors = await gateway.refuse("{ products { nodes { stats { totalQuantitySold } } } }")
    assert data == {"products": {"nodes": [{"stats": None}]}}
    assert [(code, message) for _, code, message in errors] == [("INTERNAL", "Something went wrong on our side.")]


async def test_a_fault_of_ours_is_masked_and_logged(
    gateway: Gateway, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    await make.execute("payments", "ALTER TABLE refunds RENAME TO hidden")
    try:
        await make.payment()
        result = await gateway.execute("{ payments { nodes { refunds { amount } } } users { nodes { email } } }")
    finally:
        await make.execute("payments", "ALTER TABLE hidden RENAME TO refunds")
    assert result.data == {"payments": None, "users": {"nodes": []}}
    [error] = result.errors
    assert error["message"] == "Something went wrong on our side."
    assert error["path"] == ["payments", "nodes", 0, "refunds"]
    assert error["extensions"]["code"] == "INTERNAL"
    [record] = caplog.records
    assert vars(record)["error_id"] == error["extensions"]["errorId"]
    assert vars(record)["exception"].endswith("UndefinedTableError")
    assert "statements.py" in vars(record)["stack"]


@pytest.mark.parametrize(
    "document", ["{", "{ nothing }", "{ users(first: true) { nodes { email } } }", "query($x: Nope) { viewer { id } }"]
)
async def test_a_wrong_document_is_the_clients_error(
    gateway: Gateway, document: str, caplog: pytest.LogCaptureFixture
) -> None:
    data, errors = await gateway.refuse(document)
    assert data is None
    assert {code for _, code, _ in errors} == {"BAD_USER_INPUT"}
    assert gateway.statements == []
    assert not caplog.records


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        ("query($x: Int) { users(first: $x) { totalCount } }", {"x": "many"}),
        ("query($x: Int) { users(first: $x) { totalCount } }", {"x": 2**31}),
        ("query($x: ID!) { order(id: $x) { uuid } }", {}),
        ("query($x: ID!) { order(id: $x) { uuid } }", {"x": None}),
        ("query($x: Boolean!) { users @skip(if: $x) { totalCount } }", {"x": 1}),
    ],
)
async def test_a_wrong_variable_is_the_clients_error(
    gateway: Gateway, document: str, variables: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    data, errors = await gateway.refuse(document, **variables)
    assert data is None
    assert [code for _, code, _ in errors] == ["BAD_USER_INPUT"]
    assert gateway.statements == []
    assert not caplog.records
