"""How payments are filtered and ordered."""

import strawberry

from app.domains.payments.tables import Payment, PaymentStatus
from app.graph.inputs import (
    DateTimeFilter,
    DecimalFilter,
    Equality,
    IDFilter,
    SortDirection,
    StringFilter,
    all_of,
    any_of,
    filters,
    none_of,
    sorts,
)


@strawberry.input(description="Tests of a payment's status. Several mean all of them.")
class PaymentStatusFilter(Equality[PaymentStatus]):
    pass


@strawberry.input(description="Which payments. Several fields mean all of them.")
class PaymentWhere:
    and_: list["PaymentWhere"] | None = all_of()
    or_: list["PaymentWhere"] | None = any_of()
    not_: "PaymentWhere | None" = none_of()
    id: IDFilter | None = filters(Payment.id, "The id.", ids_of="Payment")
    order_id: IDFilter | None = filters(Payment.order_id, "What it pays for.", ids_of="Order")
    amount: DecimalFilter | None = filters(Payment.amount, "How much.")
    currency: StringFilter | None = filters(Payment.currency, "The currency, as its three letters.")
    method: StringFilter | None = filters(Payment.method, "How it is paid.")
    status: PaymentStatusFilter | None = filters(Payment.status, "How far it has come.")
    created_at: DateTimeFilter | None = filters(Payment.created_at, "When it was begun.")
    updated_at: DateTimeFilter | None = filters(Payment.updated_at, "When it last changed.")


@strawberry.input(one_of=True, description="What payments are ordered by: one field.")
class PaymentOrderBy:
    amount: SortDirection | None = sorts(Payment.amount, "amount")
    status: SortDirection | None = sorts(Payment.status, "status, as text")
    created_at: SortDirection | None = sorts(Payment.created_at, "when it was begun")
    updated_at: SortDirection | None = sorts(Payment.updated_at, "when it last changed")
