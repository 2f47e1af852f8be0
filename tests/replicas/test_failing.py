"""Reads that fail at a standby, servers that are down, and what is told of them."""

import asyncio
import re
from math import isnan
from typing import Any

import asyncpg
import pytest

from app.errors import DatabaseTimeoutError, DatabaseUnavailableError
from app.identity.sessions import Identity
from app.metrics import DocumentFigures, RequestFigures
from app.metrics_collector import Sources, registry_of
from app.metrics_upkeep import Upkeep
from app.operations.connect import connected
from app.settings import Settings
from tests.proxy import proxied
from tests.replicas.standby import Standby, eventually
from tests.replicas.world import IS_THERE, OTHER, SESSION, World, is_there, left_out, messages, names, world_of

SLEEPS = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')"

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("looked_at_when_told")]


# --- what fails there is asked again of the primary


@pytest.mark.parametrize("fault", ["refuse", "swallow"])
async def test_a_read_whose_standby_is_lost_is_answered_by_the_primary(
    settings: Settings, standby: Standby, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        proxied(standby.url("ecommerce_products")) as (proxy, url),
        world_of(settings, url, connect_timeout=0.3, read_timeout=0.3) as world,
    ):
        await world.catch_up()
        [replica] = world.all
        reading = world.reading(SESSION)
        assert await is_there(reading)
        getattr(proxy, fault)()
        assert not await is_there(reading)
        assert replica.read_again == 1
        assert not await world.reads_there()  # without another look
        assert replica.read_again == 1
        await world.replicas.look()
        proxy.restore()
        proxy.reset()
        await world.replicas.look()
        assert not await is_there(reading)  # which stays where it is now
        assert await world.reads_there()
    assert messages(caplog) == [
        "replica-1 of the products database is left out: it does not answer",
        "replica-1 of the products database is read from",
    ]
    assert "its fields are null" not in caplog.text


async def test_a_read_that_replay_cancels_is_answered_by_the_primary(settings: Settings, standby: Standby) -> None:
    waits_there = "SELECT pg_is_in_recovery() AS there, CASE WHEN pg_is_in_recovery() THEN pg_sleep(60) END"
    url = standby.url("ecommerce_products")
    async with world_of(settings, url, read_timeout=30.0, statement_timeout=30.0) as world:
        await world.catch_up()
        reading = asyncio.create_task(world.reading().fetch(waits_there))
        await eventually(lambda: standby.value(SLEEPS))
        async with connected("products", settings.products_database_url) as connection:
            await connection.execute("INSERT INTO categories (name) SELECT 'C' || i FROM generate_series(1, 9) AS i")
            await connection.execute("DELETE FROM categories")
            await connection.execute("VACUUM categories")
        [row] = await reading
        assert row["there"] is False
        assert world.all[0].read_again == 1
        assert world.all[0].is_answering


async def test_what_only_the_primary_has_yet_is_read_there(world: World, standby: Standby) -> None:
    """A column that a migration has just made, say. And what there is nowhere is an error as ever."""
    await standby.pause()
    await world.primary.write(lambda transaction: transaction.execute("CREATE TABLE fresh ()"))
    try:
        assert await world.reading().fetch("SELECT FROM fresh") == []
        with pytest.raises(asyncpg.UndefinedTableError):
            await world.reading().fetch("SELECT FROM nowhere")
    finally:
        await world.primary.write(lambda transaction: transaction.execute("DROP TABLE fresh"))


async def test_what_finds_no_connection_is_not_asked_again(settings: Settings, standby: Standby) -> None:
    url = standby.url("ecommerce_products")
    async with world_of(settings, url, pool_size=1, pool_wait=0.01, read_timeout=30.0) as world:
        await world.catch_up()
        holding = asyncio.create_task(world.reading().fetch("SELECT pg_sleep(30)"))
        await eventually(lambda: standby.value(SLEEPS))
        with pytest.raises(DatabaseUnavailableError):
            await world.reading().fetch(IS_THERE)
        assert world.all[0].read_again == 0
        holding.cancel()


async def test_what_takes_too_long_is_not_asked_again(settings: Settings, standby: Standby) -> None:
    async with world_of(settings, standby.url("ecommerce_products"), read_timeout=0.2) as world:
        await world.catch_up()
        with pytest.raises(DatabaseTimeoutError):
            await world.reading().fetch("SELECT pg_sleep(30)")
        assert world.all[0].read_again == 0


# --- when servers are down


async def test_while_the_primary_is_down_reads_go_on(settings: Settings, standby: Standby) -> None:
    async with (
        proxied(settings.products_database_url) as (proxy, url),
        world_of(settings, standby.url("ecommerce_products"), products_database_url=url) as world,
    ):
        await world.catch_up()
        await standby.pause()
        await world.write("Lamps", SESSION)
        proxy.refuse()
        for _ in range(3):
            await world.replicas.look()
            assert await names(world.reading(OTHER)) == []
        assert not await world.primary.answers()
        with pytest.raises(DatabaseUnavailableError):
            await names(world.reading(SESSION))
        await standby.resume()
        await world.replicas.look()
        assert await names(world.reading(SESSION)) == ["Lamps"]
        with pytest.raises(DatabaseUnavailableError):
            await world.write("Shades")


async def test_it_starts_while_servers_are_down(
    settings: Settings, standby: Standby, caplog: pytest.LogCaptureFixture
) -> None:
    replica = standby.url("ecommerce_products")
    async with proxied(replica) as (proxy, url):
        proxy.refuse()
        async with world_of(settings, url) as world:
            await left_out(world, "it does not answer", caplog)
            proxy.restore()
            await world.catch_up()
            assert await world.reads_there()
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    async with world_of(settings, replica, products_database_url=nowhere) as world:
        assert await world.reads_there()
        assert isnan(world.replicas.lag(world.all[0]))


# --- what is told of them


async def test_their_connections_count(settings: Settings, standby: Standby, caplog: pytest.LogCaptureFixture) -> None:
    async with world_of(settings, standby.url("ecommerce_products"), pool_size=1000) as world:
        await world.databases.check_capacity(world.all)
    assert re.search(r"the pools of products \(replica-1\) can take 1000 connections", caplog.text)


async def test_metrics_tell_servers_apart(settings: Settings, standby: Standby) -> None:
    async with world_of(settings, standby.url("ecommerce_products")) as world:
        await world.catch_up()
        identity, upkeep = Identity(world.databases, settings), Upkeep(world.databases["orders"])
        sources = Sources(world.databases, identity, RequestFigures(), DocumentFigures(), upkeep, world.replicas)
        registry = registry_of(sources)

        def of(name: str, **labels: Any) -> float | None:
            return registry.get_sample_value(f"storegraph_{name}", {"database": "products", **labels})

        counts = "statement_duration_seconds_count"
        before = {server: of(counts, server=server) or 0 for server in ("primary", "replica-1")}
        assert await world.reads_there()
        after = {server: of(counts, server=server) or 0 for server in before}
        assert {server: after[server] - before[server] for server in before} == {"primary": 0, "replica-1": 1}
        assert of("replica_used", server="replica-1") == of("database_up", server="replica-1") == 1
        assert of("replica_lag_seconds", server="replica-1") == 0
        assert of("replica_reads_again_total", server="replica-1") == 0
        assert of("batch_keys_count") == 0
