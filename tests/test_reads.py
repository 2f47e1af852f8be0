"""What is said of rows in the text of statements, where a test over rows could be right by luck; and pruning."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.domains.orders import reads as order_reads
from app.domains.orders.reads import time_bounds
from app.domains.orders.tables import Order, OrderItem
from app.domains.products import reads as product_reads
from app.domains.products.tables import Product
from app.operations.partitions import Quarter, quarters, this_year_and_next
from app.paging import Bound
from app.reads import Read
from app.settings import Settings
from app.statements import Slice, statement
from tests.factories import TODAY, Make, Row
from tests.plans import executed

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("clean")]
COLUMNS = (Order.id, Order.created_at)
LINE_COLUMNS = (OrderItem.id, OrderItem.quantity)
QUARTERS = list(quarters(*this_year_and_next(TODAY.date())))
"""Those for which there is a partition, whatever others the tests have made."""


def version_7(milliseconds: int) -> UUID:
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | uuid4().int >> 66)


async def touched(
    settings: Settings, read: Read, values: Mapping[str, object], slice_: Slice | None = None
) -> set[str]:
    """The partitions that a statement reads."""
    columns = LINE_COLUMNS if read is order_reads.items_by_order else COLUMNS
    plan = await executed(settings, read, columns, values, slice_)
    return {node["Relation Name"] for node in plan if "Relation Name" in node}


def arrays(read: Read, keys: list[Any]) -> dict[str, object]:
    assert read.keys is not None
    return {f"k{i}": array for i, array in enumerate(read.keys.arrays(keys))}


def noon(quarter: Quarter, day: int = 15) -> datetime:
    """A time within a quarter, days away from its ends."""
    return datetime(quarter.start.year, quarter.start.month, day, 12, tzinfo=UTC)


def names(table: str, *chosen: Quarter) -> set[str]:
    return {quarter.partition(table) for quarter in chosen}


async def orders_in(make: Make, chosen: list[Quarter], number: int) -> list[Row]:
    """So many orders, in turn in each of these quarters, with ids that bear their times."""
    made: list[Row] = []
    for i in range(number):
        time = noon(chosen[i % len(chosen)]) + timedelta(hours=i)
        made.append(await make.order(id=version_7(int(time.timestamp() * 1000)), created_at=time))
    return made


@pytest.mark.parametrize("number", [1, 50])
async def test_orders_and_lines_are_looked_for_in_the_partitions_of_their_time(
    settings: Settings, make: Make, number: int
) -> None:
    chosen = [QUARTERS[0], QUARTERS[2], QUARTERS[5]][:number]
    orders = await orders_in(make, chosen, number)
    by_id = arrays(order_reads.order_by_id, [str(order["id"]) for order in orders])
    assert await touched(settings, order_reads.order_by_id, by_id) == names("orders", *chosen)
    keys = [(str(order["id"]), order["created_at"]) for order in orders]
    by_key = arrays(order_reads.order_by_item, keys)
    assert await touched(settings, order_reads.order_by_item, by_key) == names("orders", *chosen)
    of_lines = arrays(order_reads.items_by_order, keys)
    assert await touched(settings, order_reads.items_by_order, of_lines) == names("order_items", *chosen)


async def test_an_id_without_a_time_is_looked_for_everywhere(settings: Settings) -> None:
    keys = arrays(order_reads.order_by_id, [str(uuid4())])
    assert names("orders", *QUARTERS) <= await touched(settings, order_reads.order_by_id, keys)


@pytest.mark.parametrize("minutes", [-60, -59, 0, 59, 60])
async def test_the_bounds_hold_every_order_that_the_check_lets_in(make: Make, minutes: int) -> None:
    order_id = version_7(int((TODAY + timedelta(minutes=minutes)).timestamp() * 1000))
    order = await make.order(id=order_id, created_at=TODAY)
    low, high = time_bounds(str(order["id"]))
    assert low <= order["created_at"] <= high


@pytest.mark.parametrize("nested", [False, True])
async def test_a_page_by_time_reads_no_further_than_it_goes(settings: Settings, make: Make, nested: bool) -> None:
    """Forwards and backwards, of all orders and of each of two users; not the partitions on the cursor's other side."""
    users = [uuid4(), uuid4()]
    # Enough of them, since PostgreSQL would rather sort all of a few rows.
    for quarter in QUARTERS[1:6]:
        await make.execute(
            "orders",
            "INSERT INTO orders (user_id, total_amount, shipping_address_id, created_at) "
            "SELECT ($1::uuid[])[1 + n % 2], 1, $1[1], $2::timestamptz + n * interval '1 minute' "
            "FROM generate_series(1, 2000) n",
            users,
            noon(quarter),
        )
    await make.execute("orders", "ANALYZE orders")
    read = order_reads.orders_by_user if nested else order_reads.orders
    keys: dict[str, object] = {"k0": [str(user) for user in users]} if nested else {}
    bound = Bound("cursor", (False, False))
    at: dict[str, object] = {"cursor_created_at": noon(QUARTERS[4], 5), "cursor_id": str(UUID(int=0))}

    newest = await touched(settings, read, keys, Slice(3))
    assert names("orders", QUARTERS[5]) <= newest <= names("orders", *QUARTERS[5:])
    older = await touched(settings, read, keys | at, Slice(3, after=bound))
    assert names("orders", QUARTERS[3]) <= older <= names("orders", *QUARTERS[3:5])
    newer = await touched(settings, read, keys | at, Slice(3, before=bound, from_end=True))
    assert newer == names("orders", QUARTERS[4])


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
