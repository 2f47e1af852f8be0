"""User and UserProfile."""

import strawberry

from app.domains.orders import reads as order_reads
from app.domains.users import reads as user_reads
from app.domains.users import tables
from app.graph.connection import Connection
from app.graph.enums import describe_enum
from app.graph.fields import column, connection, edge
from app.graph.lazy import OrderConnection, OrderOrderBy, OrderWhere, UserOrderStats
from app.graph.node import Node
from app.graph.scalars import UUID, DateTime
from app.graph.visibility import OWNER

describe_enum(
    tables.UserRole,
    "What a user may do.",
    CUSTOMER="Sees what is public, and what is their own.",
    SUPPORT="Staff: sees everything.",
    ADMIN="Staff: sees everything.",
)
describe_enum(
    tables.UserStatus,
    "Whether an account can be used.",
    ACTIVE="It can.",
    SUSPENDED="It cannot, for now: staff have stopped it.",
    CLOSED="It cannot any more.",
)


@strawberry.type(description="Somebody with an account.")
class User(Node):
    id: strawberry.ID = column(tables.User.id, OWNER, "The global id.", is_id=True)
    uuid: UUID = column(tables.User.id, OWNER, "The key in the users database.")
    email: str = column(tables.User.email, OWNER, "The address to log in with.")
    first_name: str | None = column(tables.User.first_name, OWNER, "The given name.")
    last_name: str | None = column(tables.User.last_name, OWNER, "The family name.")
    role: tables.UserRole = column(tables.User.role, OWNER, "What the user may do.")
    status: tables.UserStatus = column(tables.User.status, OWNER, "Whether the account can be used.")
    created_at: DateTime = column(tables.User.created_at, OWNER, "When the account was opened.")
    updated_at: DateTime = column(tables.User.updated_at, OWNER, "When it last changed.")
    profiles: list["UserProfile"] = edge(
        user_reads.profiles_by_user, tables.User.id, OWNER, "The addresses, oldest first."
    )
    orders: OrderConnection | None = connection(
        order_reads.orders_by_user,
        OWNER,
        "The user's orders, newest first unless `orderBy` is given.",
        via=tables.User.id,
        where=OrderWhere,
        order_by=OrderOrderBy,
    )
    order_stats: UserOrderStats | None = edge(
        order_reads.stats_by_user,
        tables.User.id,
        OWNER,
        "The user's orders that are neither cancelled nor refunded, summed up; "
        "null only while the orders database does not answer.",
    )


@strawberry.type(description="A postal address and phone number of a user.")
class UserProfile(Node):
    id: strawberry.ID = column(tables.UserProfile.id, OWNER, "The global id.", is_id=True)
    uuid: UUID = column(tables.UserProfile.id, OWNER, "The key in the users database.")
    phone: str | None = column(tables.UserProfile.phone, OWNER, "The phone number.")
    address_line1: str | None = column(tables.UserProfile.address_line1, OWNER, "The street and number.")
    address_line2: str | None = column(tables.UserProfile.address_line2, OWNER, "What else finds the door.")
    city: str | None = column(tables.UserProfile.city, OWNER, "The city.")
    state: str | None = column(tables.UserProfile.state, OWNER, "The state or region.")
    country: str | None = column(tables.UserProfile.country, OWNER, "The country.")
    postal_code: str | None = column(tables.UserProfile.postal_code, OWNER, "The postal code.")
    created_at: DateTime = column(tables.UserProfile.created_at, OWNER, "When the address was added.")
    updated_at: DateTime = column(tables.UserProfile.updated_at, OWNER, "When it last changed.")
    user: User | None = edge(user_reads.user_by_id, tables.UserProfile.user_id, OWNER, "Whose address it is.")


@strawberry.type(description="A page of users.")
class UserConnection(Connection[User]):
    pass
