"""A compiled operation, run: rows first, then the answer."""

import asyncio
from collections import defaultdict
from itertools import repeat
from typing import Any

from graphql import GraphQLError
from graphql.execution.values import VariableValues

from app.graph.context import Context, too_large
from app.graph.plan.complete import Completion
from app.graph.plan.encode import CarefulError, Encoder
from app.graph.plan.fetch import ROOT, Batch, Fetching, JoinError, Loaded
from app.graph.plan.selection import Loading, NodesItem, PageItem, Selection

LARGE = 5_000
"""Objects. An answer that can have more is made in a thread of its own; so many take ten milliseconds or so."""


class Json(str):
    """What is JSON already."""

    __slots__ = ()


class Plan:
    """An operation that asks for nothing but rows, edges and pages. Good for any viewer and any other variables."""

    def __init__(self, root: Selection, apart: Selection | None = None) -> None:
        """``apart``: the same with a statement for each edge, where ``root`` has joins."""
        self._root = root
        self._apart = apart
        self._encoder = Encoder()

    async def run(self, context: Context, variable_values: VariableValues) -> tuple[object, list[GraphQLError]]:
        """The answer's data, and its errors. Without any, the data are JSON already.

        Raises:
            TooLargeError: more rows were read than ``max_cost``, or would be in the answer; or there are too many
                errors.
        """
        fetching = Fetching(context, variable_values)
        try:
            batch = await fetching.batch(self._root, [ROOT])
        except JoinError:
            if self._apart is None:
                raise
            batch = await fetching.batch(self._apart, [ROOT])
        at_most, allowed = _at_most(batch), context.services.settings.max_cost
        if at_most > allowed and _objects(batch)[0] > allowed:
            raise too_large(allowed)
        if at_most <= LARGE:
            return self._answer(batch, context)
        # So that others are served meanwhile: Python goes from one thread to the other every 5 ms.
        return await asyncio.to_thread(self._answer, batch, context)

    def _answer(self, batch: Batch, context: Context) -> tuple[object, list[GraphQLError]]:
        if context.viewer.is_staff or not batch.selection.has_staff_cells:
            try:
                return Json(self._encoder.text(batch)), []
            except CarefulError:
                pass
        completion = Completion(context.viewer)
        return completion.data(batch), completion.errors


def _at_most(batch: Batch) -> int:
    """No row's part of the answer has more objects than this: most answers need not be counted."""
    most = 1 + len(batch.selection.joined)
    for loaded in batch.loaded:
        most += loaded.most * sum(map(_at_most, loaded.children))
    return most


def _objects(batch: Batch) -> list[int]:
    """How many objects each row's part of the answer has. A row that is read once can stand in it many times."""
    beside = [batch.selection.place(item.key_column) for item in batch.selection.joined]
    counts = [1 + sum(row[place] is not None for place in beside) for row in batch.rows]
    for item, loaded in zip(batch.selection.loaded, batch.loaded, strict=bool(batch.rows)):
        if loaded.error is not None:
            continue
        below = _below(item, loaded, [_objects(child) for child in loaded.children])
        key_of = batch.selection.keys[item.number]
        keys = map(key_of, batch.rows) if key_of else repeat(loaded.key)
        counts = [count + below.get(key, 0) for count, key in zip(counts, keys, strict=False)]
    return counts


def _below(item: Loading, loaded: Loaded, counts: list[list[int]]) -> dict[Any, int]:
    """How many objects each key of an item leads to, by how many each row of its children has."""
    if isinstance(item, PageItem):
        return {
            key: sum(sum(of_child[start:stop]) for of_child in counts) for key, (_, start, stop) in loaded.pages.items()
        }
    found: dict[Any, int] = defaultdict(int)
    if isinstance(item, NodesItem):
        of_type = {
            type_: dict(zip(child.keys, of_child, strict=True))
            for type_, child, of_child in zip(item.declaration.reads, loaded.children, counts, strict=True)
        }
        ids: list[Any] = [of_id for of_id in loaded.ids if isinstance(of_id, tuple)]
        found[loaded.key] = sum(of_type[type_].get(uuid, 0) for type_, uuid in ids)
        return found
    for child, of_child in zip(loaded.children, counts, strict=True):
        for key, count in zip(child.keys, of_child, strict=True):
            found[key] += count
    return found
