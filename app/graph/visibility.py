"""Who may see which field, as data. Which rows a viewer sees it of, the reads say (``app/reads.py``).

It stands in the field's ``metadata["visible_to"]``, where any executor finds it. A field that does not say is refused
when the schema is built.
"""

from enum import Enum
from typing import Any, Final

import strawberry
from strawberry.types.field import StrawberryField

from app.errors import ForbiddenError, UnauthenticatedError
from app.viewer import Viewer


class Visibility(Enum):
    """Who may see a field. Which rows they may see it of, the reads say."""

    PUBLIC = "public"
    """Everybody."""
    OWNER = "owner"
    """Whoever is signed in, of their own rows; and staff."""
    ADMIN = "admin"
    """Staff."""


PUBLIC: Final = Visibility.PUBLIC
OWNER: Final = Visibility.OWNER
ADMIN: Final = Visibility.ADMIN


def visibility(field: StrawberryField) -> Visibility | None:
    """Who may see a field; None where that was forgotten, which ``build_schema`` refuses."""
    return field.metadata.get("visible_to")


def check_visible(visible_to: Visibility, viewer: Viewer) -> None:
    """Refuse a field to who may not see it. Every executor asks this of each field that it gives a value.

    Raises:
        UnauthenticatedError: it is for who is signed in.
        ForbiddenError: it is for staff.
    """
    if visible_to is PUBLIC or viewer.is_staff:
        return
    if viewer.user is None:
        raise UnauthenticatedError("Sign in to see this.")
    if visible_to is ADMIN:
        raise ForbiddenError("This is for staff only.")


def public(description: str) -> Any:  # Any, as strawberry.field() itself has it
    """An ordinary field that everybody who has its object may see."""
    return strawberry.field(description=description, metadata={"visible_to": PUBLIC})
