"""Whether a service that keeps failing is worth asking: a circuit breaker, as a state machine that knows no database.

Closed, it lets every call through, and so many failures in a row open it. Open, it refuses every call until a pause is
over; then one call goes through as a probe, and all others are refused (half-open) until it is known how that one
ended. An answer closes it, a failure opens it for another pause.

Source: Michael Nygard, "Release It!", 2nd edition, chapter 5, "Circuit Breaker".
"""

import time
from collections.abc import Callable
from typing import Literal, NewType

BreakerState = Literal["closed", "open", "half-open"]

Ticket = NewType("Ticket", int)
"""Of one call that was let through: to say with it how the call ended."""


class Breaker:
    """Is told how each call ended, and says whether the next may go ahead.

    A call's end is told by exactly one of ``answered``, ``failed`` and ``abandoned``, whatever happens to the call: a
    probe that is never told of would keep all others out for ever.
    """

    def __init__(self, failures: int, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``failures`` in a row open it, for ``pause`` seconds on the clock."""
        self._failures = failures
        self._pause = pause
        self._clock = clock
        self._in_a_row = 0
        self._reopens_at = 0.0
        self._state: BreakerState = "closed"
        # Counts changes of the state, and is the ticket of the calls let through since the latest one. So a call of
        # before, which tells of how things were then, is known: its failure neither opens what has closed meanwhile,
        # nor is it taken for the probe's.
        self._epoch = 0

    @property
    def state(self) -> BreakerState:
        """``open`` also once the pause is over, until a call comes that can be the probe."""
        return self._state

    @property
    def pause_left(self) -> float:
        """Seconds until a call may be the probe; 0 where one may or is."""
        return max(0.0, self._reopens_at - self._clock()) if self._state == "open" else 0.0

    def admit(self) -> Ticket | None:
        """Let a call through, or refuse it with None."""
        if self._state == "half-open" or (self._state == "open" and self._clock() < self._reopens_at):
            return None
        if self._state == "open":
            self._become("half-open")
        return Ticket(self._epoch)

    def answered(self) -> None:
        """There was an answer: to a call let through, or to any other. However old the call, the answer is of now."""
        self._in_a_row = 0
        if self._state != "closed":
            self._become("closed")

    def failed(self, ticket: Ticket) -> None:
        """There was no answer."""
        if ticket != self._epoch:
            return
        self._in_a_row += 1
        if self._state == "half-open" or self._in_a_row >= self._failures:
            self._reopens_at = self._clock() + self._pause
            self._become("open")

    def abandoned(self, ticket: Ticket) -> None:
        """The call ended before there was anything to learn from it; if it was the probe, the next one is."""
        if ticket == self._epoch and self._state == "half-open":
            self._become("open")

    def _become(self, state: BreakerState) -> None:
        self._state = state
        self._epoch += 1
