"""Turns at what keeps the process busy: one at a time, the shortest first, and everybody else's work in between."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count

LENGTH_PER_SECOND = 4000
"""Work that is longer by this goes first all the same once it has waited for a second longer."""


class Turns:
    """Hands out turns. A burst of long work so delays short work by one piece of it, and not by all of it.

    Long work waits while short work keeps coming, but not for ever: what comes later than its length is worth, at
    ``LENGTH_PER_SECOND``, comes after it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: seconds from any time on."""
        self._clock = clock
        self._is_taken = False
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    @asynccontextmanager
    async def taken(self, length: int) -> AsyncGenerator[None]:
        """A turn for work of this length, in characters, as soon as it is the shortest that waits."""
        if self._is_taken:
            mine = asyncio.get_running_loop().create_future()
            heappush(self._waiting, (self._clock() + length / LENGTH_PER_SECOND, next(self._numbers), mine))
            try:
                await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled():
                    self._pass_on()
                raise
        self._is_taken = True
        try:
            await asyncio.sleep(0)  # first whatever is ready meanwhile, which may be what is shorter
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            _, _, following = heappop(self._waiting)
            if not following.done():
                following.set_result(None)  # taken from now on, before anybody else can come
                return
        self._is_taken = False
