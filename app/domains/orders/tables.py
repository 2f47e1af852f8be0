"""The orders database: orders and their lines, partitioned by quarter, and the sales statistics of products."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    String,
    Table,
    Uuid,
    func,
    literal_column,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.domains.base import (
    GENERATED_UUID,
    Money,
    Timestamp,
    check_one_of,
    declare_function,
    declare_view,
    keep_updated_at,
    new_metadata,
)


class Base(DeclarativeBase):
    metadata = new_metadata("orders")


class OrderStatus(StrEnum):
    PENDING = "pending"
    PAID = "paid"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


class Order(Base):
    """An order. Whoever makes one with an id of version 7 takes ``created_at`` from the id's own time."""

    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(server_default=GENERATED_UUID)
    user_id: Mapped[UUID] = mapped_column(info={"refers_to": "users.users.id"})
    status: Mapped[str] = mapped_column(String(20), server_default=OrderStatus.PENDING)
    total_amount: Mapped[Money]
    shipping_address_id: Mapped[UUID] = mapped_column(info={"refers_to": "users.user_profiles.id"})
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]

    __table_args__ = (
        PrimaryKeyConstraint("id", "created_at"),
        check_one_of("status", OrderStatus),
        CheckConstraint("total_amount >= 0", name="total_amount_not_negative"),
        # A look-up by id searches the partitions of the id's time only, so the two times must agree. An id without a
        # time passes: NULL is no violation.
        CheckConstraint(
            "abs(extract(epoch FROM created_at - uuid_v7_time(id))) <= 3600",
            name="created_at_matches_id",
        ),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )


Index("idx_orders_user", Order.user_id)
Index("idx_orders_created_at_id", Order.created_at, Order.id)
Index("idx_orders_updated_at_id", Order.updated_at, Order.id)
Index("idx_orders_total_amount_id", Order.total_amount, Order.id)
Index("idx_orders_user_id_created_at_id", Order.user_id, Order.created_at, Order.id)


class OrderItem(Base):
    """A line of an order. The product's name and sku are those of the day it was sold."""

    __tablename__ = "order_items"

    id: Mapped[UUID] = mapped_column(server_default=GENERATED_UUID)
    order_id: Mapped[UUID]
    order_created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    product_id: Mapped[UUID] = mapped_column(info={"refers_to": "products.products.id"})
    product_name: Mapped[str | None] = mapped_column(String(255))
    product_sku: Mapped[str | None] = mapped_column(String(100))
    quantity: Mapped[int]
    unit_price: Mapped[Money]
    created_at: Mapped[Timestamp]

    __table_args__ = (
        PrimaryKeyConstraint("id", "order_created_at"),
        ForeignKeyConstraint(["order_id", "order_created_at"], [Order.id, Order.created_at], ondelete="CASCADE"),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("unit_price >= 0", name="unit_price_not_negative"),
        {"postgresql_partition_by": "RANGE (order_created_at)"},
    )


Index("idx_order_items_order_id_order_created_at", OrderItem.order_id, OrderItem.order_created_at)
Index("idx_order_items_product_id_order_created_at_id", OrderItem.product_id, OrderItem.order_created_at, OrderItem.id)
Index("idx_order_items_product_id_created_at_id", OrderItem.product_id, OrderItem.created_at, OrderItem.id)

LINE_TOTAL = (OrderItem.quantity * OrderItem.unit_price).label("line_total")
"""What a line costs, computed by PostgreSQL in exact decimals."""


class ProductStatsRefresh(Base):
    """One row: when ``product_stats`` was last refreshed. (As a column of the view it would rewrite every row.)"""

    __tablename__ = "product_stats_refresh"

    singleton: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    refreshed_at: Mapped[Timestamp]

    __table_args__ = (CheckConstraint("singleton", name="single_row"),)


PRODUCT_STATS = Table(
    "product_stats",
    MetaData(),  # a metadata of its own: `create_all` would make a table of it
    Column("product_id", Uuid),
    Column("total_orders", BigInteger),
    Column("total_quantity_sold", BigInteger),
    Column("total_revenue", Numeric),
    Column("last_ordered_at", DateTime(timezone=True)),
)
"""The materialized view of sales by product; products never ordered have no row in it."""

TOTAL_ORDERS = func.coalesce(PRODUCT_STATS.c.total_orders, 0).label("total_orders")
TOTAL_QUANTITY_SOLD = func.coalesce(PRODUCT_STATS.c.total_quantity_sold, 0).label("total_quantity_sold")
TOTAL_REVENUE = func.coalesce(PRODUCT_STATS.c.total_revenue, literal_column("0.00")).label("total_revenue")
"""The statistics of one product, where the view may have no row for it."""

ORDER_COUNT = func.count().label("order_count")
TOTAL_SPENT = func.coalesce(func.sum(Order.total_amount), literal_column("0.00")).label("total_spent")
FIRST_ORDER_AT = func.min(Order.created_at).label("first_order_at")
LAST_ORDER_AT = func.max(Order.created_at).label("last_order_at")
"""Aggregates of orders."""

keep_updated_at(Base, Order)

# uuid_extract_timestamp() reads version 7 from PostgreSQL 18 on only. The first 48 bits are milliseconds since 1970
# (RFC 9562, section 5.7); NULL for every other version and variant. Not STRICT, so that PostgreSQL puts the expression
# in the place of a call: a check of a million rows takes a tenth of the time.
declare_function(
    Base,
    """\
CREATE FUNCTION uuid_v7_time(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN get_byte(uuid_send(id), 6) >> 4 = 7 AND get_byte(uuid_send(id), 8) >> 6 = 2 THEN
    to_timestamp(('x0000' || left(id::text, 8) || substr(id::text, 10, 4))::bit(64)::bigint / 1000.0)
END""",
)
declare_view(
    Base,
    """\
CREATE MATERIALIZED VIEW product_stats AS
SELECT i.product_id, count(i.id) AS total_orders, sum(i.quantity) AS total_quantity_sold,
    sum(i.quantity * i.unit_price) AS total_revenue, max(o.created_at) AS last_ordered_at
FROM order_items i JOIN orders o ON o.id = i.order_id AND o.created_at = i.order_created_at
WHERE o.status <> 'cancelled'
GROUP BY i.product_id""",
)
declare_view(Base, "CREATE UNIQUE INDEX idx_product_stats_product ON product_stats (product_id)")
