"""The root fields of the users database."""

import strawberry

from app.domains.users import reads
from app.graph.fields import connection, lookup, own
from app.graph.users.inputs import UserOrderBy, UserWhere
from app.graph.users.types import User, UserConnection
from app.graph.visibility import ADMIN, OWNER, PUBLIC


@strawberry.type
class UsersQuery:
    user: User | None = lookup(OWNER, "A user.", id=reads.user_by_id, email=reads.user_by_email)
    users: UserConnection | None = connection(
        reads.users,
        ADMIN,
        "All users, newest first unless `orderBy` is given.",
        where=UserWhere,
        order_by=UserOrderBy,
    )

    viewer: User | None = own(reads.user_by_id, PUBLIC, "Who is asking; null when nobody is signed in.")
