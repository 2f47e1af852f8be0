"""Index users by address and by last change, for lists in these orders."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
created = "2026-11-23"


def upgrade() -> None:
    op.create_index("idx_users_email_id", "users", [sa.literal_column('(email COLLATE "C")'), "id"])
    op.create_index("idx_users_updated_at_id", "users", ["updated_at", "id"])


def downgrade() -> None:
    op.drop_index("idx_users_updated_at_id", "users")
    op.drop_index("idx_users_email_id", "users")
