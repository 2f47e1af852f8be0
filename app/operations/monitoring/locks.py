"""Who waits for whose lock: blocking chains, from the session at the head of each down to the last in line."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from asyncpg import Record

from app.operations.monitoring.options import LONG_WAIT
from app.operations.monitoring.servers import Report, Server, Session, Urls, ask_servers
from app.operations.monitoring.units import duration
from app.settings import DatabaseName

# pg_blocking_pids names those who hold the lock and those who stand before us in its queue; `holders` are the former.
# Whoever waits for a row's lock waits for the transaction that has it, and meanwhile holds the lock on the tuple: that
# one tells the table. Prepared transactions have no process: the server names them 0.
_LOCKS = """
WITH locks AS MATERIALIZED (SELECT * FROM pg_locks),
waiting AS (
    SELECT l.*, ARRAY(SELECT DISTINCT unnest(pg_blocking_pids(l.pid))) AS blockers
    FROM locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted AND a.datname = ANY($1)
),
involved AS (SELECT pid FROM waiting WHERE blockers <> '{}' UNION SELECT unnest(blockers) FROM waiting)
SELECT involved.pid, datname, usename, application_name, state,
    CASE WHEN backend_type IS NOT NULL THEN query END AS query,
    extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_seconds,
    coalesce(blockers, '{}') AS blocked_by, w.locktype, w.mode, coalesce(w.database, r.database) AS database,
    coalesce(w.relation, r.relation) AS relation, coalesce(w.page, r.page) AS page, coalesce(w.tuple, r.tuple) AS tuple,
    coalesce(w.virtualxid, w.transactionid::text) AS transaction, w.classid, w.objid, w.objsubid,
    extract(epoch FROM clock_timestamp() - w.waitstart)::float8 AS wait_seconds, held.holders, held.modes
FROM involved
LEFT JOIN pg_stat_activity a ON a.pid = involved.pid
LEFT JOIN waiting w ON w.pid = involved.pid
LEFT JOIN locks r ON r.pid = w.pid AND r.granted AND r.locktype = 'tuple' AND w.locktype = 'transactionid'
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT coalesce(h.pid, 0)) AS holders, array_agg(DISTINCT h.mode) AS modes FROM locks h
    WHERE h.granted AND coalesce(h.pid, 0) = ANY(w.blockers)
        AND (h.locktype, h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid, h.classid, h.objid,
            h.objsubid) IS NOT DISTINCT FROM (w.locktype, w.database, w.relation, w.page, w.tuple, w.virtualxid,
            w.transactionid, w.classid, w.objid, w.objsubid)
) held ON true
ORDER BY involved.pid
"""
_NAMES = "SELECT oid, oid::regclass::text AS name FROM pg_class WHERE oid = ANY($1)"


@dataclass(frozen=True)
class Link:
    """A session in a blocking chain: one that waits, that others wait for, or both.

    ``blocked_by`` are those who hold what it waits for, or stand before it in line; ``below`` is the one of them that
    it stands below in the tree, None for the head of a chain. A pid of 0 is a prepared transaction. ``mode`` is the
    lock that it waits for, on ``object``, and ``held_modes`` are those on the same object that it is blocked by.
    """

    server: str
    database: DatabaseName | str | None
    pid: int
    user: str | None
    application: str | None
    state: str | None
    transaction_seconds: float | None
    query: str | None
    blocked_by: tuple[int, ...]
    below: int | None
    wait_seconds: float | None
    lock_type: str | None
    mode: str | None
    object: str | None
    held_modes: tuple[str, ...]


@dataclass(frozen=True)
class Chain:
    """A session, and those who wait below it."""

    link: Link
    waiting: tuple["Chain", ...]

    def waits(self) -> list[float]:
        """How long each of those below has waited, in seconds."""
        return [seconds for chain in self.waiting for seconds in (chain.link.wait_seconds or 0.0, *chain.waits())]


def chains(links: Sequence[Link]) -> tuple[Chain, ...]:
    """The trees that links of one or more servers form; each link is in one place of one tree."""
    below: dict[tuple[str, int | None], list[Link]] = defaultdict(list)
    for link in links:
        below[link.server, link.below].append(link)

    def grown(link: Link) -> Chain:
        return Chain(link, tuple(grown(waiting) for waiting in below[link.server, link.pid]))

    return tuple(grown(link) for link in links if link.below is None)


async def look(urls: Urls, wait_limit: float = LONG_WAIT) -> Report[Link]:
    """Every session in these databases that waits for a lock, and those that it waits for."""
    return await ask_servers(urls, partial(_look, limit=wait_limit))


async def _look(server: Server, *, limit: float) -> Report[Link]:
    rows = await server.best.fetch(_LOCKS, server.datnames)
    names: dict[tuple[int, int], str] = {}
    for of_database in await asyncio.gather(*(_names(session, rows) for session in server.sessions)):
        names |= of_database
    parents = _parents({row["pid"]: _candidates(row) for row in rows})
    links = tuple(
        Link(
            server=server.address,
            database=server.name_of(row["datname"]),
            pid=row["pid"],
            user=row["usename"],
            application=row["application_name"],
            state=row["state"],
            transaction_seconds=row["transaction_seconds"],
            query=row["query"],
            blocked_by=tuple(sorted(row["blocked_by"])),
            below=parents[row["pid"]],
            wait_seconds=row["wait_seconds"],
            lock_type=row["locktype"],
            mode=row["mode"],
            object=_object(row, names),
            held_modes=tuple(row["modes"] or ()),
        )
        for row in rows
    )
    findings = [_finding(chain, limit) for chain in chains(links) if max(chain.waits(), default=0.0) > limit]
    return Report(links, tuple(findings), server.blind_spots() if links else ())


def _finding(chain: Chain, limit: float) -> str:
    link, waits = chain.link, chain.waits()
    sessions = "1 session waits" if len(waits) == 1 else f"{len(waits)} sessions wait"
    who = f"pid {link.pid} ({link.user}, {link.state or 'state not visible'})" if link.pid else "a prepared transaction"
    return (
        f"{link.database or link.server}: {sessions} for {who}, the longest for {duration(max(waits))}, "
        f"more than {duration(limit)}"
    )


def _candidates(row: Record) -> list[int]:
    """Below whom a session may stand in the tree, best first: below who has the lock, before who only waits for it."""
    holders: list[int] = row["holders"] or []
    return sorted(row["blocked_by"], key=lambda pid: (pid not in holders, pid))


def _parents(candidates: Mapping[int, Sequence[int]]) -> dict[int, int | None]:
    """One place for each session: were it listed below all who block it, a queue of n would be a tree of 2 to the n.

    In a circle, a deadlock that the server is yet to find, the first one is taken for the head.
    """
    parents: dict[int, int | None] = {}
    for pid, blockers in candidates.items():
        parents[pid] = next((blocker for blocker in blockers if blocker in candidates), None)
    for pid in parents:
        seen, at = {pid}, parents[pid]
        while at is not None and at not in seen:
            seen.add(at)
            at = parents[at]
        if at == pid:
            parents[pid] = None
    return parents


async def _names(session: Session, rows: Sequence[Record]) -> dict[tuple[int, int], str]:
    """The names of the relations that are waited for, which only their own database knows."""
    oids = [row["relation"] for row in rows if row["database"] == session.oid and row["relation"]]
    named = await session.fetch(_NAMES, oids) if oids else []
    return {(session.oid, row["oid"]): row["name"] for row in named}


def _object(row: Record, names: Mapping[tuple[int, int], str]) -> str | None:
    """What a lock is on, in words."""
    kind: str | None = row["locktype"]
    relation = names.get((row["database"], row["relation"]), f"relation {row['relation']}")
    match kind:
        case None:
            return None
        case "relation":
            return relation
        case "tuple":
            return f"row ({row['page']},{row['tuple']}) of {relation}"
        case "transactionid" if row["relation"]:
            return f"row ({row['page']},{row['tuple']}) of {relation}"
        case "transactionid" | "virtualxid":
            return f"transaction {row['transaction']}"
        case "advisory":
            key = f"{row['classid']}, {row['objid']}" if row["objsubid"] == 2 else (row["classid"] << 32) + row["objid"]
            return f"advisory lock {key}"
        case _:
            return f"{kind} of {relation}" if row["relation"] else kind
