"""The root fields of the users database."""

from typing import cast

import strawberry

from app.domains.users import reads
from app.graph.context import Ask, Info, place_of
from app.graph.fields import columns_of, connection, lookup
from app.graph.users.inputs import UserOrderBy, UserWhere
from app.graph.users.types import User, UserConnection


@strawberry.type
class UsersQuery:
    user: User | None = lookup("A user.", id=reads.user_by_id, email=reads.user_by_email)
    users: UserConnection | None = connection(
        reads.users,
        "All users, newest first unless `orderBy` is given.",
        where=UserWhere,
        order_by=UserOrderBy,
    )

    @strawberry.field(description="Who is asking; null when nobody is signed in.")
    async def viewer(self, info: Info) -> User | None:
        viewer = info.context.viewer
        if viewer is None:
            return None
        rows = await info.context.loaders.rows(place_of(info), Ask(reads.user_by_id, columns_of(User)), viewer)
        return cast("User", rows[0]) if rows else None
