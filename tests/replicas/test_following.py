"""Reads go to standbys, and what must see a write goes to one that has it, or to the primary."""

from uuid import uuid4

import pytest

from app import replicas as module
from app.database import Databases, Transaction
from app.replicas import Replicas
from app.settings import DATABASE_NAMES, Settings
from tests.proxy import proxied
from tests.replicas.standby import Standby, eventually
from tests.replicas.world import OTHER, SESSION, World, is_there, names, world_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("looked_at_when_told")]


async def test_only_what_is_read_for_an_operation_goes_to_a_standby(world: World) -> None:
    assert await world.reads_there()
    assert await world.reads_there(SESSION)
    assert not await is_there(world.primary)
    assert not await is_there(world.replicas.reading(None, {})["orders"])  # which has none

    async def work(transaction: Transaction) -> bool:
        return await transaction.fetchval("SELECT pg_is_in_recovery()")

    assert not await world.primary.write(work)


async def test_without_any_there_is_nothing(settings: Settings) -> None:
    async with Databases.opened(settings) as databases, Replicas.opened(databases, settings) as replicas:
        assert replicas is None
        assert [databases[name].committed for name in DATABASE_NAMES] == [None] * 4


# --- reads follow writes


async def test_who_has_written_sees_it_and_others_see_it_once_it_is_there(world: World, standby: Standby) -> None:
    await standby.pause()
    position = await world.write("Lamps", SESSION)
    await world.replicas.look()
    assert await names(world.reading(SESSION)) == ["Lamps"]
    assert await names(world.reading(None, products=position)) == ["Lamps"]
    for other in (world.reading(OTHER), world.reading(), world.reading(None, products=1)):
        assert await names(other) == []
        assert await is_there(other)

    await standby.resume()
    assert not await world.reads_there(SESSION)  # as it is not known yet
    await world.replicas.look()
    assert await world.reads_there(SESSION)
    assert await world.reads_there(None, products=position)
    assert await names(world.reading(SESSION)) == ["Lamps"]


async def test_the_furthest_write_of_a_session_counts(world: World, standby: Standby) -> None:
    """Also where it is heard of before an earlier one."""
    before = await world.write("Lamps")
    await standby.catch_up()
    await standby.pause()
    await world.replicas.look()
    after = await world.write("Shades")
    for position in (after, before):
        world.replicas.remember(SESSION, {"products": position})
    assert await names(world.reading(SESSION)) == ["Lamps", "Shades"]


async def test_a_session_that_cannot_be_kept_holds_for_all(
    world: World, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SESSIONS", 1)
    await standby.pause()
    await world.write("Lamps", SESSION)
    assert await world.reads_there()
    await world.write("Shades", OTHER)
    assert await names(world.reading(SESSION)) == ["Lamps", "Shades"]
    assert not await world.reads_there()


async def test_sessions_are_kept_until_all_that_may_be_read_from_have_what_they_wrote(
    settings: Settings, standby: Standby
) -> None:
    async with world_of(settings, standby.url("ecommerce_products"), replica_max_lag=0.01) as world:
        await world.catch_up()
        [standbys] = world.replicas._standbys.values()  # pyright: ignore[reportPrivateUsage]
        kept = standbys._sessions  # pyright: ignore[reportPrivateUsage]
        await standby.pause()
        for number in range(3):
            await world.write(f"Lamps {number}", str(uuid4()))
        assert len(kept) == 3

        async def forgotten() -> bool:
            await world.replicas.look()
            return not kept

        await eventually(forgotten)  # since then the standby is late, and nobody reads from it
        assert not world.all[0].is_used


async def test_an_operation_stays_where_it_began(world: World, standby: Standby) -> None:
    await standby.pause()
    there = world.reading(SESSION)
    assert await is_there(there)
    await world.write("Lamps", SESSION)
    here = world.reading(SESSION)
    assert await names(here) == ["Lamps"]
    assert await names(there) == []
    await standby.resume()
    await world.replicas.look()
    assert not await is_there(here)
    reading = world.replicas.reading(SESSION, {})
    assert reading["products"] is reading["products"]


async def test_of_several_a_session_keeps_to_one_and_the_next_stands_in(settings: Settings, standby: Standby) -> None:
    database = standby.url("ecommerce_products")
    async with (
        proxied(database) as (first, one),
        proxied(database) as (second, two),
        world_of(settings, one, two) as world,
    ):
        await world.catch_up()
        servers = {
            session: [world.replicas._standbys["products"].server_for(session, 0).server for _ in range(4)]  # pyright: ignore[reportPrivateUsage]
            for session in (*(str(uuid4()) for _ in range(20)), None)
        }
        assert sorted(servers.pop(None)) == ["replica-1", "replica-1", "replica-2", "replica-2"]
        assert {len(set(of_session)) for of_session in servers.values()} == {1}
        assert {of_session[0] for of_session in servers.values()} == {"replica-1", "replica-2"}
        first.refuse()
        await world.replicas.look()
        assert [replica.is_used for replica in world.all] == [False, True]
        for session in servers:
            assert await world.reads_there(session)
        second.refuse()
        await world.replicas.look()
        assert not await world.reads_there()


async def test_servers_are_looked_at_by_themselves(
    settings: Settings, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    async with world_of(settings, standby.url("ecommerce_products")) as world:
        await world.write("Lamps", SESSION)
        await eventually(lambda: world.reads_there(SESSION))
        assert await names(world.reading(SESSION)) == ["Lamps"]
