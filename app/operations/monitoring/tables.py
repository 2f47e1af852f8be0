"""Rows, dead rows, vacuum, and how each table is read."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from app.operations.monitoring.relations import COUNTED
from app.operations.monitoring.servers import Report, Session, Urls, ask_databases
from app.operations.monitoring.units import percent
from app.settings import DatabaseName

_TABLES = f"""
WITH stat AS (
    SELECT s.*, relispartition, relkind,
        CASE WHEN $1 THEN relid ELSE coalesce(pg_partition_root(relid), relid)::oid END AS of
    FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = relid WHERE {COUNTED}
)
SELECT of::regclass::text AS table, CASE WHEN $1 THEN max(pg_partition_root(relid)::text)
        FILTER (WHERE relispartition) END AS partition_of,
    (count(*) FILTER (WHERE relkind <> 'p' AND relispartition AND NOT $1))::int AS partitions,
    sum(n_live_tup)::bigint AS live_rows, sum(n_dead_tup)::bigint AS dead_rows,
    max(greatest(last_vacuum, last_autovacuum)) AS vacuumed_at,
    max(greatest(last_analyze, last_autoanalyze)) AS analyzed_at,
    sum(seq_scan)::bigint AS sequential_scans, coalesce(sum(idx_scan), 0)::bigint AS index_scans,
    sum(n_tup_ins)::bigint AS inserted, sum(n_tup_upd)::bigint AS updated, sum(n_tup_del)::bigint AS deleted,
    sum(n_tup_hot_upd)::bigint AS hot_updated
FROM stat WHERE NOT $1 OR relkind <> 'p' GROUP BY of ORDER BY live_rows DESC, 1
"""


@dataclass(frozen=True)
class Table:
    """A table, a partitioned one with all its partitions, or one partition of ``partition_of``.

    Rows are the server's estimate; what was done to them is counted since its statistics began. ``vacuumed_at`` and
    ``analyzed_at`` are the latest of any partition, by hand or not. A hot update touches no index.
    """

    database: DatabaseName
    table: str
    partition_of: str | None
    partitions: int
    live_rows: int
    dead_rows: int
    dead_percent: float | None
    vacuumed_at: datetime | None
    analyzed_at: datetime | None
    sequential_scans: int
    index_scans: int
    inserted: int
    updated: int
    deleted: int
    hot_updated: int
    hot_percent: float | None


async def look(urls: Urls, *, each_partition: bool = False) -> Report[Table]:
    """All tables of these databases, those with the most rows first."""
    return await ask_databases(urls, partial(_look, each_partition=each_partition))


async def _look(session: Session, *, each_partition: bool) -> Report[Table]:
    return Report(
        tuple(
            Table(
                database=session.name,
                **row,
                dead_percent=percent(row["dead_rows"], row["live_rows"] + row["dead_rows"]),
                hot_percent=percent(row["hot_updated"], row["updated"]),
            )
            for row in await session.fetch(_TABLES, each_partition)
        ),
        notes=(session.counted(),),
    )
