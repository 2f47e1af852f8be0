"""How much of what is read comes out of the server's memory."""

from dataclasses import dataclass
from functools import partial

from app.operations.monitoring.relations import COUNTED
from app.operations.monitoring.servers import Report, Session, Urls, ask_databases
from app.operations.monitoring.units import percent
from app.settings import DatabaseName

# A partitioned table with its partitions; what of it is read the most from outside comes first.
_CACHE = f"""
SELECT coalesce(pg_partition_root(relid), relid)::regclass::text AS table,
    sum(heap_blks_hit)::bigint AS table_hit, sum(heap_blks_read)::bigint AS table_read,
    coalesce(sum(idx_blks_hit), 0)::bigint AS index_hit, coalesce(sum(idx_blks_read), 0)::bigint AS index_read
FROM pg_statio_user_tables WHERE {COUNTED} GROUP BY 1
ORDER BY sum(heap_blks_read) + coalesce(sum(idx_blks_read), 0) DESC, 1
"""


@dataclass(frozen=True)
class CachedTable:
    """The blocks of a table, partitions included, that were found in the server's memory or read from outside it."""

    table: str
    table_hit: int
    table_read: int
    table_percent: float | None
    index_hit: int
    index_read: int
    index_percent: float | None


@dataclass(frozen=True)
class Cache:
    """How many per cent of the blocks asked for were in memory, of tables and of indexes; None where none was asked.

    ``worst`` are the tables that the most blocks were read of from outside.
    """

    database: DatabaseName
    table_percent: float | None
    index_percent: float | None
    worst: tuple[CachedTable, ...]


async def look(urls: Urls, limit: int = 5) -> Report[Cache]:
    """The hit ratios of these databases, with the ``limit`` worst tables of each."""
    return await ask_databases(urls, partial(_look, limit=limit))


async def _look(session: Session, *, limit: int) -> Report[Cache]:
    tables = [
        CachedTable(
            **row,
            table_percent=percent(row["table_hit"], row["table_hit"] + row["table_read"]),
            index_percent=percent(row["index_hit"], row["index_hit"] + row["index_read"]),
        )
        for row in await session.fetch(_CACHE)
    ]
    hit, read = sum(of.table_hit for of in tables), sum(of.table_read for of in tables)
    index_hit, index_read = sum(of.index_hit for of in tables), sum(of.index_read for of in tables)
    worst = [of for of in tables if of.table_read + of.index_read]
    cache = Cache(
        database=session.name,
        table_percent=percent(hit, hit + read),
        index_percent=percent(index_hit, index_hit + index_read),
        worst=tuple(worst[:limit]),
    )
    return Report((cache,), (), (session.counted(), "read is from outside shared_buffers: the system may have had it"))
