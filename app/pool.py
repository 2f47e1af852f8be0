"""The connections to one database: who gets one, for how long, and what becomes of those that are lost.

Knows no SQL, and does not judge the database: that is ``app.database``'s.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

import asyncpg

from app.deadline import Deadline
from app.errors import DatabaseTimeoutError, DatabaseUnavailableError, MissingPartitionError
from app.metrics import DatabaseFigures
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
_UNUSED = 300.0  # seconds after which a connection that is not used is closed
_LATE = 0.05  # seconds after which the deadline is noticed late, because the loop stood still or has much to do


class UnreachableError(DatabaseUnavailableError):
    """The database does not answer, whatever it is asked. The cause says why."""


class _LostError(UnreachableError):
    """A connection that there was is gone."""


class BusyError(DatabaseUnavailableError):
    """All connections are in use, and none came free in time."""


class _Slots(asyncio.Semaphore):
    """One for each connection, so that it is known who waits for a connection in use and who for one to be made."""

    @property
    def free(self) -> int:
        return self._value

    @property
    def waiting(self) -> int:
        return sum(not waiter.done() for waiter in self._waiters or ())


class Pool:
    """As many connections as ``pool_size``, made when they are first needed.

    The driver's own pool makes and closes them. Those in use or soon in use again are kept here, since to give one back
    to the driver and to take it out again costs as much as a statement, and a round trip on top.
    """

    def __init__(
        self,
        name: DatabaseName,
        settings: Settings,
        session: dict[str, str],
        heard: Callable[[], None],
        figures: DatabaseFigures,
    ) -> None:
        """``session``: what the server is to set for each connection. ``heard``: called whenever it answers that it has
        stopped what nobody waits for any more, so that it is known to live. ``figures``: what to count in."""
        self.name: DatabaseName = name
        self._settings = settings
        self._heard = heard
        self._figures = figures
        self._slots = _Slots(settings.pool_size)
        self._ready: list[Connection] = []  # the one used last is used next
        self._unused = 0  # so many, from the first, have not been used for a while
        self._sweep: asyncio.TimerHandle | None = None
        self._losses = 0
        self._tasks: set[asyncio.Task[bool]] = set()
        self._pool = asyncpg.create_pool(
            settings.database_url(name),
            min_size=0,  # so that opening asks nothing of a database that may be down
            max_size=settings.pool_size,
            timeout=settings.connect_timeout,
            server_settings=session,
        )

    @property
    def size(self) -> int:
        """How many connections there may be."""
        return self._settings.pool_size

    @property
    def in_use(self) -> int:
        """How many connections work, are being made or are being cleaned up."""
        return self.size - self._slots.free

    @property
    def waiting(self) -> int:
        """How many wait for a connection to be free."""
        return self._slots.waiting

    async def open(self) -> None:
        """Connects to nothing, so this works while the database is down."""
        await self._pool
        self._loop = asyncio.get_running_loop()
        self._close_unused()

    async def close(self) -> None:
        """Let go of every connection, busy or not, once it had time to have the server stop what was cancelled."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLEAN_UP)
        self._pool.terminate()

    async def run(self, work: Work[T], limit: float, *, in_all: bool, again: bool, clean_up: str = "SELECT 1") -> T:
        """Do some work on a connection, within ``pool_wait``, ``connect_timeout`` and ``limit`` seconds.

        Args:
            work: done while the connection is its own; what it asks of the server goes through ``ask``.
            limit: for the work; ``in_all`` for the waiting and connecting as well.
            again: whether the work, where its connection turns out to be lost, may be done once more.
            clean_up: the statement that ends what the work had begun, where it is cancelled. Nobody waits for that.

        Raises:
            UnreachableError, BusyError: there was no connection, or no outcome, in time.
            DatabaseTimeoutError: there was no outcome in time, but the server lives.
            Exception: what ``work`` raises.
        """
        end = self._loop.time() + limit if in_all else None
        await self._take_slot(end)
        while True:
            losses = self._losses
            connection = await self._connection(end)
            deadline = self._deadline(limit if end is None else end - self._loop.time())
            try:
                result = await work(connection)
            except asyncio.CancelledError:
                # In a task of its own: on a socket that never answers this takes seconds, and nobody is to wait for it.
                cleaning = self._spawn(self._clean_up(connection, losses, clean_up))
                if deadline.passed():
                    await self._overdue(cleaning)
                raise
            except _LostError:
                await self._distrust(losses)  # before another is taken
                self._spawn(self._give_back(connection, losses))
                if not again:
                    raise
                again, end = False, deadline.at  # at the second attempt there is no more time than the first one left
                await self._take_slot(end)
            except BaseException:
                self._spawn(self._give_back(connection, losses))
                raise
            else:
                if losses == self._losses:
                    self._ready.append(connection)
                    self._slots.release()
                else:
                    self._spawn(self._give_back(connection, losses))
                return result
            finally:
                deadline.end()

    async def _take_slot(self, end: float | None) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # at once
            self._figures.waits.add(0.0)
            return
        start = self._loop.time()
        deadline = self._deadline(self._allowed(self._settings.pool_wait, end))
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            if deadline.passed():
                self._figures.busy += 1
                raise BusyError(self.name) from None
            raise
        finally:
            deadline.end()
            self._figures.waits.add(self._loop.time() - start)

    async def _connection(self, end: float | None) -> Connection:
        """One that is there, or else a new one. Without any, the slot is given up."""
        while self._ready:
            connection = self._ready.pop()
            self._unused = min(self._unused, len(self._ready))
            if not _is_closed(connection):
                return connection
            self._figures.losses += 1
            self._spawn(self._release(connection))
        deadline = self._deadline(self._allowed(self._settings.connect_timeout, end))
        try:
            return await self._pool.acquire()
        except BaseException as error:
            self._slots.release()
            if isinstance(error, asyncio.CancelledError) and deadline.passed():
                raise UnreachableError(self.name) from TimeoutError("no connection was made in time")
            if isinstance(error, (asyncpg.PostgresError, asyncpg.InterfaceError, *_LOST)):
                raise UnreachableError(self.name) from error
            raise
        finally:
            deadline.end()

    def _deadline(self, seconds: float) -> Deadline:
        # While the loop stood still, nobody read what the server may have sent: that time is not the server's.
        return Deadline(seconds, late=_LATE, most=CLEAN_UP, loop=self._loop)

    def _allowed(self, seconds: float, end: float | None) -> float:
        return seconds if end is None else min(seconds, end - self._loop.time())

    async def _overdue(self, cleaning: asyncio.Task[bool]) -> NoReturn:
        """What it means that there was no outcome at the deadline."""
        await asyncio.wait({cleaning}, timeout=_GRACE)
        if cleaning.done() and cleaning.result():
            raise DatabaseTimeoutError(self.name) from None
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

    def _spawn(
        self, ending: Coroutine[Any, Any, bool]
    ) -> asyncio.Task[bool]:  # what it yields and is sent is asyncio's
        """Let a connection's use be ended while nobody waits for it."""
        task = asyncio.create_task(ending)
        self._tasks.add(task)  # the loop alone would let it be collected
        task.add_done_callback(self._tasks.discard)
        return task

    async def _clean_up(self, connection: Connection, losses: int, statement: str) -> bool:
        """Give a connection back whose work was cancelled. Whether the server did as it was told."""
        heard = await settled(connection, statement)
        if heard:
            self._heard()
        else:
            await self._distrust(losses)
        await self._give_back(connection, losses)
        return heard

    async def _give_back(self, connection: Connection, losses: int) -> bool:
        """Give a connection and its slot back. Whether it is still of use."""
        try:
            fit = await self._release(connection)
            if not fit:
                await self._distrust(losses)
        finally:
            self._slots.release()
        return fit

    async def _release(self, connection: Connection) -> bool:
        """Give a connection back to the driver. Whether it is still of use."""
        try:
            await self._pool.release(connection, timeout=CLEAN_UP)
        except Exception:  # of whatever kind: the driver has closed the connection
            return False
        return True

    async def _distrust(self, losses: int) -> None:
        """After a loss, use no connection again that was there before it: they are likely all lost (a restart, say).

        Not so where the lost one itself was from before the latest loss: ``losses`` is how many there were when it was
        taken from the pool.
        """
        if losses == self._losses:
            self._losses += 1
            self._figures.losses += 1
            await self._pool.expire_connections()
            ready, self._ready, self._unused = self._ready, [], 0
            for connection in ready:
                with suppress(asyncpg.InterfaceError):  # where it is closed already
                    connection.terminate()  # to say good-bye takes as long as a lost one is waited for

    def _close_unused(self) -> None:
        """Close what has not been used since this was done before."""
        for connection in self._ready[: self._unused]:
            self._spawn(self._close(connection))
        del self._ready[: self._unused]
        self._unused = len(self._ready)
        self._sweep = self._loop.call_later(_UNUSED, self._close_unused)

    async def _close(self, connection: Connection) -> bool:
        with suppress(Exception):
            await connection.close(timeout=CLEAN_UP)
        return await self._release(connection)


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
