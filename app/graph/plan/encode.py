"""The second phase of a plan, where all went well: rows become JSON text, from the leaves up.

For each selection one comprehension of one f-string is generated, which writes the text of all its rows. A row that
many others lead to is written once. Nothing is looked at twice: a NULL where there must be none, or a value that its
type does not hold, stops it, and ``complete.py`` goes through the same rows one by one.
"""

from collections.abc import Callable
from typing import Any

from app.graph.connection import Page
from app.graph.plan.fetch import Batch, Loaded
from app.graph.plan.selection import EdgeItem, Item, Leaf, Loading, NodesItem, PageItem, PagePart, Selection, Typename


class CarefulError(Exception):
    """Something is not as the schema has it, or is to be told as an error: go through it one by one."""


Write = Callable[..., list[str]]


class Encoder:
    """Writes the batches of one plan, for who may see all that is in it. Made once for it."""

    def __init__(self) -> None:
        self._writers: dict[Selection, Write] = {}

    def texts(self, batch: Batch) -> list[str]:
        """The JSON of each row.

        Raises:
            CarefulError: the answer has an error in it.
        """
        if not batch.rows:
            return []
        selection = batch.selection
        writer = self._writers.get(selection) or self._writers.setdefault(selection, _writer(selection))
        columns: list[list[str]] = []
        for item, loaded in zip(selection.loaded, batch.loaded, strict=True):
            if loaded.error is not None:
                raise CarefulError
            match item:
                case EdgeItem():
                    columns.append(self._edges(item, loaded))
                case PageItem():
                    columns.append(self._pages(item, loaded))
                case NodesItem():
                    columns.append([self._nodes(item, loaded)])
        try:
            return writer(batch.rows, *columns)
        except CarefulError:
            raise
        except Exception as error:  # a value that its type does not hold: which one, is told one by one
            raise CarefulError from error

    def _edges(self, item: EdgeItem, loaded: Loaded) -> list[str]:
        [child] = loaded.children
        texts = self.texts(child)
        if item.is_list:
            by_key = {key: f"[{','.join(texts[start:stop])}]" for key, (start, stop) in loaded.spans.items()}
            return [by_key.get(key, "[]") for key in loaded.keys]
        by_key = {key: texts[start] for key, (start, stop) in loaded.spans.items() if start < stop}
        if not item.is_required:
            return [by_key.get(key, "null") for key in loaded.keys]
        try:
            return [by_key[key] for key in loaded.keys]
        except KeyError:
            raise CarefulError from None

    def _nodes(self, item: NodesItem, loaded: Loaded) -> str:
        texts = dict(zip(item.declaration.reads, map(self.texts, loaded.children), strict=True))
        try:
            found = [texts[type_][loaded.spans[type_, uuid][0]] for type_, uuid in loaded.keys]
        except (KeyError, TypeError):  # one of them is not there, or is no id
            raise CarefulError from None
        return f"[{','.join(found)}]" if item.declaration.many else found[0]

    def _pages(self, item: PageItem, loaded: Loaded) -> list[str]:
        texts = [self.texts(child) for child in loaded.children]
        by_key = {
            key: _object(item.parts, item.type_names, page, loaded.spans[key][0], texts)
            for key, page in loaded.pages.items()
        }
        return [by_key[key] for key in loaded.keys]


def _object(
    parts: tuple[PagePart, ...], type_names: tuple[str, str], page: Page, start: int, texts: list[list[str]]
) -> str:
    """The JSON of a connection."""
    connection, edge = type_names
    written: list[str] = []
    for part in parts:
        match part.name:
            case "nodes":
                text = f"[{','.join(texts[part.number][start : start + len(page.nodes)])}]"
            case "edges":
                edges = (_edge(part.parts, edge, page, at, start, texts) for at in range(len(page.nodes)))
                text = f"[{','.join(edges)}]"
            case "pageInfo":
                text = "{" + ",".join(f'"{inner.key}":{_info(inner.name, page)}' for inner in part.parts) + "}"
            case "totalCount":
                text = str(page.total_count)
            case _:
                text = f'"{connection}"'
        written.append(f'"{part.key}":{text}')
    return "{" + ",".join(written) + "}"


def _edge(parts: tuple[PagePart, ...], type_name: str, page: Page, at: int, start: int, texts: list[list[str]]) -> str:
    written: list[str] = []
    for part in parts:
        match part.name:
            case "node":
                text = texts[part.number][start + at]
            case "cursor":
                text = f'"{page.edges[at].cursor}"'
            case _:
                text = f'"{type_name}"'
        written.append(f'"{part.key}":{text}')
    return "{" + ",".join(written) + "}"


def _info(name: str, page: Page) -> str:
    match name:
        case "hasNextPage":
            return "true" if page.has_next_page else "false"
        case "hasPreviousPage":
            return "true" if page.has_previous_page else "false"
        case "startCursor":
            cursor = page.start_cursor
        case "endCursor":
            cursor = page.end_cursor
        case _:
            return '"PageInfo"'
    return "null" if cursor is None else f'"{cursor}"'


def _writer(selection: Selection) -> Write:
    """The function that writes all rows of a selection, of the rows and the texts of each loaded item."""
    names: dict[str, Any] = {"none": _none, "nothing": _nothing}
    if selection.value is not None:
        body = _piece(selection.value, 0, names)
    else:
        pieces = (f'"{item.key}":{_piece(item, number, names)}' for number, item in enumerate(selection.items))
        body = "{{" + ",".join(pieces) + "}}"
    numbers = [item.number for item in selection.loaded]
    parameters = ", ".join(["rows", *(f"E{number}" for number in numbers)])
    loop = ", ".join(["r", *(f"e{number}" for number in numbers)])
    rows = f"zip({parameters})" if numbers else "rows"
    # What the text is made of are GraphQL names and our own; what a client sent is never in it.
    exec(f"def write({parameters}): return [f'{body}' for {loop} in {rows}]", names)  # noqa: S102
    return names["write"]


def _piece(item: Item, number: int, names: dict[str, Any]) -> str:
    if isinstance(item, Typename):
        return f'"{item.type_name}"'
    if isinstance(item, Loading):
        return f"{{e{item.number}}}"
    assert isinstance(item, Leaf)  # noqa: S101 -- there are no others
    names[f"c{number}"] = item.cell
    if item.is_plain:
        return f'"{{r[c{number}]}}"'
    names[f"w{number}"] = item.text
    otherwise = "none()" if item.is_required else "nothing"
    return f"{{w{number}(v) if (v := r[c{number}]) is not None else {otherwise}}}"


_nothing = "null"


def _none() -> str:
    raise CarefulError
