"""Index payments by amount and by last change, for lists in these orders."""

from alembic import op

revision = "0002"
down_revision = "0001"
created = "2026-11-23"

INDEXES = {
    "idx_payments_amount_id": ("payments", ["amount", "id"]),
    "idx_payments_updated_at_id": ("payments", ["updated_at", "id"]),
}


def upgrade() -> None:
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
