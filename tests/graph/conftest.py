"""A query in, JSON and the statements it took out."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from strawberry.types import ExecutionResult

from app.database import Databases
from app.graph.context import Context
from app.graph.schema import build_schema
from app.operations.importing import import_folder
from app.settings import DatabaseName, Settings
from tests.factories import empty

SCHEMA = build_schema()
SHOP = Path(__file__).parents[3] / "shared" / "data" / "shop"
needs_shop = pytest.mark.skipif(not SHOP.is_dir(), reason=f"the shop's data are not there: {SHOP}")


@pytest.fixture(scope="module")
def shop(settings: Settings) -> Generator[Settings]:
    """The four databases with the shop's data in them."""
    asyncio.run(import_folder(settings, SHOP))
    yield settings
    asyncio.run(empty(settings))


@dataclass
class Gateway:
    """The schema over four pools. ``statements`` holds what the latest query sent to which database."""

    databases: Databases
    largest_total: int = 10_000
    statements: list[tuple[DatabaseName, str]] = field(default_factory=list[tuple[DatabaseName, str]])

    async def execute(self, query: str, *, viewer: str | None = None, **variables: Any) -> ExecutionResult:
        self.statements.clear()
        result = await SCHEMA.execute(query, variables, Context(self.databases, self.largest_total, viewer))
        assert isinstance(result, ExecutionResult)
        return result

    async def ask(self, query: str, *, viewer: str | None = None, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        result = await self.execute(query, viewer=viewer, **variables)
        assert result.errors is None
        assert result.data is not None
        return result.data

    async def refuse(
        self, query: str, **variables: Any
    ) -> tuple[dict[str, Any] | None, list[tuple[list[str | int] | None, str, str]]]:
        """The data, and the path, code and message of each error."""
        result = await self.execute(query, **variables)
        errors = [(error.path, str((error.extensions or {})["code"]), error.message) for error in result.errors or []]
        return result.data, errors

    @property
    def counts(self) -> dict[str, int]:
        """How many statements went to each database that was asked at all."""
        return dict(Counter(name for name, _ in self.statements))


async def gateway_of(settings: Settings) -> AsyncGenerator[Gateway]:
    statements: list[tuple[DatabaseName, str]] = []
    async with Databases.opened(settings, lambda name, sql: statements.append((name, sql))) as databases:
        yield Gateway(databases, statements=statements)


@pytest.fixture
async def gateway(settings: Settings, clean: None) -> AsyncGenerator[Gateway]:
    async for gateway in gateway_of(settings):
        yield gateway
