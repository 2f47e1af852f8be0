"""The reads of the orders database."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, Select, Uuid, exists, select

from app.domains.orders.tables import PRODUCT_STATS, Order, OrderItem, OrderStatus, ProductStatsRefresh
from app.paging import ascending, descending
from app.reads import PUBLIC, VIEWER, Match, Rows, computed, equal, many, one, page

ORDERS = Rows(model=Order, own=Order.user_id == VIEWER)
_of_own_order = exists().where(
    Order.id == OrderItem.order_id, Order.created_at == OrderItem.order_created_at, Order.user_id == VIEWER
)
ITEMS = Rows(model=OrderItem, own=_of_own_order)
PRODUCT_SALES = Rows(model=ProductStatsRefresh, own=PUBLIC)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)
# CHECK created_at_matches_id lets the two times differ by so much.
_TOLERANCE = timedelta(hours=1)


def time_bounds(order_id: str) -> tuple[datetime, datetime]:
    """Between which times (inclusive) an order with this id was created.

    An id of version 7 begins with its time: 48 bits of milliseconds since 1970 (RFC 9562, section 5.7). Any other id
    says nothing, and its order can be in every partition.
    """
    uuid = UUID(order_id)
    if uuid.version != 7:
        return _EARLIEST, _LATEST
    try:
        time = _EPOCH + timedelta(milliseconds=uuid.int >> 80)
        return time - _TOLERANCE, time + _TOLERANCE
    except OverflowError:  # a time after the year 9999: no order has it
        return _LATEST, _LATEST


def _with_bounds(ids: Sequence[str]) -> tuple[list[Any], ...]:
    bounds = [time_bounds(order_id) for order_id in ids]
    return list(ids), [low for low, _ in bounds], [high for _, high in bounds]


def _created_between(
    order_id: ColumnElement[Any], low: ColumnElement[Any], high: ColumnElement[Any]
) -> ColumnElement[bool]:
    return (Order.id == order_id) & Order.created_at.between(low, high)


_TIME = DateTime(timezone=True)
order_by_id = one(
    ORDERS,
    Match(
        (Uuid(), _TIME, _TIME),
        arrays=_with_bounds,
        condition=_created_between,
    ),
)
order_by_item = one(ORDERS, equal(Order.id, Order.created_at))
"""By the whole primary key, which a line holds."""

_NEWEST_FIRST = descending(Order.created_at, Order.id)
orders = page(ORDERS, None, _NEWEST_FIRST)
orders_by_user = page(ORDERS, equal(Order.user_id), _NEWEST_FIRST)
all_of_user = many(ORDERS, equal(Order.user_id), ascending(Order.id))
"""For another database, that must know which orders are a user's own."""

item_by_id = one(ITEMS, equal(OrderItem.id))
"""Looks into every partition: a line's id says nothing of its order's time."""
items_by_order = many(ITEMS, equal(OrderItem.order_id, OrderItem.order_created_at), ascending(OrderItem.id))
items_by_product = page(ITEMS, equal(OrderItem.product_id), descending(OrderItem.created_at, OrderItem.id))


def _sales_of_user(user_id: ColumnElement[Any]) -> Select[Any]:
    return select().where(Order.user_id == user_id, Order.status.not_in([OrderStatus.CANCELLED, OrderStatus.REFUNDED]))


def _sales_of_product(product_id: ColumnElement[Any]) -> Select[Any]:
    stats = PRODUCT_STATS.c.product_id == product_id
    return select().select_from(ProductStatsRefresh).outerjoin(PRODUCT_STATS, stats)


stats_by_user = computed(ORDERS, _sales_of_user)
stats_by_product = computed(PRODUCT_SALES, _sales_of_product)
"""Zeros for a product that was never sold: it has no row in the view."""
