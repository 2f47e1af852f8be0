"""Situations for the monitoring to see: a database to spoil, sessions that do things in it, and a second server."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.operations.binaries import find_binaries
from app.operations.connect import connected
from app.operations.server import LocalServer, running
from app.settings import DATABASE_NAMES, DatabaseName, Settings, load_local_settings
from tests.operations.monitoring.sessions import Sessions
from tests.operations.rows import storegraph

DIFFERENCE = ("logging_collector=on", "-c", "max_prepared_transactions=1")
Urls = dict[DatabaseName, str]


@pytest.fixture
def shop(settings: Settings, server: LocalServer, scratch_url: str) -> Settings:
    """The four databases, but that orders is an empty one that a test may leave as it likes."""

    async def create() -> None:
        async with connected("users", server.url("postgres")) as connection:
            await connection.execute("CREATE DATABASE scratch")

    asyncio.run(create())
    return settings.model_copy(update={"orders_database_url": scratch_url})


@pytest.fixture
def sessions(shop: Settings) -> Generator[Sessions]:
    """Sessions in the orders database."""
    sessions = Sessions(shop.orders_database_url)
    yield sessions
    sessions.close()


@pytest.fixture
def roles(shop: Settings, server: LocalServer) -> Generator[dict[str, Settings]]:
    """The shop as seen by a role that may do nothing but connect, and by one that is a member of pg_monitor."""
    names = ("plain", "watcher")

    async def execute(*statements: str) -> None:
        async with connected("users", server.url("postgres")) as connection:
            for statement in statements:
                await connection.execute(statement)

    asyncio.run(execute(*(f"CREATE ROLE {name} LOGIN" for name in names), "GRANT pg_monitor TO watcher"))
    yield {
        role: shop.model_copy(
            update={
                f"{name}_database_url": shop.database_url(name).replace("postgres@", f"{role}@")
                for name in DATABASE_NAMES
            }
        )
        for role in names
    }
    asyncio.run(execute(*(f"DROP ROLE {name}" for name in names)))


def urls_of(settings: Settings) -> Urls:
    return {name: settings.database_url(name) for name in DATABASE_NAMES}


@dataclass(frozen=True)
class Output:
    """What a command left behind."""

    code: object
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """What it printed, which is JSON: a test knows the types in it."""
        return json.loads(self.out)


Monitor = Callable[..., Output]


@pytest.fixture
def monitor(shop: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Monitor:
    """Runs ``storegraph monitor`` in this process; ``on`` are other databases than the shop's."""

    def run(*arguments: str, on: Settings = shop) -> Output:
        code = storegraph(on, monkeypatch, "monitor", *arguments)
        captured = capsys.readouterr()
        return Output(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def second_server(scratch: Path) -> Generator[LocalServer]:
    """Another server, that loads no pg_stat_statements, writes its log to files, and allows prepared transactions."""
    popen = subprocess.Popen

    def otherwise(command: list[str | Path], **options: Any) -> "subprocess.Popen[Any]":  # any that there are
        parts = [str(part) for part in command]
        at = next((at for at, part in enumerate(parts) if part.startswith("shared_preload_libraries=")), len(parts))
        return popen([*parts[:at], *DIFFERENCE, *parts[at + 1 :]] if at < len(parts) else parts, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", otherwise)
        with running(scratch / "second", find_binaries(load_local_settings().postgres), fast=True) as local:
            patch.undo()
            yield local


@pytest.fixture
def elsewhere(shop: Settings, second_server: LocalServer) -> Settings:
    """The shop with its payments on the second server."""
    return shop.model_copy(update={"payments_database_url": second_server.url("postgres")})
