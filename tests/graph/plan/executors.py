"""Both executors over the same databases, and what it means that they answer alike.

Data are compared byte for byte, errors by place, code and message. Inside a part that is null anyway, the two may
differ in which of several errors they tell (GraphQL specification, section 6.4.4).
"""

import asyncio
import json
from collections.abc import Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from app.database import Databases
from app.graph.context import Context, Services
from app.graph.engine import Answer, Engine, Request
from app.graph.plan.plan import Json
from app.identity.sessions import Identity
from app.settings import DatabaseName, Settings
from app.viewer import Viewer
from tests.factories import Make
from tests.graph.conftest import ADMIN, SCHEMA, plain
from tests.proxy import proxied

PATIENT = {"read_timeout": 60.0, "statement_timeout": 60.0, "pool_wait": 60.0}  # a busy machine is no difference
WIDE = {
    "max_depth": 100,
    "max_cost": 10**9,
    "max_fields": 10_000,
    "max_aliases": 10_000,
    "max_fragments": 1000,
    "max_list": 1000,
}


@dataclass(frozen=True)
class Told:
    """An answer with whatever errors it has; ``data`` is ``...`` where nothing was executed."""

    data: Any
    errors: list[dict[str, Any]]

    @property
    def places(self) -> list[tuple[Any, ...]]:
        """The path of each error."""
        return [tuple(error.get("path", ())) for error in self.errors]


@dataclass(frozen=True)
class Executors:
    """The engine with plans and the one without, run by tests that are plain functions."""

    runner: asyncio.Runner
    services: Services
    plans: Engine
    resolvers: Engine
    make: Make

    def answer(self, request: Request, viewer: Viewer = ADMIN) -> Answer:
        """The answer of the engine with plans, once it was found to be the other's as well."""

        async def both() -> tuple[Answer, Answer]:
            found = await self.plans.answer(request, Context(self.services, viewer))
            return found, await self.resolvers.answer(request, Context(self.services, viewer))

        found, expected = self.runner.run(both())
        told = request.query, request.variables, viewer
        assert not expected.is_compiled
        assert (found.refused, found.operation_name) == (expected.refused, expected.operation_name), told
        assert text_of(found) == text_of(expected), told
        assert errors_of(found) == errors_of(expected), told
        return found

    def run(
        self,
        document: str,
        variables: Mapping[str, Any] | None = None,
        *,
        operation_name: str | None = None,
        viewer: Viewer = ADMIN,
    ) -> Told:
        """What both executors answer; the first of them with a plan, unless the request is refused."""
        answer = self.answer(Request(document, operation_name, variables), viewer)
        assert answer.is_compiled or answer.refused, document
        body = plain(answer.body)
        return Told(body.get("data", ...), body.get("errors", []))

    def ask(
        self,
        document: str,
        variables: Mapping[str, Any] | None = None,
        *,
        operation_name: str | None = None,
        viewer: Viewer = ADMIN,
    ) -> Any:
        """The data of an answer without errors."""
        told = self.run(document, variables, operation_name=operation_name, viewer=viewer)
        assert told.errors == []
        return told.data

    @contextmanager
    def changed(self, database: DatabaseName, change: str, back: str) -> Generator[None]:
        """While a statement has changed a database, and before another one changes it back."""
        self.runner.run(self.make.execute(database, change))
        try:
            yield
        finally:
            self.runner.run(self.make.execute(database, back))

    @contextmanager
    def without(self, database: DatabaseName, table: str) -> Generator[None]:
        """While a table is not there: every statement that reads it fails."""
        with self.changed(database, f"ALTER TABLE {table} RENAME TO hidden", f"ALTER TABLE hidden RENAME TO {table}"):
            yield


@contextmanager
def executors_of(settings: Settings, down: DatabaseName | None = None) -> Generator[Executors]:
    """Both executors within wide limits, over databases of which one can be down for all that they ask."""
    stack = AsyncExitStack()

    async def entered(runner: asyncio.Runner) -> Executors:
        make = await stack.enter_async_context(Make(settings))
        wide = settings.model_copy(update=WIDE | PATIENT)
        if down is not None:
            proxy, url = await stack.enter_async_context(proxied(settings.database_url(down)))
            proxy.refuse()
            wide = wide.model_copy(update={f"{down}_database_url": url})
        databases = await stack.enter_async_context(Databases.opened(wide))
        services = Services(databases, wide, Identity(databases, wide))
        return Executors(runner, services, Engine(SCHEMA, wide), Engine(SCHEMA, wide, compiles=False), make)

    with asyncio.Runner() as runner:
        try:
            yield runner.run(entered(runner))
        finally:
            runner.run(stack.aclose())


def text_of(answer: Answer) -> str | None:
    """The data as they are sent; None where there are none."""
    if "data" not in answer.body:
        return None
    data = answer.body["data"]
    return str(data) if isinstance(data, Json) else json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def errors_of(answer: Answer) -> set[tuple[Any, ...]]:
    """Each error by its place, code and message; one inside a part that is null anyway, by the place of that null."""
    body: Any = answer.body
    data: Any = json.loads(text_of(answer) or "null")
    found: set[tuple[Any, ...]] = set()
    for error in body.get("errors", []):
        path: tuple[Any, ...] = tuple(error.get("path", ()))
        value = data
        for length, step in enumerate(path):
            value = _inside(value, step)
            if value is None and length + 1 < len(path):
                found.add(path[: length + 1])
                break
        else:
            locations = tuple(tuple(of.values()) for of in error.get("locations", ()))
            told = (path, locations, error["extensions"]["code"], error["message"])
            assert told not in found, "an error is told twice"
            found.add(told)
    return found


def _inside(value: Any, step: Any) -> Any:
    """What stands in an answer at a step of a path."""
    return None if value is None else value[step]
