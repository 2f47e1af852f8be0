"""Filters put together, against what Python makes of them; and what of a filter is in a statement."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strawberry.utils.str_converters import to_snake_case

from app.settings import Settings
from tests.factories import Make, Row
from tests.graph.conftest import Gateway
from tests.graph.test_page_properties import EXAMPLES, LISTS, TEXTS, in_order, run


def _text(test: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, given: value is not None and test(value.lower(), given.lower())


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, given: value is not None and test(value, given)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, given: value == given,
    "ne": lambda value, given: value != given,
    "in": lambda value, given: value in given,
    "notIn": lambda value, given: value not in given,
    "gt": _ordered(lambda value, given: value > given),
    "gte": _ordered(lambda value, given: value >= given),
    "lt": _ordered(lambda value, given: value < given),
    "lte": _ordered(lambda value, given: value <= given),
    "contains": _text(lambda value, given: given in value),
    "startsWith": _text(str.startswith),
    "endsWith": _text(str.endswith),
    "isNull": lambda value, given: (value is None) == given,
}
TESTS = {
    "name": st.fixed_dictionaries({}, optional={"eq": TEXTS, "ne": TEXTS, "contains": TEXTS, "endsWith": TEXTS}),
    "sku": st.fixed_dictionaries(
        {}, optional={"ne": TEXTS, "notIn": st.lists(TEXTS, max_size=2), "isNull": st.booleans()}
    ),
    "stockQuantity": st.fixed_dictionaries({}, optional={"gt": st.integers(0, 2), "in": st.lists(st.integers(0, 2))}),
}
TREES = st.recursive(
    st.fixed_dictionaries({}, optional=TESTS),
    lambda inner: st.fixed_dictionaries(
        {}, optional={"and": st.lists(inner, max_size=2), "or": st.lists(inner, max_size=2), "not": inner} | TESTS
    ),
    max_leaves=6,
)


def holds(where: dict[str, Any], row: Row) -> bool:
    """What a filter says of a row, two-valued: what is not known to be so is not so."""
    for field, test in where.items():
        match field:
            case "and":
                found = all(holds(inner, row) for inner in test)
            case "or":
                found = any(holds(inner, row) for inner in test)
            case "not":
                found = not holds(test, row)
            case _:
                cell = row[to_snake_case(field)]
                found = all(OPERATORS[operator](cell, value) for operator, value in test.items())
        if not found:
            return False
    return True


@pytest.mark.parametrize("parent", [None, "category"])
def test_a_filter_and_its_opposite_part_any_list(settings: Settings, parent: str | None) -> None:
    rows = st.lists(st.fixed_dictionaries(LISTS["products"].columns), max_size=8)

    @EXAMPLES
    @given(values=rows, wheres=st.lists(TREES, min_size=1, max_size=8))
    def examples(values: list[Row], wheres: list[dict[str, Any]]) -> None:
        async def work(gateway: Gateway, make: Make) -> None:
            category = await make.category()
            numbered = (
                row | {"sku": None if row["sku"] is None else f"{row['sku']}{number}", "category_id": category["id"]}
                for number, row in enumerate(values)
            )
            made = [await make.product(**row) for row in numbered]
            inner = "products(where: $where, first: 100) { totalCount nodes { uuid } }"
            outer = f'category(id: "{category["id"]}") {{ {inner} }}' if parent else inner
            for where in wheres:
                for tried in (where, {"not": where}):
                    found = await gateway.ask(f"query($where: ProductWhere) {{ {outer} }}", where=tried)
                    page = (found["category"] if parent else found)["products"]
                    expected = in_order([row for row in made if holds(tried, row)], [], LISTS["products"].default)
                    assert [node["uuid"] for node in page["nodes"]] == expected
                    assert page["totalCount"] == len(expected)

        run(settings, work)

    examples()


@pytest.mark.anyio
async def test_values_are_never_in_the_statement(gateway: Gateway) -> None:
    query = "query($where: ProductWhere) { products(where: $where) { nodes { uuid } } }"
    texts: set[str] = set()
    for value in ("x", 'it\'s "quoted" \\ %'):
        for some in ([], [1], [1, 2, 3]):
            where = {"name": {"contains": value, "in": [value]}, "stockQuantity": {"in": some, "lt": len(some) + 7001}}
            await gateway.ask(query, where=where)
            texts |= {sql for _, sql in gateway.statements}
    [sql] = texts
    assert "700" not in sql
    assert "quoted" not in sql


@pytest.mark.anyio
async def test_literals_are_as_variables(gateway: Gateway, make: Make) -> None:
    await make.product(name="Tea", status="inactive", price="2.50", stock_quantity=3)
    await make.product(name="Pot", price="12.00")
    for where in (
        'name: {startsWith: "t"}',
        "status: {eq: INACTIVE}",
        "status: {notIn: [ACTIVE]}",
        'price: {lt: "3"}',
        "price: {lt: 3}",
        "stockQuantity: {gte: 1}",
        'not: {name: {in: ["Pot"]}}',
        'or: [{name: {eq: "Tea"}}, {or: []}]',
    ):
        found = await gateway.ask(f"{{ products(where: {{{where}}}) {{ nodes {{ name }} }} }}")
        assert found == {"products": {"nodes": [{"name": "Tea"}]}}, where
    for nothing in ("where: null", "where: {}", "where: {and: []}", "orderBy: null", "orderBy: []"):
        found = await gateway.ask(f"{{ products({nothing}) {{ totalCount }} }}")
        assert found == {"products": {"totalCount": 2}}


@pytest.mark.anyio
async def test_blanks_count_also_in_a_column_of_fixed_length(gateway: Gateway, make: Make) -> None:
    await make.payment(currency="USD")
    for test, number in (
        ({"eq": "USD"}, 1),
        ({"eq": "USD "}, 0),
        ({"ne": "USD "}, 1),
        ({"in": ["USD ", "EUR"]}, 0),
        ({"notIn": ["USD"]}, 0),
        ({"endsWith": "d"}, 1),
        ({"endsWith": " "}, 0),
    ):
        query = "query($w: PaymentWhere) { payments(where: $w) { totalCount } }"
        assert await gateway.ask(query, w={"currency": test}) == {"payments": {"totalCount": number}}, test
