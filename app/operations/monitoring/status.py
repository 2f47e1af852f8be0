"""Whether each server answers, and how it stands: version, uptime, connections, recovery, sizes of databases."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from app.operations.monitoring.options import CROWDED
from app.operations.monitoring.pools import CLIENT, crowded
from app.operations.monitoring.servers import Report, Server, Urls, ask_servers
from app.operations.monitoring.units import percent
from app.settings import DatabaseName

_STATUS = f"""
SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS uptime_seconds,
    pg_postmaster_start_time() AS started_at, pg_is_in_recovery() AS in_recovery,
    current_setting('max_connections')::int AS max_connections,
    (SELECT count(*) FROM pg_stat_activity WHERE {CLIENT}) AS connections
"""


@dataclass(frozen=True)
class Status:
    """A server, or a database whose server does not answer: then everything but its name is None.

    ``connections`` are those of clients to all databases of the server, ours of this moment left out, and ``percent``
    is their share of ``max_connections``. ``bytes`` is the size of each of our databases on it.
    """

    databases: tuple[DatabaseName, ...]
    reachable: bool
    server: str | None = None
    version: str | None = None
    started_at: datetime | None = None
    uptime_seconds: float | None = None
    connections: int | None = None
    max_connections: int | None = None
    percent: float | None = None
    in_recovery: bool | None = None
    bytes: Mapping[DatabaseName, int] | None = None


async def look(urls: Urls, crowded_above: float = CROWDED) -> Report[Status]:
    """Each server of these databases, and each database that does not answer."""
    report = await ask_servers(urls, partial(_look, crowded_above=crowded_above))
    down = tuple(Status(databases=(name,), reachable=False) for name in urls if name in report.errors)
    return replace(report, rows=report.rows + down)


async def _look(server: Server, *, crowded_above: float) -> Report[Status]:
    [row] = await server.best.fetch(_STATUS, server.pids)
    sizes = await asyncio.gather(
        *(session.fetch("SELECT pg_database_size(current_database())") for session in server.sessions)
    )
    status = Status(
        databases=server.databases,
        reachable=True,
        server=server.address,
        version=server.best.version,
        **row,
        percent=percent(row["connections"], row["max_connections"]),
        bytes={name: size[0][0] for name, size in zip(server.databases, sizes, strict=True)},
    )
    return Report((status,), crowded(server, row["connections"], row["max_connections"], crowded_above))
