"""The quarterly partitions of ``orders`` and ``order_items``: which there should be, and making those that are not."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TypeVar

import asyncpg

from app.errors import OperationError
from app.operations.connect import Connection

TABLES = ("orders", "order_items")

# Any number that no one else takes. Held by whoever changes which partitions there are.
LOCK = 7220512036118448
# How long others queue behind a lock that we wait for.
LOCK_TIMEOUT = "300ms"
PATIENCE = 60.0
"""Seconds in which to try again what others' locks are in the way of."""

_MOST_YEARS = 100
_ONLY = ", ".join(f"ONLY {table}" for table in TABLES)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between two tries

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Quarter:
    """A quarter of a year in UTC: ``number`` is 1 to 4."""

    year: int
    number: int

    @classmethod
    def of(cls, day: date) -> "Quarter":
        """The quarter that a day is in."""
        return cls(day.year, (day.month + 2) // 3)

    @classmethod
    def with_bounds(cls, bounds: str) -> "Quarter | None":
        """The quarter whose ``bounds`` these are; None when they are no quarter's."""
        start = re.match(r"FOR VALUES FROM \('(\d{4}-\d\d-\d\d) ", bounds)
        quarter = start and cls.of(date.fromisoformat(start[1]))
        return quarter if quarter and quarter.bounds == bounds else None

    @property
    def next(self) -> "Quarter":
        """The quarter that follows."""
        return Quarter(self.year + self.number // 4, self.number % 4 + 1)

    @property
    def start(self) -> date:
        """Its first day; the bound of a partition is midnight UTC of that day."""
        return date(self.year, self.number * 3 - 2, 1)

    def partition(self, table: str) -> str:
        """What the partition of ``table`` for this quarter is called, such as ``orders_2024_q1``."""
        return f"{table}_{self.year:04d}_q{self.number}"

    @property
    def bounds(self) -> str:
        """Its bounds as PostgreSQL prints them to a session in UTC, the only zone in which all sessions run."""
        return f"FOR VALUES FROM ('{self.start} 00:00:00+00') TO ('{self.next.start} 00:00:00+00')"


def quarters(first: date, last: date) -> Iterator[Quarter]:
    """Each quarter from that of ``first`` to that of ``last``, both included."""
    quarter = Quarter.of(first)
    while quarter <= Quarter.of(last):
        yield quarter
        quarter = quarter.next


def this_year_and_next(today: date) -> tuple[date, date]:
    """The first and the last day for which there must be partitions at any time."""
    return date(today.year, 1, 1), date(today.year + 1, 12, 31)


def months_from(today: date, months: int) -> tuple[date, date]:
    """Today, and a day of the month that is so many months later."""
    later = today.year * 12 + today.month - 1 + months
    return today, date(min(later // 12, date.max.year), later % 12 + 1, 1)


async def ensure(connection: Connection, first: date, last: date, patience: float = PATIENCE) -> list[str]:
    """Make every missing partition of both tables from ``first`` to ``last``, and return the names of those made.

    A quarter of both tables is one transaction. Readers and writers go on meanwhile: a partition is made as a table of
    its own and then attached, since ``CREATE TABLE … PARTITION OF`` would lock the whole table against all of them
    (manual: ALTER TABLE, ATTACH PARTITION). For the moment that attaching takes, the foreign key between the tables
    still keeps writers waiting. A transaction that has written to them is in the way, and is not queued for, since
    others would queue behind: it is tried again, for up to ``patience`` seconds.

    Raises:
        OperationError: the dates are the wrong way round or a century apart, or the server refuses: no tables yet, no
            right to, something else has a partition's name or part of its range, or transactions that do not end. The
            quarters before it have been made.
    """
    if first > last:
        raise OperationError(f"no partition to make: {first} is after {last}")
    if last.year - first.year >= _MOST_YEARS or last.year == date.max.year:
        raise OperationError(f"partitions for {first} to {last}? At most {_MOST_YEARS} years at once: is a date wrong?")
    made: list[str] = []
    for quarter in await _lacking(connection, quarters(first, last)):
        made += await patiently(connection, partial(_ensure_quarter, connection, quarter), patience)
    return made


async def patiently(connection: Connection, work: Callable[[], Awaitable[T]], patience: float) -> T:
    """Do what needs locks that others may hold, again and again until it has them. What fails must have undone itself.

    Raises:
        OperationError: it has not got them within ``patience`` seconds; names the oldest transactions.
    """
    until, pause = time.monotonic() + patience, _FIRST_PAUSE
    while True:
        try:
            return await work()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if time.monotonic() > until:
                raise OperationError(await _in_the_way(connection, patience)) from None
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _in_the_way(connection: Connection, patience: float) -> str:
    oldest = await connection.fetch(
        """
        SELECT pid, coalesce(nullif(application_name, ''), usename) AS who, state,
            date_trunc('second', clock_timestamp() - xact_start)::text AS age
        FROM pg_stat_activity
        WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
        ORDER BY xact_start LIMIT 3
        """
    )
    listed = "; ".join(f"pid {row['pid']} of {row['who']}, {row['state']}, for {row['age']}" for row in oldest)
    return (
        f"no lock on {' and '.join(TABLES)} for {patience:.0f} seconds; try again later. "
        f"The oldest transactions: {listed or 'none any more'}"
    )


async def _lacking(connection: Connection, wanted: Iterable[Quarter]) -> list[Quarter]:
    """Those quarters that a table has no partition for."""
    async with connection.transaction():
        bounds = [set((await present(connection, table)).values()) for table in TABLES]
    return [quarter for quarter in wanted if any(quarter.bounds not in of_table for of_table in bounds)]


async def _ensure_quarter(connection: Connection, quarter: Quarter) -> list[str]:
    async with connection.transaction():
        # Not waited for: a statement that waits has a snapshot, and detaching one concurrently waits for those.
        if not await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({LOCK})"):
            raise asyncpg.LockNotAvailableError
        made = [
            (table, quarter.partition(table))
            for table in TABLES
            if quarter.bounds not in (await present(connection, table)).values()
        ]
        # Set back at the end: the transaction may be part of a longer one.
        timeout = await connection.fetchval("SELECT current_setting('lock_timeout')")
        await connection.execute(f"SET LOCAL lock_timeout TO '{LOCK_TIMEOUT}'")
        for table, name in made:
            await _run(connection, f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)", table, name)
        # Which attaching takes anyway; here in the order in which orders are written, so that no one is half way.
        await _run(
            connection, f"LOCK TABLE {_ONLY} IN SHARE ROW EXCLUSIVE MODE", TABLES[0], quarter.partition("orders")
        )
        for table, name in made:
            await _run(connection, f"ALTER TABLE {table} ATTACH PARTITION {name} {quarter.bounds}", table, name)
        await connection.execute("SELECT set_config('lock_timeout', $1, true)", timeout)
    return [name for _, name in made]


async def present(connection: Connection, table: str) -> dict[str, str]:
    """The partitions of a table: the bounds of each by its name, ``DEFAULT`` or as ``Quarter.bounds`` has them.

    Call it in a transaction.
    """
    await connection.execute("SET LOCAL datestyle TO 'ISO'")  # bounds are printed in it, and a role may have another
    rows = await connection.fetch(
        """
        SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = to_regclass($1) ORDER BY 1
        """,
        table,
    )
    return {row["name"]: row["bounds"] for row in rows}


async def _run(connection: Connection, statement: str, table: str, name: str) -> None:
    """Run a statement of those that make the partition ``name`` of ``table``."""
    try:
        await connection.execute(statement)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        raise
    except asyncpg.UndefinedTableError:
        raise OperationError(f"there is no table {table} yet: run `storegraph db upgrade --database orders`") from None
    except asyncpg.DuplicateTableError:
        raise OperationError(
            f"{name} exists but is no partition of {table}: attach it, give it another name, or drop it"
        ) from None
    except asyncpg.PostgresError as error:
        raise OperationError(f"cannot make partition {name}: {error}") from None
