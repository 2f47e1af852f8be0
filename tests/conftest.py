"""The PostgreSQL server and the four databases that the tests run on: real ones, made anew for each worker."""

import asyncio
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from app.operations.binaries import find_binaries
from app.operations.connect import connected
from app.operations.databases import create
from app.operations.migrations import upgrade
from app.operations.server import LocalServer, running
from app.settings import DATABASE_NAMES, Settings, load_local_settings, load_settings
from tests.factories import Make, empty

MEMORY = Path("/dev/shm")
# A busy machine takes its time. (With CI set, Hypothesis has a profile of its own, of which this keeps the rest.)
hypothesis_settings.register_profile("unhurried", deadline=None)
hypothesis_settings.load_profile("unhurried")
hypothesis_settings.register_profile("nightly", max_examples=2000)  # pytest --hypothesis-profile=nightly
GIGABYTE = 2**30


@pytest.fixture(scope="session", autouse=True)
def signals() -> None:
    """As in a terminal: what runs in the background ignores SIGINT, or under nohup SIGHUP, and its children do too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def scratch() -> Generator[Path]:
    """A folder for databases, in memory when there is room: what makes the suite fast."""
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= GIGABYTE
    with tempfile.TemporaryDirectory(prefix="storegraph-", dir=MEMORY if in_memory else None) as folder:
        Path(folder).chmod(0o755)  # as root, the server runs as another user
        yield Path(folder)


@pytest.fixture(scope="session")
def server(scratch: Path) -> Generator[LocalServer]:
    """A server for the whole run of this worker; STOREGRAPH_POSTGRES=path takes the one on PATH."""
    with running(scratch / "server", find_binaries(load_local_settings().postgres), fast=True) as local:
        yield local


@pytest.fixture(scope="session")
def settings(server: LocalServer) -> Settings:
    """Four databases on this worker's own server, made by the real migrations."""

    async def make() -> Settings:
        urls = {f"{name}_database_url": server.url(f"ecommerce_{name}") for name in DATABASE_NAMES}
        settings = load_settings(**urls, jwt_secret=secrets.token_urlsafe(48))
        for name in DATABASE_NAMES:
            await create(name, settings.database_url(name))
            await upgrade(name, settings.database_url(name), datetime.now(UTC).date())
        return settings

    return asyncio.run(make())


@pytest.fixture
def scratch_url(server: LocalServer) -> Generator[str]:
    """The URL of a database that does not exist yet, and is dropped when the test is over."""
    yield server.url("scratch")

    async def drop() -> None:
        async with connected("users", server.url("postgres")) as connection:
            await connection.execute("DROP DATABASE IF EXISTS scratch WITH (FORCE)")

    asyncio.run(drop())


@pytest.fixture
def clean(settings: Settings) -> Generator[None]:
    """Empties every table when the test is over. (DELETE takes a millisecond here, TRUNCATE a hundred.)"""
    yield

    asyncio.run(empty(settings))


@pytest.fixture
async def make(settings: Settings, clean: None) -> AsyncGenerator[Make]:
    """What makes rows; they are gone when the test is over."""
    async with Make(settings) as make:
        yield make


@pytest.fixture
def anyio_backend() -> str:
    """On what asynchronous tests run."""
    return "asyncio"
