"""More operations than the gateway takes at once are refused at once, and nothing else is."""

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest
from httpx2 import ASGITransport, AsyncClient
from starlette.types import Message, Receive, Scope, Send

from app.database import Databases
from app.graph.context import Context, Services
from app.graph.engine import Answer, Engine, Request
from app.graph.http import Endpoint
from app.graph.schema import build_schema
from app.identity.sessions import Identity
from app.settings import Settings

pytestmark = pytest.mark.anyio
QUERY = {"query": "{ __typename }"}
MOST = 3


class SlowEngine(Engine):
    """Answers as the other one does, but only when it is told to."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(build_schema(), settings)
        self.started = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()

    async def answer(self, request: Request, context: Context) -> Answer:
        self.started.release()
        await self.go_on.wait()
        return await super().answer(request, context)


class Gateway:
    """The endpoint alone, in the lifespan's state."""

    def __init__(self, settings: Settings, services: Services) -> None:
        self.engine = SlowEngine(settings)
        self._endpoint = Endpoint(self.engine, settings, None)
        self._services = services
        self.client = AsyncClient(transport=ASGITransport(self), base_url="http://gateway")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"services": self._services}
        await self._endpoint(scope, receive, send)

    def ask(self) -> "asyncio.Task[int]":
        """The status of a query that is sent now."""

        async def status() -> int:
            return (await self.client.post("/", json=QUERY)).status_code

        return asyncio.create_task(status())

    async def until_started(self, number: int) -> None:
        for _ in range(number):
            await self.engine.started.acquire()


@pytest.fixture
async def gateway(settings: Settings) -> AsyncGenerator[Gateway]:
    few = settings.model_copy(update={"max_in_flight": MOST})
    async with Databases.opened(few) as databases, Identity.opened(databases, few) as identity:
        gateway = Gateway(few, Services(databases, few, identity))
        async with gateway.client:
            yield gateway


async def test_what_is_too_many_is_refused_at_once_and_the_others_are_answered(gateway: Gateway) -> None:
    running = [gateway.ask() for _ in range(MOST)]
    await gateway.until_started(MOST)
    for response in await asyncio.gather(*(gateway.client.post("/", json=QUERY) for _ in range(50))):
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.json()["errors"][0]["extensions"] == {"code": "RATE_LIMITED"}
    gateway.engine.go_on.set()
    assert await asyncio.gather(*running) == [200] * MOST
    assert await gateway.ask() == 200


async def test_an_operation_that_is_broken_off_makes_room(gateway: Gateway) -> None:
    running = [gateway.ask() for _ in range(MOST)]
    await gateway.until_started(MOST)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    gateway.engine.go_on.set()
    assert await asyncio.gather(*(gateway.ask() for _ in range(MOST))) == [200] * MOST


async def trickle(gateway: Gateway, body: "asyncio.Queue[Message]", answers: list[Message]) -> None:
    """A request whose body comes as the queue gives it."""

    async def receive() -> Message:
        message = await body.get()
        body.task_done()
        return message

    async def send(message: Message) -> None:
        answers.append(message)

    headers = [(b"content-type", b"application/json")]
    scope: Scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    await gateway(scope, receive, send)


async def test_a_body_that_trickles_in_takes_nobodys_place(gateway: Gateway) -> None:
    """But when it is there and no place is free, it is refused like every other."""
    bodies = [asyncio.Queue[Message]() for _ in range(10 * MOST)]
    answers: list[list[Message]] = [[] for _ in bodies]
    slow = [asyncio.create_task(trickle(gateway, *pair)) for pair in zip(bodies, answers, strict=True)]
    whole = json.dumps(QUERY).encode()
    for body in bodies:
        body.put_nowait({"type": "http.request", "body": whole[:5], "more_body": True})
    await asyncio.gather(*(body.join() for body in bodies))

    running = [gateway.ask() for _ in range(MOST)]
    await gateway.until_started(MOST)
    bodies[0].put_nowait({"type": "http.request", "body": whole[5:]})
    await slow[0]
    assert answers[0][0]["status"] == 503
    gateway.engine.go_on.set()
    assert await asyncio.gather(*running) == [200] * MOST
    bodies[1].put_nowait({"type": "http.request", "body": whole[5:]})
    await slow[1]
    assert answers[1][0]["status"] == 200

    for body in bodies[2:]:
        body.put_nowait({"type": "http.disconnect"})
    await asyncio.gather(*slow)
    assert all(answer == [] for answer in answers[2:])
