"""Batched reads as values: which rows answer a set of keys, in which order, in one statement.

A read knows its database, its keys, its shape and which rows may be seen. It prints its statement for any set of
columns. It knows no table of its own and no GraphQL: the domains declare reads, the graph's edges name them.

Keys travel as one array parameter per key column, so the text of a statement does not depend on how many there are, and
each row carries the key that it answers, so that nothing depends on the order in which rows come back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache, partial
from typing import Any, cast

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    FromClause,
    Numeric,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    column,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeEngine

from app.database import Databases, Row
from app.filters import Condition, Filter, condition, split
from app.paging import AnyColumn, Bound, Order, backwards, behind
from app.settings import DatabaseName

Model = type[DeclarativeBase]
Columns = tuple[AnyColumn, ...]
"""What a statement selects. A row holds each under its own name (``key``); uuids and decimals come as text."""

Body = Callable[..., Select[Any]]
"""From one key's columns to the FROM and WHERE of the rows that answer it, with nothing selected yet."""

ALL = true()
TOTAL = func.count().label("total")
WHOLE_TABLE = ()
"""The key, as it were, of a read that takes none."""
_WITH_LISTS = {"render_postcompile": True}  # write out `IN (…)`, which SQLAlchemy would leave to its own engine


class Shape(Enum):
    """What answers one key."""

    ONE = auto()
    MANY = auto()
    PAGE = auto()


@dataclass(frozen=True, eq=False)
class Keys:
    """How keys travel: one array parameter for each of ``types``, which ``arrays`` makes from a list of keys.

    The first ``width`` arrays are the key itself (a tuple, where there are several); the others are derived from it.
    """

    types: tuple[TypeEngine[Any], ...]
    arrays: Callable[[Sequence[Any]], tuple[list[Any], ...]] = lambda keys: (list(keys),)
    width: int = 1


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
    return Match(types, _transposed, len(columns), condition=condition)


def _transposed(keys: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(list(values) for values in zip(*keys, strict=True))


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


def one(model: Model, key: Match, visible: Condition = ALL) -> Read:
    """At most one row for each key. ``visible`` says which rows of the table can be seen at all."""
    return _rows(Shape.ONE, model, key, (), visible)


def many(model: Model, key: Match, order: Order, visible: Condition = ALL) -> Read:
    """All rows for each key, in order."""
    return _rows(Shape.MANY, model, key, order, visible)


def page(model: Model, key: Match | None, order: Order, visible: Condition = ALL) -> Read:
    """A page of rows for each key; without a key, a page of all rows."""
    return _rows(Shape.PAGE, model, key, order, visible)


def spread_page(page: Read, over: Callable[[ColumnElement[Any]], FromClause]) -> Read:
    """A page of the rows of many keys together, for each uuid: ``over`` makes those keys of it, in a column ``id``.

    Of each of them no more is read than a page, by the index that serves ``page``: a filter over all rows in order
    would go through the whole table where the uuid has few.
    """
    return Read(page.database, Shape.PAGE, Keys((Uuid(),)), page.body, page.order, over)


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

    return replace(page, body=body, order=order, spread=(lambda: belongs.keys) if belongs else page.spread)


@lru_cache(maxsize=1024)
def counted(page: Read, cap: int | None = None) -> Read:
    """One row for each key of a page read: ``TOTAL``, the number of the rows that it goes through.

    Beyond ``cap`` no more are counted, and the total is one more than it.
    """
    keys = page.keys and Keys(page.keys.types, page.keys.arrays, page.keys.width)
    return Read(page.database, Shape.ONE, keys, partial(_all_of, page, cap))


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


def computed(model: Model, body: Body) -> Read:
    """One row for each uuid, worked out in the model's database: an aggregate, or a join."""
    return Read(_database(model), Shape.ONE, Keys((Uuid(),)), body)


def walked(model: Model, body: Body, order: Order) -> Read:
    """All rows for each uuid that a walk through a tree comes by, in order."""
    return Read(_database(model), Shape.MANY, Keys((Uuid(),)), body, order)


def _rows(shape: Shape, model: Model, key: Match | None, order: Order, visible: Condition) -> Read:
    def body(*values: ColumnElement[Any]) -> Select[Any]:
        condition = key.condition(*values) if key else ALL
        return select().select_from(model).where(condition, visible)

    return Read(_database(model), shape, key, body, order)


def _database(model: Model) -> DatabaseName:
    return cast("DatabaseName", model.metadata.info["database"])


@dataclass(frozen=True)
class Statement:
    """Text for the driver, and the names of its parameters in the order of ``$1``, ``$2`` and so on."""

    sql: str
    names: tuple[str, ...]
    constants: Mapping[str, object]

    def arguments(self, values: Mapping[str, object]) -> list[object]:
        """The values of the parameters, in order."""
        return [values[name] if name in values else self.constants[name] for name in self.names]


@dataclass(frozen=True)
class Slice:
    """Which rows of a page read: at most ``limit`` for each key, behind one cursor and before another.

    From the end of the list, the rows come last one first. The limit is part of the statement's text, since a plan made
    for any limit at all is one for a tenth of the table.
    """

    limit: int
    after: Bound | None = None
    before: Bound | None = None
    from_end: bool = False


@lru_cache(maxsize=4096)
def statement(read: Read, columns: Columns, slice_: Slice | None = None) -> Statement:
    """The statement of a read for a set of columns; a page read needs a slice.

    Its parameters are ``k0``, ``k1`` … (the keys' arrays), those of the slice's cursors, and what ``body`` binds.
    """
    if isinstance(read.keys, Match) and read.keys.equals is not None and read.shape is not Shape.PAGE:
        return _compiled(_by_any(read, read.keys.equals, columns))
    if read.keys is None and read.spread is None:
        return _compiled(_limited(read, read.body(), slice_).add_columns(*map(_output, columns)))
    if read.keys is None:
        return _compiled(_rows_of(read, (), columns, slice_))
    return _compiled(_by_lateral(read, read.keys, columns, slice_))


def _by_any(read: Read, key: AnyColumn, columns: Columns) -> Select[Any]:
    wanted = bindparam("k0", required=False, type_=ARRAY(key.type))
    body = read.body(any_(wanted)).add_columns(_text(key).label("k0"), *map(_output, columns))
    return body.order_by(*(sort.directed(sort.key) for sort in read.order))


def _by_lateral(read: Read, keys: Keys, columns: Columns, slice_: Slice | None) -> Select[Any]:
    unnested = _unnested(keys)
    rows = _rows_of(read, tuple(unnested.c), columns, slice_).correlate(unnested).lateral("t")
    return (
        select(*_echo(keys, unnested), *(rows.c[str(column.key)] for column in columns))
        .select_from(unnested.join(rows, true()))
        .order_by(*(sort.directed(rows.c[f"s{i}"]) for i, sort in enumerate(_direction(read, slice_))))
    )


def _rows_of(read: Read, values: Sequence[ColumnElement[Any]], columns: Columns, slice_: Slice | None) -> Select[Any]:
    """The rows of one key, with what they are sorted by as ``s0``, ``s1`` and so on.

    The ORDER BY or LIMIT also keeps PostgreSQL from pulling the subquery up into a join, which for many keys would be a
    hash join over all partitions. It promises no order of the whole, so that is said outside again.
    """
    selected = [*map(_output, columns), *(sort.key.label(f"s{i}") for i, sort in enumerate(read.order))]
    if read.spread is None:
        return _limited(read, read.body(*values), slice_).add_columns(*selected)
    over = read.spread(*values)
    rows = _limited(read, read.body(over.c.id), slice_).add_columns(*selected).correlate(over).lateral("piece")
    order = (sort.directed(rows.c[f"s{i}"]) for i, sort in enumerate(_direction(read, slice_)))
    merged = select(*rows.c).select_from(over.join(rows, true())).order_by(*order)
    return merged.limit(literal_column(str(slice_.limit))) if slice_ else merged


def _limited(read: Read, body: Select[Any], slice_: Slice | None) -> Select[Any]:
    if slice_ and slice_.after:
        body = body.where(behind(read.order, slice_.after))
    if slice_ and slice_.before:
        body = body.where(behind(backwards(read.order), slice_.before))
    body = body.order_by(*(sort.directed(sort.key) for sort in _direction(read, slice_)))
    limit = slice_.limit if slice_ else 1 if read.shape is Shape.ONE else None
    return body if limit is None else body.limit(literal_column(str(limit)))


def _direction(read: Read, slice_: Slice | None) -> Order:
    return backwards(read.order) if slice_ and slice_.from_end else read.order


def _unnested(keys: Keys) -> FromClause:
    names = [f"k{i}" for i in range(len(keys.types))]
    arrays = (
        bindparam(name, required=False, type_=ARRAY(type_)) for name, type_ in zip(names, keys.types, strict=True)
    )
    columns = (column(name, type_) for name, type_ in zip(names, keys.types, strict=True))
    return func.unnest(*arrays).table_valued(*columns).render_derived("keys")


def _echo(keys: Keys, unnested: FromClause) -> list[ColumnElement[Any]]:
    return [_text(unnested.c[f"k{i}"]).label(f"k{i}") for i in range(keys.width)]


def _output(column: AnyColumn) -> ColumnElement[Any]:
    return _text(column).label(str(column.key))


def _text(column: AnyColumn) -> ColumnElement[Any]:
    """As text where the driver would make an object that the answer needs as text anyway."""
    element = cast("ColumnElement[Any]", column)
    return sql_cast(element, Text) if isinstance(element.type, (Uuid, Numeric)) else element


def _compiled(query: Select[Any]) -> Statement:
    # Any: what only this dialect's compiled statements have, SQLAlchemy's types do not say.
    compiled = cast("Any", query.compile(dialect=asyncpg_dialect(), compile_kwargs=_WITH_LISTS))  # pyright: ignore[reportUnknownVariableType]
    return Statement(str(compiled), tuple(compiled.positiontup or ()), dict(compiled.params))


async def fetch(
    databases: Databases,
    read: Read,
    columns: Columns,
    keys: Sequence[Any],
    parameters: Mapping[str, object],
    slice_: Slice | None = None,
) -> dict[Any, list[Row]]:
    """The rows of each key, in order; a key that no row answers is missing.

    Keys are distinct: text for uuids (in PostgreSQL's own spelling: lower case), a tuple where several columns match,
    ``WHOLE_TABLE`` where the read takes none.

    Raises:
        DatabaseUnavailableError, DatabaseTimeoutError: as ``Database.fetch`` does.
    """
    text = statement(read, columns, slice_)
    arrays = read.keys.arrays(keys) if read.keys else ()
    values = {f"k{i}": array for i, array in enumerate(arrays)} | dict(parameters)
    rows = await databases[read.database].fetch(text.sql, *text.arguments(values))
    if read.keys is None:
        return {WHOLE_TABLE: rows}
    answers: dict[Any, list[Row]] = {}
    for row in rows:
        key = row["k0"] if read.keys.width == 1 else tuple(row[f"k{i}"] for i in range(read.keys.width))
        answers.setdefault(key, []).append(row)
    return answers
