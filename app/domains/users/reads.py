"""The reads of the users database."""

from typing import Any

from sqlalchemy import ColumnElement, String, func

from app.domains.users.tables import User, UserProfile
from app.paging import ascending, descending
from app.reads import VIEWER, Match, Rows, equal, many, one, page

USERS = Rows(model=User, exist=User.deleted_at.is_(None), own=User.id == VIEWER)
PROFILES = Rows(model=UserProfile, own=UserProfile.user_id == VIEWER)


def _has_email(email: ColumnElement[Any]) -> ColumnElement[bool]:
    # PostgreSQL lowers both, as its index does: Python's lower() differs from it for some letters.
    return func.lower(User.email) == func.lower(email)


user_by_id = one(USERS, equal(User.id))
user_by_email = one(USERS, Match((String(),), condition=_has_email))
users = page(USERS, None, descending(User.created_at, User.id))

profile_by_id = one(PROFILES, equal(UserProfile.id))
profiles_by_user = many(PROFILES, equal(UserProfile.user_id), ascending(UserProfile.created_at, UserProfile.id))
