"""The breaker against a model of it: which knows all the states that there ever were."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from app.breaker import Breaker, BreakerState, Ticket


@dataclass(eq=False)
class Call:
    """One that was let through when the states so far were as many as ``began``."""

    ticket: Ticket
    began: int


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin and end in any order, at any time."""

    calls: Bundle[Call] = Bundle("calls")

    @initialize(limit=st.integers(1, 3), pause=st.sampled_from([0.5, 1.5]))
    def start(self, limit: int, pause: float) -> None:
        self.now = 0.0
        self.limit, self.pause = limit, pause
        self.breaker = Breaker(limit, pause, lambda: self.now)
        self.states: list[BreakerState] = ["closed"]  # after each event
        self.in_a_row = 0
        self.opened_at = 0.0
        self.probe: Call | None = None

    @rule(seconds=st.sampled_from([0.5, 1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=calls)
    def call(self) -> Any:  # a call or nothing at all, for which hypothesis has no type
        state, over = self.states[-1], self.now >= self.opened_at + self.pause
        ticket = self.breaker.admit()
        assert (ticket is not None) == (state == "closed" or (state == "open" and over))
        if ticket is None:
            return multiple()  # pyright: ignore[reportUnknownVariableType] -- of nothing
        if state == "open":
            self.states.append("half-open")
        call = Call(ticket, len(self.states))
        if state == "open":
            self.probe = call
        return call

    @rule(call=consumes(calls))
    def answer(self, call: Call) -> None:
        self.answer_to_something_else()

    @rule()
    def answer_to_something_else(self) -> None:
        self.breaker.answered()
        self.probe = None
        self.in_a_row = 0
        self.states.append("closed")

    @rule(call=consumes(calls))
    def fail(self, call: Call) -> None:
        self.breaker.failed(call.ticket)
        always_closed = set(self.states[call.began - 1 :]) == {"closed"}
        self.in_a_row += always_closed
        if call is self.probe or (always_closed and self.in_a_row == self.limit):
            self.probe = None
            self.opened_at = self.now
            self.states.append("open")

    @rule(call=consumes(calls))
    def abandon(self, call: Call) -> None:
        self.breaker.abandoned(call.ticket)
        if call is self.probe:
            self.probe = None
            self.states.append("open")

    @invariant()
    def its_state_is_the_models(self) -> None:
        assert self.breaker.state == self.states[-1]
        left = self.opened_at + self.pause - self.now if self.states[-1] == "open" else 0
        assert self.breaker.pause_left == max(left, 0)
        assert (self.breaker.state == "half-open") == (self.probe is not None)


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=100, stateful_step_count=50)


@pytest.mark.parametrize("ending", ["answered", "failed", "abandoned"])
def test_one_probe_at_a_time_and_none_is_ever_stuck(ending: str) -> None:
    now = 0.0
    breaker = Breaker(2, 1.0, lambda: now)
    for _ in range(2):
        ticket = breaker.admit()
        assert ticket is not None
        breaker.failed(ticket)
    now = 0.99
    assert breaker.admit() is None
    now = 1.0
    probe = breaker.admit()
    assert probe is not None
    assert [breaker.admit() for _ in range(100)] == [None] * 100
    now = 1000.0
    assert breaker.admit() is None
    if ending == "answered":
        breaker.answered()
    else:
        getattr(breaker, ending)(probe)
    assert (breaker.admit() is None) == (ending == "failed")
    now = 1001.0
    assert breaker.state == {"answered": "closed", "failed": "open", "abandoned": "half-open"}[ending]


@pytest.mark.parametrize("ending", ["failed", "abandoned"])
def test_what_began_before_the_state_changed_tells_nothing_of_it(ending: str) -> None:
    now = 0.0
    breaker = Breaker(1, 1.0, lambda: now)
    old, last = breaker.admit(), breaker.admit()
    assert last is not None
    breaker.failed(last)
    getattr(breaker, ending)(old)
    assert breaker.state == "open"
    now = 1.0
    probe = breaker.admit()
    getattr(breaker, ending)(old)
    assert breaker.state == "half-open"
    breaker.answered()
    for stale in (old, probe):
        getattr(breaker, ending)(stale)
        assert breaker.state == "closed"
