"""The payments database: payments of orders and their refunds."""

from enum import StrEnum
from uuid import UUID

from sqlalchemy import CHAR, CheckConstraint, ForeignKey, Index, String, func, literal_column
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.domains.base import (
    Id,
    Money,
    Timestamp,
    check_one_of,
    declare_function,
    declare_trigger,
    keep_updated_at,
    new_metadata,
)


class Base(DeclarativeBase):
    metadata = new_metadata("payments")


class PaymentStatus(StrEnum):
    PENDING = "pending"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    FAILED = "failed"
    VOIDED = "voided"
    REFUNDED = "refunded"


class RefundStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Payment(Base):
    """Money asked for an order."""

    __tablename__ = "payments"

    id: Mapped[Id]
    order_id: Mapped[UUID] = mapped_column(info={"refers_to": "orders.orders.id"})
    amount: Mapped[Money]
    currency: Mapped[str] = mapped_column(CHAR(3), server_default="USD")
    method: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20), server_default=PaymentStatus.PENDING)
    provider: Mapped[str | None] = mapped_column(String(50))
    provider_reference: Mapped[str | None] = mapped_column(String(255), unique=True)
    failure_reason: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]

    __table_args__ = (
        CheckConstraint("amount >= 0", name="amount_not_negative"),
        check_one_of("status", PaymentStatus),
    )


Index("idx_payments_order", Payment.order_id)
Index("idx_payments_created_at_id", Payment.created_at, Payment.id)
Index("idx_payments_updated_at_id", Payment.updated_at, Payment.id)
Index("idx_payments_amount_id", Payment.amount, Payment.id)


class Refund(Base):
    """Money given back. The refunds of a payment that did not fail never sum to more than it."""

    __tablename__ = "refunds"

    id: Mapped[Id]
    payment_id: Mapped[UUID] = mapped_column(ForeignKey(Payment.id, ondelete="CASCADE"), index=True)
    amount: Mapped[Money]
    reason: Mapped[str | None] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(20), server_default=RefundStatus.PENDING)
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]

    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        check_one_of("status", RefundStatus),
    )


AMOUNT_REFUNDED = func.coalesce(func.sum(Refund.amount), literal_column("0.00")).label("amount_refunded")
"""An aggregate of refunds."""

keep_updated_at(Base, Payment, Refund)

# Writing the payment's row, with what it holds already, makes refunds of one payment wait for each other. A lock alone
# would do so too, but above READ COMMITTED the one that waited does not see the other's refund: there a written row
# makes it fail to serialize instead, at whatever level the other one ran.
declare_function(
    Base,
    """\
CREATE FUNCTION refuse_excess_refund() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    paid numeric;
    refunded numeric;
BEGIN
    UPDATE payments SET amount = amount WHERE id = NEW.payment_id RETURNING amount INTO paid;
    SELECT coalesce(sum(amount), 0) INTO refunded FROM refunds
    WHERE payment_id = NEW.payment_id AND status <> 'failed' AND id <> NEW.id;
    IF refunded + NEW.amount > paid THEN
        RAISE EXCEPTION 'refunds of payment % would sum to more than it', NEW.payment_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'check_refunds_within_payment', TABLE = 'refunds';
    END IF;
    RETURN NEW;
END
$$""",
)
declare_trigger(
    Refund,
    "CREATE TRIGGER refunds_refuse_excess BEFORE INSERT OR UPDATE OF amount, status, payment_id, id ON refunds "
    "FOR EACH ROW WHEN (NEW.status <> 'failed') EXECUTE FUNCTION refuse_excess_refund()",
)
declare_function(
    Base,
    """\
CREATE FUNCTION refuse_amount_below_refunds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.amount < (SELECT coalesce(sum(amount), 0) FROM refunds WHERE payment_id = NEW.id AND status <> 'failed') THEN
        RAISE EXCEPTION 'payment % has refunds of more than that', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'check_refunds_within_payment', TABLE = 'payments';
    END IF;
    RETURN NEW;
END
$$""",
)
declare_trigger(
    Payment,
    "CREATE TRIGGER payments_refuse_amount_below_refunds BEFORE UPDATE OF amount ON payments "
    "FOR EACH ROW WHEN (NEW.amount < OLD.amount) EXECUTE FUNCTION refuse_amount_below_refunds()",
)
