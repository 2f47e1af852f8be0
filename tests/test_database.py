"""A pool under load, faults and cancellation: every limit holds, and nothing leaks."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic, sleep
from uuid import uuid4

import asyncpg
import pytest

from app.database import Database, Databases, Transaction
from app.errors import DatabaseTimeoutError, DatabaseUnavailableError, MissingPartitionError
from app.settings import DatabaseName, Settings
from tests.proxy import proxied

pytestmark = pytest.mark.anyio


async def opened(settings: Settings, **limits: float) -> AsyncGenerator[Database]:
    async with Databases.opened(settings.model_copy(update=limits)) as databases:
        yield databases["users"]


async def test_read_timeout_counts_from_the_connection_on(settings: Settings) -> None:
    async for database in opened(settings, read_timeout=0.5, statement_timeout=60, pool_wait=60, connect_timeout=60):
        await database.fetch("SELECT pg_sleep(0.01)")
        started = monotonic()
        with pytest.raises((DatabaseTimeoutError, DatabaseUnavailableError)):
            await database.fetch("SELECT pg_sleep(60)")
        assert monotonic() - started < 10


async def test_a_read_that_the_server_stops_for_us_is_a_timeout(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the server lives is heard in milliseconds; the test gives it as long as a busy machine may need."""
    monkeypatch.setattr("app.pool._GRACE", 10)
    async for database in opened(settings, read_timeout=0.3, breaker_failures=1):
        with pytest.raises(DatabaseTimeoutError):
            await database.fetch("SELECT pg_sleep(60)")
        assert database.breaker.state == "closed"
    assert not caplog.records


@pytest.mark.parametrize("grace", [0.0, 0.2])
async def test_slow_reads_do_not_take_a_healthy_database_away(
    settings: Settings, grace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is heard only after the deadline that the server lives."""
    monkeypatch.setattr("app.pool._GRACE", grace)
    limits = {"read_timeout": 0.3, "statement_timeout": 60, "breaker_pause": 3600}
    async for database in opened(settings, **limits):
        slow = (database.fetch("SELECT pg_sleep(30)") for _ in range(settings.breaker_failures))
        errors = await asyncio.gather(*slow, return_exceptions=True)
        assert all(isinstance(error, DatabaseTimeoutError | DatabaseUnavailableError) for error in errors)
        async with asyncio.timeout(5):
            while database.breaker.state != "closed":  # noqa: ASYNC110 -- it has no event
                await asyncio.sleep(0)  # a turn of the loop
        for _ in range(settings.breaker_failures):
            assert await database.fetch("SELECT 1")


@pytest.mark.parametrize("known", [True, False], ids=["its statement known", "its statement new"])
async def test_that_the_loop_stands_still_is_not_the_databases_fault(
    settings: Settings, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer came in time, and nobody could read it; of a new statement, the parameters were yet to be sent."""
    query = "SELECT $1::int" if known else "SELECT $1::int + 0"

    def observe(_name: DatabaseName, sql: str) -> None:
        if sql == query and standing_still:
            asyncio.get_running_loop().call_soon(sleep, 1.5)  # as soon as it is sent

    standing_still = False
    limits = {"read_timeout": 0.5, "breaker_failures": 1}
    async with Databases.opened(settings.model_copy(update=limits), observe) as databases:
        database = databases["users"]
        await database.fetch("SELECT $1::int", 1)
        standing_still = True
        [row] = await database.fetch(query, 1)
        assert row[0] == 1
        assert database.breaker.state == "closed"
    assert not caplog.records


async def test_statement_timeout_is_the_servers(settings: Settings) -> None:
    async for database in opened(settings, statement_timeout=0.1):
        with pytest.raises(DatabaseTimeoutError):
            await database.fetch("SELECT pg_sleep(5)")


async def test_connect_timeout_and_what_the_log_says(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async with proxied(settings.users_database_url) as (proxy, url):
        proxy.swallow()
        through = settings.model_copy(update={"users_database_url": url})
        async for database in opened(through, connect_timeout=0.5, pool_wait=60, read_timeout=60):
            with pytest.raises(DatabaseUnavailableError):
                await asyncio.wait_for(database.fetch("SELECT 1"), 10)
            proxy.restore()
            async with asyncio.timeout(10):
                while not await database.answers():
                    pass
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        "the users database does not answer",
        "the users database answers again",
    ]


async def test_pool_wait(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Who finds all connections busy waits for one, but not for ever; to the breaker that is no failure."""
    limits = {"pool_wait": 0.3, "connect_timeout": 60, "read_timeout": 60, "statement_timeout": 60}
    async for database in opened(settings, pool_size=1, breaker_failures=1, **limits):
        await database.fetch("SELECT 1")
        busy = asyncio.create_task(database.fetch("SELECT pg_sleep(50)"))
        await asyncio.sleep(0)  # to let it take the connection
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError):
                await asyncio.wait_for(database.fetch("SELECT 1"), 10)
            assert database.breaker.state == "closed"
        assert await database.answers()
        assert not busy.done()
        busy.cancel()
        async with asyncio.timeout(10):
            while not await idle(database):
                pass
    assert [record.getMessage() for record in caplog.records] == [
        "all 1 connections to the users database were busy for 0.3 s; POOL_SIZE sets how many there are"
    ]


async def idle(database: Database) -> bool:
    """Whether a connection came free in time."""
    with suppress(DatabaseUnavailableError):
        return bool(await database.fetch("SELECT 1"))
    return False


SLEEP = "SELECT pg_sleep(10)"
# A cancellation that reaches the server before its statement is lost (PostgreSQL's manual, "Canceling Requests
# in Progress"); the server's own limit ends that one.
BUSY = """SELECT FROM pg_stat_activity WHERE application_name = 'storegraph' AND state <> 'idle'
    AND datname = current_database() AND pid <> pg_backend_pid()"""


async def sleeping(transaction: Transaction) -> None:
    await transaction.execute("CREATE TEMPORARY TABLE of_a_cancelled_write ()")
    await transaction.execute(SLEEP)


async def short(transaction: Transaction) -> None:
    await transaction.execute("SELECT 1")


OPERATIONS: dict[str, Callable[[Database], Coroutine[None, None, object]]] = {
    "reads": lambda database: database.fetch(SLEEP),
    "writes": lambda database: database.write(sleeping),
    "short writes": lambda database: database.write(short),
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_cancelled_operations_leak_nothing(
    settings: Settings, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    async for database in opened(settings, pool_size=4, pool_wait=5):
        await assert_whole(database)
        before = asyncio.all_tasks()
        for number in range(75):
            tasks = [asyncio.create_task(OPERATIONS[operation](database)) for _ in range(4)]
            await asyncio.sleep(number % 15 * 0.0004)  # so as to cancel at every stage
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if left := asyncio.all_tasks() - before:
            _, pending = await asyncio.wait(left, timeout=5)
            assert not pending
        await assert_whole(database)
        async with asyncio.timeout(settings.statement_timeout + 1):
            while await database.fetch(BUSY):
                pass
    assert not caplog.records


async def assert_whole(database: Database) -> None:
    """All four connections can be used at the same time, and none has anything open."""
    together = asyncio.Barrier(4)

    async def look(transaction: Transaction) -> asyncpg.Record:
        [row] = await transaction.fetch("SELECT pg_backend_pid() AS pid, to_regclass('of_a_cancelled_write') AS x")
        await together.wait()
        return row

    rows = await asyncio.gather(*(database.write(look) for _ in range(4)))
    assert len({row["pid"] for row in rows}) == 4
    assert {row["x"] for row in rows} == {None}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres@127.0.0.1:1/none",
        "postgresql://nobody@{address}/ecommerce_users",
        "postgresql://postgres@{address}/no_such_database",
        "postgresql://postgres@{address}/ecommerce_users?no_such_setting=1",
        "postgresql://postgres@no-such-host.invalid/none",
    ],
)
async def test_whatever_keeps_us_from_connecting_is_unavailability(
    settings: Settings, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    address = settings.users_database_url.split("@")[1].split("/")[0]
    wrong = settings.model_copy(update={"users_database_url": url.format(address=address)})
    async for database in opened(wrong):
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError, match=r"^The users database does not answer\.$"):
                await database.fetch("SELECT 1")
    [record] = caplog.records
    assert record.getMessage().startswith("the users database does not answer (")


async def test_reads_survive_that_their_connections_are_terminated(settings: Settings) -> None:
    """Those that are idle and those that are in use."""
    async for database in opened(settings, pool_size=3):
        for query in ("SELECT pg_backend_pid() AS pid", "SELECT pg_backend_pid() AS pid, pg_sleep(0.2)"):
            rows = await asyncio.gather(*(database.fetch(query) for _ in range(3)))
            pids = [row["pid"] for [row] in rows]
            reads = [asyncio.create_task(database.fetch(query)) for _ in range(2)]
            async with Databases.opened(settings) as others:
                await others["users"].fetch("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", pids)
            rows = await asyncio.gather(*reads, *(database.fetch(query) for _ in range(2)))
            assert "sleep" not in query or not {row["pid"] for [row] in rows} & set(pids)
        assert database.breaker.state == "closed"


async def test_a_statement_that_is_wrong_is_neither_unavailability_nor_the_breakers_business(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async for database in opened(settings, breaker_failures=1):
        for sql, args in (("SELEC", ()), ("SELECT $1::int", ("x",)), ("SELECT $1::int", ()), ("SELECT 1 / 0", ())):
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
                await database.fetch(sql, *args)
        assert database.breaker.state == "closed"
    assert not caplog.records


async def test_what_the_server_is_told_of_each_session(settings: Settings) -> None:
    limits = {"lock_timeout": 0.25, "idle_in_transaction_timeout": 7.5, "statement_timeout": 0.0001}
    async for database in opened(settings, **(limits | {"statement_timeout": 2.5})):
        assert await shown(database) == {
            "TimeZone": "UTC",
            "application_name": "storegraph",
            "statement_timeout": "2500ms",
            "lock_timeout": "250ms",
            "idle_in_transaction_session_timeout": "7500ms",
            "plan_cache_mode": "force_generic_plan",
            "jit": "off",
        }
    async for database in opened(settings, lock_timeout=0.0001):
        assert (await shown(database))["lock_timeout"] == "1ms"


async def shown(database: Database) -> dict[str, str]:
    names = ["TimeZone", "application_name", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    return {name: (await database.fetch(f"SHOW {name}"))[0][0] for name in [*names, "plan_cache_mode", "jit"]}


async def test_pools_that_do_not_fit_their_server_are_told_once(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with Databases.opened(settings) as databases:
        [row] = await databases["users"].fetch(
            "SELECT current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int AS room"
        )
        await databases.check_capacity()
    assert not caplog.records
    room = row["room"]
    fits, gone = room // 3, {"payments_database_url": "postgresql://nobody@127.0.0.1:1/none"}
    async with Databases.opened(settings.model_copy(update=gone | {"pool_size": fits})) as databases:
        await databases.check_capacity()
    [record] = caplog.records
    assert "the payments database does not answer" in record.getMessage()
    caplog.clear()
    async with Databases.opened(settings.model_copy(update={"pool_size": fits})) as databases:
        await databases.check_capacity()
    [record] = caplog.records
    assert record.getMessage() == (
        f"the pools of users, products, orders, payments can take {4 * fits} connections (POOL_SIZE {fits}, each) of"
        f" one server, which allows {room} (max_connections without the reserved ones): set POOL_SIZE to {room // 4} or"
        " raise max_connections"
    )


async def test_a_row_without_its_partition_is_an_error_that_names_the_command(settings: Settings) -> None:
    insert = "INSERT INTO orders (user_id, total_amount, shipping_address_id, created_at) VALUES ($1, $2, $1, $3)"
    async with Databases.opened(settings) as databases:
        orders = databases["orders"]

        async def by_write(sql: str, *args: object) -> object:
            return await orders.write(lambda transaction: transaction.execute(sql, *args))

        for run in (orders.fetch, by_write):
            with pytest.raises(
                MissingPartitionError, match=r"^orders has no partition .* `storegraph partitions ensure --from"
            ):
                await run(insert, uuid4(), 1, datetime(1971, 1, 1, tzinfo=UTC))
            with pytest.raises(asyncpg.CheckViolationError, match="check_total_amount_not_negative"):
                await run(insert, uuid4(), -1, datetime.now(UTC))
