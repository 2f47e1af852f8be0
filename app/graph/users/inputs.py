"""How users are filtered and ordered."""

import strawberry

from app.domains.users.tables import User, UserRole, UserStatus
from app.graph.inputs import (
    DateTimeFilter,
    Equality,
    IDFilter,
    SortDirection,
    StringFilter,
    all_of,
    any_of,
    filters,
    none_of,
    sorts,
)


@strawberry.input(description="Tests of a user's role. Several mean all of them.")
class UserRoleFilter(Equality[UserRole]):
    pass


@strawberry.input(description="Tests of an account's status. Several mean all of them.")
class UserStatusFilter(Equality[UserStatus]):
    pass


@strawberry.input(description="Which users. Several fields mean all of them.")
class UserWhere:
    and_: list["UserWhere"] | None = all_of()
    or_: list["UserWhere"] | None = any_of()
    not_: "UserWhere | None" = none_of()
    id: IDFilter | None = filters(User.id, "The id.", ids_of="User")
    email: StringFilter | None = filters(User.email, "The address to log in with.")
    first_name: StringFilter | None = filters(User.first_name, "The given name.")
    last_name: StringFilter | None = filters(User.last_name, "The family name.")
    role: UserRoleFilter | None = filters(User.role, "What the user may do.")
    status: UserStatusFilter | None = filters(User.status, "Whether the account can be used.")
    created_at: DateTimeFilter | None = filters(User.created_at, "When the account was opened.")
    updated_at: DateTimeFilter | None = filters(User.updated_at, "When it last changed.")


@strawberry.input(one_of=True, description="What users are ordered by: one field.")
class UserOrderBy:
    email: SortDirection | None = sorts(User.email, "address")
    first_name: SortDirection | None = sorts(User.first_name, "given name")
    last_name: SortDirection | None = sorts(User.last_name, "family name")
    created_at: SortDirection | None = sorts(User.created_at, "when the account was opened")
    updated_at: SortDirection | None = sorts(User.updated_at, "when it last changed")
