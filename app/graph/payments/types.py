"""Payment and Refund."""

import strawberry

from app.domains.orders import reads as order_reads
from app.domains.payments import reads as payment_reads
from app.domains.payments import tables
from app.graph.connection import Connection
from app.graph.enums import describe_enum
from app.graph.fields import column, edge
from app.graph.node import Node
from app.graph.orders.types import Order
from app.graph.scalars import UUID, DateTime, Decimal
from app.graph.visibility import ADMIN, OWNER

describe_enum(
    tables.PaymentStatus,
    "How far a payment has come.",
    PENDING="It is begun.",
    AUTHORIZED="The money is reserved, and not taken.",
    CAPTURED="The money is taken.",
    FAILED="The provider refused it, or it broke off.",
    VOIDED="It was called off before the money was taken.",
    REFUNDED="The money was given back.",
)
describe_enum(
    tables.RefundStatus,
    "How far a refund has come.",
    PENDING="It is begun.",
    SUCCEEDED="The money was given back.",
    FAILED="It was not: the money is still here.",
)


@strawberry.type(description="Money asked for an order.")
class Payment(Node):
    id: strawberry.ID = column(tables.Payment.id, OWNER, "The global id.", is_id=True)
    uuid: UUID = column(tables.Payment.id, OWNER, "The key in the payments database.")
    amount: Decimal = column(tables.Payment.amount, OWNER, "How much.")
    currency: str = column(tables.Payment.currency, OWNER, "The currency, as its three letters of ISO 4217.")
    method: str = column(tables.Payment.method, OWNER, "How it is paid: card, invoice and so on.")
    status: tables.PaymentStatus = column(tables.Payment.status, OWNER, "How far it has come.")
    provider: str | None = column(tables.Payment.provider, ADMIN, "Who handles it.")
    provider_reference: str | None = column(
        tables.Payment.provider_reference, ADMIN, "The provider's own number of it."
    )
    created_at: DateTime = column(tables.Payment.created_at, OWNER, "When it was begun.")
    updated_at: DateTime = column(tables.Payment.updated_at, OWNER, "When it last changed.")
    order: Order | None = edge(order_reads.order_by_id, tables.Payment.order_id, OWNER, "What it pays for.")
    refunds: list["Refund"] = edge(
        payment_reads.refunds_by_payment, tables.Payment.id, OWNER, "The refunds, oldest first."
    )
    amount_refunded: Decimal = edge(
        payment_reads.refunded_by_payment,
        tables.Payment.id,
        OWNER,
        "How much was given back: the refunds that succeeded.",
        take=tables.AMOUNT_REFUNDED,
    )


@strawberry.type(description="Money given back.")
class Refund(Node):
    id: strawberry.ID = column(tables.Refund.id, OWNER, "The global id.", is_id=True)
    uuid: UUID = column(tables.Refund.id, OWNER, "The key in the payments database.")
    amount: Decimal = column(tables.Refund.amount, OWNER, "How much.")
    reason: str | None = column(tables.Refund.reason, OWNER, "Why.")
    status: tables.RefundStatus = column(tables.Refund.status, OWNER, "How far it has come.")
    created_at: DateTime = column(tables.Refund.created_at, OWNER, "When it was begun.")
    updated_at: DateTime = column(tables.Refund.updated_at, OWNER, "When it last changed.")
    payment: Payment = edge(
        payment_reads.payment_by_id, tables.Refund.payment_id, OWNER, "The payment that it gives back."
    )


@strawberry.type(description="A page of payments.")
class PaymentConnection(Connection[Payment]):
    pass
