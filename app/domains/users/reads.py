"""The reads of the users database."""

from typing import Any

from sqlalchemy import ColumnElement, String, func

from app.domains.users.tables import User, UserProfile
from app.paging import ascending, descending
from app.reads import Match, equal, many, one, page

_EXISTS = User.deleted_at.is_(None)


def _has_email(email: ColumnElement[Any]) -> ColumnElement[bool]:
    # PostgreSQL lowers both, as its index does: Python's lower() differs from it for some letters.
    return func.lower(User.email) == func.lower(email)


user_by_id = one(User, equal(User.id), _EXISTS)
user_by_email = one(User, Match((String(),), condition=_has_email), _EXISTS)
users = page(User, None, descending(User.created_at, User.id), _EXISTS)

profile_by_id = one(UserProfile, equal(UserProfile.id))
profiles_by_user = many(UserProfile, equal(UserProfile.user_id), ascending(UserProfile.created_at, UserProfile.id))
