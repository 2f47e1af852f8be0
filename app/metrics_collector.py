"""The metrics of a process in Prometheus' form, made of what its parts have counted when somebody asks.

No label has anything that a client sends: not even an operation's name, of which there can be any number.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import isinf
from typing import get_args

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.breaker import BreakerState
from app.database import Database, Databases
from app.errors import ErrorCode
from app.identity.sessions import Identity
from app.metrics import Distribution, DocumentFigures, RequestFigures
from app.metrics_upkeep import Upkeep
from app.replicas import Replicas
from app.settings import DATABASE_NAMES

_PREFIX = "storegraph_"

# What there is of each server of each database: its name, what it says, and where it is found.
_COUNTERS: tuple[tuple[str, str, Callable[[Database], int]], ...] = (
    ("rows", "Rows that statements brought.", lambda of: of.figures.rows),
    ("statements_failed", "Statements that brought an error, or no answer.", lambda of: of.figures.failed),
    ("pool_timeouts", "Times that no connection came free within POOL_WAIT.", lambda of: of.figures.busy),
    ("pool_losses", "Times that a connection turned out to be lost.", lambda of: of.figures.losses),
)
_GAUGES: tuple[tuple[str, str, Callable[[Database], int]], ...] = (
    ("database_up", "Whether the server answers, as far as is known: 1 or 0.", lambda of: of.is_answering),
    ("pool_size", "Connections that there may be.", lambda of: of.pool.size),
    ("pool_in_use", "Connections that work, are being made or are being cleaned up.", lambda of: of.pool.in_use),
    ("pool_waiting", "Statements and transactions that wait for a connection.", lambda of: of.pool.waiting),
)
_HISTOGRAMS: tuple[tuple[str, str, Callable[[Database], Distribution]], ...] = (
    (
        "statement_duration_seconds",
        "SQL statements, without the wait for a connection and without BEGIN and COMMIT.",
        lambda of: of.figures.statements,
    ),
    ("pool_wait_seconds", "Waits for a connection to be free; most are 0.", lambda of: of.figures.waits),
)


@dataclass(frozen=True)
class Sources:
    """Where the figures are."""

    databases: Databases
    identity: Identity
    requests: RequestFigures
    documents: DocumentFigures
    upkeep: Upkeep
    replicas: Replicas | None = None


def registry_of(sources: Sources) -> CollectorRegistry:
    """All metrics of a process, with what prometheus_client knows of Python and the operating system."""
    registry = CollectorRegistry()
    registry.register(_Gateway(sources))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class _Gateway(Collector):
    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        of = self._sources
        yield InfoMetricFamily(_PREFIX + "build", "The version that runs.", {"version": version("storegraph")})
        yield from _of_requests(of.requests)
        yield from _of_documents(of.documents)
        yield _gauge("access_tokens_cached", "Access tokens that are known to be valid.", of.identity.tokens_kept)
        primaries = [of.databases[name] for name in DATABASE_NAMES]
        yield from _of_databases([*primaries, *(of.replicas or ())])
        yield _histogram(
            "batch_keys",
            "Keys of each read of the graph, which one statement answers.",
            ("database",),
            (((of_one.name,), of_one.figures.batches) for of_one in primaries),
        )
        if of.replicas is not None:
            yield from _of_replicas(of.replicas)
        yield from _of_upkeep(of.upkeep, datetime.now(UTC))


def _of_requests(of: RequestFigures) -> Iterator[Metric]:
    yield _counter(
        "requests",
        "Requests to /graphql. Those refused before there was an operation or an executor have none.",
        ("status", "executor", "operation"),
        of.answered.items(),
    )
    yield _histogram(
        "request_duration_seconds",
        "From a request's head until its answer was sent.",
        ("executor", "operation"),
        of.durations.items(),
    )
    yield _gauge("requests_in_flight", "Operations that are being answered.", of.in_flight)
    for name, what, counted in (
        ("errors", "Answers with an error of the code, whatever else is in them.", of.codes),
        ("requests_refused", "Requests of which nothing was executed, by why.", of.refused),
    ):
        yield _counter(name, what, ("code",), (((code,), counted[code]) for code in ErrorCode))


def _of_documents(of: DocumentFigures) -> Iterator[Metric]:
    yield _gauge("documents_cached", "Documents kept as they were parsed and checked.", of.kept)
    yield _counter(
        "document_lookups",
        "Requests that found their document in the cache, and those that did not.",
        ("result",),
        ((("hit",), of.found), (("miss",), of.checked)),
    )
    yield _counter(
        "plans",
        "Operations that were compiled to a plan, and those that were left to resolvers.",
        ("result",),
        ((("compiled",), of.compiled), (("declined",), of.declined)),
    )


def _of_databases(servers: Sequence[Database]) -> Iterator[Metric]:
    labels = ("database", "server")
    for name, what, counted in _COUNTERS:
        yield _counter(name, what, labels, (((of.name, of.server), counted(of)) for of in servers))
    for name, what, measured in _GAUGES:
        yield _gauges(name, what, ((of, measured(of)) for of in servers))
    for name, what, distribution in _HISTOGRAMS:
        yield _histogram(name, what, labels, (((of.name, of.server), distribution(of)) for of in servers))
    states = GaugeMetricFamily(
        _PREFIX + "breaker_state", "1 for the state that the breaker is in.", labels=(*labels, "state")
    )
    for of in servers:
        for state in get_args(BreakerState):
            states.add_metric((of.name, of.server, state), of.breaker.state == state)
    yield states


def _of_replicas(replicas: Replicas) -> Iterator[Metric]:
    yield _gauges(
        "replica_used", "Whether reads are sent to the replica: 1 or 0.", ((of, of.is_used) for of in replicas)
    )
    yield _gauges(
        "replica_lag_seconds",
        "How late the replica is at most; NaN where that is not known.",
        ((of, replicas.lag(of)) for of in replicas),
    )
    yield _counter(
        "replica_reads_again",
        "Reads that failed at the replica and were asked again of the primary.",
        ("database", "server"),
        (((of.name, of.server), of.read_again) for of in replicas),
    )


def _of_upkeep(of: Upkeep, now: datetime) -> Iterator[Metric]:
    """Of the orders database, asked once a minute for the next time that somebody wants to know."""
    of.look()
    if (months := of.months_ahead(now)) is not None:
        yield _gauge("partitions_ahead_months", "Months after this one that orders have partitions for.", months)
    if (age := of.statistics_age(now)) is not None:
        yield _gauge("product_stats_age_seconds", "Seconds since the sales of products were counted.", age)


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, what, value)


def _gauges(name: str, what: str, measured: Iterable[tuple[Database, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(_PREFIX + name, what, labels=("database", "server"))
    for of, value in measured:
        family.add_metric((of.name, of.server), value)
    return family


def _histogram(
    name: str, what: str, labels: Sequence[str], measured: Iterable[tuple[Sequence[str], Distribution]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(_PREFIX + name, what, labels=labels)
    for values, distribution in measured:
        family.add_metric(values, _buckets(distribution), distribution.sum)
    return family


def _counter(
    name: str, what: str, labels: Sequence[str], counted: Iterable[tuple[Iterable[object], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(_PREFIX + name, what, labels=labels)
    for values, count in counted:
        family.add_metric([str(value) for value in values], count)
    return family


def _buckets(of: Distribution) -> list[tuple[str, float]]:
    """Each bound as Prometheus writes it, and how many values were at most that."""
    return [("+Inf" if isinf(bound) else str(bound), count) for bound, count in of.cumulative()]
