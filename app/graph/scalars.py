"""The scalars of the API. Rows hold uuids and decimals as the text that PostgreSQL wrote, which is the API's as well.

What comes in is taken by its own text, and never by what Python would make of it: ``Decimal("NaN")`` is larger than
every price to PostgreSQL.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, NewType, TypedDict, TypeVar

import strawberry
from graphql import GraphQLError, ValueNode, value_from_ast_untyped
from strawberry.types.scalar import ScalarDefinition

UUID = NewType("UUID", str)
Decimal = NewType("Decimal", str)
DateTime = NewType("DateTime", datetime)

T = TypeVar("T")


class _Parsers(TypedDict, Generic[T]):
    parse_value: Callable[[object], T]
    parse_literal: Callable[[ValueNode, dict[str, Any] | None], T]


FIRST_YEAR, LAST_YEAR = 1970, 2200
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DECIMAL = re.compile(r"-?\d{1,8}(\.\d{1,2})?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def is_uuid(text: str) -> bool:
    """Whether this is a uuid in the usual 36 characters."""
    return _UUID.fullmatch(text) is not None


def _decimal(value: object) -> str:
    """An amount as its text; whole numbers are taken as they are."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise ValueError('A Decimal is a string such as "19.99": up to 8 digits, and up to 2 behind the point.')
    return text


def _time(value: object) -> datetime:
    """A time, in UTC (RFC 3339, section 5.6)."""
    try:
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise ValueError
        time = datetime.fromisoformat(value.upper()).astimezone(UTC)
        if not FIRST_YEAR <= time.year <= LAST_YEAR:
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(
            f"A DateTime is a string such as 2026-01-31T23:59:59Z, with its offset, of the years {FIRST_YEAR} to "
            f"{LAST_YEAR}, exact to the microsecond at most."
        ) from None
    return time


def _written(time: datetime) -> str:
    """A time in ISO 8601. PostgreSQL's ``infinity``, which the driver makes a time without a zone, is none."""
    if time.tzinfo is None:
        raise ValueError("a time without end has no place in ISO 8601")
    return time.isoformat()


def _parsers(parse: Callable[[object], T]) -> _Parsers[T]:
    """How a scalar takes a variable and a literal: a ``ValueError`` of ``parse`` becomes the client's error."""

    def parse_value(value: object, node: ValueNode | None = None) -> T:
        try:
            return parse(value)
        except ValueError as error:
            raise GraphQLError(str(error), node) from None

    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> T:
        return parse_value(value_from_ast_untyped(node, variables), node)

    return {"parse_value": parse_value, "parse_literal": parse_literal}


SCALARS: Mapping[object, ScalarDefinition] = {
    UUID: strawberry.scalar(
        name="UUID",
        description="A key of the database, in the usual 36 characters in lower case.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc9562",
        serialize=str,
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description="An exact amount with two decimals, as a string: never a float. A filter takes an Int as well.",
        specified_by_url="https://scalars.graphql.org/chillicream/decimal.html",
        serialize=str,
        **_parsers(_decimal),
    ),
    DateTime: strawberry.scalar(
        name="DateTime",
        description="A time in ISO 8601 with its offset from UTC, exact to the microsecond.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=_written,
        **_parsers(_time),
    ),
}
"""For the schema's ``scalar_map``."""
