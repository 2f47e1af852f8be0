"""What the gateway counts of its four databases, and what it looks after in one of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from app import metrics_upkeep
from app.database import Database, Databases, Row, Transaction
from app.errors import DatabaseUnavailableError
from app.identity.access_tokens import AccessTokens
from app.identity.sessions import Identity
from app.metrics import DocumentFigures, RequestFigures
from app.metrics_collector import Sources, registry_of
from app.metrics_upkeep import Upkeep, reached
from app.operations.connect import connected
from app.operations.partitions_listed import listed, months_ahead
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from app.viewer import Viewer
from tests.factories import Make
from tests.graph.conftest import Gateway
from tests.proxy import proxied

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
pytestmark = pytest.mark.anyio


@dataclass
class Measured:
    """Four pools, what they have sent, and their metrics."""

    databases: Databases
    sent: Counter[DatabaseName]
    upkeep: Upkeep
    registry: CollectorRegistry

    def of(self, name: str, database: DatabaseName, **labels: str) -> float | None:
        of_server = {"database": database, "server": "primary", **labels}
        return self.registry.get_sample_value(f"storegraph_{name}", of_server)


async def measuring(settings: Settings, **changes: Any) -> AsyncGenerator[Measured]:
    settings = settings.model_copy(update=changes)
    sent: Counter[DatabaseName] = Counter()
    async with (
        Databases.opened(settings, lambda name, _sql: sent.update([name])) as databases,
        Identity.opened(databases, settings) as identity,
        Upkeep.of(databases["orders"]) as upkeep,
    ):
        await upkeep.looked()
        sources = Sources(databases, identity, RequestFigures(), DocumentFigures(), upkeep)
        yield Measured(databases, sent, upkeep, registry_of(sources))


@pytest.fixture
async def measured(settings: Settings) -> AsyncGenerator[Measured]:
    async for measured in measuring(settings, pool_size=1, pool_wait=30.0, write_timeout=60.0):
        yield measured


async def turns_until(database: Database, waiting: int) -> None:
    async with asyncio.timeout(20):
        while database.pool.waiting != waiting:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0)  # a turn of the loop


async def test_every_statement_is_counted_with_its_rows_and_seconds(measured: Measured) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.fetch("SELECT generate_series(1, 5)")
        await transaction.fetchval("SELECT 1")

    users, products = measured.databases["users"], measured.databases["products"]
    for rows in (0, 1, 7):
        await users.fetch("SELECT generate_series(1, $1::int)", rows)
    await users.write(work)
    await products.fetch("SELECT pg_sleep(0.02)")
    with pytest.raises(asyncpg.PostgresError):
        await products.fetch("SELECT nothing")
    for name in DATABASE_NAMES:
        assert measured.of("statement_duration_seconds_count", name) == measured.sent[name]
    assert measured.of("rows_total", "users") == 13
    assert measured.of("rows_total", "products") == 1
    assert measured.of("statements_failed_total", "users") == 0
    assert measured.of("statements_failed_total", "products") == 1
    assert measured.of("statement_duration_seconds_bucket", "products", le="0.01") == 1  # the wrong one
    assert (measured.of("statement_duration_seconds_sum", "products") or 0) >= 0.02


async def test_keys_are_counted_by_the_statement(settings: Settings, make: Make) -> None:
    user = await make.user()
    for number in range(1, 4):
        order = await make.order(user_id=user["id"])
        for _ in range(number):
            await make.item(order, product_id=(await make.product())["id"])
    async with Databases.opened(settings) as databases:
        gateway = Gateway(databases, settings, viewer=Viewer(str(user["id"]), None, "admin"))
        await gateway.ask("{ orders { nodes { items { product { name } } } } }")
        orders, products = (databases[name].figures.batches for name in ("orders", "products"))
        assert orders.sum == 1 + 3  # the whole table, as one; and the lines of three
        assert products.sum == 1 + 2 + 3
        assert dict(products.cumulative())[5.0] == 0
        assert dict(products.cumulative())[10.0] == 1


async def test_a_pool_tells_who_works_and_who_waits(measured: Measured) -> None:
    users = measured.databases["users"]
    go_on = asyncio.Event()

    async def work(_: Transaction) -> None:
        await go_on.wait()

    before = measured.of("pool_wait_seconds_count", "users") or 0
    working = asyncio.create_task(users.write(work))
    waiting = [asyncio.create_task(users.fetch("SELECT 1")) for _ in range(3)]
    await turns_until(users, 3)
    assert measured.of("pool_size", "users") == 1
    assert measured.of("pool_in_use", "users") == 1
    assert measured.of("pool_waiting", "users") == 3
    assert measured.of("pool_in_use", "products") == 0
    waiting.pop().cancel()
    await turns_until(users, 2)
    go_on.set()
    await asyncio.gather(working, *waiting)
    assert measured.of("pool_in_use", "users") == measured.of("pool_waiting", "users") == 0
    assert measured.of("pool_wait_seconds_count", "users") == before + 4
    assert (measured.of("pool_wait_seconds_sum", "users") or 0) > 0
    assert measured.of("pool_timeouts_total", "users") == 0


async def test_who_got_no_connection_in_time_is_counted(settings: Settings) -> None:
    async for measured in measuring(settings, pool_size=1, pool_wait=0.01, write_timeout=60.0):
        users = measured.databases["users"]

        async def work(_: Transaction, users: Database = users) -> None:
            for _number in range(2):
                with pytest.raises(DatabaseUnavailableError):
                    await users.fetch("SELECT 1")

        await users.write(work)
        assert measured.of("pool_timeouts_total", "users") == 2
        assert measured.of("database_up", "users") == 1
        assert measured.of("breaker_state", "users", state="closed") == 1


async def test_a_connection_that_is_lost_is_counted_at_work_and_before(measured: Measured, settings: Settings) -> None:
    users = measured.databases["users"]
    [row] = await users.fetch("SELECT pg_backend_pid() AS pid")
    assert measured.of("pool_losses_total", "users") == 0
    async with connected("users", settings.users_database_url) as connection:
        await connection.execute("SELECT pg_terminate_backend($1, 20000)", row["pid"])
    await users.fetch("SELECT 1")
    assert measured.of("pool_losses_total", "users") == 1
    with pytest.raises(DatabaseUnavailableError):
        await users.write(
            lambda transaction: transaction.execute("SELECT pg_terminate_backend(pg_backend_pid(), 20000)")
        )
    assert measured.of("pool_losses_total", "users") == 2


async def test_a_database_that_is_gone_is_down_and_its_breaker_open(settings: Settings) -> None:
    async for measured in measuring(settings, orders_database_url=NOWHERE, breaker_failures=1, breaker_pause=3600.0):
        with pytest.raises(DatabaseUnavailableError):
            await measured.databases["orders"].fetch("SELECT 1")
        for name in DATABASE_NAMES:
            is_gone = name == "orders"
            assert measured.of("database_up", name) == (not is_gone)
            states = {
                state: measured.of("breaker_state", name, state=state) for state in ("closed", "open", "half-open")
            }
            assert states == {"closed": not is_gone, "open": is_gone, "half-open": 0}
        for name in ("partitions_ahead_months", "product_stats_age_seconds"):
            assert measured.registry.get_sample_value(f"storegraph_{name}") is None


async def test_access_tokens_that_are_kept_are_counted(settings: Settings) -> None:
    async with Databases.opened(settings) as databases, Identity.opened(databases, settings) as identity:
        upkeep = Upkeep(databases["orders"])
        registry = registry_of(Sources(databases, identity, RequestFigures(), DocumentFigures(), upkeep))
        assert registry.get_sample_value("storegraph_access_tokens_cached") == 0
        assert settings.jwt_secret is not None
        tokens = AccessTokens(settings.jwt_secret.get_secret_value(), 60)
        session = "00000000-0000-0000-0000-000000000002"
        for number in (1, 2):
            token = tokens.issue(Viewer(f"00000000-0000-0000-0000-00000000000{number}", session, "admin"))
            for _ in range(3):
                identity.viewer_of(f"Bearer {token}")
        assert registry.get_sample_value("storegraph_access_tokens_cached") == 2


# --- what somebody has to see to


async def test_partitions_and_statistics_are_told_as_the_command_line_does(
    measured: Measured, settings: Settings
) -> None:
    async with connected("orders", settings.orders_database_url) as connection:
        partitions = await listed(connection, exact=False)
        refreshed = await connection.fetchval("SELECT refreshed_at FROM product_stats_refresh")
    now = datetime.now(UTC)
    months = months_ahead(partitions, now.date())
    assert months >= 12
    assert measured.registry.get_sample_value("storegraph_partitions_ahead_months") == months
    age = measured.registry.get_sample_value("storegraph_product_stats_age_seconds") or 0
    assert age - (now - refreshed).total_seconds() < 60


async def test_the_database_is_looked_at_once_a_minute_however_often_somebody_asks(measured: Measured) -> None:
    before = measured.sent["orders"]
    for _ in range(10):
        measured.registry.get_sample_value("storegraph_partitions_ahead_months")
        await measured.upkeep.looked()
    assert measured.sent["orders"] == before


async def test_nobody_waits_for_a_look(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def never(_self: Database, _sql: str) -> list[Row]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Database, "fetch", never)
    monkeypatch.setattr(metrics_upkeep, "INTERVAL", 0.0)
    for _ in range(3):
        assert measured.registry.get_sample_value("storegraph_partitions_ahead_months")
        await asked.wait()


async def test_a_look_that_fails_is_no_fault(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no tables yet, say; and the next one finds what is there."""
    for sql, value in (("SELECT nothing", None), (metrics_upkeep._REFRESHED, True)):  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(metrics_upkeep, "INTERVAL", 0.0)
        monkeypatch.setattr(metrics_upkeep, "_REFRESHED", sql)
        measured.upkeep.look()
        await measured.upkeep.looked()
        monkeypatch.setattr(metrics_upkeep, "INTERVAL", 3600.0)
        for name in ("partitions_ahead_months", "product_stats_age_seconds"):
            assert (measured.registry.get_sample_value(f"storegraph_{name}") is not None) == (value is not None)


async def test_nothing_is_told_of_a_database_that_has_gone_since(settings: Settings) -> None:
    async with proxied(settings.orders_database_url) as (proxy, url):
        async for measured in measuring(settings, orders_database_url=url):
            names = [f"storegraph_{name}" for name in ("partitions_ahead_months", "product_stats_age_seconds")]
            assert all(measured.registry.get_sample_value(name) for name in names)
            proxy.refuse()
            with pytest.raises(DatabaseUnavailableError):
                await measured.databases["orders"].fetch("SELECT 1")
            assert [measured.registry.get_sample_value(name) for name in names] == [None, None]
            proxy.restore()
            await measured.databases["orders"].answers()
            assert all(measured.registry.get_sample_value(name) for name in names)


DAYS = st.integers(-40, 40)
NOW = datetime(2026, 1, 31, tzinfo=UTC)


@given(st.lists(st.tuples(st.sampled_from(["orders", "order_items"]), DAYS, st.integers(1, 30))))
def test_partitions_reach_as_far_as_each_day_is_in_one_of_each_table(ranges: list[tuple[str, int, int]]) -> None:
    found = [(table, low, low + days) for table, low, days in ranges]
    rows = [{"name": name, "low": None, "high": None} for name in ("orders", "order_items")]
    rows += [
        {"name": name, "low": NOW + timedelta(low), "high": NOW + timedelta(high)}
        for name, low, high in sorted(found, key=lambda each: each[1])
    ]
    day = 0
    while all(any(name == of and low <= day < high for of, low, high in found) for name in ("orders", "order_items")):
        day += 1
    assert reached(cast("list[Row]", rows), NOW) == NOW + timedelta(day)
