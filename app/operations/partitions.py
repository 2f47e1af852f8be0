"""The quarterly partitions of ``orders`` and ``order_items``: which there should be, and making those that are not."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import asyncpg

from app.errors import OperationError
from app.operations.connect import Connection

TABLES = ("orders", "order_items")

# Any number that no one else takes.
_LOCK = 7220512036118448
_MOST_YEARS = 100


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


async def ensure(connection: Connection, first: date, last: date) -> list[str]:
    """Make every missing partition of both tables from ``first`` to ``last``, and return the names of those made.

    Readers go on meanwhile: a partition is made as a table of its own and then attached, which, unlike ``CREATE TABLE …
    PARTITION OF``, does not lock the whole table against them (manual: ALTER TABLE, ATTACH PARTITION).

    Raises:
        OperationError: the dates are the wrong way round or a century apart, or the server refuses: no tables yet, no
            right to, or something else has a partition's name or part of its range.
    """
    if first > last:
        raise OperationError(f"no partition to make: {first} is after {last}")
    if last.year - first.year >= _MOST_YEARS or last.year == date.max.year:
        raise OperationError(f"partitions for {first} to {last}? At most {_MOST_YEARS} years at once: is a date wrong?")
    made: list[str] = []
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        for table in TABLES:
            bounds = set((await present(connection, table)).values())
            for quarter in quarters(first, last):
                if quarter.bounds not in bounds:
                    await _make(connection, quarter.partition(table), table, quarter.bounds)
                    made.append(quarter.partition(table))
    return made


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


async def _make(connection: Connection, name: str, table: str, bounds: str) -> None:
    try:
        await connection.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")
        await connection.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} {bounds}")
    except asyncpg.UndefinedTableError:
        raise OperationError(f"there is no table {table} yet: run `storegraph db upgrade --database orders`") from None
    except asyncpg.DuplicateTableError:
        raise OperationError(
            f"{name} exists but is no partition of {table}: attach it, or give it another name"
        ) from None
    except asyncpg.PostgresError as error:
        raise OperationError(f"cannot make partition {name}: {error}") from None
