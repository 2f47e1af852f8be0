"""Add sessions, which end with whatever they rest on, and the log-ins that failed."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
created = "2026-11-27"

END_SESSIONS = """\
CREATE FUNCTION end_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE refresh_tokens SET revoked_at = clock_timestamp()
    WHERE user_id = OLD.id AND used_at IS NULL AND revoked_at IS NULL;
    RETURN OLD;
END
$$"""

USERS_END_SESSIONS = """\
CREATE TRIGGER users_end_sessions AFTER UPDATE ON users FOR EACH ROW WHEN (
    (OLD.role, OLD.status, OLD.deleted_at) IS DISTINCT FROM (NEW.role, NEW.status, NEW.deleted_at)
    OR (OLD.password_hash <> NEW.password_hash AND current_setting('storegraph.rehashing', true) IS DISTINCT FROM 'on')
) EXECUTE FUNCTION end_sessions()"""

USERS_END_SESSIONS_OF_DELETED = """\
CREATE TRIGGER users_end_sessions_of_deleted BEFORE DELETE ON users FOR EACH ROW EXECUTE FUNCTION end_sessions()"""


def timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False)


def upgrade() -> None:
    create_refresh_tokens()
    create_login_failures()
    op.execute(END_SESSIONS)
    op.execute(USERS_END_SESSIONS)
    op.execute(USERS_END_SESSIONS_OF_DELETED)


def downgrade() -> None:
    op.execute("DROP TRIGGER users_end_sessions_of_deleted ON users")
    op.execute("DROP TRIGGER users_end_sessions ON users")
    op.execute("DROP FUNCTION end_sessions")
    op.drop_table("login_failures")
    op.drop_table("refresh_tokens")


def create_refresh_tokens() -> None:
    op.create_table(
        "refresh_tokens",
        sa.Column("id", sa.Uuid, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("family_id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        timestamp("created_at"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="refresh_tokens_user_id_fkey", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="refresh_tokens_pkey"),
        sa.UniqueConstraint("token_hash", name="refresh_tokens_token_hash_key"),
    )
    op.create_index(
        "idx_refresh_tokens_family_id",
        "refresh_tokens",
        ["family_id"],
        unique=True,
        postgresql_where=sa.text("used_at IS NULL"),
    )
    op.create_index("idx_refresh_tokens_user_id_expires_at", "refresh_tokens", ["user_id", "expires_at"])
    op.create_index(
        "idx_refresh_tokens_revoked_at",
        "refresh_tokens",
        ["revoked_at"],
        postgresql_where=sa.text("revoked_at IS NOT NULL"),
    )


def create_login_failures() -> None:
    op.create_table(
        "login_failures",
        sa.Column("id", sa.Uuid, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("account", sa.LargeBinary),
        sa.Column("address", sa.LargeBinary, nullable=False),
        timestamp("failed_at"),
        sa.PrimaryKeyConstraint("id", name="login_failures_pkey"),
    )
    op.create_index("idx_login_failures_account_failed_at", "login_failures", ["account", "failed_at"])
    op.create_index("idx_login_failures_address_failed_at", "login_failures", ["address", "failed_at"])
    op.create_index("idx_login_failures_failed_at", "login_failures", ["failed_at"])
