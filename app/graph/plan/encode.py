"""The second phase of a plan, where all went well: rows become JSON text, from the leaves up.

A row that many others lead to is written once. Nothing is looked at twice: a NULL where there must be none, or a value
that its type does not hold, stops it, and ``complete.py`` goes through the same rows one by one.
"""

from collections import defaultdict
from typing import Any

from app.graph.plan.fetch import Batch, Loaded
from app.graph.plan.selection import EdgeItem, Loading, NodesItem, PageItem, Selection
from app.graph.plan.writers import WritePage, WriteRows, page_writer, rows_writer


class CarefulError(Exception):
    """Something is not as the schema has it, or is to be told as an error: go through it one by one."""


class Encoder:
    """Writes the batches of one plan, for who may see all that is in it. Made once for it."""

    def __init__(self) -> None:
        self._rows: dict[Selection, WriteRows] = {}
        self._pages: dict[PageItem, WritePage] = {}

    def text(self, root: Batch) -> str:
        """The JSON of the one row of the root's batch.

        Raises:
            CarefulError: the answer has an error in it.
        """
        try:
            return self._texts(root)[0]
        except CarefulError:
            raise
        except Exception as error:  # a value that its type does not hold: which one, is told one by one
            raise CarefulError from error

    def _texts(self, batch: Batch) -> list[str]:
        if not batch.rows:
            return []
        selection = batch.selection
        write = self._rows.get(selection) or self._rows.setdefault(selection, rows_writer(selection))
        given: list[Any] = []
        for item, loaded in zip(selection.loaded, batch.loaded, strict=True):
            if loaded.error is not None:
                raise CarefulError
            given += (self._by_key(item, loaded), loaded.key)
        return write(batch.rows, *given)

    def _by_key(self, item: Loading, loaded: Loaded) -> dict[Any, str]:
        """The text of an item for each key."""
        texts = [self._texts(child) for child in loaded.children]
        match item:
            case EdgeItem(is_list=True):
                return _joined(loaded.children[0].keys, texts[0])
            case EdgeItem():
                # Backwards, so that the first row of a key counts, as for a resolver.
                return dict(zip(reversed(loaded.children[0].keys), reversed(texts[0]), strict=True))
            case PageItem():
                write = self._pages.get(item) or self._pages.setdefault(item, page_writer(item))
                return {key: write(page, start, stop, texts) for key, (page, start, stop) in loaded.pages.items()}
            case _:
                return {loaded.key: _nodes(item, loaded, texts)}


def _joined(keys: Any, texts: list[str]) -> dict[Any, str]:
    if len(texts) == 1:
        return {keys[0]: texts[0]}
    lists: dict[Any, list[str]] = defaultdict(list)
    for key, text in zip(keys, texts, strict=True):
        lists[key].append(text)
    return {key: ",".join(of_key) for key, of_key in lists.items()}


def _nodes(item: Loading, loaded: Loaded, texts: list[list[str]]) -> str:
    assert isinstance(item, NodesItem)  # noqa: S101 -- there are no others
    of_type = {
        type_: dict(zip(child.keys, of_child, strict=True))
        for type_, child, of_child in zip(item.declaration.reads, loaded.children, texts, strict=True)
    }
    found = [of_type[type_][uuid] for type_, uuid in loaded.ids]  # or one is not there, or is no id
    return f"[{','.join(found)}]" if item.declaration.many else found[0]
