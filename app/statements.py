"""The statement of a read for any set of columns and any slice of a page, and what comes back when it is asked."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, Protocol, cast

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Numeric,
    Select,
    Text,
    Uuid,
    any_,
    bindparam,
    column,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect

from app.database import Row
from app.paging import AnyColumn, Bound, Order, backwards, bare, behind
from app.reads import WHOLE_TABLE, Columns, Keys, Read, Shape
from app.settings import DatabaseName
from app.viewer import Viewer

_KEYS = ("k0", "k1", "k2")  # the parameters that keys travel in; no read has more
_WITH_LISTS = {"render_postcompile": True}  # write out `IN (…)`, which SQLAlchemy would leave to its own engine


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
    if read.equals is not None:
        return _compiled(_by_any(read, read.equals, columns))
    if read.keys is None and read.spread is None:
        return _compiled(_limited(read, read.body(), slice_).add_columns(*map(_output, columns)))
    if read.keys is None:
        rows = _rows_of(read, (), columns, slice_)
        return _compiled(rows.with_only_columns(*list(rows.selected_columns)[: len(columns)]))
    return _compiled(_by_lateral(read, read.keys, columns, slice_))


def _by_any(read: Read, key: AnyColumn, columns: Columns) -> Select[Any]:
    wanted = bindparam("k0", required=False, type_=ARRAY(key.type))
    body = read.body(any_(wanted)).add_columns(_text(key).label("k0"), *map(_output, columns))
    return body.order_by(*(sort.directed(sort.key) for sort in read.order))


def _by_lateral(read: Read, keys: Keys, columns: Columns, slice_: Slice | None) -> Select[Any]:
    unnested = _unnested(keys)
    values = tuple(column for column in unnested.c if column.name != "place")
    return _of_each(unnested, values, unnested.c.place, read, columns, slice_)


def _of_each(
    keys: FromClause,
    values: Sequence[ColumnElement[Any]],
    first: ColumnElement[Any],
    read: Read,
    columns: Columns,
    slice_: Slice | None = None,
) -> Select[Any]:
    """The rows of each of the keys, whose cells are ``values``: ``first``, and the columns."""
    rows = _rows_of(read, values, columns, slice_).correlate(keys).lateral("t")
    return (
        select(first.label("k0"), *(rows.c[str(column.key)] for column in columns))
        .select_from(keys.join(rows, true()))
        .order_by(*(sort.directed(rows.c[f"s{i}"]) for i, sort in enumerate(_direction(read, slice_))))
    )


def list_of(read: Read, via: AnyColumn, columns: Columns, name: str) -> ColumnElement[Any]:
    """The rows that a read finds by a column of another's row, as a list in a cell of that row.

    Each is what its own statement would have brought: first what tells its key, then the columns.
    """
    if read.keys is None:
        raise ValueError("a read without keys has the same rows for all")
    # One key, but from a FROM of its own: there, columns of the other row cannot be mistaken for columns of this one.
    key = column("k0", read.keys.types[0])
    keys = func.unnest(array([bare(via)])).table_valued(key).render_derived("key")
    first = literal_column("1", Integer) if read.equals is None else _text(keys.c.k0)
    rows = _of_each(keys, (keys.c.k0,), first, read, columns)
    return func.array(rows.with_only_columns(func.row(*rows.selected_columns)).scalar_subquery()).label(name)


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
    return func.unnest(*arrays).table_valued(*columns, with_ordinality="place").render_derived("keys")


def _output(column: AnyColumn) -> ColumnElement[Any]:
    return _text(column).label(str(column.key))


def _text(column: AnyColumn) -> ColumnElement[Any]:
    """As text where the driver would make an object that the answer needs as text anyway."""
    element = cast("ColumnElement[Any]", column)
    return sql_cast(element, Text) if isinstance(element.type, (Uuid, Numeric)) else element


@lru_cache(maxsize=1024)
def as_text(column: AnyColumn) -> ColumnElement[Any]:
    """A column as PostgreSQL writes it, under a name of its own, beside the column itself."""
    return sql_cast(bare(column), Text).label(f"{column.key}_text")


def _compiled(query: Select[Any]) -> Statement:
    # Any: what only this dialect's compiled statements have, SQLAlchemy's types do not say.
    compiled = cast("Any", query.compile(dialect=asyncpg_dialect(), compile_kwargs=_WITH_LISTS))  # pyright: ignore[reportUnknownVariableType]
    return Statement(str(compiled), tuple(compiled.positiontup or ()), dict(compiled.params))


class Source(Protocol):
    """What answers the statements of one database."""

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        """As ``Database.fetch``."""
        ...


class Sources(Protocol):
    """Where reads are made: the databases themselves, or what chooses among the servers of each."""

    def __getitem__(self, name: DatabaseName, /) -> Source: ...


async def fetch(
    sources: Sources,
    viewer: Viewer,
    read: Read,
    columns: Columns,
    keys: Sequence[Any],
    parameters: Mapping[str, object],
    slice_: Slice | None = None,
) -> list[Row]:
    """The rows of all keys that the viewer may see, in the read's order. Which key a row answers, ``answered`` knows.

    Keys are distinct: text for uuids (in PostgreSQL's own spelling: lower case), a tuple where several columns match,
    ``WHOLE_TABLE`` where the read takes none. Every executor comes through here, so that what a viewer may not see is
    in no answer, whatever was forgotten elsewhere.

    Raises:
        DatabaseUnavailableError, DatabaseTimeoutError: as ``Database.fetch`` does.
    """
    seen = read.seen_by(viewer)
    if seen is None:
        return []
    text = statement(seen, columns, slice_)
    values = dict(zip(_KEYS, seen.keys.arrays(keys), strict=False)) if seen.keys else {}
    values |= {"viewer": viewer.user, **parameters}
    return await sources[read.database].fetch(text.sql, *text.arguments(values))


def answered(read: Read, keys: Sequence[Any], rows: Sequence[Row]) -> list[Any]:
    """The key that each row answers, of those that ``fetch`` was asked for.

    A row's first cell is the key or, where that is more than one column's value, its place among all keys: so it is not
    sent with each row, and a dictionary finds the very objects that it holds.
    """
    if read.keys is None:
        return [WHOLE_TABLE] * len(rows)
    cells = map(_FIRST, rows)
    return list(cells) if read.equals is not None else [keys[place - 1] for place in cells]


_FIRST = itemgetter(0)


def by_key(read: Read, keys: Sequence[Any], rows: Sequence[Row]) -> dict[Any, list[Row]]:
    """The rows of each key, in order; a key that no row answers is missing."""
    found: dict[Any, list[Row]] = defaultdict(list)
    for key, row in zip(answered(read, keys, rows), rows, strict=True):
        found[key].append(row)
    return found
