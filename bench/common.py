"""What the benchmarks share: databases of their own, queries run in process, and a table of medians and ratios."""

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.table import Table

from app.database import Databases
from app.graph.context import Context, Services
from app.graph.engine import Engine, Request
from app.graph.schema import build_schema
from app.identity.sessions import Identity
from app.operations.binaries import find_binaries
from app.operations.databases import create
from app.operations.migrations import upgrade
from app.operations.server import running
from app.settings import DATABASE_NAMES, Settings, load_local_settings, load_settings
from app.viewer import Viewer

MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of our own in it
ADMIN = Viewer(str(UUID(int=1)), str(UUID(int=2)), "admin")


@dataclass(frozen=True)
class Query:
    """A document and its variables."""

    text: str
    variables: Mapping[str, Any]


@contextmanager
def scratch_databases() -> Generator[Settings]:
    """Four migrated, empty databases on a server that lives as long as the block, in memory where there is some."""
    with tempfile.TemporaryDirectory(prefix="storegraph-bench-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        Path(folder).chmod(0o755)  # as root, the server runs as another user
        with running(Path(folder) / "server", find_binaries(load_local_settings().postgres), fast=True) as server:
            urls = {f"{name}_database_url": server.url(f"ecommerce_{name}") for name in DATABASE_NAMES}
            settings = load_settings(**urls)
            asyncio.run(_migrate(settings))
            yield settings


async def _migrate(settings: Settings) -> None:
    for name in DATABASE_NAMES:
        await create(name, settings.database_url(name))
        await upgrade(name, settings.database_url(name), datetime.now(UTC).date())


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncGenerator["Gateway"]:
    """The schema over four pools, without a limit on time: what is slow is to be measured and not to be refused."""
    patient = settings.model_copy(update={"read_timeout": 600.0, "statement_timeout": 600.0})
    async with Databases.opened(patient) as databases:
        yield Gateway(Services(databases, patient, Identity(databases, patient)), Engine(build_schema(), patient))


@dataclass(frozen=True)
class Gateway:
    """The engine over four pools, in this process, asked by an administrator."""

    services: Services
    engine: Engine

    async def ask(self, query: Query) -> dict[str, Any]:
        """The answer of a plan. An error in it ends the benchmark: nobody wants its time."""
        request = Request(query.text, variables=query.variables)
        body: dict[str, Any] = (await self.engine.answer(request, Context(self.services, ADMIN))).body
        if "errors" in body:
            raise SystemExit(f"{query.text}\n{body['errors']}")
        return json.loads(body["data"])

    async def measure(self, queries: Mapping[str, Query], runs: int) -> dict[str, list[float]]:
        """The seconds of each of ``runs`` runs of each query. All take turns, so that none has a better time of it."""
        seconds: dict[str, list[float]] = {name: [] for name in queries}
        for run in range(-2, runs):  # the first two fill caches
            for name, query in queries.items():
                start = perf_counter()
                await self.ask(query)
                if run >= 0:
                    seconds[name].append(perf_counter() - start)
        return seconds


def print_table(title: str, seconds: Mapping[str, list[float]], base: str) -> None:
    """Medians, slowest tenths, and each median as a ratio to that of ``base``."""
    table = Table("query", "p50 ms", "p90 ms", f"ratio to {base}", title=title)
    for name, times in seconds.items():
        p90 = quantiles(times, n=10)[-1]
        ratio = median(times) / median(seconds[base])
        table.add_row(name, f"{median(times) * 1000:.2f}", f"{p90 * 1000:.2f}", f"{ratio:.2f}")
    Console().print(table)
