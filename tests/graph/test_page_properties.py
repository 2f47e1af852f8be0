"""Pages put end to end are the list as Python sorts it: any order, direction, size and filter, root and nested."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from graphql import GraphQLInputObjectType
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from strawberry.utils.str_converters import to_camel_case, to_snake_case

from app.settings import Settings
from tests.factories import TODAY, Make, Row, empty
from tests.graph.conftest import SCHEMA, Gateway, gateway_of

TEXTS = st.sampled_from(["", "a", "A", "b", "é", "日", "𝄞", "a b", "ab", "%", "_"])
TIMES = st.sampled_from([TODAY + timedelta(microseconds=number) for number in range(4)])
MONEY = st.sampled_from(["0.00", "1.00", "2.50", "10.00", "9.99"])
EXAMPLES = hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=False
)
UNIQUE = {"email", "sku"}


@dataclass(frozen=True)
class List:
    """A list of the API: what makes a row of it, its usual order, and a filter with what Python makes of it."""

    type_name: str
    maker: str
    columns: dict[str, st.SearchStrategy[Any]]
    default: list[tuple[str, bool]]
    where: dict[str, Any]
    holds: Callable[[Row], bool]


TIMED = {"created_at": TIMES, "updated_at": TIMES}
NEWEST = [("created_at", True), ("id", True)]
LISTS = {
    "users": List(
        "User",
        "user",
        {"email": TEXTS, "first_name": TEXTS | st.none(), "last_name": TEXTS | st.none()} | TIMED,
        NEWEST,
        {"or": [{"firstName": {"isNull": False}}, {"lastName": {"in": ["a", "b"]}}]},
        lambda row: row["first_name"] is not None or row["last_name"] in ("a", "b"),
    ),
    "categories": List(
        "Category",
        "category",
        {"name": TEXTS} | TIMED,
        [("name", False), ("id", False)],
        {"not": {"name": {"startsWith": "A"}}},
        lambda row: not row["name"].lower().startswith("a"),
    ),
    "products": List(
        "Product",
        "product",
        {
            "name": TEXTS,
            "sku": TEXTS | st.none(),
            "price": MONEY,
            "stock_quantity": st.integers(0, 2),
            "status": st.sampled_from(["active", "inactive"]),
        }
        | TIMED,
        [("name", False), ("id", False)],
        {"price": {"gte": "1.00"}, "status": {"eq": "ACTIVE"}},
        lambda row: row["price"] >= 1 and row["status"] == "active",
    ),
    "orders": List(
        "Order",
        "order",
        {"status": st.sampled_from(["paid", "pending", "cancelled"]), "total_amount": MONEY} | TIMED,
        NEWEST,
        {"status": {"ne": "PAID"}},
        lambda row: row["status"] != "paid",
    ),
    "payments": List(
        "Payment",
        "payment",
        {"status": st.sampled_from(["captured", "failed"]), "amount": MONEY} | TIMED,
        NEWEST,
        {"amount": {"lt": "9.99"}},
        lambda row: row["amount"] < 9,
    ),
}


@st.composite
def cases(draw: st.DrawFn, name: str) -> tuple[list[Row], list[tuple[str, bool]], int, bool]:
    """Rows to make, an order, a page size, and whether to filter."""
    of = LISTS[name]
    rows = draw(st.lists(st.fixed_dictionaries(of.columns), max_size=9))
    for number, row in enumerate(rows):
        row |= {column: f"{row[column]}{number}" for column in UNIQUE & row.keys() if row[column] is not None}
    order = draw(st.lists(st.tuples(st.sampled_from(sorted(of.columns)), st.booleans()), max_size=3))
    return rows, order, draw(st.integers(1, 5)), draw(st.booleans())


def in_order(rows: list[Row], order: list[tuple[str, bool]], default: list[tuple[str, bool]]) -> list[str]:
    """The uuids of rows as the API orders them: the first column first, and ties by id the way of the last one."""
    seen: dict[str, bool] = {}
    for column, descending in order:
        seen.setdefault(column, descending)
    sorts = [*seen.items(), ("id", list(seen.values())[-1])] if seen else default
    found = list(rows)
    for column, descending in reversed(sorts):
        found.sort(key=lambda row: _key(row[column]), reverse=descending)
    return [str(row["id"]) for row in found]


def _key(value: object) -> tuple[bool, Any]:
    return (True, 0) if value is None else (False, str(value) if hasattr(value, "hex") else value)


FILTERED = "where: $where, orderBy: $by"
PAGE = "nodes { uuid } edges { cursor } totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"


@dataclass(frozen=True)
class Reader:
    """Reads one list of the API page by page."""

    gateway: Gateway
    name: str
    parent: str | None
    """The field of the parent, found by ``$id``; None at the root."""
    arguments: dict[str, Any]
    extra: str = ""

    async def page(self, **window: Any) -> dict[str, Any]:
        of = LISTS[self.name].type_name
        arguments = f"first: $first, after: $after, last: $last, before: $before, {FILTERED}{self.extra}"
        field = f"page: {self.name}({arguments}) {{ {PAGE} }}"
        variables = f"$first: Int, $after: String, $last: Int, $before: String, $where: {of}Where, $by: [{of}OrderBy!]"
        if self.parent is None:
            found = await self.gateway.ask(f"query({variables}) {{ {field} }}", **self.arguments, **window)
            return found["page"]
        query = f"query({variables}, $id: ID!) {{ parent: {self.parent}(id: $id) {{ {field} }} }}"
        return (await self.gateway.ask(query, **self.arguments, **window))["parent"]["page"]

    async def forwards(self, size: int) -> list[str]:
        """Every page by first and after, end to end."""
        found: list[str] = []
        after = None
        while True:
            page = await self.page(first=size, after=after)
            found += _uuids(page)
            assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                return found
            assert len(page["nodes"]) == size

    async def backwards(self, size: int) -> list[str]:
        """Every page by last and before, end to end."""
        found: list[str] = []
        before = None
        while True:
            page = await self.page(last=size, before=before)
            found = _uuids(page) + found
            assert page["pageInfo"]["hasNextPage"] == (before is not None)
            before = page["pageInfo"]["startCursor"]
            if not page["pageInfo"]["hasPreviousPage"]:
                return found
            assert len(page["nodes"]) == size


def _uuids(page: dict[str, Any]) -> list[str]:
    cursors = [edge["cursor"] for edge in page["edges"]]
    ends = (page["pageInfo"]["startCursor"], page["pageInfo"]["endCursor"])
    assert ends == ((cursors[0], cursors[-1]) if cursors else (None, None))
    return [node["uuid"] for node in page["nodes"]]


async def check(reader: Reader, expected: list[str], size: int) -> None:
    """Both ways through the list, its total, and what lies between two cursors."""
    assert await reader.forwards(size) == expected
    assert await reader.backwards(size) == expected
    whole = await reader.page(first=100)
    assert (_uuids(whole), whole["totalCount"]) == (expected, len(expected))
    if len(expected) > 2:
        after, before = whole["edges"][0]["cursor"], whole["edges"][-1]["cursor"]
        assert _uuids(await reader.page(after=after, before=before)) == expected[1:-1]
        assert _uuids(await reader.page(before=before)) == expected[:-1][-20:]
        assert _uuids(await reader.page(after=after, before=before, last=1)) == expected[-2:-1]


def run(settings: Settings, work: Callable[[Gateway, Make], Any]) -> None:
    """Run one example against the real databases, and leave them empty."""

    async def example() -> None:
        async for gateway in gateway_of(settings):
            async with Make(settings) as make:
                await work(gateway, make)

    try:
        asyncio.run(example())
    finally:
        asyncio.run(empty(settings))


def asked(name: str, order: list[tuple[str, bool]], filtered: bool) -> dict[str, Any]:
    by = [{to_camel_case(column): "DESC" if descending else "ASC"} for column, descending in order]
    return {"by": by, "where": LISTS[name].where if filtered else None}


def shown(name: str, rows: list[Row], filtered: bool) -> list[Row]:
    return [row for row in rows if not filtered or LISTS[name].holds(row)]


@pytest.mark.parametrize("name", LISTS)
def test_every_field_of_an_order_is_tried(name: str) -> None:
    type_ = SCHEMA._schema.type_map[f"{LISTS[name].type_name}OrderBy"]  # pyright: ignore[reportPrivateUsage]
    assert isinstance(type_, GraphQLInputObjectType)
    assert {to_snake_case(field) for field in type_.fields} == set(LISTS[name].columns)


@pytest.mark.parametrize("name", LISTS)
def test_root_lists(settings: Settings, name: str) -> None:
    @EXAMPLES
    @given(case=cases(name))
    def examples(case: tuple[list[Row], list[tuple[str, bool]], int, bool]) -> None:
        values, order, size, filtered = case

        async def work(gateway: Gateway, make: Make) -> None:
            rows = [await getattr(make, LISTS[name].maker)(**row) for row in values]
            expected = in_order(shown(name, rows, filtered), order, LISTS[name].default)
            await check(Reader(gateway, name, None, asked(name, order, filtered)), expected, size)

        run(settings, work)

    examples()


@pytest.mark.parametrize(
    ("name", "parent", "extra"),
    [
        ("orders", "user", ""),
        ("products", "category", ""),
        ("products", "category", ", includeDescendants: true"),
    ],
)
def test_lists_below_several_parents(settings: Settings, name: str, parent: str, extra: str) -> None:
    @EXAMPLES
    @given(case=cases(name))
    def examples(case: tuple[list[Row], list[tuple[str, bool]], int, bool]) -> None:
        values, order, size, filtered = case

        async def work(gateway: Gateway, make: Make) -> None:
            top = await getattr(make, parent)()
            other = await make.category(parent_id=top["id"]) if parent == "category" else await make.user()
            column = {"user": "user_id", "category": "category_id"}[parent]
            rows = [
                await getattr(make, LISTS[name].maker)(**row, **{column: (top, other)[number % 2]["id"]})
                for number, row in enumerate(values)
            ]
            for above in (top, other):
                own = {above["id"], other["id"]} if extra else {above["id"]}
                below = [row for row in shown(name, rows, filtered) if row[column] in own]
                arguments = asked(name, order, filtered) | {"id": str(above["id"])}
                expected = in_order(below, order, LISTS[name].default)
                await check(Reader(gateway, name, parent, arguments, extra), expected, size)

        run(settings, work)

    examples()


@pytest.mark.parametrize(("name", "parents"), [("orders", "users"), ("products", "categories")])
def test_the_same_stretch_of_every_parents_list_at_once(settings: Settings, name: str, parents: str) -> None:
    """A cursor stands at a row's place in an order, whichever parent's list it comes from."""
    of = LISTS[name].type_name
    page = f"page: {name}(first: $first, after: $after, {FILTERED}) {{ nodes {{ uuid }} }}"
    query = f"""query($first: Int, $after: String, $where: {of}Where, $by: [{of}OrderBy!]) {{
      {parents} {{ nodes {{ uuid {page} }} }} }}"""
    column = {"users": "user_id", "categories": "category_id"}[parents]

    @EXAMPLES
    @given(case=cases(name))
    def examples(case: tuple[list[Row], list[tuple[str, bool]], int, bool]) -> None:
        values, order, size, filtered = case

        async def work(gateway: Gateway, make: Make) -> None:
            above = [await getattr(make, LISTS[parents].maker)() for _ in range(3)]
            rows = [
                await getattr(make, LISTS[name].maker)(**row, **{column: above[number % 3]["id"]})
                for number, row in enumerate(values)
            ]
            arguments = asked(name, order, filtered)
            whole = await Reader(gateway, name, None, arguments).page(first=100)
            half = len(whole["edges"]) // 2
            after = whole["edges"][half - 1]["cursor"] if half else None
            found = await gateway.ask(query, first=size, after=after, **arguments)
            assert len(gateway.statements) == 2
            behind = in_order(shown(name, rows, filtered), order, LISTS[name].default)[half:]
            of_row = {str(row["id"]): str(row[column]) for row in rows}
            for parent in found[parents]["nodes"]:
                expected = [uuid for uuid in behind if of_row[uuid] == parent["uuid"]][:size]
                assert [node["uuid"] for node in parent["page"]["nodes"]] == expected

        run(settings, work)

    examples()
