"""Pages put end to end are the list as Python sorts it: any order, direction, size and filter, root and nested."""

from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from graphql import GraphQLInputObjectType, GraphQLObjectType
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from strawberry.utils.str_converters import to_camel_case, to_snake_case

from app.settings import DATABASE_NAMES, DatabaseName, Settings
from tests.factories import TODAY, Make, Row
from tests.graph.conftest import SCHEMA, Gateway
from tests.graph.world import Work, World, world_of

TEXTS = st.sampled_from(["", "a", "A", "b", "é", "日", "𝄞", "a b", "ab", "%", "_"])
TIMES = st.sampled_from([TODAY + timedelta(microseconds=number) for number in range(4)])
MONEY = st.sampled_from(["0.00", "1.00", "2.50", "10.00", "9.99"])
EXAMPLES = hypothesis_settings(max_examples=20, print_blob=False)
UNIQUE = {"email", "sku"}
CORE = SCHEMA._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own, to walk through


@pytest.fixture(scope="module")
def world(settings: Settings) -> Generator[World]:
    with world_of(settings) as world:
        yield world


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
    rows = [distinct(row, number) for number, row in enumerate(rows)]
    order = draw(st.lists(st.tuples(st.sampled_from(sorted(of.columns)), st.booleans()), max_size=3))
    return rows, order, draw(st.integers(1, 5)), draw(st.booleans())


def distinct(row: Row, number: int) -> Row:
    """The row with values that no row of another number has, where they must be unique."""
    return row | {column: f"{row[column]}{number}" for column in UNIQUE & row.keys() if row[column] is not None}


def in_full(order: list[tuple[str, bool]], default: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """An order down to the id: a column counts where it is first named, and ties go the way of the last one."""
    seen: dict[str, bool] = {}
    for column, descending in order:
        seen.setdefault(column, descending)
    return [*seen.items(), ("id", list(seen.values())[-1])] if seen else default


def in_order(rows: list[Row], order: list[tuple[str, bool]], default: list[tuple[str, bool]]) -> list[str]:
    """The uuids of rows as the API orders them."""
    found = list(rows)
    for column, descending in reversed(in_full(order, default)):
        found.sort(key=lambda row: _key(row[column]), reverse=descending)
    return [str(row["id"]) for row in found]


def _key(value: object) -> tuple[bool, Any]:
    return (True, 0) if value is None else (False, str(value) if hasattr(value, "hex") else value)


VARIABLES = "$first: Int, $after: String, $last: Int, $before: String"
ARGUMENTS = "first: $first, after: $after, last: $last, before: $before, where: $where, orderBy: $by"
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
        field = f"page: {self.name}({ARGUMENTS}{self.extra}) {{ {PAGE} }}"
        variables = f"{VARIABLES}, $where: {of}Where, $by: [{of}OrderBy!]"
        if self.parent is None:
            found = await self.gateway.ask(f"query({variables}) {{ {field} }}", **self.arguments, **window)
            return found["page"]
        query = f"query({variables}, $id: ID!) {{ parent: {self.parent}(id: $id) {{ {field} }} }}"
        return (await self.gateway.ask(query, **self.arguments, **window))["parent"]["page"]

    async def walk(self, size: int, *, from_end: bool) -> AsyncGenerator[list[str]]:
        """Every page, by first and after, or by last and before."""
        count, place, here = ("last", "before", "startCursor") if from_end else ("first", "after", "endCursor")
        on, back = ("hasPreviousPage", "hasNextPage") if from_end else ("hasNextPage", "hasPreviousPage")
        cursor = None
        while True:
            page = await self.page(**{count: size, place: cursor})
            info = page["pageInfo"]
            assert info[back] == (cursor is not None)
            cursor = info[here]
            yield _uuids(page)
            if not info[on]:
                return
            assert len(page["nodes"]) == size


def end_to_end(pages: list[list[str]], *, from_end: bool) -> list[str]:
    """What the pages of a walk make up."""
    return [uuid for page in (reversed(pages) if from_end else pages) for uuid in page]


def _uuids(page: dict[str, Any]) -> list[str]:
    cursors = [edge["cursor"] for edge in page["edges"]]
    ends = (page["pageInfo"]["startCursor"], page["pageInfo"]["endCursor"])
    assert ends == ((cursors[0], cursors[-1]) if cursors else (None, None))
    return [node["uuid"] for node in page["nodes"]]


async def check(reader: Reader, expected: list[str], size: int) -> None:
    """Both ways through the list, its total, and what lies between two cursors."""
    for from_end in (False, True):
        pages = [page async for page in reader.walk(size, from_end=from_end)]
        assert end_to_end(pages, from_end=from_end) == expected
    whole = await reader.page(first=100)
    assert (_uuids(whole), whole["totalCount"]) == (expected, len(expected))
    if len(expected) > 2:
        after, before = whole["edges"][0]["cursor"], whole["edges"][-1]["cursor"]
        between = await reader.page(after=after, before=before)
        assert (_uuids(between), between["totalCount"]) == (expected[1:-1], len(expected))
        assert _uuids(await reader.page(before=before)) == expected[:-1][-20:]
        assert _uuids(await reader.page(after=after, before=before, last=1)) == expected[-2:-1]


def run(settings: Settings, work: Work) -> None:
    """Run one example in a world of its own."""
    with world_of(settings) as world:
        world.run(work)


def by_of(order: list[tuple[str, bool]]) -> list[dict[str, str]]:
    """An order as the argument ``orderBy``."""
    return [{to_camel_case(column): "DESC" if descending else "ASC"} for column, descending in order]


def asked(name: str, order: list[tuple[str, bool]], filtered: bool) -> dict[str, Any]:
    """The variables of a list's order and filter. An empty order is sometimes null, which means the same."""
    return {"by": by_of(order) if order or filtered else None, "where": LISTS[name].where if filtered else None}


def shown(name: str, rows: list[Row], filtered: bool) -> list[Row]:
    return [row for row in rows if not filtered or LISTS[name].holds(row)]


def test_every_list_is_tried() -> None:
    found = {
        (type_.name, name): "includeDescendants" in field.args
        for type_ in CORE.type_map.values()
        if isinstance(type_, GraphQLObjectType)
        for name, field in type_.fields.items()
        if "orderBy" in field.args
    }
    root = {("Query", name): False for name in LISTS}
    assert found == root | {("User", "orders"): False, ("Category", "products"): True}


@pytest.mark.parametrize("name", LISTS)
def test_every_field_of_an_order_is_tried(name: str) -> None:
    type_ = CORE.type_map[f"{LISTS[name].type_name}OrderBy"]
    assert isinstance(type_, GraphQLInputObjectType)
    assert {to_snake_case(field) for field in type_.fields} == set(LISTS[name].columns)


@pytest.mark.parametrize("name", LISTS)
def test_root_lists(world: World, name: str) -> None:
    @EXAMPLES
    @given(case=cases(name))
    def examples(case: tuple[list[Row], list[tuple[str, bool]], int, bool]) -> None:
        values, order, size, filtered = case

        async def work(gateway: Gateway, make: Make) -> None:
            rows = [await getattr(make, LISTS[name].maker)(**row) for row in values]
            expected = in_order(shown(name, rows, filtered), order, LISTS[name].default)
            await check(Reader(gateway, name, None, asked(name, order, filtered)), expected, size)

        world.run(work)

    examples()


@pytest.mark.parametrize(
    ("name", "parent", "extra"),
    [
        ("orders", "user", ""),
        ("products", "category", ""),
        ("products", "category", ", includeDescendants: true"),
    ],
)
def test_lists_below_several_parents(world: World, name: str, parent: str, extra: str) -> None:
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

        world.run(work)

    examples()


@pytest.mark.parametrize(
    ("name", "parents", "extra"),
    [("orders", "users", ""), ("products", "categories", ""), ("products", "categories", ", includeDescendants: true")],
)
def test_the_same_stretch_of_every_parents_list_at_once(world: World, name: str, parents: str, extra: str) -> None:
    """A cursor stands at a row's place in an order, whichever parent's list it comes from."""
    of = LISTS[name].type_name
    query = f"""query({VARIABLES}, $where: {of}Where, $by: [{of}OrderBy!]) {{
      {parents} {{ nodes {{ uuid page: {name}({ARGUMENTS}{extra}) {{ {PAGE} }} }} }} }}"""
    column = {"users": "user_id", "categories": "category_id"}[parents]

    @EXAMPLES
    @given(case=cases(name))
    def examples(case: tuple[list[Row], list[tuple[str, bool]], int, bool]) -> None:
        values, order, size, filtered = case

        async def work(gateway: Gateway, make: Make) -> None:
            above: list[str] = []
            for _ in range(3):  # categories one below the other
                below = {"parent_id": above[-1]} if above and parents == "categories" else {}
                above.append(str((await getattr(make, LISTS[parents].maker)(**below))["id"]))
            rows = [
                await getattr(make, LISTS[name].maker)(**row, **{column: above[number % 3]})
                for number, row in enumerate(values)
            ]
            arguments = asked(name, order, filtered)
            edges = (await Reader(gateway, name, None, arguments).page(first=100))["edges"]
            half = len(edges) // 2
            after = edges[half - 1]["cursor"] if half else None
            before = edges[half]["cursor"] if edges else None
            forwards = await gateway.ask(query, first=size, after=after, **arguments)
            assert len(gateway.statements) == 3
            backwards = await gateway.ask(query, last=size, before=before, **arguments)
            whole = in_order(shown(name, rows, filtered), order, LISTS[name].default)
            of_row = {str(row["id"]): str(row[column]) for row in rows}
            for ahead, back in zip(forwards[parents]["nodes"], backwards[parents]["nodes"], strict=True):
                own = above[above.index(ahead["uuid"]) :] if extra else [ahead["uuid"]]
                first, second = (
                    [uuid for uuid in part if of_row[uuid] in own] for part in (whole[:half], whole[half:])
                )
                assert _uuids(ahead["page"]) == second[:size]
                assert _uuids(back["page"]) == first[-size:]
                assert ahead["page"]["pageInfo"]["hasNextPage"] == (len(second) > size)
                assert back["page"]["pageInfo"]["hasPreviousPage"] == (len(first) > size)
                assert ahead["page"]["totalCount"] == back["page"]["totalCount"] == len(first) + len(second)

        world.run(work)

    examples()


@pytest.mark.parametrize("name", DATABASE_NAMES)
def test_rows_that_come_and_go_between_pages(world: World, name: DatabaseName) -> None:
    """What was there throughout is shown once and in order, and nothing is shown twice."""
    of = LISTS[name]
    changes = st.lists(st.tuples(st.integers(0, 8), st.fixed_dictionaries(of.columns)), max_size=4)

    @EXAMPLES
    @given(case=cases(name), changes=changes, from_end=st.booleans())
    def examples(
        case: tuple[list[Row], list[tuple[str, bool]], int, bool], changes: list[tuple[int, Row]], from_end: bool
    ) -> None:
        values, order, size, filtered = case

        async def work(gateway: Gateway, make: Make) -> None:
            rows = [await getattr(make, of.maker)(**row) for row in values]
            reader = Reader(gateway, name, None, asked(name, order, filtered))
            coming = enumerate(changes, len(values))
            pages: list[list[str]] = []
            gone: set[int] = set()
            async for page in reader.walk(size, from_end=from_end):
                pages.append(page)
                for number, (deleted, added) in islice(coming, 1):
                    if deleted < len(rows):
                        gone.add(deleted)
                        await make.execute(name, f"DELETE FROM {name} WHERE id = $1", rows[deleted]["id"])
                    await getattr(make, of.maker)(**distinct(added, number))
            found = end_to_end(pages, from_end=from_end)
            kept = [row for number, row in enumerate(rows) if number not in gone]
            expected = in_order(shown(name, kept, filtered), order, of.default)
            assert [uuid for uuid in found if uuid in expected] == expected
            assert len(set(found)) == len(found)

        world.run(work)

    examples()
