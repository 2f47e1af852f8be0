"""The first phase of a plan: all rows, level by level, one statement for each edge and level.

A branch goes on as soon as its own rows are there, and the databases work at the same time. Nothing is made of the rows
yet: what a level finds are the rows themselves, each behind the key that it answers.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Any, cast

from graphql.execution.values import VariableValues

from app.database import Row
from app.errors import BadUserInputError, TooLargeError
from app.graph.asks import PageAsk, missing_node, node_of
from app.graph.connection import Page
from app.graph.context import Ask, Context
from app.graph.plan.selection import EdgeItem, Loading, NodesItem, PageItem, Selection
from app.graph.visibility import check_visible
from app.reads import WHOLE_TABLE

ROOT: Any = ()
"""In place of the row that the root has not."""


@dataclass(eq=False)
class Batch:
    """The rows of a selection, and what was loaded for each of its loaded items."""

    selection: Selection
    rows: list[Row]
    keys: Sequence[Any] = ()
    """The key that each row answers."""
    loaded: Sequence["Loaded"] = ()

    @cached_property
    def numbers(self) -> dict[Any, list[int]]:
        """Which rows, by number and in order, answer each key."""
        found: dict[Any, list[int]] = defaultdict(list)
        for number, key in enumerate(self.keys):
            found[key].append(number)
        return found


@dataclass(eq=False)
class Loaded:
    """What an item loaded for all rows of a batch."""

    error: Exception | None = None
    key: Any = None
    """Where the item is not found by the row: the key that all rows have."""
    children: Sequence[Batch] = ()
    most: int = 1
    """No key has found more rows than this."""
    pages: dict[Any, tuple[Page, int]] = field(default_factory=dict[Any, tuple[Page, int]])
    """The page of each key, and the number of its first row."""
    ids: list[Any] = field(default_factory=list[Any])
    """Of ``node`` and ``nodes``: each a type and a uuid, or an error."""
    missing: dict[type, Exception] = field(default_factory=dict[type, Exception])
    """Of these: why an object of a type is not there."""


class Fetching:
    """One run of a plan's first phase."""

    def __init__(self, context: Context, variable_values: VariableValues) -> None:
        self._context = context
        self._variable_values = variable_values

    async def batch(self, selection: Selection, rows: list[Row], keys: Sequence[Any] = ()) -> Batch:
        """All rows of a selection and of all below it. What fails is noted where it failed."""
        batch = Batch(selection, rows, keys)
        if rows and selection.loaded:
            if len(selection.loaded) == 1:
                batch.loaded = [await self._load(selection.loaded[0], batch)]
            else:
                batch.loaded = await asyncio.gather(*(self._load(item, batch) for item in selection.loaded))
        return batch

    async def _load(self, item: Loading, batch: Batch) -> Loaded:
        try:
            check_visible(item.visible_to, self._context.viewer)
            match item:
                case EdgeItem():
                    return await self._edge(item, batch)
                case PageItem():
                    return await self._page(item, batch)
                case _:
                    return await self._nodes(cast("NodesItem", item))
        except TooLargeError:
            raise
        except Exception as error:  # whatever it is, it is told at this place, as a resolver's would be
            return Loaded(error)

    async def _edge(self, item: EdgeItem, batch: Batch) -> Loaded:
        ask, key = item.asking.of(self._variable_values)
        keys = _keys_of(item, batch) if item.via else [self._context.viewer.user if key is None else key]
        rows = await self._ask(ask, keys)
        child = await self.batch(item.child, rows, list(map(_key(item.child.width), rows)))
        loaded = Loaded(key=keys[0] if not item.via else None, children=(child,))
        if item.is_list and rows:
            loaded.most = max(Counter(child.keys).values()) if len(keys) > 1 else len(rows)
        return loaded

    async def _page(self, item: PageItem, batch: Batch) -> Loaded:
        ask = item.asking.of(self._variable_values)
        keys = _keys_of(item, batch) if item.via else [WHOLE_TABLE]
        of_rows = self._ask(ask.rows, keys) if item.wants_rows else _nothing()
        if item.wants_total:
            rows, totals = await asyncio.gather(of_rows, self._ask(ask.total, keys))
        else:
            rows, totals = await of_rows, []
        key_of = _key(len(item.via))
        loaded = Loaded(key=WHOLE_TABLE)
        together = _paged(loaded, ask, keys, rows, {key_of(row): row["total"] for row in totals}, key_of)
        of_page = list(map(key_of, together)) if item.via else [WHOLE_TABLE] * len(together)
        children = [self.batch(child, together, of_page) for child in item.children]
        loaded.children = await asyncio.gather(*children) if len(children) > 1 else [await one for one in children]
        return loaded

    async def _nodes(self, item: NodesItem) -> Loaded:
        reads = item.declaration.reads
        loaded = Loaded()
        uuids: dict[type, list[str]] = {}
        for node_id in item.asking.of(self._variable_values):
            try:
                type_, uuid = node_of(node_id, reads)
                uuids.setdefault(type_, []).append(uuid)
                loaded.ids.append((type_, uuid))
            except BadUserInputError as error:
                loaded.ids.append(error)
        loaded.most = len(loaded.ids)
        loaded.children = await asyncio.gather(
            *(
                self._of_type(loaded, type_, Ask(read, child.columns), uuids.get(type_, []), child)
                for (type_, read), child in zip(reads.items(), item.children, strict=True)
            )
        )
        return loaded

    async def _of_type(self, loaded: Loaded, type_: type, ask: Ask, uuids: list[str], child: Selection) -> Batch:
        """The objects of one type. A database that does not answer costs those that are asked of it."""
        rows: list[Row] = []
        missing: Exception = missing_node(type_)
        try:
            rows = await self._ask(ask, list(dict.fromkeys(uuids)))
        except TooLargeError:
            raise
        except Exception as error:
            missing = error
        loaded.missing[type_] = missing
        return await self.batch(child, rows, list(map(_key(1), rows)))

    async def _ask(self, ask: Ask, keys: Sequence[Any]) -> list[Row]:
        wanted = [key for key in keys if key is not None] if None in keys else keys
        return await self._context.loaders.fetch(ask, wanted) if wanted else []


async def _nothing() -> list[Row]:
    return []


def _paged(
    loaded: Loaded,
    ask: PageAsk,
    keys: Sequence[Any],
    rows: list[Row],
    totals: dict[Any, int],
    key_of: Callable[..., Any],
) -> list[Row]:
    """Note the page of each key; the rows of all pages together, page after page."""
    if len(keys) == 1:
        of_key: dict[Any, list[Row]] = {keys[0]: rows}
    else:
        of_key = defaultdict(list)
        for row in rows:
            of_key[key_of(row)].append(row)
    together: list[Row] = []
    for key in keys:
        page = ask.window.page(of_key.get(key, []), ask.cursors, totals.get(key))
        loaded.pages[key] = page, len(together)
        loaded.most = max(loaded.most, len(page.nodes))
        together += page.nodes
    return together


def _keys_of(item: Loading, batch: Batch) -> list[Any]:
    """The distinct keys of a batch's rows, in order; among them None, where a row's is not complete."""
    key_of = batch.selection.keys[item.number]
    if key_of is None:
        return []
    keys = dict.fromkeys(map(key_of, batch.rows))
    return list(keys) if len(item.via) == 1 else list(dict.fromkeys(map(complete, keys)))


def complete(key: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """A key of several cells; None where one of them is NULL."""
    return None if None in key else key


def _key(width: int) -> Callable[[Row], Any]:
    """What takes from a row the key that it answers."""
    return itemgetter(*range(width)) if width else _whole_table


def _whole_table(_row: Row) -> tuple[()]:
    return WHOLE_TABLE
