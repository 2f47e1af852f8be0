"""What is said of rows in the text of statements, where a test over rows could be right by luck; and pruning."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.domains.orders import reads as order_reads
from app.domains.orders.reads import time_bounds
from app.domains.orders.tables import Order
from app.domains.products import reads as product_reads
from app.domains.products.tables import Product
from app.operations.connect import connected
from app.operations.partitions import Quarter, quarters
from app.paging import Bound
from app.reads import Read, Slice, statement
from app.settings import Settings
from tests.factories import TODAY, Make

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("clean")]
COLUMNS = (Order.id, Order.created_at)


def version_7(milliseconds: int) -> UUID:
    return UUID(f"{milliseconds:012x}"[:8] + f"-{milliseconds:012x}"[9:] + "-7000-8000-000000000000")


async def touched(settings: Settings, read: Read, slice_: Slice | None, **values: object) -> set[str]:
    """The partitions that a statement reads, by the plan of PostgreSQL as it ran, made as the pools make it."""
    text = statement(read, COLUMNS, slice_)
    async with connected("orders", settings.orders_database_url) as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {text.sql}", *text.arguments(values))
    found: set[str] = set()

    def visit(node: dict[str, Any]) -> None:
        if node["Actual Loops"] and "Relation Name" in node:
            found.add(node["Relation Name"])
        for child in node.get("Plans", []):
            visit(child)

    visit(json.loads(explained)[0]["Plan"])
    return found


async def test_an_order_is_looked_for_in_the_partitions_of_its_ids_time(settings: Settings, make: Make) -> None:
    milliseconds = int(TODAY.timestamp() * 1000)
    order = await make.order(id=version_7(milliseconds), created_at=TODAY)
    [quarter] = quarters(TODAY.date(), TODAY.date())
    keys = order_reads.order_by_id.keys
    assert keys is not None
    values = {f"k{i}": array for i, array in enumerate(keys.arrays([str(order["id"])]))}
    assert await touched(settings, order_reads.order_by_id, None, **values) == {quarter.partition("orders")}


@pytest.mark.parametrize("minutes", [-60, -59, 0, 59, 60])
async def test_the_bounds_hold_every_order_that_the_check_lets_in(make: Make, minutes: int) -> None:
    order_id = version_7(int((TODAY + timedelta(minutes=minutes)).timestamp() * 1000))
    order = await make.order(id=order_id, created_at=TODAY)
    low, high = time_bounds(str(order["id"]))
    assert low <= order["created_at"] <= high


async def test_a_page_behind_a_cursor_does_not_read_newer_partitions(settings: Settings, make: Make) -> None:
    """There are partitions until the end of next year, whatever others the tests have made."""
    await make.order(created_at=TODAY)
    for days in (400, 0):
        time = TODAY - timedelta(days=days)
        values = {"after_created_at": time, "after_id": str(UUID(int=2**128 - 1))}
        found = await touched(settings, order_reads.orders, Slice(100, after=Bound("after", (False, False))), **values)
        assert all(name <= Quarter.of(time.date()).partition("orders") for name in found)
    assert Quarter.of(TODAY.date()).partition("orders") in found


async def test_rows_are_ordered_outside_of_the_subquery_as_well() -> None:
    """SQL promises nothing about the order in which LATERAL hands rows on."""
    sql = statement(order_reads.orders_by_user, COLUMNS, Slice(2)).sql
    assert sql.rstrip().endswith("ORDER BY t.s0 DESC, t.s1 DESC")


async def test_text_is_compared_by_code_point_whatever_the_databases_locale() -> None:
    behind = Slice(2, after=Bound("after", (False, False)))
    sql = statement(product_reads.products, (Product.id, Product.name), behind).sql
    assert sql.count('products.name COLLATE "C"') == 3
    # As bytes, which know no locale.
    assert (
        "convert_to(categories.name, 'UTF8')" in statement(product_reads.descendants_by_category, (Product.name,)).sql
    )
