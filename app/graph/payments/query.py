"""The root fields of the payments database."""

import strawberry

from app.domains.payments import reads
from app.graph.fields import connection, lookup
from app.graph.payments.inputs import PaymentOrderBy, PaymentWhere
from app.graph.payments.types import Payment, PaymentConnection
from app.graph.visibility import OWNER


@strawberry.type
class PaymentsQuery:
    payment: Payment | None = lookup(OWNER, "A payment.", id=reads.payment_by_id)
    payments: PaymentConnection | None = connection(
        reads.payments,
        OWNER,
        "All payments, newest first unless `orderBy` is given.",
        where=PaymentWhere,
        order_by=PaymentOrderBy,
    )
