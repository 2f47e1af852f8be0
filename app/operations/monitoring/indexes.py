"""Indexes: how big, how much used, which are of no use, broken or there twice, and which may be missing."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from asyncpg import Record

from app.operations.monitoring.relations import COUNTED, LOCKED, ours
from app.operations.monitoring.servers import Report, Session, Urls, ask_databases
from app.settings import DatabaseName

_MANY_ROWS, _MANY_SCANS = 10_000, 100  # below them, reading a table in sequence is nothing to speak of

# `shape` is the same for two indexes that serve the same searches. One that is just being built is not valid either:
# a role that does not see others' progress sees at least their lock, which VACUUM takes as well.
_INDEXES = f"""
WITH {LOCKED}
SELECT c.oid, pg_partition_root(c.oid)::oid AS root, c.relkind = 'I' AS is_parent, c.oid::regclass::text AS name,
    indrelid AS table_oid, indrelid::regclass::text AS table,
    CASE WHEN c.oid NOT IN (SELECT relation FROM locked) THEN pg_relation_size(c.oid) END AS bytes,
    coalesce(pg_stat_get_numscans(c.oid), 0) AS scans, {{last_scan}} AS last_scan,
    indisprimary AS primary_key, indisunique AS unique,
    indisreplident OR EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid AND contype IN ('p', 'u', 'x'))
        AS constraint,
    indisvalid AND indisready AND indislive AS valid,
    EXISTS (SELECT FROM pg_stat_progress_create_index WHERE index_relid = c.oid) OR NOT $1 AND indrelid IN (
        SELECT relation FROM pg_locks WHERE mode = 'ShareUpdateExclusiveLock' AND granted) AS building,
    CASE WHEN indrelid NOT IN (SELECT relation FROM locked) THEN concat_ws(' / ', relam, indkey, indclass, indcollation,
        indoption, indnkeyatts, indisunique AND indnullsnotdistinct, pg_get_expr(indexprs, indrelid),
        'where ' || pg_get_expr(indpred, indrelid)) END AS shape,
    (SELECT min(conname::text) FROM pg_constraint WHERE contype = 'f' AND conrelid = indrelid AND indpred IS NULL
        AND conkey <@ (indkey::int2[])[0:cardinality(conkey) - 1]) AS foreign_key
FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE {ours("c")} ORDER BY c.oid
"""
_WITHOUT_INDEX = """
SELECT conrelid::regclass::text AS table, conname AS name, confrelid::regclass::text AS refers_to,
    ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS k (attnum, number)
        JOIN pg_attribute a ON (a.attrelid, a.attnum) = (conrelid, k.attnum) ORDER BY number) AS columns
FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND NOT EXISTS (
    SELECT FROM pg_index WHERE indrelid = conrelid AND indisvalid AND indpred IS NULL
        AND conkey <@ (indkey::int2[])[0:cardinality(conkey) - 1]
) ORDER BY 1, 2
"""
_READ_IN_SEQUENCE = f"""
SELECT coalesce(pg_partition_root(relid), relid)::regclass::text AS table, sum(n_live_tup)::bigint AS rows,
    sum(seq_scan)::bigint AS sequential, (sum(seq_scan) + sum(coalesce(idx_scan, 0)))::bigint AS scans
FROM pg_stat_user_tables WHERE {COUNTED} GROUP BY 1
HAVING sum(n_live_tup) >= {_MANY_ROWS} AND sum(seq_scan) >= {_MANY_SCANS} AND sum(seq_tup_read) >= 1000 * sum(seq_scan)
    AND 10 * sum(seq_scan) >= sum(seq_scan) + sum(coalesce(idx_scan, 0))
ORDER BY sum(seq_tup_read) DESC, 1
"""


@dataclass(frozen=True)
class Index:
    """An index, a partitioned one with those of all partitions, or that of one partition.

    ``unused``: no statement has been served by it since statistics began, and nothing else needs it: it is no primary
    key's, unique or a constraint's. ``foreign_key`` is one whose columns it finds: changes of the table referred to
    lean on it, whether or not a statement does. ``last_scan`` is known from PostgreSQL 16 on. ``bytes`` is None while
    somebody has it locked for himself.
    """

    name: str
    table: str
    partitions: int
    bytes: int | None
    scans: int
    last_scan: datetime | None
    primary_key: bool
    unique: bool
    constraint: bool
    valid: bool
    building: bool
    unused: bool
    duplicate_of: str | None
    foreign_key: str | None


@dataclass(frozen=True)
class MissingIndex:
    """Where an index may help; without ``columns`` it takes a look at the queries to say which."""

    table: str
    columns: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Indexes:
    """The indexes of one database, and those it may lack. ``counted_since`` is None where it always counted."""

    database: DatabaseName
    counted_since: datetime | None
    indexes: tuple[Index, ...]
    missing: tuple[MissingIndex, ...]


async def look(urls: Urls, *, each_partition: bool = False) -> Report[Indexes]:
    """The indexes of these databases: what is wrong with one comes first, then the largest."""
    return await ask_databases(urls, partial(_look, each_partition=each_partition))


async def _look(session: Session, *, each_partition: bool) -> Report[Indexes]:
    last_scan = "pg_stat_get_lastscan(c.oid)" if session.version_num >= 160_000 else "NULL::timestamptz"
    rows = await session.fetch(_INDEXES.format(last_scan=last_scan), session.sees_all)
    groups: dict[int, list[Record]] = defaultdict(list)
    for row in rows:
        groups[row["root"] or row["oid"]].append(row)
    duplicates = _duplicates(rows)
    found = [
        _index(shown, group, duplicates)
        for group in groups.values()
        for shown in (([row] for row in group if not row["is_parent"]) if each_partition else [group])
    ]
    found.sort(key=lambda of: (of.valid, of.duplicate_of is None, not of.unused, -(of.bytes or 0), of.name))
    broken = [row for row in rows if not row["valid"] and not row["building"]]
    return Report(
        (Indexes(session.name, session.counted_since, tuple(found), await _missing(session)),),
        tuple(_finding(session.name, row) for row in broken),
        (session.counted(), "each server counts the scans of its own: an index may serve a standby alone"),
    )


def _index(shown: Sequence[Record], group: Sequence[Record], duplicates: dict[int, str]) -> Index:
    """What is shown in one line, all of a partitioned index or one of it; whether it is unused, they are together."""
    head = next((row for row in shown if row["oid"] == row["root"]), shown[0])
    needed = any(row["unique"] or row["constraint"] for row in group)
    sizes = [row["bytes"] for row in shown]
    return Index(
        name=head["name"],
        table=head["table"],
        partitions=sum(not row["is_parent"] and row["root"] is not None for row in shown) if len(shown) > 1 else 0,
        bytes=None if None in sizes else sum(sizes),
        scans=sum(row["scans"] for row in shown),
        last_scan=max((row["last_scan"] for row in shown if row["last_scan"]), default=None),
        **{name: head[name] for name in ("primary_key", "unique", "constraint", "foreign_key")},
        valid=all(row["valid"] for row in shown),
        building=any(row["building"] for row in shown),
        unused=not needed and all(row["valid"] and not row["scans"] for row in group),
        duplicate_of=duplicates.get(head["oid"]),
    )


def _duplicates(rows: Iterable[Record]) -> dict[int, str]:
    """For each index that another one makes superfluous, the name of that one: the one that something else needs."""
    alike: dict[tuple[int, str], list[Record]] = defaultdict(list)
    for row in rows:
        if row["valid"] and row["shape"] is not None:
            alike[row["table_oid"], row["shape"]].append(row)
    duplicates: dict[int, str] = {}
    for group in alike.values():
        kept, *others = sorted(
            group, key=lambda row: (not row["constraint"], not row["unique"], row["root"] is None, row["oid"])
        )
        duplicates |= {row["oid"]: kept["name"] for row in others}
    return duplicates


async def _missing(session: Session) -> tuple[MissingIndex, ...]:
    keys = await session.fetch(_WITHOUT_INDEX)
    read = await session.fetch(_READ_IN_SEQUENCE)
    by_keys = [
        MissingIndex(
            row["table"],
            tuple(row["columns"]),
            f"foreign key {row['name']}: a change of {row['refers_to']} reads the whole table",
        )
        for row in keys
    ]
    by_scans = [
        MissingIndex(
            row["table"],
            (),
            f"{row['sequential']:,} of its {row['scans']:,} scans go through its {row['rows']:,} rows one by one",
        )
        for row in read
    ]
    return (*by_keys, *by_scans)


def _finding(database: DatabaseName, row: Record) -> str:
    mend = f"REINDEX INDEX CONCURRENTLY {row['name']}, or DROP INDEX CONCURRENTLY {row['name']} and make it anew"
    if row["is_parent"]:
        mend = "make it on each partition and ALTER INDEX … ATTACH PARTITION"
    return f"{database}: index {row['name']} of {row['table']} is invalid, it slows writes and serves no read: {mend}"
