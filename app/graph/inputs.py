"""What a list takes to be filtered and ordered: the inputs that all types share, and what an input means.

A field of a ``…Where`` or ``…OrderBy`` input is data: which column it tests or orders by stands in its ``metadata``.
``filter_of`` and ``order_of`` read an input by that. Nothing here knows a table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar, cast

import strawberry
from strawberry.types.base import get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from app.errors import BadUserInputError
from app.filters import AllOf, AnyOf, Belongs, Compare, Filter, IsNull, Not, Operator, escape_like
from app.graph.enums import describe_enum
from app.graph.node import decode_id
from app.graph.scalars import DateTime, Decimal
from app.paging import AnyColumn, Order, Sort, is_indexed, ordered_by

T = TypeVar("T")
DEEPEST_FILTER = 20
"""How many levels of and, or and not a filter can have: more of them would be too many for the SQL compiler's stack."""


class SortDirection(StrEnum):
    ASC = "asc"
    DESC = "desc"


describe_enum(
    SortDirection,
    "Which end comes first. Null is larger than every value.",
    ASC="The smallest first.",
    DESC="The largest first.",
)


@dataclass(frozen=True)
class Filters:
    """A field that tests a column, in the ways of the field's own type; of ids, those of ``type_name``."""

    column: AnyColumn
    type_name: str | None = None


@dataclass(frozen=True)
class FiltersNull:
    """A boolean field that says whether a column has no value."""

    column: AnyColumn


@dataclass(frozen=True)
class Scope:
    """A field of an id and ``includeDescendants``: a column holds a key that one of these makes of the id."""

    column: AnyColumn
    type_name: str
    yes: Callable[..., Any]
    no: Callable[..., Any]


Meaning = Filters | FiltersNull | Scope | Literal["and", "or", "not"]


def means(meaning: Meaning, description: str) -> Any:  # Any, as strawberry.field() itself has it
    """A field of a filter."""
    name = meaning if isinstance(meaning, str) else None
    return strawberry.field(default=strawberry.UNSET, name=name, description=description, metadata={"means": meaning})


def filters(column: AnyColumn, description: str, *, ids_of: str | None = None) -> Any:
    """A field of a filter that tests a column. ``ids_of``: the type whose ids it holds."""
    return means(Filters(column, ids_of), description)


def all_of() -> Any:
    """The field ``and`` of a filter."""
    return means("and", "All of these hold.")


def any_of() -> Any:
    """The field ``or`` of a filter."""
    return means("or", "At least one of these holds; of an empty list none does.")


def none_of() -> Any:
    """The field ``not`` of a filter."""
    return means("not", "This does not hold.")


def sorts(column: AnyColumn, what: str) -> Any:
    """A field of an order. Its description says whether a page far behind costs what the first one does."""
    cost = "an index serves it" if is_indexed(column) else "no index serves it, so each page sorts the whole list"
    return strawberry.field(default=strawberry.UNSET, description=f"By {what}: {cost}.", metadata={"sorts": column})


def _operator(description: str, name: str | None = None) -> Any:
    return strawberry.field(default=strawberry.UNSET, name=name, description=description)


@strawberry.input
class Equality(Generic[T]):
    eq: T | None = _operator("It is this.")
    ne: T | None = _operator("It is not this; holds where there is no value.")
    in_: list[T] | None = _operator("It is one of these; an empty list finds nothing.", "in")
    not_in: list[T] | None = _operator("It is none of these; holds where there is no value.")


@strawberry.input
class Ordering(Generic[T]):
    gt: T | None = _operator("It is larger than this.")
    gte: T | None = _operator("It is this or larger.")
    lt: T | None = _operator("It is smaller than this.")
    lte: T | None = _operator("It is this or smaller.")


@strawberry.input
class Nullable:
    is_null: bool | None = _operator("Whether there is no value.")


@strawberry.input(description="Tests of an id, global or a uuid. Several mean all of them.")
class IDFilter(Equality[strawberry.ID]):
    pass


@strawberry.input(description="Tests of a text. Several mean all of them.")
class StringFilter(Equality[str], Nullable):
    contains: str | None = _operator("It has this in it, whatever the case.")
    starts_with: str | None = _operator("It begins with this, whatever the case.")
    ends_with: str | None = _operator("It ends with this, whatever the case.")


@strawberry.input(description="Tests of a whole number. Several mean all of them.")
class IntFilter(Equality[int], Ordering[int], Nullable):
    pass


@strawberry.input(description="Tests of an amount. Several mean all of them.")
class DecimalFilter(Equality[Decimal], Ordering[Decimal], Nullable):
    pass


@strawberry.input(description="Tests of a time. Several mean all of them.")
class DateTimeFilter(Ordering[DateTime], Nullable):
    eq: DateTime | None = _operator("It is this, to the microsecond.")


# From an operator's name to what it compares by, and whether it holds for all others instead.
_COMPARISONS = {
    "eq": (Operator.EQUAL, False),
    "ne": (Operator.EQUAL, True),
    "in_": (Operator.IN, False),
    "not_in": (Operator.IN, True),
    "gt": (Operator.GREATER, False),
    "gte": (Operator.GREATER_OR_EQUAL, False),
    "lt": (Operator.LESS, False),
    "lte": (Operator.LESS_OR_EQUAL, False),
    "contains": (Operator.LIKE, False),
    "starts_with": (Operator.LIKE, False),
    "ends_with": (Operator.LIKE, False),
}
_PATTERNS = {"contains": "%{}%", "starts_with": "{}%", "ends_with": "%{}"}


MOST_TESTS = 100
"""How many tests a filter can have: with thousands, making its SQL would take seconds, or more stack than there is."""


def filter_of(where: object) -> tuple[Filter | None, dict[str, object]]:
    """What the argument ``where`` means, and the values of the filter's parameters. Null is no filter.

    Raises:
        BadUserInputError: it has an explicit null in it, a wrong id, or text that no column can hold.
    """
    reader = _Reader()
    found = None if where is None else reader.filter(where, "where")
    return found, reader.values


def order_of(order_by: list[object] | None, default: Order) -> Order:
    """What the argument ``orderBy`` means."""
    chosen: list[Sort] = []
    for number, item in enumerate(order_by or []):
        for field, direction in _given(item, f"orderBy[{number}]"):
            chosen.append(Sort(field.metadata["sorts"], descending=direction == SortDirection.DESC))
    return ordered_by(chosen, default)


class _Reader:
    """Reads a filter, and gathers its values on the way."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self._depth = 0
        self._filters = 0
        self._tests = 0

    def filter(self, where: object, place: str) -> Filter:
        self._depth += 1
        self._filters += 1
        if self._filters > 2 * MOST_TESTS:
            raise BadUserInputError(f"where has more than {2 * MOST_TESTS} filters in it.")
        if self._depth > DEEPEST_FILTER:
            raise BadUserInputError(f"where is nested more than {DEEPEST_FILTER} levels deep.")
        found = tuple(
            self._field(field.metadata["means"], value, f"{place}.{_name(field)}")
            for field, value in _given(where, place)
        )
        self._depth -= 1
        return AllOf(found)

    def _field(self, meaning: Meaning, value: Any, place: str) -> Filter:
        match meaning:
            case Filters(column, type_name):
                tests = (
                    self._test(column, field.python_name, operand, type_name, f"{place}.{_name(field)}")
                    for field, operand in _given(value, place)
                )
                return AllOf(tuple(tests))
            case FiltersNull(column):
                self._count_test()
                return IsNull(column) if value else Not(IsNull(column))
            case Scope(column, type_name, yes, no):
                self._count_test()
                given = {field.python_name: inner for field, inner in _given(value, place)}
                uuid = decode_id(given["id"], type_name, f"{place}.id")
                return Belongs(column, yes if given["include_descendants"] else no, self._add(uuid))
            case "not":
                return Not(self.filter(value, place))
            case "and":
                return AllOf(self._each(value, place))
            case "or":
                return AnyOf(self._each(value, place))

    def _each(self, wheres: list[object], place: str) -> tuple[Filter, ...]:
        return tuple(self.filter(where, f"{place}[{number}]") for number, where in enumerate(wheres))

    def _test(self, column: AnyColumn, name: str, operand: Any, type_name: str | None, place: str) -> Filter:
        self._count_test()
        if name == "is_null":
            return IsNull(column) if operand else Not(IsNull(column))
        operator, other = _COMPARISONS[name]
        if operator is Operator.IN:
            value = tuple(_plain(item, type_name, f"{place}[{number}]") for number, item in enumerate(operand))
        elif operator is Operator.LIKE:
            value = _PATTERNS[name].format(escape_like(storable(operand, place)))
        else:
            value = _plain(operand, type_name, place)
        test = Compare(column, operator, self._add(value))
        return Not(test) if other else test

    def _count_test(self) -> None:
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise BadUserInputError(f"where has more than {MOST_TESTS} tests.")

    def _add(self, value: object) -> str:
        name = f"w{len(self.values)}"
        self.values[name] = value
        return name


def storable(text: str, argument: str) -> str:
    """The text itself.

    Raises:
        BadUserInputError: it has a character that PostgreSQL cannot hold. The message names the argument.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BadUserInputError(f"{argument} has a character that no text can have.")
    return text


def _plain(value: object, type_name: str | None, place: str) -> object:
    """A value as the driver takes it."""
    if type_name is not None:
        return decode_id(cast("str", value), type_name, place)
    # Of an enum, Strawberry hands over the member from a variable and its value from a literal; ours equal each other.
    return storable(str(value), place) if isinstance(value, str) else value


def _given(given: object, place: str) -> Iterator[tuple[StrawberryField, Any]]:
    """The fields of an input that the client gave, with their values."""
    for field in get_object_definition(type(given), strict=True).fields:
        value = getattr(given, field.python_name)
        if value is None:
            raise BadUserInputError(f"{place}.{_name(field)} must not be null: leave it out, or use isNull.")
        if value is not strawberry.UNSET:
            yield field, value


def _name(field: StrawberryField) -> str:
    return field.graphql_name or to_camel_case(field.python_name)
