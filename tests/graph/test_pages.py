"""Pages put end to end are the whole list, and no page reads more rows than its own and one."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from app.database import Databases, Row
from tests.factories import TODAY, Make
from tests.graph.conftest import Gateway

pytestmark = pytest.mark.anyio


async def _all_pages(gateway: Gateway, query: str, *path: str, size: int) -> list[dict[str, Any]]:
    """The nodes of every page, one after the other."""
    nodes: list[dict[str, Any]] = []
    cursor = None
    while True:
        found: Any = await gateway.ask(query, first=size, after=cursor)
        for step in path:
            found = found[step][0] if isinstance(found[step], list) else found[step]
        assert found["nodes"] == [edge["node"] for edge in found["edges"]]
        info = found["pageInfo"]
        assert info["hasPreviousPage"] == (cursor is not None)
        cursors = [edge["cursor"] for edge in found["edges"]]
        assert (info["startCursor"], info["endCursor"]) == ((cursors[0], cursors[-1]) if cursors else (None, None))
        nodes += found["nodes"]
        if not info["hasNextPage"]:
            return nodes
        assert len(found["nodes"]) == size
        cursor = info["endCursor"]


PAGE = (
    "{ nodes { uuid } edges { cursor node { uuid } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }"
)
ARGUMENTS = "(first: $first, after: $after)"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
async def test_pages_of_orders_end_to_end(gateway: Gateway, make: Make, size: int) -> None:
    """Newest first, with ties broken by id, at the root and below a user."""
    user = await make.user()
    orders = [
        await make.order(user_id=user["id"], created_at=TODAY + timedelta(microseconds=number // 3))
        for number in range(7)
    ]
    expected = [
        {"uuid": str(order["id"])}
        for order in sorted(orders, key=lambda order: (order["created_at"], str(order["id"])), reverse=True)
    ]
    root = f"query($first: Int, $after: String) {{ orders{ARGUMENTS} {PAGE} }}"
    assert await _all_pages(gateway, root, "orders", size=size) == expected
    nested = f"query($first: Int, $after: String) {{ users {{ nodes {{ orders{ARGUMENTS} {PAGE} }} }} }}"
    assert await _all_pages(gateway, nested, "users", "nodes", "orders", size=size) == expected


@pytest.mark.parametrize("size", [1, 3, 20])
async def test_pages_of_products_go_by_the_names_code_points(gateway: Gateway, make: Make, size: int) -> None:
    names = ["é", "a", "B", "a", "Z", "", "日本", "𝄞", "a b", "ab"]
    category = await make.category()
    products = [await make.product(name=name, category_id=category["id"]) for name in names]
    expected = [
        {"uuid": str(product["id"])} for product in sorted(products, key=lambda row: (row["name"], str(row["id"])))
    ]
    for field in ("products", "products(includeDescendants: true)"):
        arguments = field.rstrip(")") + (", " if "(" in field else "(") + "first: $first, after: $after)"
        query = f"query($first: Int, $after: String) {{ categories {{ nodes {{ {arguments} {PAGE} }} }} }}"
        assert await _all_pages(gateway, query, "categories", "nodes", "products", size=size) == expected
    root = f"query($first: Int, $after: String) {{ products{ARGUMENTS} {PAGE} }}"
    assert await _all_pages(gateway, root, "products", size=size) == expected


async def test_rows_that_come_and_go_between_pages_disturb_nothing(gateway: Gateway, make: Make) -> None:
    orders = [await make.order(created_at=TODAY - timedelta(minutes=number)) for number in range(6)]
    query = "query($after: String) { orders(first: 2, after: $after) { nodes { uuid } pageInfo { endCursor } } }"
    first = (await gateway.ask(query))["orders"]
    await make.order(created_at=TODAY + timedelta(minutes=1))
    await make.execute("orders", "DELETE FROM orders WHERE id = $1", orders[1]["id"])
    second = (await gateway.ask(query, after=first["pageInfo"]["endCursor"]))["orders"]
    assert second["nodes"] == [{"uuid": str(order["id"])} for order in orders[2:4]]


async def test_a_page_reads_its_rows_and_one_more_where_that_is_asked(
    gateway: Gateway, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        user = await make.user()
        for minute in range(9):
            await make.order(user_id=user["id"], created_at=TODAY + timedelta(minutes=minute))
    read: list[int] = []
    fetch = Databases.__getitem__

    def counting(self: Databases, name: Any) -> Any:
        database = fetch(self, name)

        class Counting:
            figures = database.figures

            async def fetch(self, sql: str, *args: object) -> list[Row]:
                rows = await database.fetch(sql, *args)
                read.append(len(rows))
                return rows

        return Counting()

    monkeypatch.setattr(Databases, "__getitem__", counting)
    on = "pageInfo { hasNextPage }"
    nested = "users(first: 3) { nodes { orders(first: 2) { nodes { uuid } %s } } }"
    query = "{ orders(first: 4) { nodes { uuid } %s } " + nested + " }"
    await gateway.ask(query % (on, on))
    assert sorted(read) == [3, 5, 9]
    read.clear()
    await gateway.ask(query % ("", ""))  # nobody asks whether the lists go on
    assert sorted(read) == [3, 4, 6]
    read.clear()
    await gateway.resolvers.ask(query % ("", ""))
    assert sorted(read) == [3, 5, 9]


async def test_what_is_not_selected_is_not_asked(gateway: Gateway, make: Make) -> None:
    await make.order()
    await gateway.ask("{ orders { __typename } }")
    assert gateway.counts == {}
    await gateway.ask("{ orders { totalCount } }")
    assert [sql for _, sql in gateway.statements] == [sql for _, sql in gateway.statements if "count(*)" in sql]
    assert gateway.counts == {"orders": 1}
    skip = (
        "query($yes: Boolean!) { orders { ...F totalCount @skip(if: $yes) } } "
        "fragment F on OrderConnection { nodes { uuid } }"
    )
    await gateway.ask(skip, yes=True)
    assert gateway.counts == {"orders": 1}
    await gateway.ask(skip, yes=False)
    assert gateway.counts == {"orders": 2}


def _cursor(*document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


CURSOR_ERROR = "after is not a cursor of this list in this order: pass one that it returned."
ORDERS = "-orders.created_at,-orders.id"
SOME_ID = "00000000-0000-7000-8000-000000000000"
MALFORMED = [
    "",
    "x",
    "====",
    "é",
    "A" * 5000,
    _cursor(),
    _cursor(1),
    _cursor(2, ORDERS, TODAY.isoformat(), SOME_ID),
    _cursor(1, "products.name,products.id", "a", SOME_ID),
    _cursor(1, ORDERS, TODAY.isoformat()),
    _cursor(1, ORDERS, TODAY.isoformat(), "1' OR 1=1"),
    _cursor(1, ORDERS, TODAY.replace(tzinfo=None).isoformat(), SOME_ID),
    _cursor(1, ORDERS, "yesterday", SOME_ID),
    _cursor(1, ORDERS, 5, None),
    _cursor(1, ORDERS, TODAY.isoformat(), "\0"),
    _cursor(1, ORDERS, "0001-01-01T00:00:00+14:00", SOME_ID),
    _cursor(1, ORDERS, "9999-12-31T23:59:59-14:00", SOME_ID),
    base64.urlsafe_b64encode(b"[" * 1400).decode(),
    base64.urlsafe_b64encode(b'{"a": 1}').decode(),
]


async def test_a_cursor_of_any_row_is_taken(gateway: Gateway) -> None:
    """So that those below are refused for what is wrong with them."""
    cursor = _cursor(1, ORDERS, TODAY.isoformat(), SOME_ID)
    await gateway.ask("query($c: String) { orders(after: $c) { nodes { uuid } } }", c=cursor)
    assert gateway.counts == {"orders": 1}


@pytest.mark.parametrize("character", ["日", "𝄞", "é", '"', "\\", "\x01"])
async def test_the_longest_name_has_a_cursor(gateway: Gateway, make: Make, character: str) -> None:
    for letter in "ab":
        await make.product(name=character * 254 + letter)
    query = "query($c: String) { products(first: 1, after: $c) { nodes { name } pageInfo { endCursor } } }"
    first = (await gateway.ask(query))["products"]
    second = (await gateway.ask(query, c=first["pageInfo"]["endCursor"]))["products"]
    assert second["nodes"] == [{"name": character * 254 + "b"}]


@pytest.mark.parametrize("cursor", MALFORMED)
async def test_a_malformed_cursor_is_refused_before_any_statement(gateway: Gateway, cursor: str) -> None:
    data, errors = await gateway.refuse("query($c: String) { orders(after: $c) { nodes { uuid } } }", c=cursor)
    assert data == {"orders": None}
    assert errors == [(["orders"], "BAD_USER_INPUT", CURSOR_ERROR)]
    assert gateway.statements == []


async def test_a_cursor_of_another_list_is_refused(gateway: Gateway, make: Make) -> None:
    await make.category()
    await make.product()
    data = await gateway.ask("{ categories { pageInfo { endCursor } } }")
    cursor = data["categories"]["pageInfo"]["endCursor"]
    _, errors = await gateway.refuse("query($c: String) { products(after: $c) { nodes { uuid } } }", c=cursor)
    assert [code for _, code, _ in errors] == ["BAD_USER_INPUT"]


@pytest.mark.parametrize("first", [0, -1, 101, 2147483647])
async def test_a_page_has_1_to_100(gateway: Gateway, first: int) -> None:
    data, errors = await gateway.refuse("query($n: Int) { orders(first: $n) { nodes { uuid } } }", n=first)
    assert data == {"orders": None}
    assert errors == [(["orders"], "BAD_USER_INPUT", "first must be from 1 to 100.")]
    assert gateway.statements == []


async def test_a_page_has_20_if_not_said(gateway: Gateway, make: Make) -> None:
    for minute in range(21):
        await make.order(created_at=TODAY + timedelta(minutes=minute))
    for query in ("{ orders { nodes { uuid } } }", "{ orders(first: null, after: null) { nodes { uuid } } }"):
        assert len((await gateway.ask(query))["orders"]["nodes"]) == 20
