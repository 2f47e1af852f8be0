"""The products database with standbys: where reads of it go, who writes to it, and when its servers are looked at."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import pytest

from app.database import Database, Databases
from app.replicas import Positions, Replica, Replicas, noting
from app.settings import Settings
from app.statements import Source
from tests.replicas.standby import eventually

SESSION = "00000000-0000-0000-0000-000000000001"
OTHER = "00000000-0000-0000-0000-000000000002"
IS_THERE = "SELECT pg_is_in_recovery() AS there"
MANY = "INSERT INTO categories (name) SELECT 'Shades ' || i FROM generate_series(1, 2000) AS i"
NAMES = "SELECT name FROM categories ORDER BY name"


@dataclass
class World:
    """The products database with standbys."""

    databases: Databases
    replicas: Replicas

    @property
    def primary(self) -> Database:
        return self.databases["products"]

    @property
    def all(self) -> list[Replica]:
        return list(self.replicas)

    def reading(self, session: str | None = None, **after: int) -> Source:
        """Where an operation reads."""
        return self.replicas.reading(session, cast("Positions", after))["products"]

    async def reads_there(self, session: str | None = None, **after: int) -> bool:
        """Whether an operation reads from the standby."""
        return await is_there(self.reading(session, **after))

    async def catch_up(self) -> None:
        """Wait until all standbys are read from."""

        async def are_used() -> bool:
            await self.replicas.look()
            return all(replica.is_used for replica in self.all)

        await eventually(are_used)

    async def write(self, name: str, session: str | None = None) -> int:
        """Make a category, and tell where that is."""
        positions: list[int] = []
        token = noting.set(lambda _, position: positions.append(position))
        await self.primary.write(
            lambda transaction: transaction.execute("INSERT INTO categories (name) VALUES ($1)", name)
        )
        noting.reset(token)
        [position] = positions
        if session is not None:
            self.replicas.remember(session, {"products": position})
        return position


async def is_there(source: Source) -> bool:
    [row] = await source.fetch(IS_THERE)
    return row["there"]


async def names(source: Source) -> list[str]:
    return [row["name"] for row in await source.fetch(NAMES)]


@asynccontextmanager
async def world_of(settings: Settings, *urls: str, **changes: object) -> AsyncGenerator[World]:
    settings = settings.model_copy(update={"products_replica_url": urls, **changes})
    async with Databases.opened(settings) as databases, Replicas.opened(databases, settings) as replicas:
        assert replicas is not None
        yield World(databases, replicas)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "app.replicas"]


async def left_out(world: World, logged: str, caplog: pytest.LogCaptureFixture) -> None:
    """The one standby is not read from, and a line says so."""
    assert not world.all[0].is_used
    assert not await world.reads_there()
    assert [text for text in messages(caplog) if "left out" in text] == [
        f"replica-1 of the products database is left out: {logged}"
    ]
