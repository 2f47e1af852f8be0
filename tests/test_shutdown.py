"""How the gateway ends: whoever is being answered gets the answer, whoever comes is sent elsewhere, and it does end."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from httpx2 import AsyncClient, Limits

from app.operations.connect import connected
from app.settings import Settings
from tests.http_server import Process, ask, exchange, serving, until

QUERY = {"query": "{ products(first: 5) { totalCount nodes { id name } } }"}
CLIENTS = 50


class Balancer:
    """Sends requests over connections that it keeps, to as long as the gateway says that it is ready."""

    def __init__(self, port: int) -> None:
        self._client = AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            limits=Limits(max_connections=2 * CLIENTS, max_keepalive_connections=2 * CLIENTS),
            timeout=20,
        )
        self.answers: list[int] = []
        self.probes: list[int] = []

    async def run(self, begun: asyncio.Event) -> None:
        """Until it is not ready. Whatever fails is raised."""
        async with self._client, asyncio.TaskGroup() as group:
            ready = group.create_task(self._probe())
            for _ in range(CLIENTS):
                group.create_task(self._ask(ready, begun))

    async def _probe(self) -> None:
        while not self.probes or self.probes[-1] == 200:
            self.probes.append((await self._client.get("/readyz")).status_code)
            await asyncio.sleep(0.05)  # how often a balancer asks, and not a wait for anything

    async def _ask(self, ready: "asyncio.Task[None]", begun: asyncio.Event) -> None:
        while not ready.done():
            response = await self._client.post("/graphql", json=QUERY)
            self.answers.append(response.status_code)
            assert "errors" not in response.json()
            if len(self.answers) > 2 * CLIENTS:
                begun.set()


@pytest.mark.anyio
async def test_at_sigterm_under_load_no_request_fails(settings: Settings, clean: None) -> None:
    # Longer than by default: on a busy machine, 50 clients and a gateway on its cores, a probe can take a second.
    with serving(settings, DRAIN_GRACE="3") as process:
        balancer, begun = Balancer(process.port), asyncio.Event()
        load = asyncio.create_task(balancer.run(begun))
        await asyncio.wait({asyncio.create_task(begun.wait()), load}, return_when=asyncio.FIRST_COMPLETED)
        before = len(balancer.answers)
        process.process.send_signal(signal.SIGTERM)
        await load
        assert balancer.probes[-1] == 503
        assert set(balancer.probes[:-1]) == {200}
        assert set(balancer.answers) == {200}
        assert len(balancer.answers) >= before + CLIENTS  # they all asked again meanwhile
        assert await asyncio.to_thread(process.ended) == 0


def status_of(answer: bytes) -> bytes:
    return answer.split(b" ", 2)[1]


def test_during_the_grace_all_is_answered_and_the_balancer_is_told(settings: Settings, clean: None) -> None:
    with serving(settings, DRAIN_GRACE="1.5") as process:
        started = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        probe = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"  # it would keep the connection
        until(lambda: status_of(exchange(process.port, probe)) == b"503", 1)
        assert time.monotonic() - started < 1.5
        answer = exchange(process.port, ask("{ __typename }"))
        assert status_of(answer) == b"200"
        assert b"connection: close" in answer
        assert process.ended() == 0
        assert 1.4 < time.monotonic() - started < 5
        with pytest.raises(ConnectionRefusedError):
            exchange(process.port, probe)


def test_at_sigint_there_is_no_grace(settings: Settings) -> None:
    with serving(settings, DRAIN_GRACE="60") as process:
        process.process.send_signal(signal.SIGINT)
        assert process.ended(5) == 0


@asynccontextmanager
async def locked(settings: Settings) -> AsyncGenerator[None]:
    """While a table is locked, what reads it waits."""
    async with connected("products", settings.products_database_url) as connection, connection.transaction():
        await connection.execute("LOCK TABLE products")
        yield


PATIENT = {"READ_TIMEOUT": "60", "STATEMENT_TIMEOUT": "60", "LOCK_TIMEOUT": "60", "DRAIN_GRACE": "0"}


async def hanging(process: Process, settings: Settings) -> "asyncio.Task[bytes]":
    """A request that waits for a lock, when it does."""
    request = asyncio.create_task(asyncio.to_thread(exchange, process.port, ask(QUERY["query"])))
    async with connected("products", settings.products_database_url) as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while not await connection.fetchval(waiting):  # noqa: ASYNC110 -- PostgreSQL can only be asked
            await asyncio.sleep(0.01)
    return request


@pytest.mark.anyio
async def test_a_request_that_is_being_answered_gets_its_answer(settings: Settings, clean: None) -> None:
    with serving(settings, **PATIENT, DRAIN_TIMEOUT="10") as process:
        async with locked(settings):
            request = await hanging(process, settings)
            process.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(until, lambda: any("Shutting down" in line for line in process.lines))
            assert not request.done()
        assert status_of(await request) == b"200"
        assert await asyncio.to_thread(process.ended) == 0


@pytest.mark.anyio
async def test_a_request_that_hangs_is_broken_off_and_told_so(settings: Settings, clean: None) -> None:
    with serving(settings, **PATIENT, DRAIN_TIMEOUT="1") as process:
        async with locked(settings):
            request = await hanging(process, settings)
            started = time.monotonic()
            process.process.send_signal(signal.SIGTERM)
            answer = await request
            assert status_of(answer) == b"503"
            assert b'"code":"TIMEOUT"' in answer
            assert await asyncio.to_thread(process.ended) == 0
            assert time.monotonic() - started < 5
        assert not any("Traceback" in line for line in process.lines)


@pytest.mark.anyio
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(settings: Settings, clean: None, second: signal.Signals) -> None:
    with serving(settings, **PATIENT | {"DRAIN_GRACE": "60"}) as process:
        async with locked(settings):
            request = await hanging(process, settings)
            process.process.send_signal(signal.SIGTERM)
            probe = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
            await asyncio.to_thread(until, lambda: status_of(exchange(process.port, probe)) == b"503")
            started = time.monotonic()
            process.process.send_signal(second)
            assert await asyncio.to_thread(process.ended) == 0
            assert time.monotonic() - started < 3
            await request
        assert not any("Traceback" in line for line in process.lines)
        assert any("told to end" in str(event["event"]) for event in process.events())
        [fault] = [event for event in process.events() if "in good order" in str(event["event"])]
        assert fault["exception"] == "asyncio.exceptions.CancelledError"
