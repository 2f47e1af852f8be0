"""What a cursor is good for: its own list in its own order, and a search's as well."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.factories import TODAY, Make
from tests.graph.conftest import Gateway
from tests.graph.test_page_properties import LISTS, Reader, asked, by_of, check, in_full, in_order

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", LISTS)
async def test_a_cursor_of_another_order_or_list_is_refused(gateway: Gateway, make: Make, name: str) -> None:
    await getattr(make, LISTS[name].maker)()
    columns = list(LISTS[name].columns)
    orders = [[], [(columns[0], True), (columns[1], True)], [(columns[1], True), (columns[0], True)]]
    orders += [[(column, descending)] for column in columns for descending in (True, False)]
    for order in orders:
        page = await Reader(gateway, name, None, {"by": by_of(order)}).page()
        taken = in_full(order, LISTS[name].default)
        refusing = [(name, other) for other in orders if in_full(other, LISTS[name].default) != taken]
        refusing += [(other, []) for other in LISTS if other != name]
        for other, by in refusing:
            of = LISTS[other].type_name
            query = f"query($by: [{of}OrderBy!], $c: String) {{ {other}(orderBy: $by, after: $c) {{ totalCount }} }}"
            _, errors = await gateway.refuse(query, by=by_of(by), c=page["pageInfo"]["endCursor"])
            assert [code for _, code, _ in errors] == ["BAD_USER_INPUT"]
            assert gateway.statements == []


async def test_a_cursor_alone_gives_the_twenty_next_to_it(gateway: Gateway, make: Make) -> None:
    for minute in range(25):
        await make.order(created_at=TODAY - timedelta(minutes=minute))
    reader = Reader(gateway, "orders", None, asked("orders", [], False))
    edges = (await reader.page(first=100))["edges"]
    first, last = edges[0]["cursor"], edges[-1]["cursor"]
    for window, expected in (
        ({}, edges[:20]),
        ({"after": first}, edges[1:21]),
        ({"before": last}, edges[4:24]),
        ({"after": first, "before": last}, edges[1:21]),
        ({"after": first, "before": last, "last": 2}, edges[22:24]),
        ({"after": first, "last": 2}, edges[23:]),
        ({"after": first, "last": 30}, edges[1:]),
        ({"before": last, "first": 2}, edges[:2]),
        ({"before": last, "first": 30}, edges[:24]),
    ):
        page = await reader.page(**window)
        assert page["edges"] == expected
        assert page["pageInfo"]["hasPreviousPage"] == (expected[0] != edges[0])
        assert page["pageInfo"]["hasNextPage"] == (expected[-1] != edges[-1])


@pytest.mark.parametrize("size", [1, 3, 4])
async def test_pages_of_a_search(gateway: Gateway, make: Make, size: int) -> None:
    """The best first, and ties by id."""

    names = ["Assam tea", "Green tea", "Assam tea", "Teacup: for tea", "Tea", "Green tea", "Assam tea", "Tea"]
    rows = [await make.product(name=name, price=f"{number % 3}.00") for number, name in enumerate(names)]
    await make.product(name="Coffee")
    reader = Reader(gateway, "products", None, {"by": [], "where": None}, ', search: "tea"')
    best = [node["uuid"] for node in (await reader.page(first=100))["nodes"]]
    name_of = {str(row["id"]): row["name"] for row in rows}
    assert set(best) == name_of.keys()
    for name in names:  # all of one name are equally good
        equal = [uuid for uuid in best if name_of[uuid] == name]
        assert equal == sorted(equal)
    await check(reader, best, size)
    order = [("price", True)]
    by_price = in_order([row for row in rows if str(row["id"]) in best], order, [])
    await check(replace(reader, arguments=asked("products", order, False)), by_price, size)
