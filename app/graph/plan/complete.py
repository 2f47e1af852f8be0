"""The second phase of a plan, where something went wrong: the same rows, one by one, as the specification has it.

GraphQL specification, sections 6.4.3 "Value Completion" and 6.4.4 "Handling Execution Errors". No statement runs twice.
"""

from collections.abc import Callable
from typing import Any

from graphql import GraphQLError
from graphql.error import located_error
from graphql.pyutils import Path

from app.errors import TooLargeError
from app.graph.connection import Page
from app.graph.context import MOST_ERRORS, too_many_errors
from app.graph.plan.fetch import Batch, Loaded
from app.graph.plan.selection import EdgeItem, Item, JoinedItem, Leaf, Loading, NodesItem, PageItem, PagePart
from app.graph.visibility import ADMIN, check_visible
from app.viewer import Viewer


class _NullError(Exception):
    """There is a null where there must be none: what it is a part of is null. The error is told already."""


class Completion:
    """One pass over the batches of a plan. ``errors`` are all that it met."""

    def __init__(self, viewer: Viewer) -> None:
        self.errors: list[GraphQLError] = []
        self._viewer = viewer

    def data(self, batch: Batch) -> dict[str, Any] | None:
        """The answer of the root's batch."""
        try:
            return self._row(batch, 0, None)
        except _NullError:
            return None

    def _object(self, batch: Batch, at: int, path: Path | None, items: tuple[Item, ...]) -> dict[str, Any]:
        return {item.key: self._field(item, batch, at, Path(path, item.key, item.type_name)) for item in items}

    def _row(self, batch: Batch, at: int, path: Path | None) -> dict[str, Any]:
        return self._object(batch, at, path, batch.selection.items)

    def _field(self, item: Item, batch: Batch, at: int, path: Path) -> Any:
        try:
            try:
                value = self._value(item, batch, at, path)
            except (_NullError, TooLargeError):
                raise
            except Exception as error:
                raise located_error(error, list(item.nodes), path.as_list()) from error
            if value is None and item.is_required:
                name = f"{item.type_name}.{item.nodes[0].name.value}"
                message = f"Cannot return null for non-nullable field {name}."
                raise located_error(TypeError(message), list(item.nodes), path.as_list())
        except GraphQLError as error:
            self._tell(error)
            if item.is_required:
                raise _NullError from None
            return None
        except _NullError:
            if item.is_required:
                raise
            return None
        return value

    def _value(self, item: Item, batch: Batch, at: int, path: Path) -> Any:
        match item:
            case Leaf():
                if item.for_staff:
                    check_visible(ADMIN, self._viewer)
                cell = batch.rows[at][batch.selection.place(item.column)]
                return None if cell is None else item.value(cell)
            case JoinedItem():
                is_there = batch.rows[at][batch.selection.place(item.key_column)] is not None
                return self._object(batch, at, path, item.items) if is_there else None
            case EdgeItem():
                return self._edge(item, batch, at, path)
            case PageItem():
                return self._page(item, batch, at, path)
            case NodesItem():
                return self._nodes(item, batch, path)
            case _:
                return item.type_name

    def _edge(self, item: EdgeItem, batch: Batch, at: int, path: Path) -> Any:
        loaded, key = batch.loaded[item.number], _key(batch, item, at)
        if loaded.error is not None:
            if loaded.was_asked and item.via and None in (key if len(item.via) > 1 else (key,)):
                return [] if item.is_list else None  # for this row alone nobody would have asked
            raise loaded.error
        [child] = loaded.children
        found = child.numbers.get(key, [])
        if item.is_list:
            return [self._row(child, number, path.add_key(place, None)) for place, number in enumerate(found)]
        if not found:
            return None
        if (leaf := child.selection.value) is not None:
            cell = child.rows[found[0]][child.selection.place(leaf.column)]
            return None if cell is None else leaf.value(cell)
        return self._row(child, found[0], path)

    def _nodes(self, item: NodesItem, batch: Batch, path: Path) -> Any:
        loaded = batch.loaded[item.number]
        if loaded.error is not None:
            raise loaded.error
        if not item.declaration.many:
            return self._node(item, loaded, loaded.ids[0], path)
        found: list[Any] = []
        for number, of_id in enumerate(loaded.ids):
            place = path.add_key(number, None)
            try:
                found.append(self._node(item, loaded, of_id, place))
            except TooLargeError:
                raise
            except _NullError:
                found.append(None)
            except Exception as error:
                self._tell(located_error(error, list(item.nodes), place.as_list()))
                found.append(None)
        return found

    def _node(self, item: NodesItem, loaded: Loaded, of_id: Any, path: Path) -> Any:
        if isinstance(of_id, Exception):
            raise of_id
        type_, uuid = of_id
        child = loaded.children[list(item.declaration.reads).index(type_)]
        if uuid not in child.numbers:
            raise loaded.missing[type_]
        return self._row(child, child.numbers[uuid][0], path)

    def _tell(self, error: GraphQLError) -> None:
        self.errors.append(error)
        if len(self.errors) > MOST_ERRORS:
            raise too_many_errors()

    def _page(self, item: PageItem, batch: Batch, at: int, path: Path) -> Any:
        loaded = batch.loaded[item.number]
        if loaded.error is not None:
            raise loaded.error
        connection, edge = item.type_names
        page, start, stop = loaded.pages[_key(batch, item, at)]

        def node(part: PagePart, number: int, below: Path) -> Any:
            return self._row(loaded.children[part.number], start + number, below)

        def part_of(part: PagePart) -> Any:
            below = path.add_key(part.key, connection)
            numbers = range(stop - start)
            match part.name:
                case "nodes":
                    return [node(part, number, below.add_key(number, None)) for number in numbers]
                case "edges":
                    return [_edge(part, page, number, edge, below.add_key(number, None), node) for number in numbers]
                case "pageInfo":
                    return {inner.key: _info(inner.name, page) for inner in part.parts}
                case "totalCount":
                    return page.total_count
                case _:
                    return connection

        return {part.key: part_of(part) for part in item.parts}


def _key(batch: Batch, item: Loading, at: int) -> Any:
    """The key that a row's item is found by."""
    key_of = batch.selection.keys[item.number]
    return key_of(batch.rows[at]) if key_of else batch.loaded[item.number].key


def _edge(
    part: PagePart, page: Page, number: int, type_name: str, path: Path, node: Callable[..., Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for inner in part.parts:
        match inner.name:
            case "node":
                found[inner.key] = node(inner, number, path.add_key(inner.key, type_name))
            case "cursor":
                found[inner.key] = page.edges[number].cursor
            case _:
                found[inner.key] = type_name
    return found


def _info(name: str, page: Page) -> Any:
    match name:
        case "hasNextPage":
            return page.has_next_page
        case "hasPreviousPage":
            return page.has_previous_page
        case "startCursor":
            return page.start_cursor
        case "endCursor":
            return page.end_cursor
        case _:
            return "PageInfo"
