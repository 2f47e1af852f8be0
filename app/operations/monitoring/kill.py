"""Cancels what a session does, or ends the session: found on whichever server it is, and looked at first."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from app.errors import OperationError
from app.operations.monitoring.servers import Server, Urls, opened
from app.settings import DatabaseName

_FIND = """
SELECT pid, datname, usename AS user, application_name AS application, backend_type AS kind, backend_start, state,
    extract(epoch FROM clock_timestamp() - CASE state WHEN 'active' THEN query_start ELSE state_change END)::float8
        AS seconds,
    query, usesysid IS NULL AS is_background,
    EXISTS (SELECT FROM pg_stat_replication r WHERE r.pid = a.pid) AS replicates
FROM pg_stat_activity a WHERE pid = $1
"""

# The server gives a process's number to another one some day: the moment of its start makes sure that it is this one.
_CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2"
_TERMINATE = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2"


@dataclass(frozen=True)
class Victim:
    """A session that may be cancelled or ended: whose it is and what it does, or did last where it is not active."""

    server: str
    database: DatabaseName | str | None
    pid: int
    user: str | None
    application: str | None
    backend_start: datetime
    state: str | None
    seconds: float | None
    query: str | None


async def find(urls: Urls, pid: int, *, terminate: bool) -> Victim:
    """The session with this process number, on whichever of these databases' servers it is.

    Raises:
        OperationError: there is none, or on two servers; it is not a client's session, or ours; or it does nothing
            that could be cancelled, and is not to be ended.
    """
    async with opened(urls) as (servers, errors):
        found = [victim for server in servers if (victim := await find_on(server, pid))]
    if len(found) > 1:
        addresses = ", ".join(victim.server for victim in found)
        raise OperationError(f"there is a pid {pid} on each of {addresses}: say which with --database")
    if not found:
        unasked = [f"not asked: {line}" for line in errors.values()]
        raise OperationError("\n".join([f"there is no session with pid {pid}", *unasked]))
    [victim] = found
    if not terminate and victim.state != "active":
        raise OperationError(f"pid {pid} is {victim.state}, there is nothing to cancel: --terminate ends the session")
    return victim


async def end(urls: Urls, victim: Victim, *, terminate: bool) -> None:
    """Cancel what the session does, or end it.

    Raises:
        OperationError: it is gone, the role may not, or it does not end within 5 s.
    """
    async with opened(urls) as (servers, errors):
        servers = [server for server in servers if server.address == victim.server]
        if not servers:
            raise OperationError("\n".join(errors.values()))
        session = servers[0].best
        try:
            rows = await session.fetch(_TERMINATE if terminate else _CANCEL, victim.pid, victim.backend_start)
        except OperationError as error:
            if not isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
                raise
            raise OperationError(
                f"the role {session.role} may not stop a session of {victim.user}: GRANT pg_signal_backend TO "
                f"{session.role}; a superuser's only a superuser may"
            ) from None
    if not rows:
        raise OperationError(f"pid {victim.pid} has ended by itself")
    if not rows[0][0]:
        raise OperationError(f"pid {victim.pid} did not end within 5 s; it will as soon as it can be interrupted")


async def find_on(server: Server, pid: int) -> Victim | None:
    """The session with this process number on one server, if it has such a process.

    Raises:
        OperationError: the process is none that a command line should stop.
    """
    if pid in server.pids:
        raise OperationError(f"pid {pid} is this command's own session")
    rows = await server.best.fetch(_FIND, pid)
    if not rows:
        return None
    [row] = rows
    if row["replicates"] or row["kind"] == "walsender":
        raise OperationError(f"pid {pid} sends the WAL to a standby or a subscriber: end it there")
    if row["is_background"] or row["kind"] not in (None, "client backend"):
        kind = row["kind"] or "process of the server"
        raise OperationError(f"pid {pid} is a background {kind}, no client's session: the server needs it")
    if row["kind"] is None:
        role = server.best.role
        raise OperationError(f"the role {role} does not see what pid {pid} is: GRANT pg_read_all_stats TO {role}")
    return Victim(
        server=server.address,
        database=server.name_of(row["datname"]),
        **{name: row[name] for name in ("pid", "user", "application", "backend_start", "state", "seconds", "query")},
    )
