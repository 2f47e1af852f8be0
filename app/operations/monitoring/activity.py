"""Who runs what, since when, and what it waits for."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from app.operations.monitoring.options import LONG_TRANSACTION
from app.operations.monitoring.servers import Report, Server, Urls, ask_servers
from app.operations.monitoring.units import duration
from app.settings import DatabaseName

# Who a lock is waited for costs the server more than the rest: asked only of those who wait for one, and of those
# whose waits the role does not see.
_ACTIVITY = """
SELECT pid, datname, usename AS user, application_name AS application, host(client_addr) AS client,
    backend_type AS kind, state, wait_event_type, wait_event,
    CASE WHEN wait_event_type = 'Lock' OR backend_type IS NULL
        THEN (SELECT array_agg(DISTINCT of) FROM unnest(pg_blocking_pids(pid)) AS of) END AS blocked_by,
    xact_start AS transaction_started_at,
    extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_seconds,
    CASE state WHEN 'active' THEN query_start ELSE state_change END AS since,
    extract(epoch FROM clock_timestamp() - CASE state WHEN 'active' THEN query_start ELSE state_change END)::float8
        AS seconds,
    CASE WHEN backend_type IS NULL THEN NULL ELSE nullif(query, '') END AS query
FROM pg_stat_activity
WHERE pid <> ALL($1) AND (datname = ANY($2) OR ($3 AND datname IS NULL)) AND ($3 OR state <> 'idle')
ORDER BY xact_start, seconds DESC, pid
"""
_HIDDEN = """
SELECT count(*) FROM pg_stat_activity WHERE datname = ANY($1) AND usesysid IS NOT NULL AND backend_type IS NULL
"""


@dataclass(frozen=True)
class Activity:
    """A process of a server, at work for one of our databases or in the background.

    ``since`` is when its query began where the state is active, and when it took on its state otherwise; ``seconds``
    is how long ago that was. ``query`` is the latest where it is not active. What the role may not see is None.
    """

    server: str
    database: DatabaseName | str | None
    pid: int
    user: str | None
    application: str | None
    client: str | None
    kind: str | None
    state: str | None
    since: datetime | None
    seconds: float | None
    transaction_started_at: datetime | None
    transaction_seconds: float | None
    wait_event_type: str | None
    wait_event: str | None
    blocked_by: tuple[int, ...]
    query: str | None


async def look(
    urls: Urls, transaction_limit: float = LONG_TRANSACTION, *, everything: bool = False
) -> Report[Activity]:
    """What goes on in these databases: the longest open transaction first.

    Args:
        urls: the databases.
        transaction_limit: seconds that a client's transaction may be open.
        everything: also idle sessions, those whose state the role may not see, and background processes.
    """
    return await ask_servers(urls, partial(_look, limit=transaction_limit, everything=everything))


async def _look(server: Server, *, limit: float, everything: bool) -> Report[Activity]:
    rows = await server.best.fetch(_ACTIVITY, server.pids, server.datnames, everything)
    found = tuple(
        Activity(
            server=server.address,
            database=server.name_of(row["datname"]),
            blocked_by=tuple(row["blocked_by"] or ()),
            **{name: row[name] for name in row.keys() if name not in ("datname", "blocked_by")},  # noqa: SIM118 -- a Record iterates over its values
        )
        for row in rows
    )
    findings = tuple(
        f"{of.database}: pid {of.pid} ({of.user}, {of.application or 'no application name'}) has had a transaction "
        f"open for {duration(of.transaction_seconds)}, more than {duration(limit)}; it is {of.state}"
        for of in found
        if of.kind == "client backend" and of.transaction_seconds is not None and of.transaction_seconds > limit
    )
    notes = server.blind_spots()
    if notes and not everything:
        [hidden] = await server.best.fetch(_HIDDEN, server.datnames)
        notes += (f"{server.address}: {hidden[0]} sessions of other roles are left out; --all lists them",)
    return Report(found, findings, notes)
