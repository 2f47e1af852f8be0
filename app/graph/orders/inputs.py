"""How orders are filtered and ordered."""

import strawberry

from app.domains.orders.tables import Order, OrderStatus
from app.graph.inputs import (
    DateTimeFilter,
    DecimalFilter,
    Equality,
    IDFilter,
    SortDirection,
    all_of,
    any_of,
    filters,
    none_of,
    sorts,
)


@strawberry.input(description="Tests of an order's status. Several mean all of them.")
class OrderStatusFilter(Equality[OrderStatus]):
    pass


@strawberry.input(description="Which orders. Several fields mean all of them.")
class OrderWhere:
    and_: list["OrderWhere"] | None = all_of()
    or_: list["OrderWhere"] | None = any_of()
    not_: "OrderWhere | None" = none_of()
    id: IDFilter | None = filters(Order.id, "The id.", ids_of="Order")
    user_id: IDFilter | None = filters(Order.user_id, "Who placed it.", ids_of="User")
    status: OrderStatusFilter | None = filters(Order.status, "How far it has come.")
    total_amount: DecimalFilter | None = filters(Order.total_amount, "What it costs in all.")
    created_at: DateTimeFilter | None = filters(Order.created_at, "When it was placed.")
    updated_at: DateTimeFilter | None = filters(Order.updated_at, "When it last changed.")


@strawberry.input(one_of=True, description="What orders are ordered by: one field.")
class OrderOrderBy:
    status: SortDirection | None = sorts(Order.status, "status, as text")
    total_amount: SortDirection | None = sorts(Order.total_amount, "what it costs in all")
    created_at: SortDirection | None = sorts(Order.created_at, "when it was placed")
    updated_at: SortDirection | None = sorts(Order.updated_at, "when it last changed")
