"""The root fields of the orders database."""

import strawberry

from app.domains.orders import reads
from app.graph.fields import connection, lookup
from app.graph.orders.inputs import OrderOrderBy, OrderWhere
from app.graph.orders.types import Order, OrderConnection
from app.graph.visibility import OWNER


@strawberry.type
class OrdersQuery:
    order: Order | None = lookup(OWNER, "An order.", id=reads.order_by_id)
    orders: OrderConnection | None = connection(
        reads.orders,
        OWNER,
        "All orders, newest first unless `orderBy` is given.",
        where=OrderWhere,
        order_by=OrderOrderBy,
    )
