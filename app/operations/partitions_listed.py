"""Which partitions there are, what is in them, and how far they reach ahead. Changes nothing."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from app.errors import OperationError
from app.operations.connect import Connection
from app.operations.partitions import TABLES, Quarter

# The estimate is the planner's: rows a page when it was last analyzed, by the pages that there are now. A table that is
# no partition counts as one that was detached where it has the name of one and the columns.
_PARTITIONS = """
    SELECT parent.name AS table, c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds,
        CASE WHEN i.inhdetachpending THEN 'detaching' WHEN c.relispartition THEN 'attached'
            ELSE 'detached' END AS state,
        pg_total_relation_size(c.oid) AS bytes,
        CASE WHEN pg_relation_size(c.oid) = 0 THEN 0
            WHEN c.reltuples >= 0 AND c.relpages > 0 THEN round(c.reltuples / c.relpages * pg_relation_size(c.oid)
                / current_setting('block_size')::int)::bigint
            ELSE pg_stat_get_live_tuples(c.oid) END AS rows
    FROM unnest($1::text[]) WITH ORDINALITY AS parent (name, number)
    JOIN pg_class p ON p.oid = to_regclass(parent.name)
    JOIN pg_class c ON c.relnamespace = p.relnamespace AND c.relkind IN ('r', 'p', 'f')
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = p.oid
    WHERE i.inhrelid IS NOT NULL OR (
        NOT c.relispartition AND c.relname ~ format('^%s_\\d{4}_q[1-4]$', parent.name) AND NOT EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped AND NOT EXISTS (
                SELECT FROM pg_attribute b WHERE (b.attrelid, b.attname, b.atttypid) = (c.oid, a.attname, a.atttypid)
            )
        )
    )
    ORDER BY parent.number, c.relname
"""
_BOUNDS = re.compile(r"FOR VALUES FROM \((.+)\) TO \((.+)\)")


@dataclass(frozen=True)
class Partition:
    """A partition, or a table that was one.

    ``start`` is the first moment in it and ``end`` the first after it; None where it has no such bound. ``rows`` is an
    estimate unless they were counted, ``bytes`` is with indexes, and ``state`` is attached, detaching (which was
    interrupted) or detached.
    """

    table: str
    name: str
    start: datetime | None
    end: datetime | None
    rows: int
    bytes: int
    state: str


async def listed(connection: Connection, *, exact: bool) -> list[Partition]:
    """The partitions of both tables, those that have been detached included, each table's by name.

    Raises:
        OperationError: there are no such tables yet.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(
            "SET LOCAL datestyle TO 'ISO'"
        )  # bounds are printed in it, and a role may have another
        for table in TABLES:
            if await connection.fetchval("SELECT to_regclass($1)", table) is None:
                raise OperationError(f"there is no table {table} yet: run `storegraph db upgrade --database orders`")
        found: list[Partition] = []
        for row in await connection.fetch(_PARTITIONS, TABLES):
            rows = row["rows"]
            if exact:
                quoted = await connection.fetchval("SELECT quote_ident($1)", row["name"])
                rows = await connection.fetchval(f"SELECT count(*) FROM {quoted}")
            start, end = _range(row["table"], row["name"], row["bounds"])
            found.append(Partition(row["table"], row["name"], start, end, rows, row["bytes"], row["state"]))
        return found


def months_ahead(partitions: list[Partition], today: date) -> int:
    """For how many months after today's both tables have partitions, without a gap; 0 where today has none, too."""
    ends: list[datetime] = []
    for table in TABLES:
        ranges = [
            (of.start or datetime.min.replace(tzinfo=UTC), of.end or datetime.max.replace(tzinfo=UTC))
            for of in partitions
            if of.table == table and of.state == "attached" and (of.start or of.end)  # not a default one
        ]
        reached = datetime.combine(today, time(), UTC)
        for start, end in sorted(ranges):
            if start <= reached < end:
                reached = end
        ends.append(reached)
    until = min(ends)
    return max(until.year * 12 + until.month - today.year * 12 - today.month - 1, 0)


def _range(table: str, name: str, bounds: str | None) -> tuple[datetime | None, datetime | None]:
    if bounds is None:  # no partition any more: it is called as it was
        year, number = name.removeprefix(f"{table}_").split("_q")
        quarter = Quarter(int(year), int(number))
        return _midnight(quarter.start), _midnight(quarter.next.start)
    found = _BOUNDS.fullmatch(bounds)
    return (_moment(found[1]), _moment(found[2])) if found else (None, None)


def _moment(bound: str) -> datetime | None:
    return datetime.fromisoformat(bound.strip("'")) if bound.startswith("'") else None  # MINVALUE, MAXVALUE


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
