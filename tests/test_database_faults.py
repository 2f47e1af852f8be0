"""A database behind a network that fails in every way there is: limits hold, others notice nothing, it comes back."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from statistics import median, quantiles
from time import monotonic, sleep
from typing import Any

import pytest

from app.database import Database, Databases, Observer, Transaction
from app.errors import DatabaseUnavailableError
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from tests.proxy import Proxy, proxied

pytestmark = pytest.mark.anyio

LIMIT = 0.8  # seconds: enough to connect on a busy machine
IN_TIME = 5.0  # seconds in which what has such limits is over on a busy machine; what ignores them takes far longer
QUERY = "SELECT repeat('x', 2000) AS x"

FAULTS: dict[str, Callable[[Proxy], None]] = {
    "refuse": Proxy.refuse,
    "swallow": Proxy.swallow,
    "delay": lambda proxy: proxy.delay(30.0),
    "throttle": lambda proxy: proxy.throttle(100),
}


@pytest.fixture
def slow_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """So slow that whoever waits for it is not in time."""
    monkeypatch.setattr("app.pool.CLEAN_UP", 30.0)


@asynccontextmanager
async def behind_proxy(
    settings: Settings, observe: Observer | None = None, **others: object
) -> AsyncGenerator[tuple[Proxy, Databases]]:
    """The four databases, the users database behind a proxy, with short limits."""
    async with proxied(settings.users_database_url) as (proxy, url):
        limits = {"connect_timeout": LIMIT, "read_timeout": LIMIT, "write_timeout": LIMIT, "users_database_url": url}
        async with Databases.opened(settings.model_copy(update=limits | others), observe) as databases:
            try:
                yield proxy, databases
            finally:
                proxy.restore()
                proxy.reset()  # or the pool would give its connections time to come clean


@asynccontextmanager
async def reading(database: Database) -> AsyncGenerator[list[float]]:
    """Reads from a database for as long as the block runs; yields how long each took. No read may fail."""
    took: list[float] = []

    async def read() -> None:
        while True:
            started = monotonic()
            await database.fetch("SELECT 1")
            took.append(monotonic() - started)

    task = asyncio.create_task(read())
    try:
        yield took
    finally:
        assert not task.done(), "a read has failed"
        task.cancel()


async def nothing(transaction: Transaction) -> None:
    await transaction.execute("SELECT 1")


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_told_in_time_harms_no_other_database_and_passes(
    settings: Settings, fault: str, warm: bool, slow_clean_up: None
) -> None:
    async with behind_proxy(settings) as (proxy, databases), reading(databases["products"]) as others:
        users = databases["users"]
        if warm:
            await asyncio.gather(*(users.fetch(QUERY) for _ in range(5)))
        FAULTS[fault](proxy)
        started = monotonic()
        answers = await asyncio.gather(*(users.fetch(QUERY) for _ in range(5)), return_exceptions=True)
        assert monotonic() - started < IN_TIME  # to connect and to read; no moment for the driver's clean-up
        assert all(isinstance(answer, DatabaseUnavailableError) for answer in answers)
        assert users.breaker.state == "open"
        proxy.restore()
        proxy.reset()  # what is held up would be late; and a server that comes back knows no connection
        assert await until_back(users) < 5
        assert users.breaker.state == "closed"
        assert await asyncio.gather(*(users.fetch(QUERY) for _ in range(10)))
    assert len(others) > 10


async def failed(database: Database) -> bool:
    try:
        await database.fetch(QUERY)
    except DatabaseUnavailableError:
        return True
    return False


async def until_back(database: Database) -> float:
    """How long it takes until a read succeeds, in seconds."""
    started = monotonic()
    while await failed(database) and monotonic() - started < 10:  # noqa: ASYNC110 -- tried again, as clients do
        await asyncio.sleep(0.01)
    return monotonic() - started


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_write_ends_in_time(settings: Settings, fault: str, slow_clean_up: None) -> None:
    async with behind_proxy(settings) as (proxy, databases):
        users = databases["users"]
        await users.write(nothing)
        FAULTS[fault](proxy)
        started = monotonic()
        with pytest.raises(DatabaseUnavailableError):
            await users.write(nothing)
        assert monotonic() - started < IN_TIME


async def test_readiness_is_told_within_a_second(settings: Settings, slow_clean_up: None) -> None:
    """Or soon after, on a busy machine; whatever the limits of reads are.

    And it closes the breaker at once, without waiting for the pause to be over.
    """
    limits: dict[str, Any] = {"read_timeout": 60, "breaker_failures": 1, "breaker_pause": 3600}
    async with behind_proxy(settings, **limits) as (proxy, databases):
        users = databases["users"]
        async with asyncio.timeout(10):
            while not all((await databases.answering()).values()):
                pass
        proxy.swallow()
        started = monotonic()
        assert await databases.answering() == {name: name != "users" for name in DATABASE_NAMES}
        assert monotonic() - started < IN_TIME
        assert users.breaker.state == "closed"
        assert await failed(users)
        assert users.breaker.state == "open"
        proxy.restore()
        assert await failed(users)
        async with asyncio.timeout(10):
            while not await users.answers():
                pass
        assert not await failed(users)


request: ContextVar[str | None] = ContextVar("request", default=None)


@pytest.mark.parametrize("fault", ["refuse", "swallow"])
async def test_a_database_that_is_back_is_found_before_anybody_asks(settings: Settings, fault: str) -> None:
    """So the first operation is complete, and not in part refused while one of its reads is the probe."""
    asked: list[tuple[str, str | None]] = []

    def observe(_name: DatabaseName, sql: str) -> None:
        asked.append((sql, request.get()))

    request.set("one")
    async with behind_proxy(settings, observe, breaker_failures=1, breaker_pause=0.1) as (proxy, databases):
        users = databases["users"]
        FAULTS[fault](proxy)
        assert await failed(users)
        tried = proxy.accepted
        async with asyncio.timeout(20):
            while proxy.accepted < tried + 3:  # noqa: ASYNC110 -- it has no event
                await asyncio.sleep(0.01)
            proxy.restore()
            while users.breaker.state != "closed":  # noqa: ASYNC110 -- nor has this
                await asyncio.sleep(0.01)
        assert asked
        assert {whose for _, whose in asked} == {None}  # nobody's, also to the log
        assert await asyncio.gather(*(users.fetch(QUERY) for _ in range(10)))
        assert (QUERY, "one") in asked
        FAULTS[fault](proxy)  # and it ends while it looks for one that is gone
        proxy.reset()
        assert await failed(users)


@pytest.mark.parametrize("fault", ["refuse", "swallow"])
async def test_other_databases_are_as_fast_as_when_none_is_down(settings: Settings, fault: str) -> None:
    """By the slowest of a hundred reads, twice as slow at most; in turns, so that both see the same busy machine."""
    took: dict[bool, list[float]] = {False: [], True: []}
    limits: dict[str, Any] = {"connect_timeout": 0.4, "read_timeout": 0.4, "breaker_pause": 0.1}
    async with behind_proxy(settings, **limits) as (proxy, databases):
        users, products = databases["users"], databases["products"]

        async def ask() -> None:
            while True:
                await failed(users)
                await asyncio.sleep(0.005)

        async def measure(down: bool, until: float) -> None:
            while monotonic() < until:
                started = monotonic()
                await products.fetch("SELECT 1")
                took[down].append(monotonic() - started)
                await asyncio.sleep(0.001)

        await asyncio.gather(*(products.fetch("SELECT pg_sleep(0.05)") for _ in range(4)))
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(ask()) for _ in range(5)]
            for down in (False, True) * 3:
                if down:
                    FAULTS[fault](proxy)
                    proxy.reset()
                else:
                    proxy.restore()
                    assert await until_back(users) < 10
                await asyncio.gather(*(measure(down, monotonic() + 0.8) for _ in range(4)))
            for task in asking:
                task.cancel()
    usual, then = (quantiles(took[down], n=100)[-1] for down in (False, True))
    assert then < max(2 * usual, 0.1)


async def test_a_reset_costs_no_read_an_error(settings: Settings) -> None:
    """As after a restart of the server: all connections are dead at once, and those that are idle do not know it."""
    async with behind_proxy(settings, read_timeout=10, connect_timeout=10) as (proxy, databases):
        users = databases["users"]
        await asyncio.gather(*(users.fetch("SELECT pg_sleep(0.05)") for _ in range(10)))
        assert proxy.accepted == 10
        proxy.reset()
        await asyncio.gather(*(users.fetch(QUERY) for _ in range(10)))
        busy = [asyncio.create_task(users.fetch("SELECT pg_sleep(1)")) for _ in range(10)]
        await until_busy(databases, "SELECT pg_sleep(1)", 10)
        proxy.reset()
        await asyncio.gather(*busy)
        assert proxy.accepted == 30
        assert users.breaker.state == "closed"


async def until_busy(databases: Databases, query: str, number: int) -> None:
    busy = "SELECT FROM pg_stat_activity WHERE query = $1 AND state = 'active'"
    async with asyncio.timeout(5):
        while len(await databases["products"].fetch(busy, query)) < number:
            pass


async def test_connections_that_went_silent_are_not_tried_one_by_one(settings: Settings) -> None:
    """No reset tells of them (a firewall forgot them, a standby took over the address); new ones work."""
    async with behind_proxy(settings, breaker_failures=1) as (proxy, databases):
        users = databases["users"]
        await asyncio.gather(*(users.fetch("SELECT pg_sleep(0.05)") for _ in range(10)))
        proxy.strand()
        assert await failed(users)
        assert await until_back(users) < 5
        await asyncio.gather(*(users.fetch(QUERY) for _ in range(10)))


async def test_a_write_is_never_done_twice_for_a_lost_connection(settings: Settings) -> None:
    """Nor where it is lost during COMMIT, when nobody can know whether it was done."""
    async with behind_proxy(settings) as (proxy, databases):
        attempts: list[str] = []

        async def lost_before_commit(transaction: Transaction) -> None:
            attempts.append("commit")
            await transaction.execute("SELECT 1")
            proxy.reset()

        async def lost_at_a_statement(transaction: Transaction) -> None:
            attempts.append("statement")
            await transaction.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        async def goes_on(transaction: Transaction) -> None:
            attempts.append("goes on")
            for _ in range(3):
                with pytest.raises(DatabaseUnavailableError):
                    await transaction.fetchval("SELECT pg_terminate_backend(pg_backend_pid())")

        for work in (lost_before_commit, lost_at_a_statement, goes_on):
            with pytest.raises(DatabaseUnavailableError):
                await databases["users"].write(work)
        assert attempts == ["commit", "statement", "goes on"]


async def test_while_the_breaker_is_open_reads_fail_at_once(settings: Settings) -> None:
    gone = {"users_database_url": "postgresql://nobody@127.0.0.1:1/none"}
    async with Databases.opened(settings.model_copy(update=gone | {"breaker_pause": 3600})) as databases:
        users = databases["users"]
        assert await databases.answering() == {
            name: name != "users" for name in DATABASE_NAMES
        }  # it starts all the same
        for _ in range(settings.breaker_failures):
            assert users.breaker.state == "closed"
            assert await failed(users)
        assert users.breaker.state == "open"
        took: list[float] = []
        for _ in range(200):
            started = monotonic()
            assert await failed(users)
            with pytest.raises(DatabaseUnavailableError):
                await users.write(nothing)
            took.append(monotonic() - started)
        assert median(took) < 0.01


async def test_one_probe_finds_out_and_a_cancelled_one_is_followed_by_another(settings: Settings) -> None:
    async with behind_proxy(settings, breaker_failures=1, connect_timeout=10) as (proxy, databases):
        users = databases["users"]
        proxy.refuse()
        assert await failed(users)
        proxy.restore()
        proxy.swallow()
        tried = proxy.accepted
        sleep(settings.breaker_pause)  # noqa: ASYNC251 -- or the gateway would itself be the probe
        probe = asyncio.create_task(users.fetch(QUERY))
        await asyncio.sleep(0)
        assert users.breaker.state == "half-open"
        assert all(await asyncio.gather(*(failed(users) for _ in range(100))))
        assert proxy.accepted <= tried + 1
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert users.breaker.state == "open"
        proxy.restore()
        assert not await failed(users)
        assert users.breaker.state == "closed"


async def test_cancelled_operations_leak_nothing_while_nothing_answers(settings: Settings, slow_clean_up: None) -> None:
    waits: dict[str, Any] = {"pool_wait": 60, "connect_timeout": 60, "read_timeout": 60, "write_timeout": 60}
    async with behind_proxy(settings, pool_size=4, **waits) as (proxy, databases):
        users = databases["users"]
        await asyncio.gather(*(users.fetch("SELECT pg_sleep(0.05)") for _ in range(4)))
        before = asyncio.all_tasks()
        proxy.swallow()
        calls = [users.fetch(QUERY) for _ in range(150)] + [users.write(nothing) for _ in range(150)]
        tasks = [asyncio.create_task(call) for call in calls]
        done, _ = await asyncio.wait(tasks, timeout=0.05)
        assert not done
        for task in tasks:
            task.cancel()
        started = monotonic()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert monotonic() - started < IN_TIME
        proxy.restore()
        if left := asyncio.all_tasks() - before:
            await asyncio.wait(left, timeout=5)
        await asyncio.gather(*(users.fetch("SELECT pg_sleep(0.1)") for _ in range(4)))
