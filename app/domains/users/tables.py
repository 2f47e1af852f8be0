"""The users database: accounts and their profiles (addresses)."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.domains.base import Id, Timestamp, check_one_of, keep_updated_at, new_metadata


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


keep_updated_at(Base, User, UserProfile)
