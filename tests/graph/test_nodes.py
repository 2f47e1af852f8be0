"""``node`` and ``nodes``: any object by its global id, one statement for each type."""

from uuid import uuid4

import pytest

from app.database import Databases
from app.graph.node import encode_id
from app.graph.schema import NODES
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from tests.factories import Make
from tests.graph.conftest import Gateway
from tests.proxy import proxied

pytestmark = pytest.mark.anyio

SOME_ID = "0190b0c0-0000-7000-8000-000000000000"
NO_ID = "This is no global id: pass what a field called id returned."
DATABASE_OF: dict[str, DatabaseName] = {
    "User": "users",
    "UserProfile": "users",
    "Category": "products",
    "Product": "products",
    "ProductImage": "products",
    "Order": "orders",
    "OrderItem": "orders",
    "Payment": "payments",
    "Refund": "payments",
}
QUERY = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"


async def everything(make: Make) -> dict[str, str]:
    """The global id of an object of each type."""
    user, category = await make.user(), await make.category()
    product, order, payment = await make.product(), await make.order(), await make.payment()
    rows = {
        "User": user,
        "UserProfile": await make.profile(user_id=user["id"]),
        "Category": category,
        "Product": product,
        "ProductImage": await make.image(product_id=product["id"]),
        "Order": order,
        "OrderItem": await make.item(order),
        "Payment": payment,
        "Refund": await make.refund(payment_id=payment["id"]),
    }
    return {name: encode_id(name, str(row["id"])) for name, row in rows.items()}


async def test_an_object_of_every_type(gateway: Gateway, make: Make) -> None:
    ids = await everything(make)
    assert ids.keys() == DATABASE_OF.keys() == {type_.__name__ for type_ in NODES}
    for name, node_id in ids.items():
        found = await gateway.ask("query($id: ID!) { node(id: $id) { __typename id } }", id=node_id)
        assert found == {"node": {"__typename": name, "id": node_id}}
        assert len(gateway.statements) == 1
    mixed = [*ids.values(), *reversed(ids.values())]
    found = await gateway.ask(QUERY, ids=mixed)
    names = [*ids, *reversed(ids)]
    assert found["nodes"] == [{"__typename": name, "id": node_id} for name, node_id in zip(names, mixed, strict=True)]
    assert gateway.counts == {"users": 2, "products": 3, "orders": 2, "payments": 2}


async def test_one_statement_a_type_and_level_whatever_the_number(gateway: Gateway, make: Make) -> None:
    user = await make.user()
    orders = [await make.order(user_id=user["id"]) for _ in range(9)]
    profiles = [await make.profile(user_id=user["id"]) for _ in range(9)]
    query = """query($ids: [ID!]!) { nodes(ids: $ids) {
      ... on Node { id ...F } ... on Order { user { email } totalAmount } ... on UserProfile { user { email } city } } }
    fragment F on Node { __typename }"""
    counts: set[tuple[tuple[str, int], ...]] = set()
    for size in (1, 9):
        ids = [encode_id("Order", str(row["id"])) for row in orders[:size]]
        ids += [encode_id("UserProfile", str(row["id"])) for row in profiles[:size]]
        found = await gateway.ask(query, ids=ids)
        assert {node["user"]["email"] for node in found["nodes"]} == {user["email"]}
        assert [node["id"] for node in found["nodes"]] == ids
        assert [node["__typename"] for node in found["nodes"]] == ["Order"] * size + ["UserProfile"] * size
        counts.add(tuple(sorted(gateway.counts.items())))
    assert counts == {(("orders", 1), ("users", 3))}


@pytest.mark.parametrize("node_id", ["", "x", "é", SOME_ID, encode_id("Nobody", SOME_ID), encode_id("User", "1"), "\0"])
async def test_what_is_no_global_id_is_null_with_an_error(gateway: Gateway, make: Make, node_id: str) -> None:
    data, errors = await gateway.refuse("query($id: ID!) { node(id: $id) { id } }", id=node_id)
    assert data == {"node": None}
    assert errors == [(["node"], "BAD_USER_INPUT", NO_ID)]
    assert gateway.statements == []
    user = encode_id("User", str((await make.user())["id"]))
    data, errors = await gateway.refuse(QUERY, ids=[node_id, user])
    assert data == {"nodes": [None, {"__typename": "User", "id": user}]}
    assert errors == [(["nodes", 0], "BAD_USER_INPUT", NO_ID)]


async def test_what_is_not_there_is_null_with_an_error(gateway: Gateway, make: Make) -> None:
    ids = [encode_id(name, str(uuid4())) for name in await everything(make)]
    data, errors = await gateway.refuse(QUERY, ids=ids)
    assert data == {"nodes": [None] * 9}
    assert [(path, code) for path, code, _ in sorted(errors, key=str)] == [
        (["nodes", number], "NOT_FOUND") for number in range(9)
    ]


async def test_what_was_deleted_is_not_there(gateway: Gateway, make: Make) -> None:
    ids = await everything(make)
    await make.execute("users", "UPDATE users SET deleted_at = now()")
    await make.execute("products", "UPDATE categories SET deleted_at = now()")
    await make.execute("products", "UPDATE products SET deleted_at = now()")
    gone = [ids[name] for name in ("User", "Category", "Product", "ProductImage")]
    data, errors = await gateway.refuse(QUERY, ids=gone)
    assert data == {"nodes": [None] * 4}
    assert {code for _, code, _ in errors} == {"NOT_FOUND"}


async def test_up_to_a_hundred(gateway: Gateway) -> None:
    some = [encode_id("User", str(uuid4()))] * 100
    _, errors = await gateway.refuse(QUERY, ids=some)
    assert {code for _, code, _ in errors} == {"NOT_FOUND"}
    data, errors = await gateway.limited(max_list=1000).refuse(QUERY, ids=[*some, some[0]])
    assert data is None
    assert errors == [(["nodes"], "BAD_USER_INPUT", "ids takes up to 100.")]
    assert gateway.statements == []


@pytest.mark.parametrize("name", DATABASE_NAMES)
async def test_a_database_that_is_down_costs_its_objects(settings: Settings, make: Make, name: DatabaseName) -> None:
    ids = await everything(make)
    lost = [place for place, type_name in enumerate(ids) if DATABASE_OF[type_name] == name]
    async with proxied(settings.database_url(name)) as (proxy, url):
        proxy.refuse()
        async with Databases.opened(settings.model_copy(update={f"{name}_database_url": url})) as databases:
            data, errors = await Gateway(databases, settings).refuse(QUERY, ids=list(ids.values()))
    assert data is not None
    assert [node and node["__typename"] for node in data["nodes"]] == [
        None if place in lost else type_name for place, type_name in enumerate(ids)
    ]
    assert sorted((path, code) for path, code, _ in errors) == [
        (["nodes", place], "DATABASE_UNAVAILABLE") for place in lost
    ]
