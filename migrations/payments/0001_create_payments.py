"""Create the tables of the payments database."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
created = "2026-11-22"

TOUCH_UPDATED_AT = """\
CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := CURRENT_TIMESTAMP;
    RETURN NEW;
END
$$"""

REFUSE_EXCESS_REFUND = """\
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
$$"""

REFUSE_AMOUNT_BELOW_REFUNDS = """\
CREATE FUNCTION refuse_amount_below_refunds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.amount < (SELECT coalesce(sum(amount), 0) FROM refunds WHERE payment_id = NEW.id AND status <> 'failed') THEN
        RAISE EXCEPTION 'payment % has refunds of more than that', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'check_refunds_within_payment', TABLE = 'payments';
    END IF;
    RETURN NEW;
END
$$"""


def timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False)


def upgrade() -> None:
    op.execute(TOUCH_UPDATED_AT)
    op.execute(REFUSE_EXCESS_REFUND)
    op.execute(REFUSE_AMOUNT_BELOW_REFUNDS)
    create_payments()
    create_refunds()


def downgrade() -> None:
    op.drop_table("refunds")
    op.drop_table("payments")
    op.execute("DROP FUNCTION refuse_amount_below_refunds")
    op.execute("DROP FUNCTION refuse_excess_refund")
    op.execute("DROP FUNCTION touch_updated_at")


def create_payments() -> None:
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("amount", sa.Numeric(10, 2), nullable=False),
        sa.Column("currency", sa.CHAR(3), server_default="USD", nullable=False),
        sa.Column("method", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), server_default="pending", nullable=False),
        sa.Column("provider", sa.String(50)),
        sa.Column("provider_reference", sa.String(255)),
        sa.Column("failure_reason", sa.String(255)),
        timestamp("created_at"),
        timestamp("updated_at"),
        sa.CheckConstraint(
            "status IN ('pending', 'authorized', 'captured', 'failed', 'voided', 'refunded')",
            name=op.f("check_status_known"),
        ),
        sa.CheckConstraint("amount >= 0", name=op.f("check_amount_not_negative")),
        sa.PrimaryKeyConstraint("id", name="payments_pkey"),
        sa.UniqueConstraint("provider_reference", name="payments_provider_reference_key"),
    )
    op.create_index("idx_payments_created_at_id", "payments", ["created_at", "id"])
    op.create_index("idx_payments_order", "payments", ["order_id"])
    op.execute(
        "CREATE TRIGGER payments_touch_updated_at BEFORE UPDATE ON payments "
        "FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at()"
    )
    op.execute(
        "CREATE TRIGGER payments_refuse_amount_below_refunds BEFORE UPDATE OF amount ON payments "
        "FOR EACH ROW WHEN (NEW.amount < OLD.amount) EXECUTE FUNCTION refuse_amount_below_refunds()"
    )


def create_refunds() -> None:
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("payment_id", sa.Uuid, nullable=False),
        sa.Column("amount", sa.Numeric(10, 2), nullable=False),
        sa.Column("reason", sa.String(255)),
        sa.Column("status", sa.String(20), server_default="pending", nullable=False),
        timestamp("created_at"),
        timestamp("updated_at"),
        sa.CheckConstraint("status IN ('pending', 'succeeded', 'failed')", name=op.f("check_status_known")),
        sa.CheckConstraint("amount > 0", name=op.f("check_amount_positive")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name="refunds_payment_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="refunds_pkey"),
    )
    op.create_index("idx_refunds_payment_id", "refunds", ["payment_id"])
    op.execute(
        "CREATE TRIGGER refunds_touch_updated_at BEFORE UPDATE ON refunds "
        "FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at()"
    )
    op.execute(
        "CREATE TRIGGER refunds_refuse_excess BEFORE INSERT OR UPDATE OF amount, status, payment_id, id ON refunds "
        "FOR EACH ROW WHEN (NEW.status <> 'failed') EXECUTE FUNCTION refuse_excess_refund()"
    )
