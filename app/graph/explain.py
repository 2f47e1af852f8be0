"""What an operation costs: the statements of its reads, for whoever asks with ``extensions: {"explain": true}``.

Nothing is noted unless EXPLAIN allows it and the request asks for it.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING

from app.database import Row
from app.domains.orders.tables import PRODUCT_STATS
from app.reads import TOTAL, WHOLE_TABLE, Read, Shape
from app.settings import DATABASE_NAMES, DatabaseName
from app.statements import Source, Sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.graph.context import Ask, Context
    from app.graph.engine import Request

_TABLE = re.compile(r"\b(?:FROM|JOIN) (?:LATERAL )?(\w+)")


@dataclass(frozen=True)
class Sent:
    """A statement that was sent for a read."""

    database: DatabaseName
    read: str
    """What it is called in the domain's ``reads.py``; or what it is, where a filter or an order made another of it."""
    tables: tuple[str, ...]
    keys: int | None
    """How many keys it was asked with; None for a page of a whole table."""
    rows: int | None
    """None where it failed."""
    started_after: float
    """Milliseconds from the beginning of the operation."""
    milliseconds: float
    """Until its rows were there, a wait for a connection included."""
    sql: str
    arguments: tuple[object, ...]


class Explained:
    """Notes what is sent for one operation."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self._start = perf_counter()

    def watching(self, sources: Sources, ask: "Ask", keys: "Sequence[object]") -> Sources:
        """The sources, for one read that sends at most one statement."""
        return _Watched(self, sources[ask.read.database], ask, keys)

    def add(self, ask: "Ask", keys: "Sequence[object]", sql: str, arguments: tuple[object, ...], took: "_Took") -> None:
        """Note a statement that is over."""
        self.sent.append(
            Sent(
                ask.read.database,
                _name(ask),
                tables_in(sql, ask.read.database),
                None if keys[0] is WHOLE_TABLE else len(keys),
                took.rows,
                _milliseconds(took.begun - self._start),
                _milliseconds(took.ended - took.begun),
                sql,
                arguments,
            )
        )

    def told(self, statements: "Counter[DatabaseName]", *, with_sql: bool) -> dict[str, object]:
        """What the answer says of it, by database. No value that a statement was sent with is in it.

        Args:
            statements: all that the operation sent; those beyond the reads' are only counted.
            with_sql: whether the statements' text is shown.
        """
        databases: dict[str, object] = {}
        for name in DATABASE_NAMES:
            sent = sorted((of for of in self.sent if of.database == name), key=lambda of: of.started_after)
            if not sent and not statements[name]:
                continue
            others = statements[name] - len(sent)
            databases[name] = {
                "statements": [_told(of, with_sql=with_sql) for of in sent],
                **({"others": others} if others > 0 else {}),  # those of a mutation, say
            }
        return {"milliseconds": _milliseconds(perf_counter() - self._start), "databases": databases}


def begin(context: "Context", request: "Request") -> None:
    """Note from now on what is sent, where the request asks for it and it is allowed.

    Not over GET: such an answer may be kept, and is then another's.
    """
    asked = request.may_mutate and (request.extensions or {}).get("explain") is True
    if asked and context.services.settings.explain != "off":
        context.loaders.explained = Explained()


def extensions(context: "Context") -> dict[str, object]:
    """What there is to say of an operation that was executed: nothing where nothing was noted."""
    explained = context.loaders.explained
    if explained is None:
        return {}
    return {"explain": explained.told(context.statements, with_sql=context.services.settings.explain == "on")}


@dataclass(frozen=True)
class _Took:
    begun: float
    ended: float
    rows: int | None


@dataclass(frozen=True, eq=False)
class _Watched:
    """Stands in for the four databases while one read asks its own."""

    explained: Explained
    source: Source
    ask: "Ask"
    keys: "Sequence[object]"

    def __getitem__(self, _: DatabaseName) -> "_Watched":
        return self

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        begun, found = perf_counter(), None
        try:
            rows = await self.source.fetch(sql, *args)
            found = len(rows)
            return rows
        finally:
            self.explained.add(self.ask, self.keys, sql, args, _Took(begun, perf_counter(), found))


def _told(of: Sent, *, with_sql: bool) -> dict[str, object]:
    return {
        "read": of.read,
        "tables": ", ".join(of.tables),
        "keys": of.keys,
        "rows": of.rows,
        "startedAfter": of.started_after,
        "milliseconds": of.milliseconds,
        **({"sql": " ".join(of.sql.split())} if with_sql else {}),
    }


def _name(ask: "Ask") -> str:
    if ask.columns == (TOTAL,):
        return "total"
    read = ask.read
    generic = "page" if read.shape is Shape.PAGE else "rows"
    return _names().get(read) or _names_by_keys().get((read.rows, read.keys)) or generic


@cache
def _names() -> dict[Read, str]:
    modules = [import_module(f"app.domains.{name}.reads") for name in DATABASE_NAMES]
    return {value: name for module in modules for name, value in vars(module).items() if isinstance(value, Read)}


@cache
def _names_by_keys() -> dict[tuple[object, object], str | None]:
    """A filter, an order or a join makes another read of one, of the same rows by the same keys; None for several."""
    names: dict[tuple[object, object], str | None] = {}
    for read, name in _names().items():
        key = read.rows, read.keys
        names[key] = None if key in names or read.rows is None else name
    return names


def tables_in(sql: str, database: DatabaseName) -> tuple[str, ...]:
    """The tables and views that one of our statements reads, in the order in which it names them."""
    return tuple(dict.fromkeys(name for name in _TABLE.findall(sql) if name in _tables(database)))


@cache
def _tables(database: DatabaseName) -> set[str]:
    tables = set(import_module(f"app.domains.{database}.tables").Base.metadata.tables)
    return tables | {PRODUCT_STATS.name} if database == "orders" else tables  # a view, which is not among them


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
