"""Functions that write JSON, generated for a selection and for a connection: a comprehension of one f-string each.

What such a text is made of are GraphQL names and our own; what a client sent is never in it.
"""

from binascii import b2a_base64
from collections.abc import Callable
from typing import Any

from app.graph.connection import Page
from app.graph.plan.selection import EdgeItem, Item, Leaf, Loading, PageItem, PagePart, Selection, Typename

WriteRows = Callable[..., list[str]]
"""From all rows of a selection, and for each of its loaded items the texts by key and the key that all rows have."""
WritePage = Callable[[Page, int, list[list[str]]], str]
"""From a page, the number of its first row, and the texts of all rows for each child."""


def rows_writer(selection: Selection) -> WriteRows:
    """The function that writes each row of a selection. It raises where a value is not as its type has it."""
    names: dict[str, Any] = {"n": "null", "q": '"', "b64": b2a_base64}
    cells = [f"a{number}" for number in range(selection.width + len(selection.columns))]
    if selection.value is not None:
        body = _piece(selection, selection.value, 0, names)
    else:
        pieces = (
            f'"{item.key}":{_piece(selection, item, number, names)}' for number, item in enumerate(selection.items)
        )
        body = "{{" + ",".join(pieces) + "}}"
    row = ", ".join([*cells, *(["*_"] if selection.more else [])])
    given = "".join(f", t{item.number}, k{item.number}" for item in selection.loaded)
    return _function(f"rows{given}", f"[f'{body}' for {f'({row},)' if cells else '_'} in rows]", names)


def _piece(selection: Selection, item: Item, number: int, names: dict[str, Any]) -> str:
    match item:
        case Typename():
            return f'"{item.type_name}"'
        case Leaf():
            cell = f"a{selection.place(item.column)}"
            names[f"w{number}"] = item.text
            written = item.code.format(a=cell, w=f"w{number}")
            return f"{{{written}}}" if item.is_required else f"{{n if {cell} is None else {written}}}"
        case EdgeItem(is_list=True):
            return f'[{{t{item.number}.get({_key(selection, item)}, "")}}]'
        case EdgeItem(is_required=False):
            return f"{{t{item.number}.get({_key(selection, item)}, n)}}"
        case Loading():
            return f"{{t{item.number}[{_key(selection, item)}]}}"
        case _:
            raise TypeError(item)


def _key(selection: Selection, item: Loading) -> str:
    """The expression of the key that a row's item is found by."""
    cells = [f"a{selection.place(column)}" for column in item.via]
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
                text = f"[{{j(t[{part.number}][s : s + len(p.nodes)])}}]"
            case "edges":
                names[f"e{number}"] = _edges_writer(part, item.type_names[1])
                text = f"[{{j(e{number}(p, s, t))}}]"
            case "pageInfo":
                text = "{{" + ",".join(f'"{inner.key}":{_INFO[inner.name]}' for inner in part.parts) + "}}"
            case "totalCount":
                text = "{number(p.total_count)}"
            case _:
                text = f'"{item.type_names[0]}"'
        pieces.append(f'"{part.key}":{text}')
    return _function("p, s, t", "f'{{" + ",".join(pieces) + "}}'", names)


def _edges_writer(part: PagePart, type_name: str) -> Callable[..., list[str]]:
    pieces: list[str] = []
    columns = ["p.nodes"]
    for inner in part.parts:
        match inner.name:
            case "node":
                pieces.append(f'"{inner.key}":{{a{len(columns)}}}')
                columns.append(f"t[{inner.number}][s : s + len(p.nodes)]")
            case "cursor":
                pieces.append(f'"{inner.key}":"{{c(row)}}"')
            case _:
                pieces.append(f'"{inner.key}":"{type_name}"')
    cells = "".join(f", a{number}" for number in range(1, len(columns)))
    body = "f'{{" + ",".join(pieces) + "}}'"
    rows = f"zip({', '.join(columns)})"
    return _function("p, s, t", f"(lambda c: [{body} for row{cells or ','} in {rows}])(p.cursors.encode)", {})


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
