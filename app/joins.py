"""Reads that bring along, with each of their rows, rows of another read: two statements as one.

The one row that a row leads to is joined to it. It is beside each row that leads to it, and not sent once for all of
them: good for rows that few others lead to, and for anything at all where a statement costs more than a hundred rows.
Several rows come as a list in one cell (``statements.list_of``), which pays where few rows are read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_
from sqlalchemy.sql.util import ClauseAdapter

from app.paging import AnyColumn, bare
from app.reads import Read, Rows, Shape


@dataclass(frozen=True)
class Join:
    """The row of ``other`` that ``via``, a column of a read or one beside it, is the key of. ``name`` is its own."""

    via: AnyColumn
    other: Read
    name: str


def can_join(reads: Iterable[Read], other: Read) -> bool:
    """Whether ``other`` can come along with any of these reads: rows of the same database that everybody may see."""
    return (
        other.shape is Shape.ONE
        and other.equals is not None
        and other.own is None
        and other.rows is not None
        and all(read.rows is not None and read.database == other.database for read in reads)
    )


def can_list(reads: Sequence[Read], other: Read) -> bool:
    """Whether rows of ``other`` can come as a list with each row of any of these reads, which find one for a key."""
    return (
        other.own is None
        and (other.shape is Shape.ONE or other.short)
        and other.keys is not None
        and len(other.keys.types) == 1
        and bool(reads)
        and all(read.shape is Shape.ONE and read.database == other.database for read in reads)
    )


def key_column(other: Read) -> AnyColumn:
    """The column that a joined row is found by."""
    if other.equals is None:
        raise ValueError("can_join would have said no")
    return other.equals


def _rows(read: Read) -> Rows:
    if read.rows is None:
        raise ValueError("can_join would have said no")
    return read.rows


@lru_cache(maxsize=1024)
def beside(join: Join, column: AnyColumn) -> ColumnElement[Any]:
    """A column of the joined row; NULL where there is none."""
    return _adapter(join).traverse(bare(column)).label(f"{join.name}{column.key}")


@lru_cache(maxsize=1024)
def joined(read: Read, joins: tuple[Join, ...]) -> Read:
    """The same rows of a read, with those of the joins beside them. A later join can be by a column of one before."""
    if not joins:
        return read

    def body(*values: ColumnElement[Any]) -> Select[Any]:
        rows = read.body(*values)
        for join in joins:
            adapter = _adapter(join)
            on = and_(
                adapter.traverse(bare(key_column(join.other))) == bare(join.via),
                adapter.traverse(_rows(join.other).exist),
            )
            rows = rows.join_from(_rows(read).model, _table(join), on, isouter=True)
        return rows

    return replace(read, body=body, own=read.own and joined(read.own, joins))


@lru_cache(maxsize=1024)
def _table(join: Join) -> FromClause:
    return _rows(join.other).model.__table__.alias(f"{join.name}row")


@lru_cache(maxsize=1024)
def _adapter(join: Join) -> ClauseAdapter:
    return ClauseAdapter(_table(join))
