"""Takes old partitions out of ``orders`` and ``order_items``, exports them, and drops them if asked to.

PostgreSQL allows one order of steps only. The lines go first, since their foreign key needs the orders' partition; then
that key, which the detached table has still; then the orders. Each step looks at what is there: after an interruption
the same call goes on where it was.
"""

import asyncio
import filecmp
import os
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path

import asyncpg

from app.errors import OperationError
from app.operations.connect import Connection, connected
from app.operations.partitions import LOCK, LOCK_TIMEOUT, PATIENCE, TABLES, Quarter, patiently
from app.operations.partitions_listed import Partition, listed
from app.operations.progress import progress_bar

ORDERS, LINES = TABLES
_KEYS = {ORDERS: "id, created_at", LINES: "id, order_created_at"}
_FOREIGN_KEYS = """
    SELECT quote_ident(conname) FROM pg_constraint
    WHERE conrelid = $1::text::regclass AND confrelid = $2::text::regclass AND contype = 'f' AND conparentid = 0
"""
_STATE = """
    SELECT CASE WHEN i.inhdetachpending THEN 'detaching' WHEN i.inhrelid IS NOT NULL THEN 'attached' END
    FROM pg_inherits i WHERE i.inhrelid = to_regclass($1)
"""

Sums = dict[str, tuple[int, str]]
"""Of each table, how many rows it has and a checksum of them."""


@dataclass(frozen=True)
class OldQuarter:
    """A quarter that is wholly before a day, and its tables: partitions, or what were ones."""

    quarter: Quarter
    tables: tuple[Partition, ...]

    @property
    def is_attached(self) -> bool:
        """Whether one of its tables is still a partition, or half way out."""
        return any(table.state != "detached" for table in self.tables)


@dataclass(frozen=True)
class Detached:
    """What was done with a quarter: the tables detached now, the files written, and the tables dropped."""

    quarter: str
    detached: list[str]
    files: list[str]
    dropped: list[str]


async def old_quarters(connection: Connection, before: date, today: date) -> list[OldQuarter]:
    """The quarters that end before a day or with its eve, oldest first, also those that have been detached.

    Raises:
        OperationError: the day is after today; there are no such tables; or a partition before that day is no quarter
            of a year, or not called like one.
    """
    if before > today:
        raise OperationError(f"--before {before} is after today: partitions that are still written to stay")
    by_quarter: dict[Quarter, list[Partition]] = {}
    for found in await listed(connection, exact=False):
        if found.end is None or found.end > datetime.combine(before, time(), UTC):
            continue
        quarter = Quarter.of(found.start.date()) if found.start else None
        if (
            quarter is None
            or _bounds(quarter) != (found.start, found.end)
            or found.name != quarter.partition(found.table)
        ):
            raise OperationError(f"partition {found.name} is no quarter of a year; see `storegraph db check`")
        by_quarter.setdefault(quarter, []).append(found)
    return [OldQuarter(quarter, tuple(by_quarter[quarter])) for quarter in sorted(by_quarter)]


def _bounds(quarter: Quarter) -> tuple[datetime, datetime]:
    return datetime.combine(quarter.start, time(), UTC), datetime.combine(quarter.next.start, time(), UTC)


async def detach(
    url: str, quarters: list[OldQuarter], folder: Path | None, *, drop: bool, patience: float = PATIENCE
) -> list[Detached]:
    """Detach quarters, as ``old_quarters`` found them, and return what was done.

    With a ``folder``, a quarter's rows are first written to ``folder/2024_q1/orders/<table>.csv``, which
    ``import_folder`` reads; once more if they changed before they were detached. Others go on reading and writing, but
    for the moment in which a foreign key goes. What is in the way is tried again for up to ``patience`` seconds.

    Raises:
        OperationError: there is another export of a quarter in the folder, or no writing there; something else is in
            the way, or transactions that do not end. What was done stays, and a second call goes on from there.
    """
    done: list[Detached] = []
    async with connected("orders", url) as connection:
        try:
            await connection.execute(f"SET lock_timeout TO '{LOCK_TIMEOUT}'; SET datestyle TO 'ISO'")
            with progress_bar(len(quarters)) as bar:
                await patiently(connection, partial(_lock, connection), patience)
                for old in quarters:
                    bar.say(f"{old.quarter.year}_q{old.quarter.number}")
                    result = await _detach_quarter(connection, old, folder, drop=drop, patience=patience)
                    done += [result] if result.detached or result.files or result.dropped else []
                    bar.advance(1)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise OperationError(f"not all was detached: {error}; run the same command again") from None
    return done


async def _lock(connection: Connection) -> None:
    """Let nobody else make or detach partitions until the session ends."""
    if not await connection.fetchval(f"SELECT pg_try_advisory_lock({LOCK})"):
        raise asyncpg.LockNotAvailableError


async def _detach_quarter(
    connection: Connection, old: OldQuarter, folder: Path | None, *, drop: bool, patience: float
) -> Detached:
    names = {found.table: found.name for found in old.tables}
    result = Detached(f"{old.quarter.year}_q{old.quarter.number}", [], [], [])
    exported: Sums = {}
    if folder is not None:
        target = folder / result.quarter / "orders"
        exported = await _export(connection, names, target, is_ours=False)
        result = replace(result, files=[str(target / f"{table}.csv") for table in names])
    for table in (LINES, ORDERS):
        if (name := names.get(table)) is None:
            continue
        if await patiently(connection, partial(_detach_table, connection, table, name), patience):
            result.detached.append(name)
        if table == LINES:
            await patiently(connection, partial(_drop_foreign_keys, connection, name), patience)
    if folder is not None and exported != await _sums(connection, names):
        await _export(connection, names, folder / result.quarter / "orders", is_ours=True)
    if drop:
        for table in (LINES, ORDERS):
            if table in names:
                drop_table = partial(connection.execute, f"DROP TABLE {names[table]}")
                await patiently(connection, drop_table, patience)
                result.dropped.append(names[table])
    return result


async def _detach_table(connection: Connection, table: str, name: str) -> bool:
    """Detach a partition, or finish what was begun; False when it has been detached already."""
    state = await connection.fetchval(_STATE, name)
    if state is not None:
        how = "FINALIZE" if state == "detaching" else "CONCURRENTLY"
        await connection.execute(f"ALTER TABLE {table} DETACH PARTITION {name} {how}")
    return state is not None


async def _drop_foreign_keys(connection: Connection, name: str) -> None:
    for (key,) in await connection.fetch(_FOREIGN_KEYS, name, ORDERS):
        await connection.execute(f"ALTER TABLE {name} DROP CONSTRAINT {key}")


async def _export(connection: Connection, names: dict[str, str], folder: Path, *, is_ours: bool) -> Sums:
    """Write tables as CSV, as one transaction sees them. A file that ``is_ours`` is replaced; another must be the same.

    Raises:
        OperationError: it is another one.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for table, name in names.items():
            path, unfinished = folder / f"{table}.csv", folder / f"{table}.csv.unfinished"
            await connection.copy_from_query(
                f"SELECT * FROM {name} ORDER BY {_KEYS[table]}",
                output=unfinished,
                format="csv",
                header=True,
                encoding="utf-8",
            )
            await asyncio.to_thread(_put, unfinished, path, is_ours)
        return await _sums(connection, names)


def _put(unfinished: Path, path: Path, is_ours: bool) -> None:
    """Give a whole file its name, and see it to the disk: its table may be dropped next."""
    if not is_ours and path.exists() and not filecmp.cmp(unfinished, path, shallow=False):
        unfinished.unlink()
        raise OperationError(f"{path} has other rows, from an earlier export: move it away, or name another folder")
    _sync(unfinished)
    unfinished.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _sums(connection: Connection, names: dict[str, str]) -> Sums:
    sums: Sums = {}
    for table, name in names.items():
        of_rows = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text"
        [(rows, checksum)] = await connection.fetch(f"{of_rows} FROM {name} t")
        sums[table] = rows, checksum
    return sums
