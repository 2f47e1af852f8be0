"""The sales statistics of products: the materialized view ``product_stats`` of the orders database."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from app.errors import OperationError
from app.operations.connect import Connection, connected

# Any number that no one else takes.
_LOCK = 7220512036118449


@dataclass(frozen=True)
class Refreshed:
    """The time for which the statistics are right now, of how many products there are any, and how long it took."""

    refreshed_at: datetime
    products: int
    seconds: float


async def refresh_stats(url: str, on_wait: Callable[[], None]) -> Refreshed:
    """Bring ``product_stats`` of the orders database up to date, as ``refresh`` does.

    ``on_wait`` is called when another refresh is running, whose end is waited for. ``seconds`` includes that.

    Raises:
        OperationError: no connection, no tables, or the server refuses: it is not our view, say. The statistics are
            as before.
    """
    start = time.monotonic()
    try:
        # Each statement must see what was committed before it, also where a role has another habit.
        async with connected("orders", url) as connection, connection.transaction(isolation="read_committed"):
            refreshed_at = await refresh(connection, on_wait)
            products = await connection.fetchval("SELECT count(*) FROM product_stats")
    except asyncpg.UndefinedTableError as error:
        raise OperationError(f"{error.message}; run `storegraph db upgrade --database orders` first") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise OperationError(f"the statistics were not refreshed: {error}") from None
    return Refreshed(refreshed_at, products, time.monotonic() - start)


async def refresh(connection: Connection, on_wait: Callable[[], None] = lambda: None) -> datetime:
    """Bring ``product_stats`` up to date and return the time for which it is right, which is kept beside it.

    Every sale committed before that time is counted; one committed later may wait for the next refresh. Readers go on
    meanwhile and see the old figures with the old time; two refreshes at once wait for each other, and ``on_wait`` says
    so. Runs in the caller's transaction if there is one, and then counts what that has written.
    """
    async with connection.transaction():
        if not await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({_LOCK})"):
            on_wait()
            await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        refreshed_at: datetime = await connection.fetchval(
            # Taken before the view is read: nothing committed earlier is missing from it. Not CURRENT_TIMESTAMP, which
            # is when a long import began.
            "INSERT INTO product_stats_refresh (refreshed_at) VALUES (clock_timestamp()) "
            "ON CONFLICT (singleton) DO UPDATE SET refreshed_at = EXCLUDED.refreshed_at RETURNING refreshed_at"
        )
        await connection.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY product_stats")
        await connection.execute("ANALYZE product_stats")
    return refreshed_at
