"""Which standbys are not read from, and that a line of the log says why."""

import asyncio
import logging
from pathlib import Path

import pytest

from app.database import Database
from app.operations.connect import connected
from app.operations.server import LocalServer
from app.replicas import Replica, Standbys
from app.settings import Settings
from tests.proxy import proxied
from tests.replicas.standby import FLUSHED, Standby, eventually, standby_of
from tests.replicas.world import MANY, SESSION, World, is_there, left_out, messages, names, world_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("looked_at_when_told")]


async def stays_idle(world: World, seconds: float) -> bool:
    """Whether nothing is written for so long. (The server itself writes something every 15 s.)"""
    before = await world.primary.fetch(FLUSHED)
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        await world.replicas.look()
    return await world.primary.fetch(FLUSHED) == before


async def test_one_that_is_late_is_left_out_until_it_has_caught_up(
    settings: Settings, standby: Standby, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with world_of(settings, standby.url("ecommerce_products"), replica_max_lag=0.05) as world:
        [replica] = world.all
        await world.catch_up()
        await standby.pause()
        while not await stays_idle(world, 0.2):
            await standby.resume()
            await world.catch_up()
            await standby.pause()
        assert replica.is_used
        await world.write("Lamps")

        async def is_late() -> bool:
            await world.replicas.look()
            return not replica.is_used

        await eventually(is_late)
        assert world.replicas.lag(replica) >= 0.05
        await left_out(world, "it is more than 0.05 s late", caplog)
        await standby.resume()
        await world.replicas.look()
        assert await world.reads_there()
        assert world.replicas.lag(replica) == 0
    assert messages(caplog)[-1] == "replica-1 of the products database is read from"


async def test_one_that_was_late_must_be_half_as_late(settings: Settings) -> None:
    replica = Replica("products", 1, settings.products_database_url, settings, None)
    standbys = Standbys(Database("products", settings), [replica], max_lag=4.0)
    standbys._history = [(float(second), second) for second in range(10)]  # pyright: ignore[reportPrivateUsage]
    used: list[bool] = []
    for position in (6, 5, 4, 6, 7, 5):
        replica.position = position
        standbys._judge()  # pyright: ignore[reportPrivateUsage]
        used.append(replica.is_used)
    assert used == [True, True, False, False, True, True]


async def test_where_a_primary_was_that_has_lost_its_place_is_forgotten(settings: Settings) -> None:
    standbys = Standbys(Database("products", settings), [], max_lag=3600.0)
    for position in (10, 20, 30, 20, 25):
        standbys._was_at(position)  # pyright: ignore[reportPrivateUsage]
    assert [position for _, position in standbys._history] == [10, 20, 20, 25]  # pyright: ignore[reportPrivateUsage]


async def test_one_that_is_no_standby_is_left_out(
    settings: Settings, standby: Standby, caplog: pytest.LogCaptureFixture
) -> None:
    async with world_of(settings, settings.products_database_url) as world:
        await left_out(world, "it is no standby", caplog)


async def test_one_of_another_database_is_left_out(
    settings: Settings, standby: Standby, caplog: pytest.LogCaptureFixture
) -> None:
    async with world_of(settings, standby.url("ecommerce_orders")) as world:
        await left_out(world, "it is not of the same database as the primary", caplog)


async def test_where_the_primary_is_none_all_are_left_out(
    settings: Settings, standby: Standby, caplog: pytest.LogCaptureFixture
) -> None:
    primary = standby.url("ecommerce_products")
    async with world_of(settings, settings.products_database_url, products_database_url=primary) as world:
        assert await is_there(world.primary)
        [line] = messages(caplog)
        assert line.endswith("the primary cannot be asked how far it is (ObjectNotInPrerequisiteStateError)")


async def test_a_standby_of_which_no_more_may_be_known_is_read_from(settings: Settings, standby: Standby) -> None:
    """Its databases have a name alike; whether it is the primary's own, its role may not ask."""
    database = settings.products_database_url
    revoke = "CREATE ROLE reader LOGIN; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"
    grant = "DROP ROLE reader; GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC"
    primary, replica = (url.replace("postgres@", "reader@") for url in (database, standby.url("ecommerce_products")))
    async with connected("products", database) as connection:
        await connection.execute(revoke)
        try:
            await standby.catch_up()
            async with world_of(settings, replica, products_database_url=primary) as world:
                await world.catch_up()
                assert await world.reads_there()
        finally:
            await connection.execute(grant)


async def test_one_that_is_promoted_is_left_out(
    settings: Settings, server: LocalServer, scratch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with standby_of(server, scratch) as promoted:
        async with world_of(settings, promoted.url("ecommerce_products")) as world:
            await world.catch_up()
            assert await promoted.value("SELECT pg_promote()")
            await world.replicas.look()
            await left_out(world, "it is no standby", caplog)


async def test_one_that_has_followed_another_primary_further_is_left_out(
    settings: Settings,
    standby: Standby,
    server: LocalServer,
    scratch: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The primary is lost, and of two standbys the one that has less becomes the next."""
    async with proxied(settings.products_database_url) as (proxy, url):
        with standby_of(server, scratch, streaming=False) as behind:
            async with world_of(settings, standby.url("ecommerce_products"), products_database_url=url) as world:
                await world.catch_up()
                await world.write("Lamps", SESSION)
                await world.primary.write(lambda transaction: transaction.execute(MANY))  # more than a promotion writes
                await standby.catch_up()
                await world.replicas.look()
                assert (await names(world.reading(SESSION)))[0] == "Lamps"
                assert await behind.value("SELECT pg_promote()")
                proxy.redirect(behind.server.port)
                await world.replicas.look()
                await world.replicas.look()
                assert await names(world.reading(SESSION)) == []
                reason = "it is ahead of the primary, as one that has followed another is"
                await left_out(world, reason, caplog)
                assert await names(world.primary) == []
