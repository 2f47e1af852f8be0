"""A limit on how long a task may wait."""

import asyncio


class Deadline:
    """Cancels the task that it is made in, so many seconds from then on, unless it is ended before.

    ``asyncio.timeout`` does that too, and takes four times as long, which counts where each statement has one::

        deadline = Deadline(5)
        try:
            await something
        except asyncio.CancelledError:
            if deadline.passed():
                raise TooLate from None
            raise
        finally:
            deadline.end()
    """

    def __init__(
        self,
        seconds: float,
        *,
        late: float = 0.0,
        most: float = 0.0,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """``loop``: the running one, where it is at hand: to ask for it is a call of the system each time.

        ``late``, ``most``: where the loop notices it later than ``late`` seconds, since it stood still or has much
        to do, what came meanwhile has not been read. Then there is as much time again, but no more than ``most``."""
        self._loop = loop or asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        self._cancelling = self._task.cancelling() if self._task else 0
        self._late = late
        self._most = most
        self._expired = False
        self.at = self._loop.time() + seconds
        self._timer = self._loop.call_at(self.at, self._expire)

    def end(self) -> None:
        """Nothing is to be cancelled any more."""
        self._timer.cancel()

    def passed(self) -> bool:
        """Whether a cancellation that has come is this deadline's alone. It is taken back then."""
        return self._expired and self._task is not None and self._task.uncancel() <= self._cancelling

    def _expire(self) -> None:
        late = self._loop.time() - self.at
        if self._most and late > self._late:
            self._timer = self._loop.call_later(min(late, self._most), self._expire)
            self._most = 0.0
        elif self._task is not None:
            self._expired = True
            self._task.cancel()
