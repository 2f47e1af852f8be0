"""The first phase of a plan: all rows, level by level, one statement for each edge and level.

A branch goes on as soon as its own rows are there, and the databases work at the same time. Nothing is made of the rows
yet: what a level finds are the rows themselves, each behind the key that it answers.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Any, TypeVar, cast

from graphql.execution.values import VariableValues

from app.database import Row
from app.errors import AppError, BadUserInputError, TooLargeError
from app.graph.asks import PageAsk, missing_node, node_of
from app.graph.connection import Page
from app.graph.context import Ask, Context
from app.graph.plan.selection import EdgeItem, Loading, NodesItem, PageItem, Selection
from app.graph.visibility import check_visible
from app.paging import Cursors
from app.reads import WHOLE_TABLE
from app.statements import answered

T = TypeVar("T")

ROOT: Any = ()
"""In place of the row that the root has not."""


class JoinError(Exception):
    """A statement failed that rows of several edges come with: which of them it was, only a statement each can tell."""


@dataclass(eq=False)
class Batch:
    """The rows of a selection, and what was loaded for each of its loaded items."""

    selection: Selection
    rows: Sequence[Row]
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
    was_asked: bool = False
    """Whether it was the statement that failed, and not what was to be asked."""
    key: Any = None
    """Where the item is not found by the row: the key that all rows have."""
    children: Sequence[Batch] = ()
    most: int = 1
    """No key has found more rows than this."""
    pages: dict[Any, tuple[Page, int, int]] = field(default_factory=dict[Any, tuple[Page, int, int]])
    """The page of each key, and which rows are its own: from one to before the other."""
    ids: list[Any] = field(default_factory=list[Any])
    """Of ``node`` and ``nodes``: each a type and a uuid, or an error."""
    missing: dict[type, Exception] = field(default_factory=dict[type, Exception])
    """Of these: why an object of a type is not there."""


class Fetching:
    """One run of a plan's first phase."""

    def __init__(self, context: Context, variable_values: VariableValues) -> None:
        self._context = context
        self._variable_values = variable_values

    async def batch(self, selection: Selection, rows: Sequence[Row], keys: Sequence[Any] = ()) -> Batch:
        """All rows of a selection and of all below it. What fails is noted where it failed."""
        batch = Batch(selection, rows, keys)
        if rows and selection.loaded:
            batch.loaded = await together([self._load(item, batch) for item in selection.loaded])
        return batch

    async def _load(self, item: Loading, batch: Batch) -> Loaded:
        try:
            check_visible(item.visible_to, self._context.viewer)
            match item:
                case EdgeItem():
                    if item.along is None or len(batch.rows[0]) == batch.selection.end:
                        return await self._edge(item, batch)
                    return await self._along(item, batch, batch.selection.end + item.along)
                case PageItem():
                    return await self._page(item, batch)
                case _:
                    return await self._nodes(cast("NodesItem", item))
        except (TooLargeError, JoinError):
            raise
        except Exception as error:  # whatever it is, it is told at this place, as a resolver's would be
            _look_for_joins(item.children, error)
            return Loaded(error)

    async def _edge(self, item: EdgeItem, batch: Batch) -> Loaded:
        ask, key = item.asking.of(self._variable_values)
        keys = _keys_of(item, batch) if item.via else [self._context.viewer.user if key is None else key]
        try:
            rows, of_rows = await self._ask(ask, keys)
        except TooLargeError:
            raise
        except Exception as error:
            _look_for_joins(item.children, error)
            return Loaded(error, was_asked=True)
        child = await self.batch(item.child, rows, of_rows)
        loaded = Loaded(key=keys[0] if not item.via else None, children=(child,))
        if item.is_list and rows:
            loaded.most = max(Counter(child.keys).values()) if len(keys) > 1 else len(rows)
        return loaded

    async def _along(self, item: EdgeItem, batch: Batch, place: int) -> Loaded:
        """What came along with the rows, in this cell. All rows with one key have the same list."""
        lists = dict(zip(_all_keys_of(item, batch), map(itemgetter(place), batch.rows), strict=True))
        rows = [row for of_key in lists.values() for row in of_key]
        self._context.loaders.has_read(len(rows))
        of_rows = [key for key, of_key in lists.items() for _ in of_key]
        child = await self.batch(item.child, rows, of_rows)
        return Loaded(children=(child,), most=max(map(len, lists.values())))

    async def _page(self, item: PageItem, batch: Batch) -> Loaded:
        ask = item.asking.of(self._variable_values)
        keys = _keys_of(item, batch) if item.via else [WHOLE_TABLE]
        if item.wants_rows and item.wants_total:
            rows, totals = await together([self._ask(ask.rows, keys), self._ask(ask.total, keys)])
        else:
            rows = await self._ask(ask.rows, keys) if item.wants_rows else _NOTHING
            totals = await self._ask(ask.total, keys) if item.wants_total else _NOTHING
        loaded = Loaded(key=WHOLE_TABLE)
        all_rows = _paged(item, loaded, ask, keys, rows, {key: row["total"] for row, key in zip(*totals, strict=True)})
        loaded.children = await together([self.batch(child, all_rows) for child in item.children])
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
        loaded.children = await together(
            [
                self._of_type(loaded, type_, Ask(read, child.columns, lists=child.lists), uuids.get(type_, []), child)
                for (type_, read), child in zip(reads.items(), item.children, strict=True)
            ]
        )
        return loaded

    async def _of_type(self, loaded: Loaded, type_: type, ask: Ask, uuids: list[str], child: Selection) -> Batch:
        """The objects of one type. A database that does not answer costs those that are asked of it."""
        rows, of_rows = _NOTHING
        missing: Exception = missing_node(type_)
        try:
            rows, of_rows = await self._ask(ask, list(dict.fromkeys(uuids)))
        except TooLargeError:
            raise
        except Exception as error:
            _look_for_joins((child,), error)
            missing = error
        loaded.missing[type_] = missing
        return await self.batch(child, rows, of_rows)

    async def _ask(self, ask: Ask, keys: Sequence[Any]) -> "_Answered":
        """All rows, and the key that each of them answers."""
        wanted = [key for key in keys if key is not None] if None in keys else keys
        if not wanted:
            return _NOTHING
        rows = await self._context.loaders.fetch(ask, wanted)
        return rows, answered(ask.read, wanted, rows)


def _look_for_joins(children: Sequence[Selection], error: Exception) -> None:
    """Whether a statement failed that reads more than the rows of its own edge.

    Raises:
        JoinError: it did, and not because its database does not answer.
    """
    if not isinstance(error, AppError) and any(child.joins or child.lists for child in children):
        raise JoinError from error


_ROWS_ALONE = Page([], Cursors(()))
"""In place of a page of which nothing is asked but its rows."""

_Answered = tuple[Sequence[Row], Sequence[Any]]
_NOTHING: _Answered = ((), ())


def _paged(
    item: PageItem, loaded: Loaded, ask: PageAsk, keys: Sequence[Any], found: "_Answered", totals: dict[Any, int]
) -> list[Row]:
    """Note the page of each key. The rows of all pages together, page after page."""
    of_key: dict[Any, list[Row]] = defaultdict(list)
    if len(keys) == 1:
        of_key[keys[0]] = list(found[0])
    else:
        for row, key in zip(*found, strict=True):
            of_key[key].append(row)
    all_rows: list[Row] = []
    for key in keys:
        rows, page, start = of_key.get(key, []), _ROWS_ALONE, len(all_rows)
        if item.wants_page:
            page = ask.window.page(rows, ask.cursors, totals.get(key))
            all_rows += page.nodes
        else:
            all_rows += reversed(rows) if ask.window.from_end else rows
        loaded.pages[key] = page, start, len(all_rows)
        loaded.most = max(loaded.most, len(all_rows) - start)
    return all_rows


def _keys_of(item: Loading, batch: Batch) -> list[Any]:
    """The distinct keys of a batch's rows, in order; among them None, where a row's is NULL.

    Where one of several cells is NULL, no row will answer: to PostgreSQL it equals nothing.
    """
    return list(dict.fromkeys(_all_keys_of(item, batch)))


def _all_keys_of(item: Loading, batch: Batch) -> Iterable[Any]:
    """The key that each row's item is found by."""
    key_of = batch.selection.keys[item.number]
    return map(key_of, batch.rows) if key_of else ()


async def together(all_of: Sequence[Coroutine[Any, Any, T]]) -> list[T]:  # what they yield and are sent is asyncio's
    """The results of all, which run at the same time: the first in this task, so that most levels need no other.

    Raises:
        Exception: what the first of them to fail raises. The others are stopped.
    """
    tasks = [asyncio.create_task(each) for each in all_of[1:]]
    try:
        return [await each for each in (*all_of[:1], *tasks)]
    except BaseException:
        for task in tasks:
            task.add_done_callback(_look_at)
            task.cancel()
        raise


def _look_at(task: asyncio.Task[T]) -> None:
    """Take notice of how a task ended that nobody waits for, or asyncio would complain that nobody did."""
    if not task.cancelled():
        task.exception()
