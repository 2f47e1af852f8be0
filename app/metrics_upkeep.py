"""What somebody has to see to in the orders database in time: partitions ahead of today, and the products' statistics.

Asked of the database at most once a minute and never waited for, since whoever wants to know asks often and soon: an
answer is what the latest look has found.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from app.database import Database, Row

log = logging.getLogger(__name__)

INTERVAL = 60.0
"""Seconds between two looks."""

# Bounds are read by the session that has printed them, in whatever way it writes dates.
_PARTITIONS = r"""
SELECT parent.name, bound.text[1]::timestamptz AS low, bound.text[2]::timestamptz AS high
FROM unnest(ARRAY['orders', 'order_items']) AS parent (name)
LEFT JOIN (
    SELECT i.inhparent, regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('(.+)'\) TO \('(.+)'\)$$) AS text
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE NOT i.inhdetachpending
) AS bound ON bound.inhparent = to_regclass(parent.name)
ORDER BY low
"""
_REFRESHED = "SELECT refreshed_at FROM product_stats_refresh"


class Upkeep:
    """The latest look at the orders database."""

    def __init__(self, orders: Database) -> None:
        self._orders = orders
        self._looked = -INTERVAL
        self._task: asyncio.Task[None] | None = None
        self._reached: datetime | None = None
        self._refreshed: datetime | None = None

    @classmethod
    @asynccontextmanager
    async def of(cls, orders: Database) -> "AsyncGenerator[Upkeep]":
        """Begin with a look, and give up in the end what is under way."""
        upkeep = cls(orders)
        upkeep.look()
        try:
            yield upkeep
        finally:
            if upkeep._task is not None:
                upkeep._task.cancel()
                await asyncio.wait({upkeep._task})

    def look(self) -> None:
        """Have the database looked at, unless that was done within the last minute. Returns at once."""
        now = asyncio.get_running_loop().time()
        if now - self._looked >= INTERVAL and (self._task is None or self._task.done()):
            self._looked = now
            self._task = asyncio.create_task(self._look())

    async def looked(self) -> None:
        """Wait for the look that is under way, if there is one."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def months_ahead(self, now: datetime) -> int | None:
        """For how many months after this one there are partitions, without a gap. None where it is not known."""
        until = self._reached if self._orders.is_answering else None
        return until and max(until.year * 12 + until.month - now.year * 12 - now.month - 1, 0)

    def statistics_age(self, now: datetime) -> float | None:
        """Seconds since the products' statistics were refreshed. None where it is not known."""
        refreshed = self._refreshed if self._orders.is_answering else None
        return refreshed and (now - refreshed).total_seconds()

    async def _look(self) -> None:
        try:
            self._reached = reached(await self._orders.fetch(_PARTITIONS), datetime.now(UTC))
            [row] = await self._orders.fetch(_REFRESHED)
            self._refreshed = row["refreshed_at"]
        except Exception as error:  # of whatever kind: it does not answer, has no tables yet, gives no right to them
            self._reached = self._refreshed = None
            log.debug("the orders database was not looked at: %s", type(error).__name__)


def reached(partitions: Sequence[Row], now: datetime) -> datetime:
    """Up to when both tables have partitions from now on, without a gap. ``partitions`` go by where they begin."""
    until = dict.fromkeys((row["name"] for row in partitions), now)
    for row in partitions:
        if row["low"] is not None and row["low"] <= until[row["name"]] < row["high"]:
            until[row["name"]] = row["high"]
    return min(until.values())
