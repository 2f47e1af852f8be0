"""The statements that take the most time, as pg_stat_statements counts them."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

import asyncpg

from app.errors import OperationError
from app.operations.monitoring.options import Order
from app.operations.monitoring.servers import Report, Server, Session, Urls, ask_servers, opened
from app.operations.monitoring.units import percent
from app.settings import DatabaseName

# The columns are those that the extension has had since PostgreSQL 13: which ones there are depends on its own version,
# which a server's upgrade leaves as it was. `of` is all that the server counts for a database.
_SLOW = """
WITH counted AS (
    SELECT d.datname, queryid, query, rolname AS user, s.calls, total_exec_time, s.rows, shared_blks_hit,
        shared_blks_read, temp_blks_written, max_exec_time,
        sum(total_exec_time) OVER (PARTITION BY d.datname) AS of_database
    FROM {schema}.pg_stat_statements s JOIN pg_database d ON d.oid = dbid LEFT JOIN pg_roles r ON r.oid = userid
    WHERE d.datname = ANY($1)
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY datname ORDER BY {order} DESC, queryid) AS rank FROM counted
)
SELECT * FROM ranked WHERE rank <= $2 ORDER BY array_position($1, datname), rank
"""
_ORDERS: dict[Order, str] = {
    "total": "total_exec_time",
    "mean": "total_exec_time / greatest(calls, 1)",
    "calls": "calls",
}
_EXTENSION = """
SELECT (SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
        WHERE extname = 'pg_stat_statements') AS schema,
    current_setting('pg_stat_statements.max', true) IS NOT NULL AS loaded
"""
_PRELOADED = """
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements') AS available,
    (SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries') AS preloaded
"""


@dataclass(frozen=True)
class Statement:
    """One statement of a database, its values taken out, as all its executions by one user add up.

    ``percent`` is its share of the time of all that database's statements. Blocks are of 8 kB as a rule: ``hit`` in the
    server's memory, ``read`` from outside it. ``query`` is None where the role may not see it.
    """

    database: DatabaseName | str
    query_id: int | None
    user: str | None
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float
    percent: float | None
    rows: int
    blocks_hit: int
    blocks_read: int
    temporary_blocks_written: int
    query: str | None


async def look(urls: Urls, order: Order = "total", limit: int = 20) -> Report[Statement]:
    """The first ``limit`` statements of each of these databases, in that order, largest first.

    Where the extension is missing that is the error of the server's databases; it says what to set.
    """
    return await ask_servers(urls, partial(_look, order=order, limit=limit))


async def reset(urls: Urls) -> tuple[DatabaseName, ...]:
    """Start counting the statements of these databases anew, and say of which it was done.

    Raises:
        OperationError: one of them does not answer, has no extension or refuses; those before it are done.
    """
    done: list[DatabaseName] = []
    async with opened(urls) as (servers, errors):
        if errors:
            raise OperationError("\n".join(errors.values()))
        for server in servers:
            session, schema, _ = await _extension(server)
            for of in server.sessions:
                await _reset(session, schema, of.oid)
                done.append(of.name)
    return tuple(done)


async def _reset(session: Session, schema: str, database: int) -> None:
    function = f"{schema}.pg_stat_statements_reset"
    try:
        await session.fetch(f"SELECT {function}(0, $1, 0)", database)
    except OperationError as error:
        if not isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
            raise
        raise OperationError(
            f"the role {session.role} may not reset statistics: GRANT EXECUTE ON FUNCTION {function} TO "
            f"{session.role}, in {session.datname}"
        ) from None


async def _look(server: Server, *, order: Order, limit: int) -> Report[Statement]:
    session, schema, since = await _extension(server)
    rows = await session.fetch(_SLOW.format(schema=schema, order=_ORDERS[order]), server.datnames, limit)
    statements = tuple(
        Statement(
            database=server.name_of(row["datname"]) or row["datname"],
            query_id=row["queryid"],
            user=row["user"],
            calls=row["calls"],
            total_ms=round(row["total_exec_time"], 3),
            mean_ms=round(row["total_exec_time"] / max(row["calls"], 1), 3),
            max_ms=round(row["max_exec_time"], 3),
            percent=percent(row["total_exec_time"], row["of_database"]),
            rows=row["rows"],
            blocks_hit=row["shared_blks_hit"],
            blocks_read=row["shared_blks_read"],
            temporary_blocks_written=row["temp_blks_written"],
            query=row["query"] if row["queryid"] is not None else None,
        )
        for row in rows
    )
    return Report(
        statements, (), (f"{server.address}: counted since {since.isoformat(' ', 'seconds')}", *_blind(session))
    )


def _blind(session: Session) -> tuple[str, ...]:
    if session.sees_all:
        return ()
    return (
        f"{session.address}: the role {session.role} sees only its own statements' text: "
        f"GRANT pg_read_all_stats TO {session.role}",
    )


async def _extension(server: Server) -> tuple[Session, str, datetime]:
    """A session that can read the statistics of all the server's databases, the schema they are in, and since when.

    One database with the extension is enough for all of the server.
    """
    found = [(session, (await session.fetch(_EXTENSION))[0]) for session in server.sessions]
    first, of_server = found[0]
    where = f"{server.address} ({', '.join(server.databases)})"
    if not of_server["loaded"]:
        raise OperationError(f"{where} {await _how_to_load(first)}")
    usable = sorted((of for of in found if of[1]["schema"]), key=lambda of: not of[0].sees_all)
    if not usable:
        raise OperationError(
            f"{where} loads pg_stat_statements, but none of these databases shows it: run "
            f"CREATE EXTENSION pg_stat_statements in the database {first.datname}"
        )
    session, row = usable[0]
    [info] = await session.fetch(f"SELECT stats_reset FROM {row['schema']}.pg_stat_statements_info")
    return session, row["schema"], info["stats_reset"]


async def _how_to_load(session: Session) -> str:
    """What a server that does not load the extension needs. (To see which there are takes it long: it reads files.)"""
    [row] = await session.fetch(_PRELOADED)
    if not row["available"]:
        return "has no pg_stat_statements to load: install PostgreSQL's contrib modules (postgresql-contrib)"
    others = [name for name in (row["preloaded"] or "").replace(" ", "").split(",") if name]
    return (
        f"does not load pg_stat_statements: set shared_preload_libraries = "
        f"'{','.join([*others, 'pg_stat_statements'])}' in postgresql.conf, restart the server, and run "
        f"CREATE EXTENSION pg_stat_statements in the database {session.datname}"
    )
