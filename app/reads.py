"""Batched reads as values: which rows answer a set of keys, in which order, in one statement.

A read knows its database, its keys, its shape and who may see which rows. (statements.py prints its statement.) It
knows no table of its own and no GraphQL: the domains declare reads, the graph's edges name them.

Keys travel as one array parameter per key column, so the text of a statement does not depend on how many there are, and
each row tells which key it answers, so that nothing depends on the order in which rows come back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache, partial
from typing import Any, cast

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    FromClause,
    Select,
    Uuid,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeEngine

from app.filters import Condition, Filter, condition, split
from app.paging import AnyColumn, Order
from app.settings import DatabaseName
from app.viewer import Viewer

Model = type[DeclarativeBase]
Columns = tuple[AnyColumn, ...]
"""What a statement selects. A row holds each under its own name (``key``); uuids and decimals come as text."""

Body = Callable[..., Select[Any]]
"""From one key's columns to the FROM and WHERE of the rows that answer it, with nothing selected yet."""

ALL = true()
TOTAL = func.count().label("total")
VIEWER = bindparam("viewer", required=False, type_=Uuid())
"""The uuid of the user who asks, in the condition by which a row is the viewer's own."""

PUBLIC = None
"""In place of that condition: everybody sees the rows."""

WHOLE_TABLE = ()
"""The key, as it were, of a read that takes none."""


class Shape(Enum):
    """What answers one key."""

    ONE = auto()
    MANY = auto()
    PAGE = auto()


@dataclass(frozen=True, eq=False)
class Keys:
    """How keys travel: one array parameter for each of ``types``, which ``arrays`` makes from a list of keys."""

    types: tuple[TypeEngine[Any], ...]
    arrays: Callable[[Sequence[Any]], tuple[list[Any], ...]] = lambda keys: (list(keys),)


@dataclass(frozen=True, eq=False, kw_only=True)
class Match(Keys):
    """Keys, and the condition by which a row of a table answers one element of each array."""

    condition: Callable[..., Condition]
    equals: AnyColumn | None = None
    """The column that equals the key, where that is the whole condition: such a read needs no subquery for each key."""


def equal(*columns: AnyColumn) -> Match:
    """Keys that equal a column, or tuples of values that equal several."""
    types = tuple(column.type for column in columns)

    def condition(*values: ColumnElement[Any]) -> Condition:
        return and_(*(column == value for column, value in zip(columns, values, strict=True)))

    if len(columns) == 1:
        return Match(types, condition=condition, equals=columns[0])
    return Match(types, _transposed, condition=condition)


def _transposed(keys: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(list(values) for values in zip(*keys, strict=True))


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """A table as reads see it: which of its rows there are at all, and which of those are a viewer's own.

    Staff see all that there are, others their own. There is no default for ``own``: what nobody thought of would be
    public.
    """

    model: Model
    exist: Condition = ALL
    own: Condition | None
    own_keys: str | None = None
    """The parameter of ``own`` that holds the viewer's keys in another database, which whoever asks has to bring."""


@dataclass(frozen=True, eq=False)
class Read:
    """One batched read: a value that ``one``, ``many``, ``page`` and the other functions below make."""

    database: DatabaseName
    shape: Shape
    keys: Keys | None
    """None for a page of a whole table."""
    body: Body
    order: Order = ()
    spread: Callable[..., FromClause] | None = None
    """From one key to the keys, in a column ``id``, whose pages make up its page; ``body`` is of one of those then."""
    own: "Read | None" = None
    """The same of the viewer's own rows alone; None where all is public."""
    own_keys: str | None = None
    rows: Rows | None = None
    """The rows of one table that it finds, as they are; None where it works something out of them."""
    short: bool = False
    """Whether it finds few rows for a key, however many the table has."""

    @property
    def equals(self) -> AnyColumn | None:
        """The column that equals the key, where that is all there is to find: a row is known by it."""
        return self.keys.equals if isinstance(self.keys, Match) and self.shape is not Shape.PAGE else None

    def seen_by(self, viewer: Viewer) -> "Read | None":
        """What this viewer reads in its place; None where there is nothing to see and so nothing to ask."""
        if self.own is None or viewer.is_staff:
            return self
        return self.own if viewer.user else None


def one(rows: Rows, key: Match) -> Read:
    """At most one row for each key."""
    return _read(Shape.ONE, rows, key, _matching(rows, key), as_they_are=True)


def many(rows: Rows, key: Match, order: Order, *, short: bool = False) -> Read:
    """All rows for each key, in order; ``short`` where they are few."""
    return replace(_read(Shape.MANY, rows, key, _matching(rows, key), order, as_they_are=True), short=short)


def page(rows: Rows, key: Match | None, order: Order) -> Read:
    """A page of rows for each key; without a key, a page of all rows."""
    return _read(Shape.PAGE, rows, key, _matching(rows, key), order, as_they_are=True)


def spread_page(page: Read, over: Callable[[ColumnElement[Any]], FromClause]) -> Read:
    """A page of the rows of many keys together, for each uuid: ``over`` makes those keys of it, in a column ``id``.

    Of each of them no more is read than a page, by the index that serves ``page``: a filter over all rows in order
    would go through the whole table where the uuid has few.
    """
    own = page.own and spread_page(page.own, over)
    return replace(page, keys=Keys((Uuid(),)), spread=over, own=own)


@lru_cache(maxsize=1024)
def narrowed(page: Read, where: Filter | None, order: Order, *, by_key: bool) -> Read:
    """A page read in another order, and of those rows only that a filter finds.

    ``by_key``: where the filter asks for the rows of certain keys, a page of the whole table becomes one of those keys'
    pages. To go through the table in order would end soon only where those rows are many of it.
    """
    belongs, rest = split(where) if by_key and page.keys is None else (None, where)

    def body(*values: ColumnElement[Any]) -> Select[Any]:
        rows = page.body() if belongs else page.body(*values)
        if belongs:
            rows = rows.where(cast("ColumnElement[Any]", belongs.column) == values[0])
        return rows if rest is None else rows.where(condition(rest))

    own = page.own and narrowed(page.own, where, order, by_key=by_key)
    return replace(page, body=body, order=order, spread=(lambda: belongs.keys) if belongs else page.spread, own=own)


@lru_cache(maxsize=1024)
def counted(page: Read, cap: int | None = None) -> Read:
    """One row for each key of a page read: ``TOTAL``, the number of the rows that it goes through.

    Beyond ``cap`` no more are counted, and the total is one more than it.
    """
    keys = page.keys and Keys(page.keys.types, page.keys.arrays)
    own = page.own and counted(page.own, cap)
    return Read(page.database, Shape.ONE, keys, partial(_all_of, page, cap), own=own, own_keys=page.own_keys)


def _all_of(page: Read, cap: int | None, *values: ColumnElement[Any]) -> Select[Any]:
    if page.spread is None:
        rows = page.body(*values)
    else:
        over = page.spread(*values)
        # LIMIT NULL limits nothing, but keeps PostgreSQL from reading the whole table for a join.
        piece = page.body(over.c.id).add_columns(literal_column("1")).limit(literal_column("NULL"))
        rows = select().select_from(over.join(piece.correlate(over).lateral("piece"), true()))
    if cap is None:
        return rows
    first = rows.add_columns(literal_column("1")).limit(literal_column(str(cap + 1)))
    keys = (cast("ColumnClause[Any]", value).table for value in values)
    return select().select_from(first.correlate(*keys).subquery("counted"))


def computed(rows: Rows, body: Body) -> Read:
    """One row for each uuid, worked out of these rows: an aggregate, or a join."""
    return _read(Shape.ONE, rows, Keys((Uuid(),)), body)


def walked(rows: Rows, body: Body, order: Order, *, short: bool = False) -> Read:
    """All rows for each uuid that a walk through a tree comes by, in order; ``short`` where they are few."""
    return replace(_read(Shape.MANY, rows, Keys((Uuid(),)), body, order), short=short)


def _matching(rows: Rows, key: Match | None) -> Body:
    def body(*values: ColumnElement[Any]) -> Select[Any]:
        condition = key.condition(*values) if key else ALL
        return select().select_from(rows.model).where(condition, rows.exist)

    return body


def _read(
    shape: Shape, rows: Rows, keys: Keys | None, body: Body, order: Order = (), *, as_they_are: bool = False
) -> Read:
    read = Read(_database(rows.model), shape, keys, body, order, rows=rows if as_they_are else None)
    if rows.own is None:
        return read
    own = replace(read, body=partial(_own, body, rows.own))
    return replace(read, own=own, own_keys=rows.own_keys)


def _own(body: Body, condition: Condition, *values: ColumnElement[Any]) -> Select[Any]:
    return body(*values).where(condition)


def _database(model: Model) -> DatabaseName:
    return cast("DatabaseName", model.metadata.info["database"])
