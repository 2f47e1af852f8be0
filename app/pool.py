"""The connections to one database: who gets one, for how long, and what becomes of those that are lost.

Knows no SQL, and does not judge the database: that is ``app.database``'s.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

import asyncpg

from app.errors import DatabaseTimeoutError, DatabaseUnavailableError, MissingPartitionError
from app.settings import DatabaseName, Settings

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

T = TypeVar("T")
Row = asyncpg.Record
Connection: TypeAlias = "PoolConnectionProxy[Row]"  # quoted: only the type checker knows its parameter
Work: TypeAlias = Callable[[Connection], Awaitable[T]]

# What says, of a statement, that its connection is lost. (Where the driver says no more than that it cannot go on, the
# connection itself is asked. InternalClientError is what it raises when the server is just closing the connection.)
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
)

CLEAN_UP = 1.0
"""Seconds for a connection to become fit for the next who needs it; after that it is closed."""

_GRACE = 0.2  # seconds after the deadline, to hear whether the server lives: to stop a read takes it milliseconds
_LATE = 0.05  # seconds after which the deadline is noticed late, because the loop stood still or has much to do


class UnreachableError(DatabaseUnavailableError):
    """The database does not answer, whatever it is asked. The cause says why."""


class _LostError(UnreachableError):
    """A connection that there was is gone."""


class BusyError(DatabaseUnavailableError):
    """All connections are in use, and none came free in time."""


class _Call(Generic[T]):
    """Some work for a connection, its outcome, and the deadline of whoever waits for that.

    The deadline depends on how far the work is: ``limit`` is the seconds from when there is a connection, or, where it
    is ``in_all``, from now on. ``again``: whether it may be done twice, where the connection is lost.
    ``heard``: whether the server, when told to stop it, has answered.
    """

    def __init__(self, work: Work[T], settings: Settings, limit: float, *, in_all: bool, again: bool) -> None:
        self.work = work
        self.again = again
        self.heard = False
        self.step: Literal["queueing", "connecting", "running", "releasing"] = "queueing"
        self.outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.timeout = asyncio.timeout(min(settings.pool_wait, limit) if in_all else settings.pool_wait)
        self._settings = settings
        self._limit = limit
        self._end = self._now() + limit if in_all else None

    def connects(self) -> None:
        """A connection is now to be made, or taken from those that are idle."""
        self.step = "connecting"
        self._allow(self._settings.connect_timeout)

    def runs(self) -> None:
        """There is a connection. At the second attempt there is no more time than the first one left."""
        self.step = "running"
        if self._end is None:
            self._end = self._now() + self._limit
        self._allow(self._limit)

    def fails(self, error: Exception) -> None:
        """It has ended badly, if anybody still waits to hear it."""
        if not self.outcome.done():
            self.outcome.set_exception(error)

    def stop(self, task: asyncio.Task[None]) -> None:
        """Nobody waits for it any more. Once only: a second time, it would be its clean-up that is stopped."""
        if self.step != "releasing":  # or nobody would hear how that ends, not even close()
            self.step = "releasing"
            task.cancel()

    def late(self) -> float:
        """How many seconds ago the deadline was."""
        return self._now() - (self.timeout.when() or 0.0)

    def _allow(self, seconds: float) -> None:
        if not self.timeout.expired():  # as it is where it was noticed late
            until = self._now() + seconds
            self.timeout.reschedule(until if self._end is None else min(until, self._end))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class Pool:
    """As many connections as ``pool_size``, made when they are first needed."""

    def __init__(
        self, name: DatabaseName, settings: Settings, session: dict[str, str], heard: Callable[[], None]
    ) -> None:
        """``session``: what the server is to set for each connection. ``heard``: called whenever it answers that it has
        stopped what nobody waits for any more, so that it is known to live."""
        self.name: DatabaseName = name
        self._settings = settings
        self._heard = heard
        # One for each connection, so that it is known who waits for a connection in use and who for one to be made.
        self._slots = asyncio.Semaphore(settings.pool_size)
        self._losses = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = asyncpg.create_pool(
            settings.database_url(name),
            min_size=0,  # so that opening asks nothing of a database that may be down
            max_size=settings.pool_size,
            timeout=settings.connect_timeout,
            server_settings=session,
        )

    async def open(self) -> None:
        """Connects to nothing, so this works while the database is down."""
        await self._pool

    async def close(self) -> None:
        """Let go of every connection, busy or not, once it had time to have the server stop what was cancelled."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLEAN_UP)
        self._pool.terminate()

    async def run(self, work: Work[T], limit: float, *, in_all: bool, again: bool) -> T:
        """Do some work on a connection, within ``pool_wait``, ``connect_timeout`` and ``limit`` seconds.

        Args:
            work: done while the connection is its own; what it asks of the server goes through ``ask``.
            limit: for the work; ``in_all`` for the waiting and connecting as well.
            again: whether the work, where its connection turns out to be lost, may be done once more.

        Raises:
            UnreachableError, BusyError: there was no connection, or no outcome, in time.
            DatabaseTimeoutError: there was no outcome in time, but the server lives.
            Exception: what ``work`` raises.
        """
        # A task of its own: on a socket that never answers, the driver's clean-up of a cancelled statement can itself
        # take seconds, and the caller must not wait for that.
        call = _Call(work, self._settings, limit, in_all=in_all, again=again)
        task = asyncio.create_task(self._serve(call))  # begins once this here waits
        self._tasks.add(task)  # the loop alone would let it be collected
        task.add_done_callback(self._tasks.discard)
        try:
            async with call.timeout:
                return await asyncio.shield(call.outcome)
        except TimeoutError as error:
            if not call.timeout.expired():  # it is the work's own
                raise
            return await self._overdue(call, task, error)
        finally:
            if call.outcome.cancel():
                call.stop(task)
            else:
                call.outcome.exception()  # seen, also where the deadline came at the same moment

    async def _overdue(self, call: _Call[T], task: asyncio.Task[None], error: TimeoutError) -> T:
        """The outcome after all, or what its absence at the deadline means."""
        if (late := call.late()) > _LATE:
            # While the loop stood still, nobody read what the server may have sent: that time is not the server's.
            await asyncio.wait({call.outcome}, timeout=min(late, CLEAN_UP))
        if call.outcome.done():
            return call.outcome.result()
        if call.step == "queueing":
            raise BusyError(self.name) from error
        if call.step == "running":
            call.stop(task)
            await asyncio.wait({task}, timeout=_GRACE)
            if call.heard:
                raise DatabaseTimeoutError(self.name) from error
        raise UnreachableError(self.name) from TimeoutError("nothing came back in time")

    async def ask(self, connection: Connection, method: Callable[..., Awaitable[T]], *args: object) -> T:
        """Call one of the connection's methods, and make of the driver's errors what a caller may see of them.

        Raises:
            DatabaseTimeoutError, MissingPartitionError: as ``Database.write`` does.
            DatabaseUnavailableError: the connection is lost, or the server has no room left to work in.
        """
        try:
            return await method(*args)
        except (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError) as error:
            raise DatabaseTimeoutError(self.name) from error
        except asyncpg.CheckViolationError as error:
            # PostgreSQL has one SQLSTATE for both, and names a constraint only for a CHECK (source: ExecFindPartition).
            if error.constraint_name is None and error.table_name is not None:
                raise MissingPartitionError(error.table_name) from error
            raise
        except asyncpg.InsufficientResourcesError as error:
            raise DatabaseUnavailableError(self.name) from error
        except _LOST as error:
            raise _LostError(self.name) from error
        except asyncpg.InterfaceError as error:  # of a lost connection, or of arguments that are wrong
            if _is_closed(connection):
                raise _LostError(self.name) from error
            raise

    async def _serve(self, call: _Call[T]) -> None:
        """Do a call's work on a connection. Nobody waits for what is done after the outcome is known."""
        try:
            async with self._slots:
                while await self._attempt(call):
                    call.again = False
        except Exception as error:
            call.fails(error)

    async def _attempt(self, call: _Call[T]) -> bool:
        """Whether the connection was lost and there shall be another attempt."""
        losses = self._losses
        call.connects()
        try:
            connection = await self._pool.acquire()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, *_LOST) as error:
            raise UnreachableError(self.name) from error
        try:
            call.runs()
            call.outcome.set_result(await call.work(connection))
        except asyncio.CancelledError:  # the deadline has come, or whoever waited has gone
            if await settled(connection, "SELECT 1"):
                call.heard = True
                self._heard()
            else:
                await self._distrust(losses)
            raise
        except _LostError as error:
            await self._distrust(losses)
            if call.again:
                return True
            call.fails(error)
        except Exception as error:
            call.fails(error)
        finally:
            call.step = "releasing"
            try:
                await self._pool.release(connection, timeout=CLEAN_UP)
            except Exception:  # of whatever kind: the driver has closed the connection
                await self._distrust(losses)
        return False

    async def _distrust(self, losses: int) -> None:
        """After a loss, use no connection again that was there before it: they are likely all lost (a restart, say).

        Not so where the lost one itself was from before the latest loss: ``losses`` is how many there were when it was
        taken from the pool.
        """
        if losses == self._losses:
            self._losses += 1
            await self._pool.expire_connections()


async def settled(connection: Connection, statement: str) -> bool:
    """Run what leaves a connection fit for the next who needs it, or close it. Whether the server did it in time.

    Where a statement was cancelled, the driver first waits for the server to say that it has stopped it.
    """
    try:
        async with asyncio.timeout(CLEAN_UP):
            await connection.execute(statement)
    except BaseException as error:
        with suppress(asyncpg.InterfaceError):  # where it is closed already
            connection.terminate()
        if not isinstance(error, Exception):
            raise
        return False
    return True


def _is_closed(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # so much so that it is no longer in the pool
        return True
