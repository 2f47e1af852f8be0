"""The audit of the four databases together: what no constraint of one of them can see, or none is left to see to.

It reads snapshots, changes nothing and locks nobody out, and holds a batch of rows at a time, whatever their number.
Rows that are only marked as deleted are there: what refers to them is right.
"""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from app.errors import OperationError
from app.operations.audit_checks import CHECKS, Check
from app.operations.audit_merge import matched
from app.operations.connect import Connection, connected
from app.operations.progress import progress_bar
from app.settings import DATABASE_NAMES, DatabaseName, Settings

_BATCH = 5_000
# Idle for as long as another database is being read. Partition by partition, joins and sums need less memory.
_PATIENT = """
    SELECT set_config(name, CASE WHEN name LIKE '%timeout' THEN '0' ELSE 'on' END, true) FROM pg_settings
    WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout',
        'enable_partitionwise_join', 'enable_partitionwise_aggregate')
"""
_BEGAN = "SELECT set_config('storegraph.audit_began', coalesce($1, CURRENT_TIMESTAMP::text), true)"


@dataclass(frozen=True)
class Audited:
    """What a check found: how many rows, some of them, and what to do about it.

    ``samples`` has the rows' columns as text; ``seconds`` is how long it took.
    """

    count: int
    fault: str
    samples: list[dict[str, str | None]]
    repair: str
    seconds: float


async def audit(settings: Settings, checks: Sequence[Check], samples: int) -> dict[str, Audited]:
    """Run checks and return what each found, by its name, with up to ``samples`` rows of a kind.

    Raises:
        OperationError: a database cannot be reached, has no tables yet, or fails.
    """
    needed = set[DatabaseName]().union(*(check.databases for check in checks))
    results: dict[str, Audited] = {}
    try:
        with progress_bar(len(checks)) as bar:
            async with _snapshots(settings, needed) as connections:
                for check in checks:
                    bar.say(check.name)
                    start = time.monotonic()
                    count, found = await _run(check, connections, samples)
                    seconds = time.monotonic() - start
                    results[check.name] = Audited(count, check.fault, found, check.repair, seconds)
                    bar.advance(1)
    except asyncpg.UndefinedTableError as error:
        raise OperationError(f"{error.message}; run `storegraph db upgrade` first") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise OperationError(f"the audit ended early: {error}") from None
    return results


def named(names: Sequence[str]) -> list[Check]:
    """The checks of these names; all of them where none is named.

    Raises:
        OperationError: there is no such check.
    """
    known = {check.name: check for check in CHECKS}
    if unknown := [name for name in names if name not in known]:
        raise OperationError(f"there is no check {', '.join(unknown)}; there are {', '.join(known)}")
    return [check for check in CHECKS if check.name in names] if names else list(CHECKS)


@asynccontextmanager
async def _snapshots(settings: Settings, names: set[DatabaseName]) -> AsyncGenerator[dict[DatabaseName, Connection]]:
    """A transaction in each database that sees one state of it.

    That of what refers is taken before that of what is referred to: what is written meanwhile is missing from the
    former, and an order placed in between is no order without its user.
    """
    async with AsyncExitStack() as stack:
        connections: dict[DatabaseName, Connection] = {}
        for name in DATABASE_NAMES:
            if name in names:
                connections[name] = await stack.enter_async_context(connected(name, settings.database_url(name)))
        began: str | None = None
        for connection in reversed(connections.values()):
            await stack.enter_async_context(connection.transaction(isolation="repeatable_read", readonly=True))
            await connection.execute(_PATIENT)  # the first statement takes the snapshot
            # The transaction's own time, which is before that of its snapshot.
            began = await connection.fetchval(_BEGAN, began)
        yield connections


async def _run(
    check: Check, connections: Mapping[DatabaseName, Connection], samples: int
) -> tuple[int, list[dict[str, str | None]]]:
    count, found = 0, list[dict[str, str | None]]()
    connection = connections[check.database]
    async with aclosing(_faults(check, connections)) as faults:
        async for row, match in faults:
            room = samples - len(found)
            if check.sample is None:
                count += 1
                shown = [_pair(check, row, match)][:room]
            else:
                count += row[-1]
                shown = [dict(one) for one in await connection.fetch(check.sample, *row[:-1], room)] if room else []
            found += [{column: _text(value) for column, value in of_row.items()} for of_row in shown]
    return count, found


async def _faults(
    check: Check, connections: Mapping[DatabaseName, Connection]
) -> AsyncGenerator[tuple[asyncpg.Record, asyncpg.Record | None]]:
    rows = _batches(connections[check.database], check.sql)
    other = check.counterpart
    if other is None:
        async for batch in rows:
            for row in batch:
                yield row, None
        return
    async for row, match in matched(rows, _batches(connections[other.database], other.sql)):
        if other.is_fault(row, match):
            yield row, match


async def _batches(connection: Connection, sql: str) -> AsyncGenerator[list[asyncpg.Record]]:
    cursor = await connection.cursor(sql)
    while batch := await cursor.fetch(_BATCH):
        yield batch


def _pair(check: Check, row: asyncpg.Record, match: asyncpg.Record | None) -> dict[str, object]:
    """What a row and its counterpart hold, the key that they share once."""
    theirs: dict[str, object] = {}
    if match is not None:
        theirs = dict(list(match.items())[1:])
    elif check.counterpart is not None:
        theirs.update(check.counterpart.absent)
    return {**dict(row), **theirs}


def _text(value: object) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, datetime) else str(value)
