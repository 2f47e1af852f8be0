"""Global ids: what a client holds to name any object, without saying of which type or in which database."""

import base64
from dataclasses import dataclass
from typing import Any

import strawberry
from graphql import GraphQLAbstractType, GraphQLResolveInfo

from app.database import Row
from app.errors import BadUserInputError
from app.graph.scalars import is_uuid
from app.graph.visibility import public


def encode_id(type_name: str, uuid: str) -> str:
    """The global id of an object."""
    return base64.urlsafe_b64encode(f"{type_name}:{uuid}".encode()).decode()


def decode_id(text: str, type_name: str, argument: str = "id") -> str:
    """The uuid, in lower case, that an argument names: a global id of this type, or the uuid itself.

    Raises:
        BadUserInputError: it is neither, or a global id of another type. The message names the argument.
    """
    if is_uuid(text):
        return text.lower()
    found = decode_global_id(text)
    if found is None:
        raise BadUserInputError(f"{argument} is neither an id nor a UUID.")
    named, uuid = found
    if named != type_name:
        raise BadUserInputError(f"{argument} is the id of another type than {type_name}.")
    return uuid


def decode_global_id(text: str) -> tuple[str, str] | None:
    """The name of the type and the uuid that a global id is made of; None where it is none."""
    try:
        named, _, uuid = base64.urlsafe_b64decode(text).decode("ascii").partition(":")
    except ValueError:  # binascii.Error and UnicodeError are both
        return None
    # Encoded again, since base64 has many spellings of the same bytes, and an object has one id.
    return (named, uuid) if is_uuid(uuid) and encode_id(named, uuid.lower()) == text else None


@dataclass(frozen=True)
class NodeRow:
    """A row together with the name of its type, for a field that can answer with any."""

    type_name: str
    row: Row

    def __getitem__(self, name: str) -> object:
        return self.row[name]


@strawberry.interface(description="An object with a global id.")
class Node:
    id: strawberry.ID = public("Opaque, and unique among all objects of all types.")

    @classmethod
    def is_type_of(cls, _row: Any, _info: GraphQLResolveInfo[Any]) -> bool:  # rows are of any source
        """Rows are rows, not instances of this class: an edge says which type its rows are."""
        return True

    @classmethod
    def resolve_type(cls, found: NodeRow, _info: GraphQLResolveInfo[Any], _type: GraphQLAbstractType) -> str:
        """Which type an object of ``node`` or ``nodes`` is of."""
        return found.type_name
