"""The ways to declare a field of the read model: ``column``, ``edge`` and ``connection``; for the root ``lookup``,
``node`` and ``nodes``.

Each makes a field of a declaration (declarations.py), and the field's class executes it with the operation's
dataloaders. A declared field's type is its annotation.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from functools import cache, cached_property
from typing import Any, cast

from strawberry.types.base import StrawberryContainer, get_object_definition, has_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import LazyType

from app.database import Row
from app.graph.asks import edge_ask, key_of, lookup_ask, missing_node, node_ids, node_of, page_ask
from app.graph.connection import selected
from app.graph.context import Ask, Info, place_of
from app.graph.declarations import (
    Choice,
    Column,
    Connection,
    Declared,
    Edge,
    IntArgument,
    Lookup,
    Nodes,
    Own,
    arguments_of,
    declared,
)
from app.graph.node import NodeRow, encode_id
from app.graph.visibility import ADMIN, PUBLIC, Visibility, check_visible, visibility
from app.paging import AnyColumn
from app.reads import Columns, Read, Shape


def column(
    column: AnyColumn, visible_to: Visibility, description: str, *, is_id: bool = False
) -> Any:  # Any: see `_field`
    """A column, or an expression over the columns, of the type's own row."""
    return _field(ColumnField, Column(column, is_id), visible_to, description)


def edge(
    read: Read | Choice,
    via: AnyColumn | Columns,
    visible_to: Visibility,
    description: str,
    *,
    take: AnyColumn | None = None,
    argument: IntArgument | None = None,
) -> Any:
    """Another row or list of rows, by a key that stands in ``via``. ``take``: one column of that row instead of it."""
    return _field(EdgeField, Edge(read, _tuple(via), take, argument), visible_to, description)


def connection(
    read: Read | Choice,
    visible_to: Visibility,
    description: str,
    via: AnyColumn | Columns = (),
    *,
    where: object = None,
    order_by: object = None,
    search: Read | None = None,
) -> Any:
    """A page of the rows whose key stands in ``via``, or of the whole table."""
    return _field(ConnectionField, Connection(read, _tuple(via), where, order_by, search), visible_to, description)


def lookup(visible_to: Visibility, description: str, **by: Read) -> Any:
    """A row of the root, by exactly one of these arguments. The one called ``id`` takes a global id or a uuid."""
    return _field(LookupField, Lookup(by), visible_to, description)


def own(read: Read, visible_to: Visibility, description: str) -> Any:
    """The row whose key is the viewer's; null for nobody."""
    return _field(OwnField, Own(read), visible_to, description)


def node(reads: Mapping[type, Read], description: str) -> Any:
    """The object with a global id, of any of these types."""
    return _field(NodeField, Nodes(reads, many=False), PUBLIC, description)


def nodes(reads: Mapping[type, Read], description: str) -> Any:
    """The objects with these global ids, of any of these types, in the order of the ids."""
    return _field(NodeField, Nodes(reads, many=True), PUBLIC, description)


def _field(
    kind: "type[ColumnField | LoadedField]", declaration: Declared, visible_to: Visibility, description: str
) -> Any:
    # Any, as strawberry.field() itself has it: to a type checker the class attribute is of the annotated type.
    text = f"{description} For staff only." if visible_to is ADMIN else description
    field = kind(description=text, metadata={"declared": declaration, "visible_to": visible_to})
    field.arguments = arguments_of(declaration)
    return field


def _tuple(via: AnyColumn | Columns) -> Columns:
    return via if isinstance(via, tuple) else (via,)


@cache
def columns_of(type_: type) -> Columns:
    """Every column that the fields of a type show or find others by: what a read selects for it."""
    columns: dict[str, AnyColumn] = {}
    for field in get_object_definition(type_, strict=True).fields:
        match declared(field):
            case Column(column):
                columns[str(column.key)] = column
            case Edge(via=via) | Connection(via=via):
                columns |= {str(column.key): column for column in via}
            case _:
                pass
    return tuple(columns.values())


@cache
def rows_columns(field: StrawberryField) -> Columns:
    """What a read selects for the rows that a field answers with; nothing where it answers with one value of them."""
    type_ = type_of_rows(field)
    return columns_of(type_) if has_object_definition(type_) else ()


@cache
def type_of_rows(field: StrawberryField) -> type:
    """The type whose rows a field answers with: behind lists and nulls, and that of a connection's nodes."""
    found: object = field.type
    while isinstance(found, StrawberryContainer | LazyType):
        found = found.of_type if isinstance(found, StrawberryContainer) else cast("object", found.resolve_type())
    if isinstance(declared(field), Connection):
        of_nodes = get_object_definition(cast("type", found), strict=True).specialized_type_var_map or {}
        return of_nodes["T"]
    return cast("type", found)


class ColumnField(StrawberryField):
    """A field without a resolver: its value is a cell of the row.

    One for staff looks who asks. For the others that was settled with the row.
    """

    @property
    def is_basic_field(self) -> bool:
        return visibility(self) is not ADMIN

    def get_result(self, source: Row, info: Info | None, args: list[Any], kwargs: dict[str, Any]) -> object:
        if info is not None:
            check_visible(ADMIN, info.context.viewer)
        declaration = cast("Column", declared(self))
        value = source[str(declaration.column.key)]
        return encode_id(self._type_name, value) if declaration.is_id else value

    @property
    def _type_name(self) -> str:
        return cast("type", self.origin).__name__  # pyright: ignore[reportUnknownMemberType] -- a class here


class LoadedField(StrawberryField, ABC):
    """A field whose value comes from another statement."""

    @cached_property
    def is_async(self) -> bool:
        return True

    @property
    def is_basic_field(self) -> bool:
        return False

    def get_result(
        self, source: Row, info: Info | None, args: list[Any], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, object]:
        return self._load_if_visible(source, cast("Info", info), kwargs)

    async def _load_if_visible(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        check_visible(self.metadata["visible_to"], info.context.viewer)
        found = await self.load(source, info, arguments)
        info.context.answers_with(len(cast("list[object]", found)) if isinstance(found, list) else 1)
        return cast("object", found)

    @abstractmethod
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        """The value of the field of one row."""


class EdgeField(LoadedField):
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        declaration = cast("Edge", declared(self))
        ask = edge_ask(declaration, rows_columns(self), arguments)
        key = key_of(source, declaration.via)
        is_list = ask.read.shape is Shape.MANY
        if key is None:
            return [] if is_list else None
        rows = await info.context.loaders.rows(place_of(info), ask, key)
        if is_list:
            return rows
        row = rows[0] if rows else None
        return row[str(declaration.take.key)] if row and declaration.take is not None else row


class LookupField(LoadedField):
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        declaration = cast("Lookup", declared(self))
        ask, key = lookup_ask(declaration, type_of_rows(self).__name__, rows_columns(self), arguments)
        rows = await info.context.loaders.rows(place_of(info), ask, key)
        return rows[0] if rows else None


class OwnField(LoadedField):
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        viewer = info.context.viewer.user
        if viewer is None:
            return None
        ask = Ask(cast("Own", declared(self)).read, rows_columns(self))
        rows = await info.context.loaders.rows(place_of(info), ask, viewer)
        return rows[0] if rows else None


class NodeField(LoadedField):
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        declaration = cast("Nodes", declared(self))
        # Each is awaited by graphql-core for itself: one that fails leaves a null and an error at its own place.
        found = [self._find(info, declaration, node_id) for node_id in node_ids(arguments, many=declaration.many)]
        return found if declaration.many else await found[0]

    async def _find(self, info: Info, declaration: Nodes, node_id: str) -> NodeRow:
        type_, uuid = node_of(node_id, declaration.reads)
        ask = Ask(declaration.reads[type_], columns_of(type_))
        rows = await info.context.loaders.rows(place_of(info), ask, uuid)
        if not rows:
            raise missing_node(type_)
        return NodeRow(type_.__name__, rows[0])


class ConnectionField(LoadedField):
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        declaration = cast("Connection", declared(self))
        ask = page_ask(declaration, rows_columns(self), arguments, info.context.services.settings.largest_total)
        key = key_of(source, declaration.via)
        names, place = selected(info), place_of(info)

        async def rows() -> list[Row]:
            if names <= {"totalCount", "__typename"}:
                return []
            return await info.context.loaders.rows(place, ask.rows, key)

        async def total() -> int | None:
            if "totalCount" not in names:
                return None
            [row] = await info.context.loaders.rows(place, ask.total, key)
            return row["total"]

        found, total_count = await asyncio.gather(rows(), total())
        info.context.answers_with(len(found))
        return ask.window.page(found, ask.cursors, total_count)
