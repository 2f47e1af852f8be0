"""One connection pool per database, with limits on how long anything may take; and the four of them by name.

A connection that fails becomes an ``AppError``, and so does a row without its partition; what else the server says of
our SQL stays what it is, a fault of ours.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import asyncpg

from app.errors import DatabaseTimeoutError, DatabaseUnavailableError, MissingPartitionError
from app.settings import DATABASE_NAMES, DatabaseName, Settings

log = logging.getLogger(__name__)

Row = asyncpg.Record
Observer = Callable[[DatabaseName, str], None]
"""Called with the database and the text of each statement, as it is sent."""

# What says that the database, not the statement, is at fault. InterfaceError is asyncpg's own "connection is closed",
# InternalClientError what it raises on a connection that the server is just closing.
_UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)

# Every session, also that of the command line: partition bounds written in another zone overlap their neighbours.
SESSION = {"TimeZone": "UTC"}


class Database:
    """One of the four: a pool of connections that are made when they are first needed."""

    def __init__(self, name: DatabaseName, settings: Settings, observe: Observer | None = None) -> None:
        self.name: DatabaseName = name
        self._settings = settings
        self._observe = observe
        self._answers = True  # as far as is known
        self._pool = asyncpg.create_pool(
            settings.database_url(name),
            min_size=0,  # so that opening asks nothing of a database that may be down
            max_size=settings.pool_size,
            timeout=settings.connect_timeout,
            server_settings=SESSION
            | {
                "application_name": "storegraph",
                "statement_timeout": _milliseconds(settings.statement_timeout),
                "idle_in_transaction_session_timeout": "5000",
                "lock_timeout": "1000",
                # Planning over many partitions takes longer than running (2 ms to 0.3). Our statements are written so
                # that the plan does not depend on how many keys there are; partitions are pruned as it runs.
                "plan_cache_mode": "force_generic_plan",
                "jit": "off",
            },
        )

    async def open(self) -> None:
        """Ready the pool. Connects to nothing, so this works while the database is down."""
        await self._pool

    async def close(self) -> None:
        """Let go of every connection, busy or not."""
        self._pool.terminate()

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        """Run one statement and return its rows.

        Raises:
            DatabaseUnavailableError: no connection came free within ``pool_wait`` or was made within
                ``connect_timeout``, or no answer came within ``read_timeout``.
            DatabaseTimeoutError: the server gave the statement up, for a lock that it waited for too long, say.
            MissingPartitionError: a row that it writes has no partition; the message names the command that makes it.
        """
        # A task of its own: on a socket that never answers, the driver's clean-up of a cancelled statement can itself
        # take seconds, and the caller must not wait for that.
        connected = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(connected, sql, args))
        try:
            patience = self._settings.pool_wait if self._is_full() else self._settings.connect_timeout
            await asyncio.wait({task, connected}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if connected.done():
                await asyncio.wait({task}, timeout=self._settings.read_timeout)
        finally:
            if not task.done():
                task.cancel()
        if not task.done():
            task.add_done_callback(_forget)
            self._note("nothing came back in time")
            raise DatabaseUnavailableError(self.name)
        try:
            rows = task.result()
        except (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError) as error:
            raise DatabaseTimeoutError(self.name) from error
        except asyncpg.CheckViolationError as error:
            # PostgreSQL has one SQLSTATE for both, and names a constraint only for a CHECK (source: ExecFindPartition).
            if error.constraint_name is None and error.table_name is not None:
                raise MissingPartitionError(error.table_name) from error
            raise
        except _UNAVAILABLE as error:
            self._note(error)
            raise DatabaseUnavailableError(self.name) from error
        self._note(None)
        return rows

    def _note(self, failure: object) -> None:
        """Log each change between answering and not, and not each statement."""
        if failure is not None and self._answers:
            log.warning("the %s database does not answer (%s); its fields are null until it does", self.name, failure)
        if failure is None and not self._answers:
            log.warning("the %s database answers again", self.name)
        self._answers = failure is None

    async def answers(self) -> bool:
        """Whether a statement gets through."""
        try:
            await self.fetch("SELECT 1")
        except (DatabaseUnavailableError, DatabaseTimeoutError):
            return False
        return True

    def _is_full(self) -> bool:
        return self._pool.get_idle_size() == 0 and self._pool.get_size() >= self._settings.pool_size

    async def _run(self, connected: "asyncio.Future[None]", sql: str, args: tuple[object, ...]) -> list[Row]:
        try:
            connection = await self._pool.acquire()
        except asyncpg.PostgresError as error:  # the server refuses us, for a setting it does not know, say
            raise ConnectionError(str(error)) from error
        try:
            connected.set_result(None)
            if self._observe is not None:
                self._observe(self.name, sql)
            return await connection.fetch(sql, *args)
        finally:
            await self._pool.release(connection)


class Databases:
    """The four databases, by name."""

    def __init__(self, settings: Settings, observe: Observer | None = None) -> None:
        self._databases = {name: Database(name, settings, observe) for name in DATABASE_NAMES}

    def __getitem__(self, name: DatabaseName) -> Database:
        return self._databases[name]

    async def answering(self) -> dict[DatabaseName, bool]:
        """Whether each database answers, asked of all four at the same time."""
        answers = await asyncio.gather(*(self[name].answers() for name in DATABASE_NAMES))
        return dict(zip(DATABASE_NAMES, answers, strict=True))

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings, observe: Observer | None = None) -> "AsyncGenerator[Databases]":
        """The four pools, open for as long as the block runs."""
        databases = cls(settings, observe)
        for name in DATABASE_NAMES:
            await databases[name].open()
        try:
            yield databases
        finally:
            for name in DATABASE_NAMES:
                await databases[name].close()


def _forget(task: "asyncio.Task[list[Row]]") -> None:
    """Nobody waits for it any more; asyncio would log that nobody saw how it failed."""
    if not task.cancelled():
        task.exception()


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
