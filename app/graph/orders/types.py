"""Order and OrderItem, and the sums over them that users and products show."""

import strawberry

from app.domains.orders import reads as order_reads
from app.domains.orders import tables
from app.domains.payments import reads as payment_reads
from app.domains.products import reads as product_reads
from app.domains.users import reads as user_reads
from app.graph.connection import Connection
from app.graph.enums import describe_enum
from app.graph.fields import column, edge
from app.graph.lazy import Payment
from app.graph.node import Node
from app.graph.products.types import Product
from app.graph.scalars import UUID, DateTime, Decimal
from app.graph.users.types import User, UserProfile
from app.graph.visibility import ADMIN, OWNER, PUBLIC

describe_enum(
    tables.OrderStatus,
    "How far an order has come.",
    PENDING="It is placed, and not paid.",
    PAID="It is paid, and not sent.",
    SHIPPED="It is on its way.",
    DELIVERED="It has arrived.",
    CANCELLED="It was called off: no sale.",
    REFUNDED="The money was given back.",
)


@strawberry.type(description="An order.")
class Order(Node):
    id: strawberry.ID = column(tables.Order.id, OWNER, "The global id.", is_id=True)
    uuid: UUID = column(tables.Order.id, OWNER, "The key in the orders database.")
    status: tables.OrderStatus = column(tables.Order.status, OWNER, "How far it has come.")
    total_amount: Decimal = column(tables.Order.total_amount, OWNER, "What it costs in all.")
    created_at: DateTime = column(tables.Order.created_at, OWNER, "When it was placed.")
    updated_at: DateTime = column(tables.Order.updated_at, OWNER, "When it last changed.")
    user: User | None = edge(
        user_reads.user_by_id, tables.Order.user_id, OWNER, "Who placed it; null once the account is gone."
    )
    shipping_address: UserProfile | None = edge(
        user_reads.profile_by_id,
        tables.Order.shipping_address_id,
        OWNER,
        "Where it goes; null once the address is gone.",
    )
    items: list["OrderItem"] = edge(
        order_reads.items_by_order, (tables.Order.id, tables.Order.created_at), OWNER, "The lines, by id."
    )
    payments: list[Payment] | None = edge(
        payment_reads.payments_by_order,
        tables.Order.id,
        OWNER,
        "The payments, oldest first; null only while the payments database does not answer.",
    )


@strawberry.type(description="A line of an order.")
class OrderItem(Node):
    id: strawberry.ID = column(tables.OrderItem.id, OWNER, "The global id.", is_id=True)
    uuid: UUID = column(tables.OrderItem.id, OWNER, "The key in the orders database.")
    quantity: int = column(tables.OrderItem.quantity, OWNER, "How many were ordered.")
    unit_price: Decimal = column(tables.OrderItem.unit_price, OWNER, "What one cost.")
    line_total: Decimal = column(tables.LINE_TOTAL, OWNER, "The quantity times the unit price.")
    created_at: DateTime = column(tables.OrderItem.created_at, OWNER, "When the line was added.")
    order: Order = edge(
        order_reads.order_by_item, (tables.OrderItem.order_id, tables.OrderItem.order_created_at), OWNER, "The order."
    )
    product: Product | None = edge(
        product_reads.product_by_id,
        tables.OrderItem.product_id,
        OWNER,
        "The product as it is today; null when it is gone.",
    )
    product_name: str | None = column(tables.OrderItem.product_name, OWNER, "The product's name as it was sold.")
    product_sku: str | None = column(tables.OrderItem.product_sku, OWNER, "The product's sku as it was sold.")


@strawberry.type(description="A user's orders that are neither cancelled nor refunded, summed up.")
class UserOrderStats:
    order_count: int = column(tables.ORDER_COUNT, OWNER, "How many there are.")
    total_spent: Decimal = column(tables.TOTAL_SPENT, OWNER, "The sum of their totals.")
    first_order_at: DateTime | None = column(tables.FIRST_ORDER_AT, OWNER, "When the first was placed.")
    last_order_at: DateTime | None = column(tables.LAST_ORDER_AT, OWNER, "When the last was placed.")


@strawberry.type(description="What was sold of a product, in orders that were not cancelled, as of the last refresh.")
class ProductStats:
    total_orders: int = column(tables.TOTAL_ORDERS, PUBLIC, "How many order lines sold it.")
    total_quantity_sold: int = column(tables.TOTAL_QUANTITY_SOLD, PUBLIC, "How many were sold.")
    total_revenue: Decimal | None = column(tables.TOTAL_REVENUE, ADMIN, "What they brought in.")
    last_ordered_at: DateTime | None = column(
        tables.PRODUCT_STATS.c.last_ordered_at, PUBLIC, "When it was last ordered."
    )
    refreshed_at: DateTime | None = column(
        tables.ProductStatsRefresh.refreshed_at, PUBLIC, "When these figures were last brought up to date."
    )


@strawberry.type(description="A page of orders.")
class OrderConnection(Connection[Order]):
    pass


@strawberry.type(description="A page of order lines.")
class OrderItemConnection(Connection[OrderItem]):
    pass
