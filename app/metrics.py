"""What the process counts as it goes. Plain numbers: to count costs a fraction of a microsecond.

Each part keeps its own, whether or not anybody asks for them; ``metrics_collector.py`` makes metrics of them when
somebody does. Nothing here grows with what clients send: every key comes from a closed list of ours.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

NONE = "none"
"""In place of an operation's type or executor, where a request was refused before there was one."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
KEYS = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0)


class Distribution:
    """How many values were at most each of some bounds, and their sum: a histogram, in Prometheus' words."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """``bounds``: ascending. What is larger than all of them is counted as well."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound, the last one infinity, and how many values were at most that."""
        return zip((*self._bounds, float("inf")), accumulate(self._counts), strict=True)


@dataclass
class RequestFigures:
    """Of the requests to /graphql."""

    in_flight: int = 0
    """Operations that are being answered."""
    answered: Counter[tuple[int, str, str]] = field(default_factory=Counter[tuple[int, str, str]])
    """How many, by status, executor and type of operation."""
    durations: dict[tuple[str, str], Distribution] = field(default_factory=dict[tuple[str, str], Distribution])
    """Seconds until the answer was sent, by executor and type of operation."""
    codes: Counter[str] = field(default_factory=Counter[str])
    """How many answers had an error of each code."""
    refused: Counter[str] = field(default_factory=Counter[str])
    """How many of them were refusals: nothing was executed."""

    def add(
        self,
        status: int,
        seconds: float,
        codes: Iterable[str] = (),
        *,
        executor: str = NONE,
        operation: str = NONE,
    ) -> None:
        """Count a request that was answered. Without an executor it was refused."""
        kind = executor, operation
        if (durations := self.durations.get(kind)) is None:
            durations = self.durations[kind] = Distribution(SECONDS)
        durations.add(seconds)
        self.answered[status, executor, operation] += 1
        for code in codes:
            self.codes[code] += 1
            if executor is NONE:
                self.refused[code] += 1


@dataclass
class DocumentFigures:
    """Of the documents that are kept as they were checked, and of their plans."""

    kept: int = 0
    found: int = 0
    """How many requests found theirs."""
    checked: int = 0
    """How many documents were not there yet, whatever came of them."""
    compiled: int = 0
    declined: int = 0
    """How many operations became a plan, and how many are left to resolvers."""


@dataclass
class DatabaseFigures:
    """Of one database's statements and the wait for its connections."""

    statements: Distribution = field(default_factory=lambda: Distribution(SECONDS))
    """Seconds that each took, without the wait for a connection. BEGIN, COMMIT and ROLLBACK are not counted."""
    failed: int = 0
    """How many of them brought no answer, or an error."""
    rows: int = 0
    batches: Distribution = field(default_factory=lambda: Distribution(KEYS))
    """How many keys each read of the graph had at a time, also where there is none of their rows for the viewer."""
    waits: Distribution = field(default_factory=lambda: Distribution(SECONDS))
    """Seconds that each waited for a connection to be free."""
    busy: int = 0
    """How many got none in time."""
    losses: int = 0
    """How often a connection turned out to be lost, and with it perhaps others."""
