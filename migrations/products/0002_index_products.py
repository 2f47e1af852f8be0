"""Index categories by their times, and products by price and their times, for lists in these orders.

And what a walk through the tree and a count of its products need, of what is not deleted alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
created = "2026-11-23"

INDEXES = {
    "idx_categories_created_at_id": ("categories", ["created_at", "id"]),
    "idx_categories_updated_at_id": ("categories", ["updated_at", "id"]),
    "idx_products_price_id": ("products", ["price", "id"]),
    "idx_products_created_at_id": ("products", ["created_at", "id"]),
    "idx_products_updated_at_id": ("products", ["updated_at", "id"]),
    "idx_products_category_price_id": ("products", ["category_id", "price", "id"]),
    "idx_products_category_created_at_id": ("products", ["category_id", "created_at", "id"]),
}
NAME: sa.ColumnElement[str] = sa.literal_column('(name COLLATE "C")', sa.String)
THERE = sa.text("deleted_at IS NULL")
BY_NAME = "idx_products_category_name_id"


def upgrade() -> None:
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)
    op.create_index("idx_categories_parent_name_id", "categories", ["parent_id", NAME, "id"], postgresql_where=THERE)
    op.drop_index(BY_NAME, "products")
    op.create_index(BY_NAME, "products", ["category_id", NAME, "id"], postgresql_where=THERE)


def downgrade() -> None:
    op.drop_index(BY_NAME, "products")
    op.create_index(BY_NAME, "products", ["category_id", NAME, "id"])
    op.drop_index("idx_categories_parent_name_id", "categories")
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
