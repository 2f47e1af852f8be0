"""Global ids: what a client holds to name any object, without saying of which type or in which database."""

import base64
import re
from typing import Any

import strawberry
from graphql import GraphQLResolveInfo

from app.errors import BadUserInputError

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def encode_id(type_name: str, uuid: str) -> str:
    """The global id of an object."""
    return base64.urlsafe_b64encode(f"{type_name}:{uuid}".encode()).decode()


def decode_id(text: str, type_name: str) -> str:
    """The uuid, in lower case, that an argument names: a global id of this type, or the uuid itself.

    Raises:
        BadUserInputError: it is neither, or a global id of another type.
    """
    if _UUID.fullmatch(text):
        return text.lower()
    try:
        named, _, uuid = base64.urlsafe_b64decode(text).decode("ascii").partition(":")
    except ValueError:  # binascii.Error and UnicodeError are both
        named, uuid = "", ""
    # Encoded again, since base64 has many spellings of the same bytes, and an object has one id.
    if not _UUID.fullmatch(uuid) or encode_id(named, uuid.lower()) != text:
        raise BadUserInputError("This is neither an id nor a UUID.")
    if named != type_name:
        raise BadUserInputError(f"This is the id of another type than {type_name}.")
    return uuid


@strawberry.interface(description="An object with a global id.")
class Node:
    id: strawberry.ID = strawberry.field(description="Opaque, and unique among all objects of all types.")

    @classmethod
    def is_type_of(cls, _row: Any, _info: GraphQLResolveInfo[Any]) -> bool:  # rows are of any source
        """Rows are rows, not instances of this class: an edge says which type its rows are."""
        return True
