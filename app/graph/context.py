"""What an operation has at hand: who asks, the services of the process, and the dataloaders of the reads it makes."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

import strawberry
from aiodataloader import DataLoader
from graphql.pyutils import Path

from app.database import Databases, Row
from app.domains.orders import reads as order_reads
from app.domains.orders.tables import Order
from app.domains.payments import reads as payment_reads
from app.errors import TooLargeError
from app.identity.sessions import Identity
from app.reads import Columns, Read
from app.replicas import Positions, Replicas
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from app.statements import Slice, Sources, by_key, fetch
from app.viewer import NOBODY, Viewer

if TYPE_CHECKING:
    from app.graph.explain import Explained
    from app.tracing import Tracing  # it needs an extra

Place = tuple[str, ...]
"""Where a field stands in the answer: its path without the numbers in lists, each step with its parent's type."""

Statements = Counter[DatabaseName]
counting: ContextVar[Statements | None] = ContextVar("counting", default=None)
"""Where the statements of the operation that runs are counted. The tasks that it starts inherit it."""


def count_statement(name: DatabaseName, _sql: str) -> None:
    """Count a statement to the operation that it is sent for. For ``Databases.opened``, as its observer."""
    counter = counting.get()
    if counter is not None:
        counter[name] += 1


MOST_WITH_LISTS = 16
"""Keys. For more of them, PostgreSQL takes longer for a list beside each row than a statement of its own costs."""


@dataclass(frozen=True)
class Ask:
    """What a loader asks of its keys: a read, what of each row, the values of the statement's parameters, and which
    slice of a page; and the lists of other rows that each row brings along, behind its columns, for few keys."""

    read: Read
    columns: Columns
    parameters: tuple[tuple[str, object], ...] = ()
    slice_: Slice | None = None
    lists: Columns = ()

    @cached_property
    def all_columns(self) -> Columns:
        """The columns and the lists."""
        return self.columns + self.lists


class Loaders:
    """The dataloaders of one operation, made in the running loop when first needed.

    Each place of a query has its own, even where two places ask the same: a key that one level has loaded already would
    otherwise be there early at another, and what hangs on it would be asked apart from the rest of its level. So the
    number of statements depends on the query alone and not on the rows.
    """

    def __init__(self, services: "Services", viewer: Viewer, sources: Sources) -> None:
        self.sources = sources
        """Where it is read."""
        self._databases = services.databases
        self._tracing = services.tracing
        self._viewer = viewer
        self._loaders: dict[tuple[Place, Ask], DataLoader[Any, list[Row]]] = {}
        # One operation must not take all connections of a database from everybody else.
        most = services.settings.operation_connections
        self._connections = {name: asyncio.Semaphore(most) for name in DATABASE_NAMES}
        self._largest = services.settings.max_cost
        self._rows = 0
        self.explained: Explained | None = None
        """Where statements are noted, if they are."""

    async def rows(self, place: Place, ask: Ask, key: object) -> list[Row]:
        """The rows that answer a key, in the read's order. Raises as ``fetch`` does."""
        if (place, ask) not in self._loaders:
            self._loaders[place, ask] = DataLoader(partial(self._load, ask))
        # Shielded: when a sibling fails under a non-null field, graphql-core cancels this resolver, and with it the
        # future that every other resolver waits for who wants the same key.
        return await asyncio.shield(self._loaders[place, ask].load(key))

    async def fetch(self, ask: Ask, keys: Sequence[Any]) -> list[Row]:
        """The rows of many keys, in one statement; see ``statements.fetch``.

        Raises:
            TooLargeError: with these, the operation has read more rows than ``max_cost``.
            DatabaseUnavailableError, DatabaseTimeoutError: as ``statements.fetch`` does.
        """
        parameters = dict(ask.parameters)
        if ask.read.own_keys is not None:
            parameters |= await self._own_keys(ask.read.own_keys)
        self._databases[ask.read.database].figures.batches.add(len(keys))
        if self._tracing is None:
            rows = await self._fetch(ask, keys, parameters)
        else:
            table = ask.read.rows and ask.read.rows.model.__tablename__
            with self._tracing.read(ask.read.database, table, len(keys)) as span:
                rows = await self._fetch(ask, keys, parameters)
                span.set_attribute("db.response.returned_rows", len(rows))
        self.has_read(len(rows))
        return rows

    def has_read(self, rows: int) -> None:
        """Count rows that were read.

        Raises:
            TooLargeError: with these, the operation has read more than ``max_cost``.
        """
        self._rows += rows
        if self._rows > self._largest:
            raise too_large(self._largest)

    async def _fetch(self, ask: Ask, keys: Sequence[Any], parameters: dict[str, object]) -> list[Row]:
        async with self._connections[ask.read.database]:
            explained, sources = self.explained, self.sources
            if explained is not None:
                sources = explained.watching(sources, ask, keys)
            columns = ask.all_columns if len(keys) <= MOST_WITH_LISTS else ask.columns
            return await fetch(sources, self._viewer, ask.read, columns, keys, parameters, ask.slice_)

    async def _load(self, ask: Ask, keys: list[Any]) -> list[list[Row]]:
        rows = by_key(ask.read, keys, await self.fetch(ask, keys))
        return [rows.get(key, []) for key in keys]

    async def _own_keys(self, name: str) -> dict[str, object]:
        """What is the viewer's in another database, where a read knows the viewer's own rows by it. Asked once."""
        if self._viewer.is_staff or self._viewer.user is None:
            return {}
        of_viewer, column = _OWN_KEYS[name]
        rows = await self.rows((), Ask(of_viewer, (column,)), self._viewer.user)
        return {name: [row[str(column.key)] for row in rows]}


def too_large(most: int) -> TooLargeError:
    """What there is to say of an answer with more objects than it may have."""
    return TooLargeError(
        f"The answer would have more than {most:,} objects: ask for smaller pages, or for fewer lists inside of lists."
    )


MOST_ERRORS = 1000
"""Of one answer: each value in it could have one."""


def too_many_errors() -> TooLargeError:
    """What there is to say of an answer with more errors than it may have."""
    return TooLargeError(f"The answer would have more than {MOST_ERRORS:,} errors: mend what the request asks for.")


_OWN_KEYS = {payment_reads.OWN_ORDERS: (order_reads.all_of_user, Order.id)}


@dataclass(frozen=True)
class Services:
    """What lives as long as the process."""

    databases: Databases
    settings: Settings
    identity: Identity
    tracing: "Tracing | None" = None
    replicas: Replicas | None = None


@dataclass
class Context:
    """One for each operation."""

    services: Services
    viewer: Viewer = NOBODY
    address: str = ""
    """Where the request came from: an IP address."""
    statements: Statements = field(default_factory=lambda: cast("Statements", Counter()))
    """How many statements the operation sent to each database."""
    after: Mapping[DatabaseName, int] = field(default_factory=dict[DatabaseName, int])
    """What its reads must at least have seen; see ``replicas.py``."""
    committed: Positions = field(default_factory=dict[DatabaseName, int])
    """Where its own commits are."""

    def __post_init__(self) -> None:
        replicas = self.services.replicas
        sources = replicas.reading(self.viewer.session, self.after) if replicas else self.services.databases
        self.loaders = Loaders(self.services, self.viewer, sources)
        self._objects = self._errors = 0
        self._stop: Callable[[TooLargeError], None] | None = None

    def resolves(self, *, changes: bool) -> None:
        """Resolvers begin. Those of a mutation read what it has changed, so nothing from a replica."""
        if changes:
            self.loaders.sources = self.services.databases

    def become(self, viewer: Viewer) -> None:
        """Go on as somebody else. What was read so far is forgotten: after a write it may be no longer true."""
        self.viewer = viewer
        explained = self.loaders.explained
        self.loaders = Loaders(self.services, viewer, self.services.databases)
        self.loaders.explained = explained
        self._remember()

    def has_committed(self, name: DatabaseName, position: int) -> None:
        """Note where a commit of the operation is."""
        self.committed[name] = max(position, self.committed.get(name, 0))
        self._remember()

    def _remember(self) -> None:
        if self.services.replicas is not None and self.viewer.session is not None:
            self.services.replicas.remember(self.viewer.session, self.committed)

    def stopped_by(self, stop: "Callable[[TooLargeError], None]") -> None:
        """How resolvers are stopped. (A plan stops by itself.)"""
        self._stop = stop

    def answers_with(self, objects: int) -> None:
        """Count what resolvers answer with. They take much longer for an object than a plan does, so that they may
        have a tenth of what that may: without it a short query keeps the process busy for minutes."""
        self._objects += objects
        most = self.services.settings.max_cost // 10
        if self._objects > most:
            self.stop(too_large(most))

    def fails(self) -> None:
        """Count an error of the answer."""
        self._errors += 1
        if self._errors > MOST_ERRORS:
            self.stop(too_many_errors())

    def stop(self, error: TooLargeError) -> None:
        """End the operation, with nothing but this error for an answer.

        Raises:
            TooLargeError: that error.
        """
        if self._stop is not None:
            self._stop(error)
        raise error


Info = strawberry.Info[Context, None]


def place_of(info: Info) -> Place:
    """The place of the field that is being resolved."""
    names: list[str] = []
    step: Path | None = info.path
    while step is not None:
        if isinstance(step.key, str):
            # Below an interface, fields of different types can have one name.
            names.append(f"{step.typename}.{step.key}")
        step = step.prev
    return tuple(names)
