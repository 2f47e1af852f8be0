"""The root fields of the users database."""

from typing import cast

import strawberry

from app.domains.users import reads
from app.graph.context import Ask, Info, place_of
from app.graph.fields import columns_of, connection, lookup
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

    @strawberry.field(description="Who is asking; null when nobody is signed in.", metadata={"visible_to": PUBLIC})
    async def viewer(self, info: Info) -> User | None:
        return await user_of(info)


async def user_of(info: Info) -> User | None:
    """The account of who asks."""
    viewer = info.context.viewer.user
    if viewer is None:
        return None
    rows = await info.context.loaders.rows(place_of(info), Ask(reads.user_by_id, columns_of(User)), viewer)
    return cast("User", rows[0]) if rows else None
