"""Index categories by their times, and products by price and their times, for lists in these orders."""

from alembic import op

revision = "0002"
down_revision = "0001"

INDEXES = {
    "idx_categories_created_at_id": ("categories", ["created_at", "id"]),
    "idx_categories_updated_at_id": ("categories", ["updated_at", "id"]),
    "idx_products_price_id": ("products", ["price", "id"]),
    "idx_products_created_at_id": ("products", ["created_at", "id"]),
    "idx_products_updated_at_id": ("products", ["updated_at", "id"]),
    "idx_products_category_price_id": ("products", ["category_id", "price", "id"]),
    "idx_products_category_created_at_id": ("products", ["category_id", "created_at", "id"]),
}


def upgrade() -> None:
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
