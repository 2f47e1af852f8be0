"""The reads of the payments database."""

from typing import Any

from sqlalchemy import ColumnElement, Select, Uuid, any_, bindparam, exists, select
from sqlalchemy.dialects.postgresql import ARRAY

from app.domains.payments.tables import Payment, Refund, RefundStatus
from app.paging import ascending, descending
from app.reads import Rows, computed, equal, many, one, page

# Whose an order is, its own database knows: who asks brings the ids of the viewer's orders along.
OWN_ORDERS = "own_orders"
_own_payment = Payment.order_id == any_(bindparam(OWN_ORDERS, required=False, type_=ARRAY(Uuid())))
_own_refund = exists().where(Payment.id == Refund.payment_id, _own_payment)
PAYMENTS = Rows(model=Payment, own=_own_payment, own_keys=OWN_ORDERS)
REFUNDS = Rows(model=Refund, own=_own_refund, own_keys=OWN_ORDERS)

payment_by_id = one(PAYMENTS, equal(Payment.id))
payments = page(PAYMENTS, None, descending(Payment.created_at, Payment.id))
payments_by_order = many(PAYMENTS, equal(Payment.order_id), ascending(Payment.created_at, Payment.id))

refund_by_id = one(REFUNDS, equal(Refund.id))
refunds_by_payment = many(REFUNDS, equal(Refund.payment_id), ascending(Refund.created_at, Refund.id))


def _succeeded_refunds(payment_id: ColumnElement[Any]) -> Select[Any]:
    return select().where(Refund.payment_id == payment_id, Refund.status == RefundStatus.SUCCEEDED)


refunded_by_payment = computed(REFUNDS, _succeeded_refunds)
"""What was given back of each payment, as ``tables.AMOUNT_REFUNDED``."""
