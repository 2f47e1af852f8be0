"""The benchmark measures what it says: peers that answer alike, requests that are all counted, CPU that was used."""

import asyncio
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle, repeat

import pytest
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from app.operations.connect import connected
from app.operations.seed import seed
from app.settings import Settings
from bench.load import Request, drive, http
from bench.processes import cpu_of, cpu_of_postgres, postmaster_of
from bench.queries import load_works
from bench.throughput import compared, running
from tests.http_server import served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark takes epoll and /proc, which Linux has")

CONNECTIONS = 4
ASK = http("GET", "/", {})


def answering(answer: Callable[[HttpRequest], Awaitable[Response]]) -> Starlette:
    return Starlette(routes=[Route("/", answer)])


def test_the_peers_answer_the_five_queries_as_the_gateway_does(settings: Settings, clean: None) -> None:
    asyncio.run(seed(settings, orders=400, until=datetime.now(UTC).date()))
    works = asyncio.run(load_works(settings))
    assert [work.name for work in works] == ["order", "account", "backoffice", "tree", "list"]
    with running(settings, secrets.token_urlsafe(48)) as servers:
        assert len(servers) >= 2
        for work in (replace(work, ids=work.ids[:25]) for work in works):
            [ours, *theirs] = compared(servers, work)
            assert len(ours) == len(work.ids)
            assert all(request.length and request.length > 500 for request in ours)
            assert all(len(requests) == len(ours) for requests in theirs)


def test_every_request_is_sent_and_counted_once(settings: Settings) -> None:
    asked: list[str] = []

    async def answer(request: HttpRequest) -> Response:
        asked.append(request.url.query)
        return Response("x" * 300_000)  # several reads long

    requests = [Request(http("GET", f"/?{number}", {}), 300_000) for number in range(10)]
    with served(answering(answer), settings) as port:
        load = drive(port, cycle(requests), 0.3, CONNECTIONS)
    assert len(load.times) == len(asked) > CONNECTIONS
    often = Counter(asked)
    assert len(often) == len(requests)
    assert max(often.values()) - min(often.values()) <= 1
    assert load.seconds >= 0.3
    assert max(load.times) <= load.seconds
    assert sum(load.times) <= load.seconds * CONNECTIONS


@pytest.mark.parametrize(
    "other", [Response("longer"), Response("short", 500), Response()], ids=["length", "status", "nothing"]
)
def test_another_answer_ends_the_load(settings: Settings, other: Response) -> None:
    answers = iter([Response("short")] * 10)

    async def answer(_: HttpRequest) -> Response:
        return next(answers, other)

    with served(answering(answer), settings) as port, pytest.raises(SystemExit):
        drive(port, repeat(Request(ASK, len("short"))), 10, CONNECTIONS)


def test_cpu_is_what_a_process_has_used() -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = cpu_of(process.pid)
        process.communicate(b"\n")
    assert 0.47 <= used <= 0.6


def test_cpu_of_postgres_is_that_of_all_backends_also_of_those_that_have_ended(settings: Settings) -> None:
    postmaster = asyncio.run(postmaster_of(settings))

    async def used_by(*statements: str) -> tuple[float, float]:
        """The CPU of some work in a session: before its end, and after that."""
        before = cpu_of_postgres(postmaster)
        async with connected("orders", settings.database_url("orders")) as connection:
            for statement in statements:
                await connection.execute(statement)
            during = cpu_of_postgres(postmaster) - before
        return during, cpu_of_postgres(postmaster) - before

    work = "SELECT count(*) FROM generate_series(1, 2000000) AS n WHERE n % 7 = 3"
    idle, _ = asyncio.run(used_by("SELECT pg_sleep(0.2)"))
    during, after = asyncio.run(used_by(work, work))
    assert idle < 0.1 < during <= after + 0.02  # a tick for rounding
