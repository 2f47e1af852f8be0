"""Sessions that stay open, and go on waiting, while the command line looks at them."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from app.operations.connect import Connection, connected

Result = TypeVar("Result")


class Sessions:
    """Sessions in one database, in a loop of their own that rests while the test does something else."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._connections: list[Connection] = []
        self._waiting: list[asyncio.Task[str]] = []

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:  # what it yields and is sent is asyncio's
        return self._runner.run(work)

    def open(self, *statements: str) -> Connection:
        """A session that has run these statements."""

        async def begin() -> Connection:
            connection = await self._stack.enter_async_context(connected("orders", self._url))
            self._connections.append(connection)
            for statement in statements:
                await connection.execute(statement)
            return connection

        return self.run(begin())

    def execute(self, *statements: str) -> None:
        """Run statements in a session that ends with them."""

        async def run() -> None:
            async with connected("orders", self._url) as connection:
                for statement in statements:
                    await connection.execute(statement)

        self.run(run())

    def start(self, connection: Connection, sql: str, seen: str = "wait_event_type = 'Lock'") -> asyncio.Task[str]:
        """Send a statement that does not end soon, and return once the server shows it as ``seen``."""

        async def send() -> asyncio.Task[str]:
            task = asyncio.create_task(connection.execute(sql))
            self._waiting.append(task)
            look = f"SELECT {seen} FROM pg_stat_activity WHERE pid = $1 AND query = $2"
            async with asyncio.timeout(20), connected("orders", self._url) as looker:
                while not task.done() and not await looker.fetchval(look, connection.get_server_pid(), sql):
                    pass
            return task

        return self.run(send())

    def outcome(self, task: asyncio.Task[str]) -> str | BaseException:
        """How a statement that was started has ended, or ends."""

        async def ended() -> str | BaseException:
            async with asyncio.timeout(20):
                return (await asyncio.gather(task, return_exceptions=True))[0]

        return self.run(ended())

    def close(self) -> None:
        async def end() -> None:
            for connection in self._connections:
                connection.terminate()
            await asyncio.gather(*self._waiting, return_exceptions=True)
            await self._stack.aclose()

        self.run(end())
        self._runner.close()
