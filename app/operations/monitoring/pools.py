"""Who holds how many connections, and how many a server has left."""

from dataclasses import dataclass
from functools import partial

from app.operations.monitoring.options import CROWDED
from app.operations.monitoring.servers import Report, Server, Urls, ask_servers
from app.operations.monitoring.units import percent

CLIENT = (
    "usesysid IS NOT NULL AND datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'"
    " AND pid <> ALL($1)"
)
"""What in pg_stat_activity takes one of max_connections and is not us; also where a role sees no backend_type."""

_POOLS = f"""
SELECT datname, application_name, usename, coalesce(state, 'not visible') AS state, count(*) AS connections,
    sum(count(*)) OVER ()::int AS in_use, current_setting('max_connections')::int AS max_connections
FROM pg_stat_activity WHERE {CLIENT} GROUP BY 1, 2, 3, 4 ORDER BY 1, connections DESC, 2, 3, 4
"""


@dataclass(frozen=True)
class Pool:
    """The connections of one application as one user in one state to one database, also one that is not ours.

    ``percent`` is their share of the server's ``max_connections``.
    """

    server: str
    database: str
    application: str
    user: str
    state: str
    connections: int
    max_connections: int
    percent: float | None


async def look(urls: Urls, crowded_above: float = CROWDED) -> Report[Pool]:
    """All connections to the servers of these databases."""
    return await ask_servers(urls, partial(_look, crowded_above=crowded_above))


async def _look(server: Server, *, crowded_above: float) -> Report[Pool]:
    rows = await server.best.fetch(_POOLS, server.pids)
    pools = tuple(
        Pool(
            server=server.address,
            database=server.name_of(row["datname"]) or "-",
            application=row["application_name"],
            user=row["usename"],
            state=row["state"],
            connections=row["connections"],
            max_connections=row["max_connections"],
            percent=percent(row["connections"], row["max_connections"]),
        )
        for row in rows
    )
    in_use, maximum = (rows[0]["in_use"], rows[0]["max_connections"]) if rows else (0, 1)
    return Report(pools, crowded(server, in_use, maximum, crowded_above), server.blind_spots())


def crowded(server: Server, in_use: int, maximum: int, above: float) -> tuple[str, ...]:
    """The line that says that a server's connections are running out, if they are."""
    if 100 * in_use <= above * maximum:
        return ()
    return (
        f"{server.address} ({', '.join(server.databases)}): {in_use} of {maximum} connections are in use, "
        f"more than {above:g} %",
    )
