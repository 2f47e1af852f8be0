"""The ways to declare a field of the read model: ``column``, ``edge`` and ``connection``; ``lookup`` for the root.

A declaration is data: which column of the type's own row, or which read by which key, answers the field. It stands in
the field's ``metadata["declared"]``, where any executor finds it. The field classes here execute it with the
operation's dataloaders. A declared field's type is its annotation.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

import strawberry
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import StrawberryContainer, get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import LazyType
from strawberry.utils.str_converters import to_camel_case

from app.database import Row
from app.errors import BadUserInputError
from app.graph.connection import Page, selected
from app.graph.context import Ask, Info, place_of
from app.graph.node import decode_id, encode_id
from app.paging import AnyColumn, decode_cursor
from app.reads import TOTAL, WHOLE_TABLE, Columns, Read, Shape, Slice, counted

DEFAULT_PAGE = 20
LARGEST_PAGE = 100


@dataclass(frozen=True)
class Column:
    """A value of the type's own row. ``is_id``: the row's key, shown as a global id."""

    column: AnyColumn
    is_id: bool = False


@dataclass(frozen=True)
class Choice:
    """A boolean argument that decides between two reads of the same shape."""

    argument: str
    default: bool
    description: str
    yes: Read
    no: Read


@dataclass(frozen=True)
class IntArgument:
    """An argument that is a parameter of the read; NULL where it is not given."""

    name: str
    least: int
    description: str


@dataclass(frozen=True)
class Edge:
    """Another row, or a list of rows, or one value of another row (``take``), found by columns of one's own row."""

    read: Read | Choice
    via: Columns
    take: AnyColumn | None = None
    argument: IntArgument | None = None


@dataclass(frozen=True)
class Connection:
    """A page of the rows found by columns of one's own row; of all rows where ``via`` is empty."""

    read: Read | Choice
    via: Columns


@dataclass(frozen=True)
class Lookup:
    """A row found by an argument of the root: exactly one of these, each with the read that it is the key of."""

    by: Mapping[str, Read]


Declared = Column | Edge | Connection | Lookup


def column(column: AnyColumn, description: str, *, is_id: bool = False) -> Any:  # Any: see `_field`
    """A column, or an expression over the columns, of the type's own row."""
    return _field(ColumnField, Column(column, is_id), description)


def edge(
    read: Read | Choice,
    via: AnyColumn | Columns,
    description: str,
    *,
    take: AnyColumn | None = None,
    argument: IntArgument | None = None,
) -> Any:
    """Another row or list of rows, by a key that stands in ``via``. ``take``: one column of that row instead of it."""
    return _field(EdgeField, Edge(read, _tuple(via), take, argument), description)


def connection(read: Read | Choice, description: str, via: AnyColumn | Columns = ()) -> Any:
    """A page of the rows whose key stands in ``via``, or of the whole table."""
    return _field(ConnectionField, Connection(read, _tuple(via)), description)


def lookup(description: str, **by: Read) -> Any:
    """A row of the root, by exactly one of these arguments. The one called ``id`` takes a global id or a uuid."""
    return _field(LookupField, Lookup(by), description)


def declared(field: StrawberryField) -> Declared | None:
    """The declaration of a field; None for an ordinary one."""
    return field.metadata.get("declared")


def _field(kind: "type[ColumnField | LoadedField]", declaration: Declared, description: str) -> Any:
    # Any, as strawberry.field() itself has it: to a type checker the class attribute is of the annotated type.
    field = kind(description=description, metadata={"declared": declaration})
    field.arguments = _arguments(declaration)
    return field


def _tuple(via: AnyColumn | Columns) -> Columns:
    return via if isinstance(via, tuple) else (via,)


def _arguments(declaration: Declared) -> list[StrawberryArgument]:
    arguments: list[StrawberryArgument] = []
    if isinstance(declaration, Connection):
        arguments += [
            _argument("first", int, f"How many objects, 1 to {LARGEST_PAGE}; {DEFAULT_PAGE} if not given."),
            _argument("after", str, "Go on behind this cursor of the same list."),
        ]
    if isinstance(declaration, Edge | Connection) and isinstance(choice := declaration.read, Choice):
        arguments.append(_argument(choice.argument, bool, choice.description, default=choice.default))
    if isinstance(declaration, Edge) and declaration.argument:
        arguments.append(_argument(declaration.argument.name, int, declaration.argument.description))
    if isinstance(declaration, Lookup):
        for name in declaration.by:
            kind, text = (strawberry.ID, "An id or a UUID.") if name == "id" else (str, f"The {name}, whole.")
            arguments.append(_argument(name, kind, text, required=len(declaration.by) == 1))
    return arguments


def _argument(
    name: str, type_: object, description: str, *, default: object = strawberry.UNSET, required: bool = False
) -> StrawberryArgument:
    annotation = StrawberryAnnotation(type_ if required else cast("Any", type_) | None)
    return StrawberryArgument(name, None, annotation, default=default, description=description)


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
def _with_cursor(columns: Columns, read: Read) -> Columns:
    """The columns, and those that a cursor is made of."""
    named = {str(column.key): column for column in columns} | {sort.name: sort.column for sort in read.order}
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
    """A field without a resolver: its value is a cell of the row."""

    def get_result(self, source: Row, info: Info | None, args: list[Any], kwargs: dict[str, Any]) -> object:
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
        return self.load(source, cast("Info", info), kwargs)

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
        value = decode_id(value, type_.__name__) if name == "id" else _storable(name, value)
        rows = await info.context.loaders.rows(place_of(info), Ask(declaration.by[name], columns_of(type_)), value)
        return rows[0] if rows else None


class ConnectionField(LoadedField):
    async def load(self, source: Row, info: Info, arguments: dict[str, Any]) -> object:
        declaration = cast("Connection", declared(self))
        read = _chosen(declaration.read, arguments)
        size, after = _page_size(arguments), arguments.get("after")
        position = decode_cursor(read.order, after) if after is not None else {}
        key = key_of(source, declaration.via)
        names, place = selected(info), place_of(info)

        async def rows() -> list[Row]:
            if names <= {"totalCount", "__typename"}:
                return []
            slice_ = Slice(size + 1, after is not None)  # one more tells whether there is a next page
            ask = Ask(read, _with_cursor(columns_of(type_of_rows(self)), read), tuple(position.items()), slice_)
            return await info.context.loaders.rows(place, ask, key)

        async def total() -> int | None:
            if "totalCount" not in names:
                return None
            [row] = await info.context.loaders.rows(place, Ask(counted(read), (TOTAL,)), key)
            return row["total"]

        found, total_count = await asyncio.gather(rows(), total())
        return Page(found[:size], read.order, len(found) > size, after is not None, total_count)


def _storable(name: str, text: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BadUserInputError(f"{name} has a character that no text can have.")
    return text


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


def _page_size(arguments: Mapping[str, Any]) -> int:
    first = arguments.get("first")
    if first is None:
        return DEFAULT_PAGE
    if not 1 <= first <= LARGEST_PAGE:
        raise BadUserInputError(f"first must be from 1 to {LARGEST_PAGE}.")
    return first
