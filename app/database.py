"""One connection pool per database, with limits on how long anything may take; and the four of them by name.

A connection that fails becomes an ``AppError``, and so does a row without its partition; what else the server says of
our SQL stays what it is, a fault of ours.
"""

import asyncio
import contextvars
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import Any, TypeVar, cast

import asyncpg

from app.breaker import Breaker
from app.errors import AppError, ConflictError, DatabaseUnavailableError
from app.metrics import DatabaseFigures
from app.pool import BusyError, Connection, Pool, Row, UnreachableError, Work, settled
from app.settings import DATABASE_NAMES, DatabaseName, Settings

log = logging.getLogger(__name__)

T = TypeVar("T")
Observer = Callable[[DatabaseName, str], None]
"""Called with the database and the text of each statement, as it is sent."""

# What only the same transaction once more can mend (PostgreSQL's manual, 13.5 "Serialization Failure Handling").
_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_BACKOFF, _LONGEST_BACKOFF = 0.04, 0.2  # seconds at most before the second attempt, and twice as many before the next

_PROBE = 0.7  # seconds for readiness, and 0.2 until it is known that there is no answer: Kubernetes waits for one
_LONGER = 1.3  # times as long as a read, a transaction waits for a lock
_BUSY_LOGGED = 60.0  # seconds between two lines about connections that are all busy

# Every session, also that of the command line: partition bounds written in another zone overlap their neighbours.
# And times are read as text.
SESSION = {"TimeZone": "UTC", "DateStyle": "ISO"}

# Without synchronous commits, a COMMIT is answered before it is flushed; with them, what is not flushed is no commit.
_POSITION = """SELECT CASE current_setting('synchronous_commit')
    WHEN 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END"""
_ROOM = """SELECT pg_postmaster_start_time() AS started, current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0) AS room"""


class Transaction:
    """What a write does its work with: one transaction on one connection, so one statement at a time.

    A statement that fails takes the transaction with it, whether or not the work goes on (PostgreSQL refuses every
    further statement, and takes COMMIT for ROLLBACK).
    """

    def __init__(self, database: "Database", connection: Connection) -> None:
        self._database = database
        self._connection = connection
        self.failure: Exception | None = None

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        """All rows."""
        return await self._send(self._connection.fetch, sql, args)

    async def fetchrow(self, sql: str, *args: object) -> Row | None:
        """The first row, if there is one."""
        return await self._send(self._connection.fetchrow, sql, args)

    async def fetchval(self, sql: str, *args: object) -> Any:  # of whatever type the column is
        """The first column of the first row; None also when there is no row."""
        return await self._send(self._connection.fetchval, sql, args)

    async def execute(self, sql: str, *args: object) -> str:
        """What was done, in PostgreSQL's words: ``UPDATE 1``."""
        return await self._send(self._connection.execute, sql, args)

    async def _send(self, method: Callable[..., Awaitable[T]], sql: str, args: tuple[object, ...]) -> T:
        try:
            return await self._database.send(self._connection, method, sql, args)
        except Exception as error:
            self.failure = self.failure or error
            raise


class Database:
    """One of the four: a pool of connections that are made when they are first needed, and a breaker before it."""

    def __init__(
        self, name: DatabaseName, settings: Settings, observe: Observer | None = None, server: str = "primary"
    ) -> None:
        self.name: DatabaseName = name
        self.server = server
        """Which of the servers that have it: ``primary``, or ``replica-1`` and so on."""
        self.title = name if server == "primary" else f"{name} ({server})"
        self.committed: Callable[[int], None] | None = None
        """Told after each COMMIT up to where the write-ahead log goes that has it, if anybody wants to know."""
        self.breaker = Breaker(settings.breaker_failures, settings.breaker_pause)
        self.figures = DatabaseFigures()
        self._settings = settings
        self._observe = observe
        # Deadlocks are found after a second (deadlock_timeout): where a wait for a lock ends at the same time, the
        # server tells of that alone, and a transaction that could be done again is not.
        patience = _milliseconds(settings.lock_timeout * _LONGER)
        self._begin = f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '{patience}ms'"
        self._answers = True  # as far as is known
        self._busy_logged = -_BUSY_LOGGED
        self._watch: asyncio.Task[None] | None = None
        self._pool = Pool(
            name,
            settings,
            SESSION
            | {
                "application_name": "storegraph",
                "statement_timeout": _milliseconds(settings.statement_timeout),
                "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout),
                "lock_timeout": _milliseconds(settings.lock_timeout),
                # Planning over many partitions takes longer than running (2 ms to 0.3). Our statements are written so
                # that the plan does not depend on how many keys there are; partitions are pruned as it runs.
                "plan_cache_mode": "force_generic_plan",
                "jit": "off",
            },
            self._heard,
            self.figures,
        )

    @property
    def is_answering(self) -> bool:
        """Whether it answers, as far as is known from what was last asked."""
        return self._answers

    @property
    def pool(self) -> Pool:
        """Its connections."""
        return self._pool

    async def open(self) -> None:
        """Ready the pool. Connects to nothing, so this works while the database is down."""
        await self._pool.open()

    async def close(self) -> None:
        """Let go of every connection, within about a second, busy or not."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
        await self._pool.close()

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        """Run one statement that changes nothing, and return its rows.

        Where its connection turns out to be dead it is sent a second time, on a new one.

        Raises:
            DatabaseUnavailableError: no connection came free within ``pool_wait`` or was made within
                ``connect_timeout``, or no answer came within ``read_timeout`` and none to its cancellation at once, or
                the breaker is open.
            DatabaseTimeoutError: the server gave the statement up, for a lock that it waited for too long, say, or
                stopped it when we did, at ``read_timeout``.
        """
        read, limit = self._read(sql, args), self._settings.read_timeout
        return await self._through_breaker(self._pool.run(read, limit, in_all=False, again=True))

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` in a transaction, commit, and return what it returns. An error that it raises rolls back.

        Where others' transactions get in its way (serialization failure, deadlock), all of it is done again, so
        ``work`` must do nothing that a rollback does not undo. A lost connection is not tried again.

        Raises:
            DatabaseUnavailableError, DatabaseTimeoutError: as ``fetch`` does, but with ``write_timeout`` for all
                together. Where this happens during the COMMIT, the change may have been made.
            MissingPartitionError: a row has no partition; the message names the command that makes it.
            ConflictError: others got in its way ``transaction_attempts`` times.
        """

        async def attempts(connection: Connection) -> T:
            left, pause = self._settings.transaction_attempts, _BACKOFF
            while True:
                try:
                    return await self._transact(connection, work)
                except _AGAIN as error:
                    left -= 1
                    if not left:
                        raise ConflictError("Others kept changing the same at the same time: try again.") from error
                # By chance, or those who met would meet again.
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 -- no secret
                pause = min(2 * pause, _LONGEST_BACKOFF)

        limit = self._settings.write_timeout
        return await self._through_breaker(
            self._pool.run(attempts, limit, in_all=True, again=False, clean_up="ROLLBACK")
        )

    async def answers(self) -> bool:
        """Whether a statement gets through, told within a second.

        Asks also while the breaker is open, and an answer closes it. That none comes in so short a time is left to the
        reads to find out. Where all connections are in use, it is whether the latest of them answered.
        """
        try:
            await self.probe("SELECT 1")
        except BusyError:
            return self._answers
        except AppError:
            return False
        return True

    async def room(self) -> tuple[object, int] | None:
        """What tells its server from others, by whatever name it is reached, and how many connections that one allows.

        None where it does not answer.
        """
        try:
            [row] = await self.probe(_ROOM)
        except AppError:
            return None
        return row["started"], row["room"]

    async def send(
        self, connection: Connection, method: Callable[..., Awaitable[T]], sql: str, args: tuple[object, ...]
    ) -> T:
        """Run a statement by one of the connection's methods. Raises what ``Pool.ask`` does."""
        if self._observe is not None:
            self._observe(self.name, sql)
        start = perf_counter()
        try:
            answer = await self._pool.ask(connection, method, sql, *args)
        except BaseException:
            self.figures.failed += 1
            raise
        finally:
            self.figures.statements.add(perf_counter() - start)
        if method == connection.fetch:
            self.figures.rows += len(cast("list[Row]", answer))
        return answer

    async def probe(self, sql: str) -> list[Row]:
        """What a statement brings within a second, also while the breaker is open: an answer closes it.

        Raises:
            UnreachableError, BusyError, DatabaseTimeoutError: it brought nothing.
        """
        rows = await self._noted(self._pool.run(self._read(sql, ()), _PROBE, in_all=True, again=True))
        self.breaker.answered()
        return rows

    def _read(self, sql: str, args: tuple[object, ...]) -> Work[list[Row]]:
        return lambda connection: self.send(connection, connection.fetch, sql, args)

    async def _through_breaker(self, answer: Coroutine[Any, Any, T]) -> T:  # what it yields and is sent is asyncio's
        """Await an answer, if the breaker lets it through.

        Whatever the server answers, also that a statement is wrong or waited too long for a lock, is an answer. That
        all connections are busy is neither that nor a failure: it means too much work, not a database that is gone,
        and to refuse for a pause what could be done meanwhile would make of overload an outage. Where they are all
        busy because the database is gone, those who hold them find that out.
        """
        ticket = self.breaker.admit()
        if ticket is None:
            answer.close()
            raise DatabaseUnavailableError(self.name)
        try:
            result = await self._noted(answer)
        except UnreachableError:
            self.breaker.failed(ticket)
            if self.breaker.state == "open" and (self._watch is None or self._watch.done()):
                # Not in the context of a request: what it logs is no request's.
                self._watch = asyncio.create_task(self._watch_for_return(), context=contextvars.Context())
            raise
        except (BusyError, asyncio.CancelledError):
            self.breaker.abandoned(ticket)
            raise
        except BaseException:
            self.breaker.answered()
            raise
        self.breaker.answered()
        return result

    async def _watch_for_return(self) -> None:
        """Be the probe after each pause, until the breaker is closed.

        Were a read of an operation the probe, the other reads of that operation would be refused, and its answer tell
        both a row of the database and that the database is gone. It also closes the breaker when nobody asks.
        """
        while self.breaker.state != "closed":
            await asyncio.sleep(self.breaker.pause_left or self._settings.breaker_pause)
            with suppress(Exception):  # the breaker is told of it, and the log
                await self.fetch("SELECT 1")

    def _heard(self) -> None:
        """The server has answered, too late to be of use."""
        self.breaker.answered()
        self._note(None)

    async def _noted(self, answer: Awaitable[T]) -> T:
        """Await an answer, and log what that tells of the database."""
        try:
            result = await answer
        except BusyError:
            self._note_busy()
            raise
        except UnreachableError as error:
            self._note(error.__cause__)
            raise
        self._note(None)
        return result

    async def _transact(self, connection: Connection, work: Callable[[Transaction], Awaitable[T]]) -> T:
        transaction = Transaction(self, connection)
        try:
            await self._pool.ask(connection, connection.execute, self._begin)
            result = await work(transaction)
            if transaction.failure is not None:  # which the work took no notice of
                raise transaction.failure
            await self._pool.ask(connection, connection.execute, "COMMIT")
            if self.committed is not None:
                self.committed(await self._pool.ask(connection, connection.fetchval, _POSITION))
        except Exception:  # where it is cancelled, the pool does that
            await settled(connection, "ROLLBACK")  # also where it is not known whether there is a transaction
            if isinstance(transaction.failure, _AGAIN):  # whatever the work made of it
                raise transaction.failure from None
            raise
        return result

    def _note(self, failure: object) -> None:
        """Log each change between answering and not, and not each statement."""
        if failure is not None and self._answers:
            log.warning("the %s database does not answer (%s); its fields are null until it does", self.name, failure)
        if failure is None and not self._answers:
            log.warning("the %s database answers again", self.name)
        self._answers = failure is None

    def _note_busy(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._busy_logged >= _BUSY_LOGGED:
            self._busy_logged = now
            log.warning(
                "all %d connections to the %s database were busy for %g s; POOL_SIZE sets how many there are",
                *(self._settings.pool_size, self.title, self._settings.pool_wait),
            )


class Databases:
    """The four databases, by name."""

    def __init__(self, settings: Settings, observe: Observer | None = None) -> None:
        self._pool_size = settings.pool_size
        self._workers = settings.workers
        self._databases = {name: Database(name, settings, observe) for name in DATABASE_NAMES}

    def __getitem__(self, name: DatabaseName) -> Database:
        return self._databases[name]

    async def answering(self) -> dict[DatabaseName, bool]:
        """Whether each database answers, asked of all four at the same time."""
        answers = await asyncio.gather(*(self[name].answers() for name in DATABASE_NAMES))
        return dict(zip(DATABASE_NAMES, answers, strict=True))

    async def check_capacity(self, replicas: Sequence[Database] = ()) -> None:
        """Warn where pools on the same server may together take more connections than it has. Asks those that answer.

        With too few, requests fail just when there are many of them, and not before.
        """
        databases = [*self._databases.values(), *replicas]
        rooms = await asyncio.gather(*(database.room() for database in databases))
        servers: dict[tuple[object, int], list[str]] = {}
        for database, room in zip(databases, rooms, strict=True):
            if room is not None:
                servers.setdefault(room, []).append(database.title)
        for (_, available), names in servers.items():
            pools = len(names) * self._workers
            if self._pool_size * pools > available:
                log.warning(
                    "the pools of %s can take %d connections (POOL_SIZE %d, each%s) of one server, which allows %d"
                    " (max_connections without the reserved ones): set POOL_SIZE to %d or raise max_connections",
                    *(", ".join(names), self._pool_size * pools, self._pool_size),
                    *(f" in {self._workers} workers" if self._workers > 1 else "", available),
                    max(1, available // pools),
                )

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
            await asyncio.gather(*(databases[name].close() for name in DATABASE_NAMES))


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))  # to PostgreSQL, 0 means no limit
