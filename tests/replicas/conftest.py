"""A standby for the tests of a module, each of which finds it with all that there is."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from app import replicas as module
from app.operations.connect import connected
from app.operations.server import LocalServer
from app.settings import Settings
from tests.replicas.standby import Standby, standby_of
from tests.replicas.world import World, world_of


@pytest.fixture(scope="module")
def standby_of_module(server: LocalServer, settings: Settings, scratch: Path) -> Generator[Standby]:
    async def keep_what_standbys_need() -> None:  # also when the checkpoint of the next one's backup comes first
        async with connected("orders", server.url("postgres")) as connection:
            await connection.execute("ALTER SYSTEM SET wal_keep_size = '256MB'")
            await connection.execute("SELECT pg_reload_conf()")

    asyncio.run(keep_what_standbys_need())
    with standby_of(server, scratch) as standby:
        yield standby


@pytest.fixture
async def standby(standby_of_module: Standby, clean: None) -> AsyncGenerator[Standby]:
    await standby_of_module.resume()
    yield standby_of_module
    await standby_of_module.resume()


@pytest.fixture
def looked_at_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test says when the servers are looked at."""
    monkeypatch.setattr(module, "INTERVAL", 3600.0)


@pytest.fixture
async def world(settings: Settings, standby: Standby) -> AsyncGenerator[World]:
    async with world_of(settings, standby.url("ecommerce_products")) as world:
        await world.catch_up()
        yield world
