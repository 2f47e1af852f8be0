"""What takes the room: databases, and in them tables, indexes and TOAST."""

from dataclasses import dataclass
from functools import partial

from app.operations.monitoring.relations import LOCKED, ours
from app.operations.monitoring.servers import Report, Session, Urls, ask_databases
from app.settings import DatabaseName

# pg_table_size counts the TOAST table with its index.
_SIZES = f"""
WITH {LOCKED},
relation AS (
    SELECT CASE WHEN $1 THEN oid ELSE coalesce(pg_partition_root(oid), oid)::oid END AS of, relispartition, relkind,
        CASE WHEN free THEN pg_table_size(oid) END AS with_toast,
        CASE WHEN free THEN pg_indexes_size(oid) END AS indexes,
        CASE WHEN free AND reltoastrelid <> 0 THEN pg_total_relation_size(reltoastrelid) ELSE 0 END AS toast, free
    FROM (SELECT *, oid NOT IN (SELECT relation FROM locked) AS free FROM pg_class) AS c
    WHERE relkind IN ('r', 'm', 'p') AND {ours("c")} AND (NOT $1 OR relkind <> 'p')
)
SELECT of::regclass::text AS name,
    (count(*) FILTER (WHERE relispartition AND relkind <> 'p' AND NOT $1))::int AS partitions,
    CASE WHEN bool_and(free) THEN sum(with_toast + indexes)::bigint END AS bytes,
    CASE WHEN bool_and(free) THEN sum(with_toast - toast)::bigint END AS table_bytes,
    CASE WHEN bool_and(free) THEN sum(indexes)::bigint END AS index_bytes,
    CASE WHEN bool_and(free) THEN sum(toast)::bigint END AS toast_bytes
FROM relation GROUP BY of ORDER BY bytes DESC NULLS FIRST, 1
"""


@dataclass(frozen=True)
class Relation:
    """The room of a table or materialized view, a partitioned one with all partitions: three parts, and together.

    None while somebody has it, or one of its partitions, locked for himself: to measure it would wait for him.
    """

    name: str
    partitions: int
    bytes: int | None
    table_bytes: int | None
    index_bytes: int | None
    toast_bytes: int | None


@dataclass(frozen=True)
class Sizes:
    """The room of a database, the server's own catalogs included, and of what is in it."""

    database: DatabaseName
    bytes: int
    relations: tuple[Relation, ...]


async def look(urls: Urls, *, each_partition: bool = False) -> Report[Sizes]:
    """The sizes of these databases and of all that is in them, the largest first."""
    return await ask_databases(urls, partial(_look, each_partition=each_partition))


async def _look(session: Session, *, each_partition: bool) -> Report[Sizes]:
    [database] = await session.fetch("SELECT pg_database_size(current_database())")
    relations = tuple(Relation(**row) for row in await session.fetch(_SIZES, each_partition))
    locked = [relation.name for relation in relations if relation.bytes is None]
    notes = (f"{session.name}: not measured while somebody has them locked: {', '.join(locked)}",) if locked else ()
    return Report((Sizes(session.name, database[0], relations),), (), notes)
