"""What an operation has at hand: who asks, the four databases, and the dataloaders of the reads it makes."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

import strawberry
from aiodataloader import DataLoader
from graphql.pyutils import Path

from app.database import Databases, Row
from app.reads import Columns, Read, Slice, fetch

Place = tuple[str, ...]
"""Where a field stands in the answer: its path without the numbers in lists, each step with its parent's type."""


@dataclass(frozen=True)
class Ask:
    """What a loader asks of its keys: a read, what of each row, the values of the statement's parameters, and which
    slice of a page."""

    read: Read
    columns: Columns
    parameters: tuple[tuple[str, object], ...] = ()
    slice_: Slice | None = None


class Loaders:
    """The dataloaders of one operation, made in the running loop when first needed.

    Each place of a query has its own, even where two places ask the same: a key that one level has loaded already would
    otherwise be there early at another, and what hangs on it would be asked apart from the rest of its level. So the
    number of statements depends on the query alone and not on the rows.
    """

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._loaders: dict[tuple[Place, Ask], DataLoader[Any, list[Row]]] = {}

    async def rows(self, place: Place, ask: Ask, key: object) -> list[Row]:
        """The rows that answer a key, in the read's order. Raises as ``reads.fetch`` does."""
        if (place, ask) not in self._loaders:
            self._loaders[place, ask] = DataLoader(partial(self._fetch, ask))
        # Shielded: when a sibling fails under a non-null field, graphql-core cancels this resolver, and with it the
        # future that every other resolver waits for who wants the same key.
        return await asyncio.shield(self._loaders[place, ask].load(key))

    async def _fetch(self, ask: Ask, keys: list[Any]) -> list[list[Row]]:
        rows = await fetch(self._databases, ask.read, ask.columns, keys, dict(ask.parameters), ask.slice_)
        return [rows.get(key, []) for key in keys]


class Context:
    """One for each operation."""

    def __init__(self, databases: Databases, largest_total: int, viewer: str | None = None) -> None:
        self.databases = databases
        self.loaders = Loaders(databases)
        self.largest_total = largest_total
        """Up to where a ``totalCount`` counts."""
        self.viewer = viewer
        """The uuid of the user who asks; None for somebody who is not signed in."""


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
