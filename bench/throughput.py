"""How fast the gateway is beside others that answer the same five queries: ``make bench``.

    python -m bench.throughput [--orders 100000] [--seconds 3] [--rounds 5] [--environment] [QUERY ...]

Seeds databases of its own, or takes, with ``--environment``, those that the environment names. Starts every server in a
process of its own and compares all answers. Then each query is asked on 16 keep-alive connections, in short rounds in
which the servers take turns, so that all see the same machine. Load, servers and PostgreSQL share its cores: only the
ratios of one run mean something, CPU per request before requests a second, and less than a quarter is no difference.
"""

import argparse
import asyncio
import json
import os
import secrets
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from statistics import median, quantiles
from typing import cast

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from app.identity.development import access_token
from app.settings import DATABASE_NAMES, Settings, load_settings
from bench.load import Connection, Load, Request, drive
from bench.pages import shop
from bench.peers import OURS, Peer, peers
from bench.processes import cpu_of, cpu_of_postgres, postmaster_of, served
from bench.queries import Work, load_works

CONNECTIONS = 16
POOL_SIZE = 6
"""Connections of each server to each database. More gain nothing on two cores, and PostgreSQL allows 100 in all."""
WARM_UP = 4.0
"""Seconds that each server is asked before it counts: for caches, and for Node's compiler."""


@dataclass
class Tally:
    """What one server did for one query."""

    times: list[float] = field(default_factory=list[float])
    seconds: float = 0.0
    server: float = 0.0
    postgres: float = 0.0
    load: float = 0.0

    def add(self, load: Load, server: float, postgres: float) -> None:
        """Count a round, with the seconds of CPU that it took."""
        self.times += load.times
        self.seconds += load.seconds
        self.server += server
        self.postgres += postgres
        self.load += load.cpu

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.times) / self.seconds

    def milliseconds(self, cpu: float) -> float:
        """Of one request, from the seconds of CPU of all."""
        return cpu * 1000 / len(self.times)


@dataclass(frozen=True)
class Server:
    """A peer that runs."""

    peer: Peer
    process: int
    port: int

    def answers(self, work: Work) -> list[bytes]:
        """Its answer for each id."""
        with Connection(self.port) as connection:
            return [connection.ask(Request(self.peer.ask(work, id_))) for id_ in work.ids]

    def requests(self, work: Work, answers: list[bytes]) -> list[Request]:
        """What to ask, and what to expect."""
        return [Request(self.peer.ask(work, id_), len(body)) for id_, body in zip(work.ids, answers, strict=True)]


@contextmanager
def running(settings: Settings, secret: str) -> Generator[list[Server]]:
    """All servers, over the same databases."""
    patient = settings.model_copy(update={"jwt_secret": SecretStr(secret), "access_token_lifetime": 86_400})
    token = asyncio.run(access_token(patient, role="admin"))
    environment = {f"{name.upper()}_DATABASE_URL": settings.database_url(name) for name in DATABASE_NAMES}
    environment |= {"JWT_SECRET": secret, "POOL_SIZE": str(POOL_SIZE)}
    with ExitStack() as stack:
        servers: list[Server] = []
        for peer in peers(token):
            started = stack.enter_context(served(peer.command, {**environment, **peer.environment}))
            servers.append(Server(peer, *started))
        yield servers


def compared(servers: list[Server], work: Work) -> list[list[Request]]:
    """The requests of each server, once its answers are known to be the first one's.

    Raises:
        SystemExit: one answers something else, or with an error.
    """
    requests: list[list[Request]] = []
    expected: list[object] = []
    for server in servers:
        answers = server.answers(work)
        parsed = [json.loads(answer) for answer in answers]
        expected = expected or parsed
        for id_, ours, theirs in zip(work.ids, expected, parsed, strict=True):
            if "errors" in theirs or theirs != ours:
                raise SystemExit(f"{server.peer.name} answers {work.name} {id_} differently:\n{ours}\n{theirs}")
        requests.append(server.requests(work, answers))
    return requests


def measure(servers: list[Server], work: Work, seconds: float, rounds: int, postmaster: int) -> list[Tally]:
    """What each server does for a query, in turns: there and back again, so that none is always behind the same one."""
    asked = [cycle(requests) for requests in compared(servers, work)]
    tallies = [Tally() for _ in servers]
    for server, requests in zip(servers, asked, strict=True):
        drive(server.port, requests, WARM_UP, CONNECTIONS)
    for number in range(rounds):
        turns = list(zip(servers, asked, tallies, strict=True))
        for server, requests, tally in reversed(turns) if number % 2 else turns:
            of_server, of_postgres = cpu_of(server.process), cpu_of_postgres(postmaster)
            load = drive(server.port, requests, seconds, CONNECTIONS)
            tally.add(load, cpu_of(server.process) - of_server, cpu_of_postgres(postmaster) - of_postgres)
    return tallies


def print_tallies(servers: list[Server], work: Work, tallies: list[Tally], answer: bytes) -> None:
    """One table; the ratios are each server's figure by the gateway's."""
    size = f"{_leaves(json.loads(answer)['data']):,} leaves, {len(answer) / 1000:.0f} kB"
    table = Table(title=f"{work.name} ({size})", title_justify="left")
    heads = ["", "requests/s", "p50 ms", "p99 ms", "server\nCPU ms", "PostgreSQL\nCPU ms", "load\nCPU ms"]
    for head in [*heads, "requests/s\nby ours", "server CPU\nby ours", "both CPU\nby ours"]:
        table.add_column(head, justify="right" if head else "left")
    ours = next(tally for server, tally in zip(servers, tallies, strict=True) if server.peer.name == OURS)
    for server, tally in zip(servers, tallies, strict=True):
        cpu, base = tally.milliseconds(tally.server), ours.milliseconds(ours.server)
        both, base_of_both = (each.milliseconds(each.server + each.postgres) for each in (tally, ours))
        table.add_row(
            server.peer.name,
            f"{tally.rate:,.0f}",
            f"{median(tally.times) * 1000:.1f}",
            f"{quantiles(tally.times, n=100)[-1] * 1000:.1f}",
            f"{cpu:.2f}",
            f"{tally.milliseconds(tally.postgres):.2f}",
            f"{tally.milliseconds(tally.load):.2f}",
            *(f"{ratio:.2f}" for ratio in (tally.rate / ours.rate, cpu / base, both / base_of_both)),
        )
    Console(width=120).print(table)


def _leaves(value: object) -> int:
    if isinstance(value, dict):
        return sum(map(_leaves, cast("dict[str, object]", value).values()))
    return sum(map(_leaves, cast("list[object]", value))) if isinstance(value, list) else 1


def run(settings: Settings, names: list[str], seconds: float, rounds: int) -> None:
    """Measure the queries of these names, or all, and print a table of each."""
    works = [work for work in asyncio.run(load_works(settings)) if work.name in names or not names]
    postmaster = asyncio.run(postmaster_of(settings))
    print(f"{os.cpu_count()} cores, busy before this with {os.getloadavg()[0]:.1f} processes in the last minute")
    with running(settings, secrets.token_urlsafe(48)) as servers:
        for work in works:
            tallies = measure(servers, work, seconds, rounds, postmaster)
            print_tallies(servers, work, tallies, servers[0].answers(work)[0])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queries", nargs="*", metavar="QUERY", help="those to measure; all of them if none is named")
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a round of one server")
    parser.add_argument("--rounds", type=int, default=5, help="of each query and server")
    parser.add_argument("--environment", action="store_true", help="take the databases that the environment names")
    given = parser.parse_args()
    if given.environment:
        run(load_settings(), given.queries, given.seconds, given.rounds)
        return
    with shop(given.orders) as settings:
        run(settings, given.queries, given.seconds, given.rounds)


if __name__ == "__main__":
    main()
