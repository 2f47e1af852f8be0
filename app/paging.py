"""Keyset pages as data: the order of a list, the place in it that a cursor names, and the condition that goes on there.

A page never skips rows by counting them: it starts behind the last row of the one before, found by its sort columns.
"""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Column, ColumnElement, DateTime, String, Uuid, bindparam, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from app.database import Row
from app.errors import BadUserInputError

CURSOR_VERSION = 1
LONGEST_CURSOR = 4096

AnyColumn = ColumnElement[Any] | InstrumentedAttribute[Any]
"""A column or expression of any type: what may be compared with what is PostgreSQL's to say."""


@dataclass(frozen=True)
class Sort:
    """One column that a list is ordered by."""

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

    def directed(self, key: ColumnElement[Any]) -> ColumnElement[Any]:
        """The term of an ORDER BY over ``key``: this sort's own, or the same value selected from a subquery."""
        return key.desc() if self.descending else key.asc()


Order = tuple[Sort, ...]
"""A total order: it ends in a unique column, and (so far) runs in one direction over columns that are never NULL."""


def ascending(*columns: AnyColumn) -> Order:
    """By these columns, the smallest first."""
    return tuple(Sort(column) for column in columns)


def descending(*columns: AnyColumn) -> Order:
    """By these columns, the largest first."""
    return tuple(Sort(column, descending=True) for column in columns)


def parameter(sort: Sort) -> str:
    """The name of the statement's parameter that takes this column's value of the cursor."""
    return f"after_{sort.name}"


def behind(order: Order) -> ColumnElement[bool]:
    """The condition of rows behind the cursor.

    The leading column's bound is said twice, since PostgreSQL prunes partitions by it and not by a row comparison.
    """
    keys = [sort.key for sort in order]
    values = [bindparam(parameter(sort), required=False, type_=sort.column.type) for sort in order]
    if order[0].descending:
        return (tuple_(*keys) < tuple_(*values)) & (keys[0] <= values[0])
    return (tuple_(*keys) > tuple_(*values)) & (keys[0] >= values[0])


def encode_cursor(order: Order, row: Row) -> str:
    """The opaque name of a row's place in an order. The row holds the value of each sort column by its name."""
    values = [_to_json(row[sort.name]) for sort in order]
    text = json.dumps([CURSOR_VERSION, _signature(order), *values], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(order: Order, cursor: str) -> dict[str, object]:
    """The values of the statement's parameters that continue behind a cursor.

    Raises:
        BadUserInputError: it is no cursor, or one of another order.
    """
    try:
        if len(cursor) > LONGEST_CURSOR:
            raise ValueError
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, signature, *values = json.loads(text)
        if version != CURSOR_VERSION or signature != _signature(order):
            raise ValueError
        return {parameter(sort): _from_json(sort, value) for sort, value in zip(order, values, strict=True)}
    except (ValueError, TypeError, OverflowError, RecursionError):  # json's and base64's own are ValueErrors
        raise BadUserInputError("after is not a cursor of this list: pass one that it returned.") from None


def _signature(order: Order) -> str:
    return ",".join(f"{'-' if sort.descending else ''}{_table_of(sort.column)}.{sort.name}" for sort in order)


def _table_of(column: AnyColumn) -> str:
    return cast("Column[Any]", column.expression if isinstance(column, InstrumentedAttribute) else column).table.name


def _to_json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _from_json(sort: Sort, value: object) -> object:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    value.encode()  # a lone surrogate is a ValueError
    if isinstance(sort.column.type, Uuid):
        return str(UUID(value))
    if isinstance(sort.column.type, DateTime):
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise ValueError
        return time.astimezone(UTC)  # what is no time there, in the years 1 and 9999, is an OverflowError
    return value
