"""Functions that write JSON, generated for a selection and for a connection: a comprehension of one f-string each.

What such a text is made of are GraphQL names and our own; what a client sent is never in it.
"""

from binascii import b2a_base64
from collections.abc import Callable
from typing import Any

from app.graph.connection import Page
from app.graph.plan.selection import EdgeItem, Item, JoinedItem, Leaf, Loading, PageItem, PagePart, Selection, Typename
from app.paging import AnyColumn

WriteRows = Callable[..., list[str]]
"""From all rows of a selection, and for each of its loaded items the texts by key and the key that all rows have."""
WritePage = Callable[[Page, int, int, list[list[str]]], str]
"""From a page, which rows are its own (from one to before the other), and for each child the texts of all rows."""


def rows_writer(selection: Selection) -> WriteRows:
    """The function that writes each row of a selection. It raises where a value is not as its type has it."""
    cells = [f"a{number}" for number in range(selection.width + len(selection.columns))]
    texts = [name for item in selection.loaded for name in (f"t{item.number}", f"k{item.number}")]
    pieces = _Pieces(selection, ", ".join([*cells, *texts]))
    body = pieces.of(selection.value) if selection.value is not None else pieces.of_object(selection.items)
    row = ", ".join([*cells, *(["*_"] if selection.more else [])])
    given = "".join(f", {name}" for name in texts)
    return _function(f"rows{given}", f"[f'{body}' for {f'({row},)' if cells else '_'} in rows]", pieces.names)


class _Pieces:
    """The pieces of the f-string that writes a row. ``given``: the names of all that a row's text is made of."""

    def __init__(self, selection: Selection, given: str) -> None:
        self.names: dict[str, Any] = {"n": "null", "e": "", "q": '"', "b64": b2a_base64}
        self._selection = selection
        self._given = given

    def of_object(self, items: tuple[Item, ...]) -> str:
        """That of an object."""
        return "{{" + ",".join(f'"{item.key}":{self.of(item)}' for item in items) + "}}"

    def of(self, item: Item) -> str:
        """That of a field."""
        match item:
            case Typename():
                return f'"{item.type_name}"'
            case Leaf():
                cell = self._cell(item.column)
                written = item.code.format(a=cell, w=self._named("w", item.text))
                if item.is_required:
                    return f'"{{{written}}}"' if item.is_quoted else f"{{{written}}}"
                return f"{{n if {cell} is None else {f'q+{written}+q' if item.is_quoted else written}}}"
            case JoinedItem():
                # A function of its own: in this version of Python an f-string cannot stand in one with its own quotes.
                text = "f'" + self.of_object(item.items) + "'"
                name = self._named("o", _function(self._given, text, self.names))
                cell = self._cell(item.key_column)
                written = f"{name}({self._given})"
                return f"{{{written}}}" if item.is_required else f"{{n if {cell} is None else {written}}}"
            case EdgeItem(is_list=True):
                return f'[{{t{item.number}.get({self._key(item)}, "")}}]'
            case EdgeItem(is_required=False):
                return f"{{t{item.number}.get({self._key(item)}, n)}}"
            case Loading():
                return f"{{t{item.number}[{self._key(item)}]}}"
            case _:
                raise TypeError(item)

    def _named(self, letter: str, value: object) -> str:
        """A name for a value, which nothing else has."""
        name = f"{letter}{len(self.names)}"
        self.names[name] = value
        return name

    def _cell(self, column: AnyColumn) -> str:
        return f"a{self._selection.place(column)}"

    def _key(self, item: Loading) -> str:
        """The expression of the key that a row's item is found by."""
        cells = [self._cell(column) for column in item.via]
        if not cells:
            return f"k{item.number}"
        return cells[0] if len(cells) == 1 else f"({', '.join(cells)})"


def page_writer(item: PageItem) -> WritePage:
    """The function that writes a connection."""
    names: dict[str, Any] = {"j": ",".join, "number": _number, "cursor": _cursor, "b": {True: "true", False: "false"}}
    pieces: list[str] = []
    for number, part in enumerate(item.parts):
        match part.name:
            case "nodes":
                text = f"[{{j(t[{part.number}][s:e])}}]"
            case "edges":
                names[f"e{number}"] = _edges_writer(part, item.type_names[1])
                text = f"[{{j(e{number}(p, s, e, t))}}]"
            case "pageInfo":
                text = "{{" + ",".join(f'"{inner.key}":{_INFO[inner.name]}' for inner in part.parts) + "}}"
            case "totalCount":
                text = "{number(p.total_count)}"
            case _:
                text = f'"{item.type_names[0]}"'
        pieces.append(f'"{part.key}":{text}')
    return _function("p, s, e, t", "f'{{" + ",".join(pieces) + "}}'", names)


def _edges_writer(part: PagePart, type_name: str) -> Callable[..., list[str]]:
    pieces: list[str] = []
    columns: list[str] = []
    for number, inner in enumerate(part.parts):
        match inner.name:
            case "node":
                pieces.append(f'"{inner.key}":{{a{number}}}')
                columns.append(f"t[{inner.number}][s:e]")
            case "cursor":
                pieces.append(f'"{inner.key}":"{{a{number}}}"')
                columns.append("map(p.cursors.encode, p.nodes)")
            case _:
                pieces.append(f'"{inner.key}":"{type_name}"')
                columns.append("range(s, e)")  # one for each row
    cells = "".join(f"a{number}, " for number in range(len(columns)))
    body = "f'{{" + ",".join(pieces) + "}}'"
    return _function("p, s, e, t", f"[{body} for {cells}in zip({', '.join(columns)})]", {})


_INFO = {
    "hasNextPage": "{b[p.has_next_page]}",
    "hasPreviousPage": "{b[p.has_previous_page]}",
    "startCursor": "{cursor(p.start_cursor)}",
    "endCursor": "{cursor(p.end_cursor)}",
    "__typename": '"PageInfo"',
}


def _cursor(cursor: str | None) -> str:
    return "null" if cursor is None else f'"{cursor}"'


def _number(number: int | None) -> str:
    if number is None:
        raise ValueError
    return str(number)


def _function(parameters: str, result: str, names: dict[str, Any]) -> Callable[..., Any]:
    exec(f"def write({parameters}): return {result}", names)  # noqa: S102
    return names["write"]
