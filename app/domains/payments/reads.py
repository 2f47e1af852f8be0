"""The reads of the payments database."""

from typing import Any

from sqlalchemy import ColumnElement, Select, select

from app.domains.payments.tables import Payment, Refund, RefundStatus
from app.paging import ascending, descending
from app.reads import computed, equal, many, one, page

payment_by_id = one(Payment, equal(Payment.id))
payments = page(Payment, None, descending(Payment.created_at, Payment.id))
payments_by_order = many(Payment, equal(Payment.order_id), ascending(Payment.created_at, Payment.id))

refund_by_id = one(Refund, equal(Refund.id))
refunds_by_payment = many(Refund, equal(Refund.payment_id), ascending(Refund.created_at, Refund.id))


def _succeeded_refunds(payment_id: ColumnElement[Any]) -> Select[Any]:
    return select().where(Refund.payment_id == payment_id, Refund.status == RefundStatus.SUCCEEDED)


refunded_by_payment = computed(Refund, _succeeded_refunds)
"""What was given back of each payment, as ``tables.AMOUNT_REFUNDED``."""
