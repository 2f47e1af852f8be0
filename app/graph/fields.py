"""The ways to declare a field of the read model: ``column``, ``edge`` and ``connection``; for the root ``lookup``,
``node`` and ``nodes``.

Each makes a field of a declaration (declarations.py), and the field's class executes it with the operation's
dataloaders. A declared field's type is its annotation.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from functools import cache, cached_property, lru_cache
from hashlib import blake2b
from typing import Any, cast

from strawberry.types.base import StrawberryContainer, get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import LazyType
from strawberry.utils.str_converters import to_camel_case

from app.database import Row
from app.errors import BadUserInputError, NotFoundError
from app.graph.connection import LARGEST_PAGE, Window, selected
from app.graph.context import Ask, Info, place_of
from app.graph.declarations import (
    LONGEST_SEARCH,
    Choice,
    Column,
    Connection,
    Declared,
    Edge,
    IntArgument,
    Lookup,
    Nodes,
    arguments_of,
    declared,
)
from app.graph.inputs import filter_of, order_of, storable
from app.graph.node import NodeRow, decode_global_id, decode_id, encode_id
from app.graph.visibility import ADMIN, PUBLIC, Visibility, check_visible, visibility
from app.paging import AnyColumn, Cursors, Order
from app.reads import TOTAL, WHOLE_TABLE, Columns, Read, Shape, counted, narrowed


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


@lru_cache(maxsize=1024)
def _with_cursor(columns: Columns, order: Order) -> Columns:
    """The columns, and those that a cursor is made of."""
    named = {str(column.key): column for column in columns} | {sort.name: sort.column for sort in order}
    return tuple(named.values())


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


def key_of(row: Row, via: Columns) -> object:
    """The key that a row holds in these columns; None if it is not complete."""
    if not via:
        return WHOLE_TABLE
    values = tuple(row[str(column.key)] for column in via)
    if None in values:
        return None
    return values[0] if len(values) == 1 else values


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
        return await self.load(source, info, arguments)

    @abstractmethod
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        """The value of the field of one row."""


class EdgeField(LoadedField):
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        declaration = cast("Edge", declared(self))
        read = _chosen(declaration.read, arguments)
        key = key_of(source, declaration.via)
        if key is None:
            return [] if read.shape is Shape.MANY else None
        columns = (declaration.take,) if declaration.take is not None else columns_of(type_of_rows(self))
        rows = await info.context.loaders.rows(
            place_of(info), Ask(read, columns, _parameters(declaration, arguments)), key
        )
        if read.shape is Shape.MANY:
            return rows
        row = rows[0] if rows else None
        return row[str(declaration.take.key)] if row and declaration.take is not None else row


class LookupField(LoadedField):
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        declaration = cast("Lookup", declared(self))
        given = {name: value for name, value in arguments.items() if value is not None}
        if len(given) != 1:
            raise BadUserInputError(f"Give exactly one of {' and '.join(declaration.by)}.")
        [(name, value)] = given.items()
        type_ = type_of_rows(self)
        value = decode_id(value, type_.__name__) if name == "id" else storable(value, name)
        rows = await info.context.loaders.rows(place_of(info), Ask(declaration.by[name], columns_of(type_)), value)
        return rows[0] if rows else None


class NodeField(LoadedField):
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        declaration = cast("Nodes", declared(self))
        if not declaration.many:
            return await self._find(info, declaration, arguments["id"])
        if len(arguments["ids"]) > LARGEST_PAGE:
            raise BadUserInputError(f"ids takes up to {LARGEST_PAGE}.")
        # Each is awaited by graphql-core for itself: one that fails leaves a null and an error at its own place.
        return [self._find(info, declaration, node_id) for node_id in arguments["ids"]]

    async def _find(self, info: Info, declaration: Nodes, node_id: str) -> NodeRow:
        named, uuid = decode_global_id(node_id) or ("", "")
        type_ = next((type_ for type_ in declaration.reads if type_.__name__ == named), None)
        if type_ is None:
            raise BadUserInputError("This is no global id: pass what a field called id returned.")
        ask = Ask(declaration.reads[type_], columns_of(type_))
        rows = await info.context.loaders.rows(place_of(info), ask, uuid)
        if not rows:
            raise NotFoundError(f"There is no {named} with this id.")
        return NodeRow(named, rows[0])


class ConnectionField(LoadedField):
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        declaration = cast("Connection", declared(self))
        text = _search_of(arguments)
        read = declaration.search if text and declaration.search else _chosen(declaration.read, arguments)
        where, values = filter_of(arguments.get("where"))
        order = order_of(arguments.get("order_by"), read.order)
        # An order by rank is another one for each text.
        cursors = Cursors(order, _digest(text) if text and order == read.order else "")
        window = Window.asked(arguments, cursors)
        if text:
            values["search"] = text
        read = narrowed(read, where, order, by_key=text is None)
        key = key_of(source, declaration.via)
        names, place = selected(info), place_of(info)

        async def rows() -> list[Row]:
            if names <= {"totalCount", "__typename"}:
                return []
            columns = _with_cursor(columns_of(type_of_rows(self)), order)
            ask = Ask(read, columns, tuple((values | window.parameters(cursors)).items()), window.slice_)
            return await info.context.loaders.rows(place, ask, key)

        async def total() -> int | None:
            if "totalCount" not in names:
                return None
            ask = Ask(counted(read, info.context.services.settings.largest_total), (TOTAL,), tuple(values.items()))
            [row] = await info.context.loaders.rows(place, ask, key)
            return row["total"]

        found, total_count = await asyncio.gather(rows(), total())
        return window.page(found, cursors, total_count)


def _search_of(arguments: Mapping[str, Any]) -> str | None:
    """The text to look for; a blank one, as an empty box on a page sends it, is none."""
    text = storable(arguments.get("search") or "", "search").strip()
    if len(text) > LONGEST_SEARCH:
        raise BadUserInputError(f"search takes up to {LONGEST_SEARCH} characters.")
    return text or None


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _chosen(read: Read | Choice, arguments: Mapping[str, Any]) -> Read:
    if isinstance(read, Read):
        return read
    value = arguments.get(read.argument)
    return read.yes if (read.default if value is None else value) else read.no


def _parameters(declaration: Edge, arguments: Mapping[str, Any]) -> tuple[tuple[str, object], ...]:
    argument = declaration.argument
    if argument is None:
        return ()
    value = arguments.get(argument.name)
    if value is not None and value < argument.least:
        raise BadUserInputError(f"{to_camel_case(argument.name)} must be at least {argument.least}.")
    return ((argument.name, value),)
