"""Enums that the domains declare, as enums of the API: what they mean is said here, since a domain knows no GraphQL."""

from enum import Enum

import strawberry
from strawberry.types.enum import has_enum_definition


def describe_enum(enum: type[Enum], description: str, **values: str) -> None:
    """Make an enum one of the API. ``values``: what each of its members means, by name.

    Raises:
        TypeError: a member is not described, or something is that is no member.
    """
    strawberry.enum(enum, description=description)
    if values.keys() != enum.__members__.keys():
        raise TypeError(f"{enum.__name__} is described by {sorted(values)}, and has {sorted(enum.__members__)}")
    if has_enum_definition(enum):  # which tells a type checker what strawberry.enum() has put there
        for value in enum.__strawberry_definition__.values:
            value.description = values[value.name]
