"""Keyset pages as data: the order of a list, the place in it that a cursor names, and the condition that goes on.

A page never skips rows by counting them: it starts behind the last row of the one before, found by its sort columns.
"""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    Numeric,
    String,
    Uuid,
    and_,
    bindparam,
    false,
    or_,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import TypeEngine

from app.database import Row
from app.errors import BadUserInputError

CURSOR_VERSION = 1
LONGEST_CURSOR = 4096
_DECIMAL = re.compile(r"-?\d{1,12}(\.\d{1,8})?", re.ASCII)
_LARGEST_INTEGER = 2**31
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

AnyColumn = ColumnElement[Any] | InstrumentedAttribute[Any]
"""A column or expression of any type: what may be compared with what is PostgreSQL's to say."""


def bare(column: AnyColumn) -> ColumnElement[Any]:
    """What stands behind a model's attribute, or behind a name."""
    element = cast("ColumnElement[Any]", getattr(column, "expression", column))
    return cast("ColumnElement[Any]", getattr(element, "element", element))


@dataclass(frozen=True)
class Sort:
    """One column that a list is ordered by. NULL is larger than every value, as it is to PostgreSQL."""

    column: AnyColumn
    descending: bool = False

    @property
    def name(self) -> str:
        """The column's name, under which a row holds the value."""
        return str(self.column.key)

    @property
    def key(self) -> ColumnElement[Any]:
        """What is compared. Text sorts by code point, whatever the database's own locale."""
        column = cast("ColumnElement[Any]", self.column)
        return column.collate("C") if isinstance(column.type, String) else column

    @property
    def nullable(self) -> bool:
        """Whether the column can be NULL. An expression never is: those that we order by have a value for every row."""
        column = _expression(self.column)
        return isinstance(column, Column) and bool(column.nullable)

    def directed(self, key: ColumnElement[Any]) -> ColumnElement[Any]:
        """The term of an ORDER BY over ``key``: this sort's own, or the same value selected from a subquery."""
        return key.desc() if self.descending else key.asc()


Order = tuple[Sort, ...]
"""A total order: it ends in a unique column."""


def ascending(*columns: AnyColumn) -> Order:
    """By these columns, the smallest first."""
    return tuple(Sort(column) for column in columns)


def descending(*columns: AnyColumn) -> Order:
    """By these columns, the largest first."""
    return tuple(Sort(column, descending=True) for column in columns)


def is_indexed(column: AnyColumn) -> bool:
    """Whether an index of the column's table begins with it: then a list of all in its order is never sorted."""
    element = _expression(column)
    if not isinstance(element, Column):
        return False
    key = Sort(element.table.c[element.key]).key  # the table's own column, as its indexes have it
    return any(cast("ColumnElement[Any]", index.expressions[0]).compare(key) for index in element.table.indexes)


def is_small_integer(column: AnyColumn) -> bool:
    """Whether PostgreSQL keeps a column's values to 32 bits."""
    element = _expression(column)
    return (
        isinstance(element, Column) and isinstance(element.type, Integer) and not isinstance(element.type, BigInteger)
    )


def backwards(order: Order) -> Order:
    """The same order, read from its end."""
    return tuple(replace(sort, descending=not sort.descending) for sort in order)


def ordered_by(sorts: Sequence[Sort], default: Order) -> Order:
    """The order that somebody chose, made total by the last column of the list's own; that order if none was chosen.

    A column sorts once: said again, it changes nothing. Ties go the way of the last column chosen, so that an index
    over both serves the order both ways.
    """
    if not sorts:
        return default
    chosen = {sort.name: sort for sort in reversed(sorts)}
    distinct = [sort for sort in sorts if chosen[sort.name] is sort]
    return (*distinct, replace(default[-1], descending=distinct[-1].descending))


@dataclass(frozen=True)
class Bound:
    """A cursor as a statement sees it: ``name`` tells its parameters from another's. Its values are parameters, but
    which of them are NULL decides what the condition looks like.
    """

    name: str
    nulls: tuple[bool, ...]

    def parameter(self, sort: Sort) -> str:
        """The name of the statement's parameter that takes this column's value of the cursor."""
        return f"{self.name}_{sort.name}"


def behind(order: Order, bound: Bound) -> ColumnElement[bool]:
    """The condition of rows behind the cursor.

    The leading column's bound is said apart, since PostgreSQL prunes partitions by it, and finds its place in an index
    of that column alone. Where all columns go one way and none can be NULL, the rest is one comparison of rows, which
    an index over all of them answers at once.
    """
    values = [bindparam(bound.parameter(sort), required=False, type_=_unbounded(sort.column.type)) for sort in order]
    terms = list(zip(order, values, bound.nulls, strict=True))
    uniform = len({sort.descending for sort in order}) == 1 and not any(sort.nullable for sort in order)
    if uniform:
        keys, given = tuple_(*(sort.key for sort in order)), tuple_(*values)
        rest = keys < given if order[0].descending else keys > given
    else:
        rest = or_(
            *(and_(*(_equal(*equal) for equal in terms[:number]), _beyond(*term)) for number, term in enumerate(terms))
        )
    return and_(_leading(*terms[0]), rest)


def _unbounded(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type of a cursor's value: a number need not fit the column to be compared with it."""
    return Numeric() if isinstance(type_, Numeric) else type_


def _leading(sort: Sort, value: ColumnElement[Any], is_null: bool) -> ColumnElement[bool]:
    return (
        or_(_equal(sort, value, is_null), _beyond(sort, value, is_null))
        if sort.nullable
        else (sort.key <= value if sort.descending else sort.key >= value)
    )


def _equal(sort: Sort, value: ColumnElement[Any], is_null: bool) -> ColumnElement[bool]:
    return sort.key.is_(None) if is_null else sort.key == value


def _beyond(sort: Sort, value: ColumnElement[Any], is_null: bool) -> ColumnElement[bool]:
    if sort.descending:
        return sort.key.is_not(None) if is_null else sort.key < value
    if is_null:
        return false()
    return or_(sort.key > value, sort.key.is_(None)) if sort.nullable else sort.key > value


@dataclass(frozen=True)
class Position:
    """Where a cursor stands in an order: the value of each sort column, None for NULL."""

    values: tuple[object, ...]

    def bound(self, name: str) -> Bound:
        """How a statement sees it."""
        return Bound(name, tuple(value is None for value in self.values))

    def parameters(self, name: str, order: Order) -> dict[str, object]:
        """The values of the parameters that ``bound(name)`` brings along."""
        bound = self.bound(name)
        pairs = zip(order, self.values, strict=True)
        return {bound.parameter(sort): value for sort, value in pairs if value is not None}


@dataclass(frozen=True)
class Cursors:
    """The cursors of one list: opaque, versioned, and good for that list's order alone.

    ``scope`` is what else an order depends on, the text that a search ranks by: a cursor of another one is refused.
    """

    order: Order
    scope: str = ""

    def encode(self, row: Row) -> str:
        """The name of a row's position. The row holds the value of each sort column by its name."""
        values = [_to_json(row[name]) for name in self._names]
        text = _encode([CURSOR_VERSION, self._signature, *values])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def decode(self, cursor: str, argument: str) -> Position:
        """The position that a cursor names.

        Raises:
            BadUserInputError: it is no cursor, or one of another order. The message names the argument.
        """
        try:
            if len(cursor) > LONGEST_CURSOR:
                raise ValueError
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            version, signature, *values = json.loads(text)
            if version != CURSOR_VERSION or signature != self._signature:
                raise ValueError
            pairs = zip(self.order, values, strict=True)
            return Position(tuple(_from_json(sort, value) for sort, value in pairs))
        except (ValueError, TypeError, OverflowError, RecursionError):  # json's and base64's own are ValueErrors
            message = f"{argument} is not a cursor of this list in this order: pass one that it returned."
            raise BadUserInputError(message) from None

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(sort.name for sort in self.order)

    @cached_property
    def _signature(self) -> str:
        sorts = (f"{'-' if sort.descending else ''}{_table_of(sort.column)}.{sort.name}" for sort in self.order)
        return ",".join((*sorts, self.scope) if self.scope else sorts)


def _table_of(column: AnyColumn) -> str:
    element = _expression(column)
    return element.table.name if isinstance(element, Column) else ""


def _expression(column: AnyColumn) -> ColumnElement[Any]:
    """What stands behind a model's attribute."""
    return cast("ColumnElement[Any]", getattr(column, "expression", column))


def _to_json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _from_json(sort: Sort, value: object) -> object:
    type_ = sort.column.type
    if value is None and sort.nullable:
        return None
    if isinstance(type_, Integer):
        if type(value) is not int or not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
            raise ValueError
        return value
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    value.encode()  # a lone surrogate is a ValueError
    if isinstance(type_, Uuid):
        return str(UUID(value))
    if isinstance(type_, Numeric):
        if not _DECIMAL.fullmatch(value):
            raise ValueError
        return value
    if isinstance(type_, DateTime):
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise ValueError
        return time.astimezone(UTC)  # what is no time there, in the years 1 and 9999, is an OverflowError
    return value
