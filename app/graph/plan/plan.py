"""A compiled operation, run: rows first, then the answer."""

from itertools import accumulate

from graphql import GraphQLError
from graphql.execution.values import VariableValues
from strawberry import Schema

from app.graph.context import Context, too_large
from app.graph.plan.complete import Completion
from app.graph.plan.encode import CarefulError, Encoder
from app.graph.plan.fetch import ROOT, Batch, Fetching
from app.graph.plan.selection import NodesItem, Selection


class Json(str):
    """What is JSON already."""

    __slots__ = ()


class Plan:
    """An operation that asks for nothing but rows, edges and pages. Good for any viewer and any other variables."""

    def __init__(self, root: Selection) -> None:
        self._root = root
        self._encoder = Encoder()
        self._is_for_staff = root.has_staff_cells

    async def run(
        self, schema: Schema, context: Context, variable_values: VariableValues
    ) -> tuple[object, list[GraphQLError]]:
        """The answer's data, and its errors. Without any, the data are JSON already.

        Raises:
            TooLargeError: more rows were read than ``max_cost``, or would be in the answer; or there are too many
                errors.
        """
        batch = await Fetching(schema, context, variable_values).batch(self._root, [ROOT])
        most = context.services.settings.max_cost
        if _objects(batch)[0] > most:
            raise too_large(most)
        if context.viewer.is_staff or not self._is_for_staff:
            try:
                return Json(self._encoder.texts(batch)[0]), []
            except CarefulError:
                pass
        completion = Completion(context.viewer)
        return completion.data(batch), completion.errors


def _objects(batch: Batch) -> list[int]:
    """How many objects each row's part of the answer has. A row that is read once can stand in it many times."""
    counts = [1] * len(batch.rows)
    for item, loaded in zip(batch.selection.loaded, batch.loaded, strict=bool(batch.rows)):
        if loaded.error is not None:
            continue
        below = [list(accumulate(_objects(child), initial=0)) for child in loaded.children]
        if isinstance(item, NodesItem):
            of_type = dict(zip(item.declaration.reads, below, strict=True))
            sums = {key: of_type[key[0]][stop] - of_type[key[0]][start] for key, (start, stop) in loaded.spans.items()}
            counts[0] += sum(sums.get(key, 0) for key in loaded.keys if isinstance(key, tuple))
        else:
            sums = {
                key: sum(of_child[stop] - of_child[start] for of_child in below)
                for key, (start, stop) in loaded.spans.items()
            }
            counts = [count + sums.get(key, 0) for count, key in zip(counts, loaded.keys, strict=True)]
    return counts
