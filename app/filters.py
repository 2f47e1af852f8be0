"""Filters as data: tests of one table's columns, put together by AND, OR and NOT.

A filter is what a statement is cached by. The values that it compares with are not part of it: they are the statement's
parameters, each under the name that the test gives.

Every test is true or false, also of NULL, which equals no value and lies in no range: so ``Not`` finds exactly the rows
that its filter does not. (To SQL such a test is neither, and both would miss those rows.)
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, cast

from sqlalchemy import (
    CHAR,
    ColumnElement,
    FromClause,
    String,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    false,
    or_,
    select,
    true,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY

from app.paging import AnyColumn

Condition = ColumnElement[bool]


class Operator(Enum):
    """How a column is compared with a value."""

    EQUAL = auto()
    IN = auto()
    """The value is a list; nothing is in an empty one."""
    LESS = auto()
    LESS_OR_EQUAL = auto()
    GREATER = auto()
    GREATER_OR_EQUAL = auto()
    LIKE = auto()
    """The value is a pattern; letters match whatever their case."""


@dataclass(frozen=True)
class Compare:
    """A column compared with the parameter of this name."""

    column: AnyColumn
    operator: Operator
    parameter: str


@dataclass(frozen=True)
class IsNull:
    """A column without a value."""

    column: AnyColumn


@dataclass(frozen=True)
class Belongs:
    """A column that holds one of the keys that ``over`` makes, in a column ``id``, of the parameter of this name."""

    column: AnyColumn
    over: Callable[[ColumnElement[Any]], FromClause]
    parameter: str

    @property
    def keys(self) -> FromClause:
        return self.over(bindparam(self.parameter, required=False, type_=Uuid()))


@dataclass(frozen=True)
class Not:
    """All other rows."""

    filter: "Filter"


@dataclass(frozen=True)
class AllOf:
    """What every one of these finds; all rows, where there are none."""

    filters: tuple["Filter", ...]


@dataclass(frozen=True)
class AnyOf:
    """What at least one of these finds; no row, where there are none."""

    filters: tuple["Filter", ...]


Filter = Compare | IsNull | Belongs | Not | AllOf | AnyOf


def escape_like(text: str) -> str:
    """A pattern of LIKE that matches this text alone (manual: 9.7.1, LIKE)."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def condition(filter_: Filter) -> Condition:
    """The WHERE of a filter. Its parameters are those that the tests name."""
    match filter_:
        case Compare(column, operator, parameter):
            return _compare(cast("ColumnElement[Any]", column), operator, parameter)
        case IsNull(column):
            return cast("ColumnElement[Any]", column).is_(None)
        case Belongs(column):
            return cast("ColumnElement[Any]", column).in_(select(filter_.keys.c.id))
        case Not(inner):
            return condition(inner).is_not(true())
        case AllOf(filters):
            return and_(true(), *map(condition, filters))
        case AnyOf(filters):
            return or_(false(), *map(condition, filters))


def split(filter_: Filter | None) -> tuple[Belongs | None, Filter | None]:
    """A ``Belongs`` that every row must fulfil, and the rest of the filter. Without one, None and the whole filter."""
    if isinstance(filter_, Belongs):
        return filter_, None
    if isinstance(filter_, AllOf):
        for number, inner in enumerate(filter_.filters):
            found, rest = split(inner)
            if found is not None:
                others = (*filter_.filters[:number], *filter_.filters[number + 1 :])
                return found, AllOf(others if rest is None else (*others, rest))
    return None, filter_


def _compare(column: ColumnElement[Any], operator: Operator, parameter: str) -> Condition:
    # As TEXT whatever the column's length: a cast to VARCHAR(n) or CHAR(n) would cut a longer value short, and match.
    type_ = Text() if isinstance(column.type, String) else column.type
    if isinstance(column.type, CHAR):
        column = sql_cast(column, Text)  # to CHAR itself, blanks at the end make no difference
    value = bindparam(parameter, required=False, type_=ARRAY(type_) if operator is Operator.IN else type_)
    match operator:
        case Operator.EQUAL:
            return column == value
        case Operator.IN:
            return column == any_(value)
        case Operator.LESS:
            return column < value
        case Operator.LESS_OR_EQUAL:
            return column <= value
        case Operator.GREATER:
            return column > value
        case Operator.GREATER_OR_EQUAL:
            return column >= value
        case Operator.LIKE:
            return column.ilike(value)
