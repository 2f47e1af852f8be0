"""A pool under load, faults and cancellation: every limit holds, and nothing leaks."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from time import monotonic
from uuid import uuid4

import asyncpg
import pytest

from app.database import Database, Databases
from app.errors import DatabaseTimeoutError, DatabaseUnavailableError, MissingPartitionError
from app.settings import Settings
from tests.proxy import proxied

pytestmark = pytest.mark.anyio


async def opened(settings: Settings, **limits: float) -> AsyncGenerator[Database]:
    async with Databases.opened(settings.model_copy(update=limits)) as databases:
        yield databases["users"]


async def test_read_timeout_counts_from_the_connection_on(settings: Settings) -> None:
    async for database in opened(settings, read_timeout=0.2, pool_wait=60, connect_timeout=60):
        await database.fetch("SELECT pg_sleep(0.01)")
        started = monotonic()
        with pytest.raises(DatabaseUnavailableError):
            await database.fetch("SELECT pg_sleep(5)")
        assert monotonic() - started < 1


async def test_statement_timeout_is_the_servers(settings: Settings) -> None:
    async for database in opened(settings, statement_timeout=0.1):
        with pytest.raises(DatabaseTimeoutError):
            await database.fetch("SELECT pg_sleep(5)")


async def test_connect_timeout_and_what_the_log_says(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async with proxied(settings.users_database_url) as (proxy, url):
        proxy.swallow()
        through = settings.model_copy(update={"users_database_url": url})
        async for database in opened(through, connect_timeout=0.2, pool_wait=60, read_timeout=60):
            with pytest.raises(DatabaseUnavailableError):
                await asyncio.wait_for(database.fetch("SELECT 1"), 2)
            proxy.restore()
            async with asyncio.timeout(10):
                while not await database.answers():
                    pass
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        "the users database does not answer",
        "the users database answers again",
    ]


async def test_pool_wait(settings: Settings) -> None:
    """Who finds all connections busy waits for one, but not for ever."""
    async for database in opened(settings, pool_size=1, pool_wait=0.1, read_timeout=60):
        await database.fetch("SELECT 1")
        busy = asyncio.create_task(database.fetch("SELECT pg_sleep(0.5)"))
        await asyncio.sleep(0)  # to let it take the connection
        with pytest.raises(DatabaseUnavailableError):
            await asyncio.wait_for(database.fetch("SELECT 1"), 0.4)
        await busy
        await database.fetch("SELECT 1")


async def test_cancelled_reads_leak_nothing(settings: Settings) -> None:
    async for database in opened(settings, pool_size=4):
        await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.01)") for _ in range(4)))
        before = asyncio.all_tasks()
        for _ in range(75):
            reads = [asyncio.create_task(database.fetch("SELECT pg_sleep(10)")) for _ in range(4)]
            await asyncio.sleep(0.002)
            for read in reads:
                read.cancel()
            await asyncio.gather(*reads, return_exceptions=True)
        if left := asyncio.all_tasks() - before:
            _, pending = await asyncio.wait(left, timeout=5)
            assert not pending
        await asyncio.gather(*(database.fetch("SELECT 1") for _ in range(8)))
        [row] = await database.fetch(
            "SELECT count(*) AS busy FROM pg_stat_activity WHERE query LIKE '%pg_sleep(10)'"
            " AND state <> 'idle' AND pid <> pg_backend_pid()"
        )
        assert row["busy"] == 0


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


async def test_terminated_connections_are_replaced(settings: Settings) -> None:
    async for database in opened(settings, pool_size=2):
        [row] = await database.fetch("SELECT pg_backend_pid() AS pid")
        async with Databases.opened(settings) as others:
            await others["users"].fetch("SELECT pg_terminate_backend($1)", row["pid"])
        await asyncio.gather(*(database.answers() for _ in range(2)))
        assert await database.answers()


async def test_a_row_without_its_partition_is_an_error_that_names_the_command(settings: Settings) -> None:
    insert = "INSERT INTO orders (user_id, total_amount, shipping_address_id, created_at) VALUES ($1, $2, $1, $3)"
    async with Databases.opened(settings) as databases:
        fetch = databases["orders"].fetch
        with pytest.raises(
            MissingPartitionError, match=r"^orders has no partition .* `storegraph partitions ensure --from"
        ):
            await fetch(insert, uuid4(), 1, datetime(1971, 1, 1, tzinfo=UTC))
        with pytest.raises(asyncpg.CheckViolationError, match="check_total_amount_not_negative"):
            await fetch(insert, uuid4(), -1, datetime.now(UTC))
