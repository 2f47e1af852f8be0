"""A query in, JSON and the statements it took out."""

import asyncio
import gc
import json
import warnings
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.database import Databases
from app.graph.context import Context, Services
from app.graph.engine import Engine, Request
from app.graph.plan.plan import Json
from app.graph.schema import build_schema
from app.identity.sessions import Identity
from app.operations.importing import import_folder
from app.settings import DatabaseName, Settings
from app.viewer import Viewer
from tests.factories import Row, empty

SCHEMA = build_schema()
SHOP = Path(__file__).parents[3] / "shared" / "data" / "shop"
needs_shop = pytest.mark.skipif(not SHOP.is_dir(), reason=f"the shop's data are not there: {SHOP}")


@pytest.fixture(scope="module")
def shop(settings: Settings) -> Generator[Settings]:
    """The four databases with the shop's data in them."""
    asyncio.run(import_folder(settings, SHOP))
    yield settings
    asyncio.run(empty(settings))


SESSION = str(UUID(int=2))
ADMIN = Viewer(str(UUID(int=1)), SESSION, "admin")


def customer(user: Row) -> Viewer:
    """The viewer that a row of users is."""
    return Viewer(str(user["id"]), SESSION, "customer")


@dataclass(frozen=True)
class Result:
    """An answer, taken apart."""

    data: dict[str, Any] | None
    errors: list[dict[str, Any]]
    extensions: dict[str, Any]


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """An answer's body without JSON in it."""
    return {name: json.loads(value) if isinstance(value, Json) else value for name, value in body.items()}


@dataclass
class Gateway:
    """The engine over four pools, asked by an administrator unless ``viewer`` is somebody else.

    ``statements`` holds what the latest query sent to which database.
    """

    databases: Databases
    settings: Settings
    statements: list[tuple[DatabaseName, str]] = field(default_factory=list[tuple[DatabaseName, str]])
    viewer: Viewer = ADMIN
    compiles: bool = True

    def __post_init__(self) -> None:
        self.services = Services(self.databases, self.settings, Identity(self.databases, self.settings))
        self.engine = Engine(SCHEMA, self.settings, compiles=self.compiles)

    def limited(self, **limits: Any) -> "Gateway":
        """The same with other settings."""
        return replace(self, settings=self.settings.model_copy(update=limits))

    @property
    def resolvers(self) -> "Gateway":
        """The same without plans: no row comes beside another."""
        return replace(self, compiles=False)

    async def execute(self, query: str, *, viewer: Viewer | None = None, **variables: Any) -> Result:
        self.statements.clear()
        answer = await self.engine.answer(
            Request(query, variables=variables), Context(self.services, viewer or self.viewer)
        )
        body = plain(answer.body)
        return Result(body.get("data"), body.get("errors", []), body.get("extensions", {}))

    async def ask(self, query: str, *, viewer: Viewer | None = None, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        result = await self.execute(query, viewer=viewer, **variables)
        assert result.errors == []
        assert result.data is not None
        return result.data

    async def refuse(
        self, query: str, *, viewer: Viewer | None = None, **variables: Any
    ) -> tuple[dict[str, Any] | None, list[tuple[list[str | int] | None, str, str]]]:
        """The data, and the path, code and message of each error."""
        result = await self.execute(query, viewer=viewer, **variables)
        return result.data, [
            (error.get("path"), error["extensions"]["code"], error["message"]) for error in result.errors
        ]

    @property
    def counts(self) -> dict[str, int]:
        """How many statements went to each database that was asked at all."""
        return dict(Counter(name for name, _ in self.statements))


async def gateway_of(settings: Settings) -> AsyncGenerator[Gateway]:
    statements: list[tuple[DatabaseName, str]] = []
    async with Databases.opened(settings, lambda name, sql: statements.append((name, sql))) as databases:
        yield Gateway(databases, settings, statements)


ABANDONED = "ignore:Exception ignored in. <coroutine object:pytest.PytestUnraisableExceptionWarning"
"""For a test that ends operations in the middle: graphql-core leaves the resolvers that it has not come to, and Python
tells whoever collects that garbage. Together with ``abandons``, which collects it, so that no other test does."""


@pytest.fixture
def abandons() -> Generator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
async def gateway(settings: Settings, clean: None) -> AsyncGenerator[Gateway]:
    async for gateway in gateway_of(settings):
        yield gateway
