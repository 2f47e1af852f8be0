"""Create the tables of the users database."""

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


def timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False)


def upgrade() -> None:
    op.execute(TOUCH_UPDATED_AT)
    create_users()
    create_user_profiles()


def downgrade() -> None:
    op.drop_table("user_profiles")
    op.drop_table("users")
    op.execute("DROP FUNCTION touch_updated_at")


def create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("first_name", sa.String(100)),
        sa.Column("last_name", sa.String(100)),
        sa.Column("role", sa.String(20), server_default="customer", nullable=False),
        sa.Column("status", sa.String(20), server_default="active", nullable=False),
        timestamp("created_at"),
        timestamp("updated_at"),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("role IN ('customer', 'support', 'admin')", name=op.f("check_role_known")),
        sa.CheckConstraint("status IN ('active', 'suspended', 'closed')", name=op.f("check_status_known")),
        sa.PrimaryKeyConstraint("id", name="users_pkey"),
        sa.UniqueConstraint("email", name="users_email_key"),
    )
    op.create_index("idx_users_created_at_id", "users", ["created_at", "id"])
    op.create_index("idx_users_email", "users", [sa.literal_column("lower(email)")], unique=True)
    op.execute(
        "CREATE TRIGGER users_touch_updated_at BEFORE UPDATE ON users "
        "FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at()"
    )


def create_user_profiles() -> None:
    op.create_table(
        "user_profiles",
        sa.Column("id", sa.Uuid, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.Uuid),
        sa.Column("phone", sa.String(20)),
        sa.Column("address_line1", sa.String(255)),
        sa.Column("address_line2", sa.String(255)),
        sa.Column("city", sa.String(100)),
        sa.Column("state", sa.String(100)),
        sa.Column("country", sa.String(100)),
        sa.Column("postal_code", sa.String(20)),
        timestamp("created_at"),
        timestamp("updated_at"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="user_profiles_user_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="user_profiles_pkey"),
    )
    op.create_index("idx_user_profiles_user_id", "user_profiles", ["user_id"])
    op.execute(
        "CREATE TRIGGER user_profiles_touch_updated_at BEFORE UPDATE ON user_profiles "
        "FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at()"
    )
