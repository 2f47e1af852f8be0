"""The databases and the gateway over them, held open for many examples: opening them takes longer than most examples.

As Hypothesis asks for, an example is a plain function: it runs its coroutine on the world's own loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from app.settings import DatabaseName, Settings
from tests.factories import Make
from tests.graph.conftest import Gateway, gateway_of

EMPTY: dict[DatabaseName, str] = {
    "users": "DELETE FROM users",
    "products": "DELETE FROM products; DELETE FROM categories",
    "orders": "DELETE FROM orders",
    "payments": "DELETE FROM payments",
}

Work = Callable[[Gateway, Make], Awaitable[None]]


@dataclass(frozen=True)
class World:
    """What examples run in."""

    runner: asyncio.Runner
    gateway: Gateway
    make: Make

    def run(self, work: Work) -> None:
        """Run one example, and delete the users, categories, products, orders and payments that it made."""

        async def example() -> None:
            try:
                await work(self.gateway, self.make)
            finally:
                for name, sql in EMPTY.items():
                    await self.make.execute(name, sql)

        self.runner.run(example())


@contextmanager
def world_of(settings: Settings) -> Generator[World]:
    """A world over these databases."""
    stack = AsyncExitStack()

    async def entered(runner: asyncio.Runner) -> World:
        gateway = await stack.enter_async_context(asynccontextmanager(gateway_of)(settings))
        return World(runner, gateway, await stack.enter_async_context(Make(settings)))

    with asyncio.Runner() as runner:
        try:
            yield runner.run(entered(runner))
        finally:
            runner.run(stack.aclose())
