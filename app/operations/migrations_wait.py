"""How migrations wait for others, so that nobody waits long for them.

A statement that waits for a lock makes all those wait that come after it, readers as well. So it waits only for a
moment (``lock_timeout``), gives way, and is tried again after a pause. And only one migrates a database at a time.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import asyncpg

from app.errors import OperationError
from app.operations.connect import Connection, connected
from app.settings import DatabaseName

T = TypeVar("T")
Say: TypeAlias = Callable[[str], None]
"""Told, a line at a time, what is waited for."""

# Any number that no one else takes.
_LOCK = 7220512036118447
_LOOK = 0.25  # seconds between two looks whether another migration has ended
_LONGEST_PAUSE = 10.0

_HOLDERS = """
    SELECT pid, coalesce(nullif(application_name, ''), 'no name') AS application, usename, state, xact_start,
        left(regexp_replace(query, '\\s+', ' ', 'g'), 100) AS query
    FROM pg_stat_activity WHERE pid = ANY({}) ORDER BY xact_start
"""
_BLOCKING = _HOLDERS.format("pg_blocking_pids($1)")
_MIGRATING = _HOLDERS.format(
    """ARRAY(SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND (classid::bigint << 32) + objid::bigint = $1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""
)


@dataclass(frozen=True)
class Patience:
    """How long to wait for others.

    Args:
        wait: for another migration of the same database, however long; else that it runs is an error.
        lock_timeout: seconds that a statement waits for a lock, and so at most that others queue behind it.
        attempts: how often a migration is tried that did not get a lock.
        pause: seconds between the first two attempts, twice as many before the next, up to ten; or as many as
            ``lock_timeout`` where that is longer.
    """

    wait: bool = True
    lock_timeout: float = 0.5
    attempts: int = 10
    pause: float = 1.0

    def before(self, attempt: int) -> float:
        """Seconds to wait before an attempt; the first is number 1."""
        return max(min(self.pause * 2 ** (attempt - 2), _LONGEST_PAUSE), self.lock_timeout) if attempt > 1 else 0.0

    @property
    def in_all(self) -> float:
        """Seconds that all attempts take: as long waits a statement behind which nobody queues."""
        return sum(self.before(attempt) + self.lock_timeout for attempt in range(1, self.attempts + 1))


@asynccontextmanager
async def only_one(name: DatabaseName, driver: Connection, patience: Patience, say: Say) -> AsyncGenerator[None]:
    """While nobody else migrates this database, for as long as the block runs or the session lives.

    It is asked for over and over, since ``CREATE INDEX CONCURRENTLY`` waits for all that have a snapshot, as a
    statement that waits for the lock itself has: each would wait for the other.

    Raises:
        OperationError: another one runs, and ``patience`` is not to wait.
    """
    told = False
    while not await driver.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
        if not told:
            holders = "; ".join((await _people(driver, _MIGRATING, _LOCK)).values()) or "it has ended just now"
            running = f"{name} database: another migration is running: {holders}"
            if not patience.wait:
                raise OperationError(running)
            say(f"{running}. Waiting for its end")
            told = True
        await asyncio.sleep(_LOOK)
    try:
        yield
    finally:
        if not driver.is_closed():
            await driver.execute(f"SELECT pg_advisory_unlock({_LOCK})")


class Waits:
    """Who stood in the way of a session, as another connection sees it while it waits."""

    def __init__(self, name: DatabaseName, url: str, driver: Connection, patience: Patience, say: Say) -> None:
        self._name: DatabaseName = name
        self._url = url
        self._pid = driver.get_server_pid()
        self._between = min(patience.lock_timeout / 4, 1.0)
        self._say = say
        self._told: set[int] = set()
        self.holders: dict[int, str] = {}

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Note who is waited for while the block runs, and say it of each once."""
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.wait({watch})

    async def _watch(self) -> None:
        await asyncio.sleep(self._between)  # most are done by then, and need no connection for it
        with suppress(OperationError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # it only tells
            async with connected(self._name, self._url) as connection:
                while True:
                    self._note(await _people(connection, _BLOCKING, self._pid))
                    await asyncio.sleep(self._between)

    def _note(self, holders: dict[int, str]) -> None:
        self.holders = holders or self.holders
        for pid in holders.keys() - self._told:
            self._told.add(pid)
            self._say(f"{self._name} database: waiting for a lock; in its way: {holders[pid]}")


async def patiently(
    patience: Patience, waits: Waits, what: Callable[[], Awaitable[str]], work: Callable[[], Awaitable[T]]
) -> T:
    """Do ``work`` again, after a pause, for as long as it does not get a lock.

    Args:
        patience: how often, and how long the pauses are.
        waits: who is told of when it is given up.
        what: names what does not get its lock, as it stands at that moment; where that is something else than the time
            before, the attempts are counted anew.
        work: leaves nothing half done when it fails.

    Raises:
        OperationError: it got no lock in any attempt.
    """
    attempt, stuck = 0, ""
    async with waits.watched():
        while True:
            attempt += 1
            await asyncio.sleep(patience.before(attempt) * random.uniform(0.75, 1))  # noqa: S311 -- no secret
            try:
                return await work()
            except Exception as error:
                if not lacked_lock(error):
                    raise
                now = await what()
                attempt, stuck = (1, now) if now != stuck else (attempt, stuck)
                if attempt >= patience.attempts or isinstance(error, LastWaitError):
                    raise OperationError(_given_up(now, attempt, waits)) from None


def _given_up(what: str, attempts: int, waits: Waits) -> str:
    who = "; ".join(waits.holders.values()) or "others, who had let go of it before they could be asked for"
    tried = "one attempt" if attempts == 1 else f"{attempts} attempts"
    return (
        f"{what} got no lock in {tried}, and was given up. In its way: {who}. "
        "Run it again when they have ended, or end them with SELECT pg_terminate_backend(pid)"
    )


class LastWaitError(OperationError):
    """A statement got no lock that had waited as long as all attempts together do."""


def lacked_lock(error: BaseException | None) -> bool:
    """Whether an error comes of a lock that was not to be had, or of a deadlock, whatever it has been turned into."""
    while error is not None:
        if isinstance(error, asyncpg.LockNotAvailableError | asyncpg.DeadlockDetectedError):
            return True
        error = error.__cause__ or error.__context__
    return False


async def _people(connection: Connection, sql: str, of: int) -> dict[int, str]:
    return {
        row["pid"]: f"pid {row['pid']} ({row['application']}, user {row['usename']}, {row['state']}"
        + (f", since {row['xact_start']:%Y-%m-%d %H:%M:%S} UTC" if row["xact_start"] else "")
        + f"): {row['query']}"
        for row in await connection.fetch(sql, of)
    }
