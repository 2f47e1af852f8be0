"""Index orders by what they cost and by last change, for lists in these orders."""

from alembic import op

revision = "0002"
down_revision = "0001"
created = "2026-11-23"

INDEXES = {
    "idx_orders_total_amount_id": ("orders", ["total_amount", "id"]),
    "idx_orders_updated_at_id": ("orders", ["updated_at", "id"]),
}


def upgrade() -> None:
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
