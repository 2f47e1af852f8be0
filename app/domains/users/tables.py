"""The users database: accounts, their profiles (addresses), their sessions, and log-ins that failed."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.domains.base import (
    Id,
    Timestamp,
    check_one_of,
    declare_function,
    declare_trigger,
    keep_updated_at,
    new_metadata,
)


class Base(DeclarativeBase):
    metadata = new_metadata("users")


class UserRole(StrEnum):
    CUSTOMER = "customer"
    SUPPORT = "support"
    ADMIN = "admin"


class UserStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class User(Base):
    """An account. A deleted one keeps its row and its address."""

    __tablename__ = "users"

    id: Mapped[Id]
    email: Mapped[str] = mapped_column(String(255), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    first_name: Mapped[str | None] = mapped_column(String(100))
    last_name: Mapped[str | None] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(20), server_default=UserRole.CUSTOMER)
    status: Mapped[str] = mapped_column(String(20), server_default=UserStatus.ACTIVE)
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (check_one_of("role", UserRole), check_one_of("status", UserStatus))


# Addresses are unique whatever their case, beside the plain UNIQUE that the guide asks for.
Index("idx_users_email", func.lower(User.email), unique=True)
# For lists in order; text sorts by code point (COLLATE "C"), whatever the database's own locale.
Index("idx_users_email_id", User.email.collate("C"), User.id)
Index("idx_users_created_at_id", User.created_at, User.id)
Index("idx_users_updated_at_id", User.updated_at, User.id)


class UserProfile(Base):
    """A postal address and phone number of a user. An order's ``shipping_address_id`` names one."""

    __tablename__ = "user_profiles"

    id: Mapped[Id]
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    phone: Mapped[str | None] = mapped_column(String(20))
    address_line1: Mapped[str | None] = mapped_column(String(255))
    address_line2: Mapped[str | None] = mapped_column(String(255))
    city: Mapped[str | None] = mapped_column(String(100))
    state: Mapped[str | None] = mapped_column(String(100))
    country: Mapped[str | None] = mapped_column(String(100))
    postal_code: Mapped[str | None] = mapped_column(String(20))
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]


class RefreshToken(Base):
    """A token that renews a session. Each use replaces it by the next one of its family, and a family is a session.

    Only hashes are stored. A family has one token that is not used yet; where that is revoked, the session has ended,
    and where a used one comes back, somebody has a copy. Rows stay until their session's last access token is invalid,
    also without their user: until then ``revoked_at`` is what other processes refuse that token by.
    """

    __tablename__ = "refresh_tokens"

    id: Mapped[Id]
    family_id: Mapped[UUID]
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey(User.id, ondelete="SET NULL"))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[Timestamp]
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


Index(
    "idx_refresh_tokens_family_id", RefreshToken.family_id, unique=True, postgresql_where=RefreshToken.used_at.is_(None)
)
Index("idx_refresh_tokens_user_id_expires_at", RefreshToken.user_id, RefreshToken.expires_at)
Index("idx_refresh_tokens_revoked_at", RefreshToken.revoked_at, postgresql_where=RefreshToken.revoked_at.is_not(None))


class LoginFailure(Base):
    """A log-in that was tried and has not succeeded, or not yet. Who and where from are keyed hashes."""

    __tablename__ = "login_failures"

    id: Mapped[Id]
    account: Mapped[bytes | None] = mapped_column(LargeBinary)
    address: Mapped[bytes] = mapped_column(LargeBinary)
    failed_at: Mapped[Timestamp]


Index("idx_login_failures_account_failed_at", LoginFailure.account, LoginFailure.failed_at)
Index("idx_login_failures_address_failed_at", LoginFailure.address, LoginFailure.failed_at)
Index("idx_login_failures_failed_at", LoginFailure.failed_at)

keep_updated_at(Base, User, UserProfile)

# Whoever changes what a session rests on ends the account's sessions with it. The clock, not the transaction's start:
# until then the account could still get access tokens. A password hashed anew with other parameters is the same one.
declare_function(
    Base,
    """\
CREATE FUNCTION end_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE refresh_tokens SET revoked_at = clock_timestamp()
    WHERE user_id = OLD.id AND used_at IS NULL AND revoked_at IS NULL;
    RETURN OLD;
END
$$""",
)
declare_trigger(
    User,
    """\
CREATE TRIGGER users_end_sessions AFTER UPDATE ON users FOR EACH ROW WHEN (
    (OLD.role, OLD.status, OLD.deleted_at) IS DISTINCT FROM (NEW.role, NEW.status, NEW.deleted_at)
    OR (OLD.password_hash <> NEW.password_hash AND current_setting('storegraph.rehashing', true) IS DISTINCT FROM 'on')
) EXECUTE FUNCTION end_sessions()""",
)
# Before, while its tokens still say whose they are.
declare_trigger(
    User,
    "CREATE TRIGGER users_end_sessions_of_deleted BEFORE DELETE ON users FOR EACH ROW EXECUTE FUNCTION end_sessions()",
)
