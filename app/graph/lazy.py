"""The way back: types of packages further right (users < products < orders < payments) for fields declared on the left.

A module-level import may only point left, so these are named lazily, all of them here.
"""

from typing import TYPE_CHECKING, Annotated

import strawberry

if TYPE_CHECKING:
    from app.graph.orders.inputs import OrderOrderBy as OrderOrderBy
    from app.graph.orders.inputs import OrderWhere as OrderWhere
    from app.graph.orders.types import OrderConnection as OrderConnection
    from app.graph.orders.types import OrderItemConnection as OrderItemConnection
    from app.graph.orders.types import ProductStats as ProductStats
    from app.graph.orders.types import UserOrderStats as UserOrderStats
    from app.graph.payments.types import Payment as Payment
else:
    _ORDERS = strawberry.lazy("app.graph.orders.types")
    _ORDERS_INPUTS = strawberry.lazy("app.graph.orders.inputs")
    OrderOrderBy = Annotated["OrderOrderBy", _ORDERS_INPUTS]
    OrderWhere = Annotated["OrderWhere", _ORDERS_INPUTS]
    OrderConnection = Annotated["OrderConnection", _ORDERS]
    OrderItemConnection = Annotated["OrderItemConnection", _ORDERS]
    ProductStats = Annotated["ProductStats", _ORDERS]
    UserOrderStats = Annotated["UserOrderStats", _ORDERS]
    Payment = Annotated["Payment", strawberry.lazy("app.graph.payments.types")]
