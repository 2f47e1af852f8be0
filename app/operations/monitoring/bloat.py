"""How much room tables and btree indexes may take in vain: an estimate, from what ANALYZE last saw.

The method is that of ioguix's pgsql-bloat-estimation (https://github.com/ioguix/pgsql-bloat-estimation): the pages
that the rows would fill, going by the columns' average widths, against those that there are. Of columns' padding and
of btree's deduplication it knows nothing. The extension pgstattuple measures, and reads everything to do so.
"""

from dataclasses import dataclass
from typing import Literal

from app.operations.monitoring.relations import ours
from app.operations.monitoring.servers import Report, Session, Urls, ask_databases
from app.operations.monitoring.units import percent
from app.settings import DatabaseName

SOURCE = "from pg_stats by the method of ioguix/pgsql-bloat-estimation; the extension pgstattuple measures"

# Pages: a header of 24 bytes, for each row a pointer of 4; a btree's have 16 more at the end, and the first is its own.
# A row's header is 23 bytes and a bit a column if one can be null, an index entry's 8, or 16; all begin at multiples
# of 8. Where a relation was never analyzed, or the role may not see all its columns' statistics, `known` is false.
_BLOAT = f"""
WITH setting AS (SELECT current_setting('block_size')::numeric AS page),
candidate AS (
    SELECT c.oid, c.oid AS table_oid, 'table' AS kind, reltuples, relpages, relnamespace, reloptions, relname,
        c.relname AS heap, NULL::int2[] AS keys, relnatts
    FROM pg_class c WHERE relkind IN ('r', 'm') AND {ours("c")}
    UNION ALL
    SELECT c.oid, indrelid, 'index', c.reltuples, c.relpages, c.relnamespace, c.reloptions, c.relname, t.relname,
        indkey::int2[], c.relnatts
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_class t ON t.oid = indrelid
        JOIN pg_am ON pg_am.oid = c.relam
    WHERE amname = 'btree' AND c.relkind = 'i' AND {ours("c")}
),
width AS (
    SELECT k.oid, count(*) = count(avg_width) AS known, sum((1 - null_frac) * avg_width)::numeric AS bytes,
        bool_or(null_frac > 0) AS has_nulls
    FROM candidate k JOIN pg_attribute a ON a.attrelid = k.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attribute source ON source.attrelid = k.table_oid AND source.attnum = k.keys[a.attnum - 1]
    LEFT JOIN pg_stats s ON s.schemaname = k.relnamespace::regnamespace::name AND NOT s.inherited
        AND s.tablename = CASE WHEN k.keys IS NULL OR k.keys[a.attnum - 1] <> 0 THEN k.heap ELSE k.relname END
        AND s.attname = coalesce(source.attname, a.attname)
    GROUP BY k.oid
),
entry AS (
    SELECT k.*, coalesce(known, false) AND reltuples >= 0 AS known,
        coalesce(substring(array_to_string(reloptions, ' ') FROM 'fillfactor=([0-9]+)')::numeric,
            CASE kind WHEN 'table' THEN 100 ELSE 90 END) / 100 AS filled,
        page - CASE kind WHEN 'table' THEN 24 ELSE 40 END AS room, page,
        4 + ceil(bytes / 8) * 8 + CASE WHEN kind = 'index' THEN CASE WHEN has_nulls THEN 16 ELSE 8 END
            ELSE ceil((23 + CASE WHEN has_nulls THEN ceil(relnatts / 8.0) ELSE 0 END) / 8) * 8 END AS bytes
    FROM candidate k CROSS JOIN setting LEFT JOIN width USING (oid)
),
estimate AS (
    SELECT *, greatest(0, relpages - CASE kind WHEN 'table' THEN 0 ELSE 1 END
        - ceil(reltuples::numeric / greatest(1, floor(room * filled / bytes)))) * page AS bloat
    FROM entry WHERE relpages > 1
)
SELECT kind, coalesce(pg_partition_root(oid), oid)::regclass::text AS name,
    coalesce(pg_partition_root(table_oid), table_oid)::regclass::text AS table,
    (count(*) FILTER (WHERE pg_partition_root(oid) IS NOT NULL))::int AS partitions,
    sum(relpages * page) FILTER (WHERE known)::bigint AS bytes, sum(bloat) FILTER (WHERE known)::bigint AS bloat_bytes,
    (count(*) FILTER (WHERE NOT known AND has_table_privilege(table_oid, 'SELECT')))::int AS unknown,
    (count(*) FILTER (WHERE NOT known AND NOT has_table_privilege(table_oid, 'SELECT')))::int AS hidden
FROM estimate GROUP BY 1, 2, 3 ORDER BY bloat_bytes DESC NULLS LAST, 2
"""


@dataclass(frozen=True)
class Bloat:
    """What is estimated to be taken in vain by a table or a btree index, partitions included.

    ``bytes`` is what was measured of it when it was last analyzed or vacuumed.
    """

    database: DatabaseName
    kind: Literal["table", "index"]
    name: str
    table: str
    partitions: int
    bytes: int
    bloat_bytes: int
    percent: float | None


async def look(urls: Urls) -> Report[Bloat]:
    """The estimates for these databases, each one's largest first."""
    return await ask_databases(urls, _look)


async def _look(session: Session) -> Report[Bloat]:
    rows = await session.fetch(_BLOAT)
    estimates = tuple(
        Bloat(
            database=session.name,
            **{name: row[name] for name in ("kind", "name", "table", "partitions", "bytes", "bloat_bytes")},
            percent=percent(row["bloat_bytes"], row["bytes"]),
        )
        for row in rows
        if row["bytes"] is not None
    )
    notes = [f"an estimate, {SOURCE}"]
    if unknown := sum(row["unknown"] for row in rows):
        notes.append(f"{session.name}: left out, for they were never analyzed: {unknown} tables, indexes, partitions")
    if hidden := sum(row["hidden"] for row in rows):
        notes.append(
            f"{session.name}: left out, for the role {session.role} may not read them: {hidden} tables, indexes, "
            f"partitions (GRANT pg_read_all_data TO {session.role})"
        )
    return Report(estimates, (), tuple(notes))
