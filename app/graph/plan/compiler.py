"""From a validated operation to a plan; or to none, where the operation is more than rows, edges and pages."""

# graphql-core leaves the type parameters of its own types open.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

import json
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from json.encoder import encode_basestring
from typing import Any, cast

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues
from strawberry.types.field import StrawberryField

from app.graph.declarations import Column, Connection, Edge, Lookup, Nodes, Own, declared
from app.graph.fields import columns_of, type_of_rows
from app.graph.node import encode_id
from app.graph.plan.selection import EdgeItem, Item, Leaf, NodesItem, PageItem, PagePart, Selection, Typename
from app.graph.visibility import ADMIN, visibility
from app.paging import AnyColumn

ToOther = Edge | Lookup | Own
Grouped = dict[str, list[FieldDetails]]
_PLAIN = frozenset({"UUID", "Decimal"})
"""Scalars whose cells are text that is its own JSON between quotes."""


class DeclinedError(Exception):
    """The operation has a field that is neither a column, an edge nor a connection: resolvers run it."""


def compiled(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: dict[str, FragmentDetails],
    variable_values: VariableValues,
) -> Selection | None:
    """The plan of a valid operation, as a selection of the root; None where it is to be run by resolvers.

    It is good for all values of the variables that no ``@skip`` and no ``@include`` depends on.
    """
    if operation.operation is not OperationType.QUERY or schema.query_type is None:
        return None
    compiler = _Compiler(schema, operation, fragments, variable_values)
    fields = collect_fields(schema, fragments, variable_values, schema.query_type, operation).grouped_field_set
    try:
        return compiler.selection(schema.query_type, fields, ())
    except DeclinedError:
        return None


class _Compiler:
    def __init__(
        self,
        schema: GraphQLSchema,
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDetails],
        variable_values: VariableValues,
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._fragments = fragments
        self._variable_values = variable_values

    def selection(self, type_: GraphQLObjectType, fields: Grouped, columns: Any) -> Selection:
        items: list[Item] = []
        numbers = iter(range(len(fields)))
        for key, details in fields.items():
            nodes = tuple(detail.node for detail in details)
            if nodes[0].name.value == "__typename":
                items.append(Typename(key, nodes, type_.name, None, is_required=True))
                continue
            definition = type_.fields.get(nodes[0].name.value)
            field = definition.extensions.get("strawberry-definition") if definition else None
            if definition is None or not isinstance(field, StrawberryField):
                raise DeclinedError
            common = (key, nodes, type_.name, definition, is_non_null_type(definition.type))
            match declared(field):
                case Column() as declaration:
                    items.append(_leaf(common, definition.type, field, declaration))
                case Edge() | Lookup() | Own() as declaration:
                    items.append(self._edge(common, details, field, declaration, next(numbers)))
                case Connection() as declaration:
                    items.append(self._page(common, details, field, declaration, next(numbers)))
                case Nodes() as declaration:
                    items.append(self._nodes(common, details, field, declaration, next(numbers)))
                case _:
                    raise DeclinedError
        return Selection(type_.name, columns, tuple(items))

    def _edge(
        self,
        common: Any,
        details: list[FieldDetails],
        field: StrawberryField,
        declaration: Edge | Lookup | Own,
        number: int,
    ) -> EdgeItem:
        definition: GraphQLField = common[3]
        type_ = get_nullable_type(definition.type)
        if isinstance(declaration, Edge) and declaration.take is not None:
            leaf = _leaf_of(common, definition.type, declaration.take, is_id=False, for_staff=False)
            child = Selection("", (declaration.take,), (), leaf)
        else:
            child = self._below(details, get_named_type(definition.type), field)
        return EdgeItem(
            *common, field=field, declaration=declaration, is_list=is_list_type(type_), number=number, child=child
        )

    def _nodes(
        self, common: Any, details: list[FieldDetails], field: StrawberryField, declaration: Nodes, number: int
    ) -> NodesItem:
        children: list[Selection] = []
        for of_type in declaration.reads:
            type_ = self._schema.type_map[of_type.__name__]
            if not isinstance(type_, GraphQLObjectType):
                raise DeclinedError
            children.append(self.selection(type_, self._subfields(type_, details), columns_of(of_type)))
        return NodesItem(*common, field=field, declaration=declaration, number=number, children=tuple(children))

    def _below(self, details: list[FieldDetails], type_: object, field: StrawberryField) -> Selection:
        if not isinstance(type_, GraphQLObjectType):
            raise DeclinedError
        rows = type_of_rows(field)
        return self.selection(type_, self._subfields(type_, details), columns_of(rows))

    def _subfields(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> Grouped:
        return collect_subfields(
            self._schema, self._fragments, self._variable_values, self._operation, type_, details
        ).grouped_field_set

    def _page(
        self, common: Any, details: list[FieldDetails], field: StrawberryField, declaration: Connection, number: int
    ) -> PageItem:
        type_ = get_named_type(common[3].type)
        if not isinstance(type_, GraphQLObjectType):
            raise DeclinedError
        selections: list[Selection] = []
        parts = tuple(self._parts(type_, details, field, selections))
        names = {part.name for part in parts}
        return PageItem(
            *common,
            field=field,
            declaration=declaration,
            number=number,
            parts=parts,
            children=tuple(selections),
            wants_rows=not names <= {"totalCount", "__typename"},
            wants_total="totalCount" in names,
            type_names=(type_.name, type_.name.removesuffix("Connection") + "Edge"),
        )

    def _parts(
        self, type_: GraphQLObjectType, details: list[FieldDetails], field: StrawberryField, found: list[Selection]
    ) -> Iterable[PagePart]:
        for key, inner in self._subfields(type_, details).items():
            name = inner[0].node.name.value
            target = get_named_type(type_.fields[name].type) if name in type_.fields else None
            if name in ("nodes", "node"):
                selection = self._below(inner, target, field)
                found.append(selection)
                yield PagePart(key, name, nodes=selection, number=len(found) - 1)
            elif isinstance(target, GraphQLObjectType):
                yield PagePart(key, name, tuple(self._parts(target, inner, field, found)))
            else:
                yield PagePart(key, name)


def _leaf(common: Any, type_: GraphQLOutputType, field: StrawberryField, declaration: Column) -> Leaf:
    for_staff = visibility(field) is ADMIN
    return _leaf_of(common, type_, declaration.column, is_id=declaration.is_id, for_staff=for_staff)


def _leaf_of(common: Any, type_: GraphQLOutputType, column: AnyColumn, *, is_id: bool, for_staff: bool) -> Leaf:
    named = get_named_type(type_)
    if not is_leaf_type(named):
        raise DeclinedError
    if is_id:
        value: Callable[[Any], Any] = partial(encode_id, common[2])
        text = _id_text(common[2])
    else:
        value = named.serialize
        if not isinstance(named, GraphQLEnumType) and named.name not in _TEXTS:
            raise DeclinedError
        text = _enum_text(named) if isinstance(named, GraphQLEnumType) else _TEXTS[named.name]
    never_null = getattr(getattr(column, "expression", column), "nullable", True) is False
    return Leaf(
        *common,
        cell=str(column.key),
        value=value,
        text=text,
        is_plain=named.name in _PLAIN and never_null and not for_staff,
        for_staff=for_staff,
    )


def _id_text(type_name: str) -> Callable[[Any], str]:
    """As ``encode_id``. Of letters, digits, colons and hyphens Base64 makes neither ``+`` nor ``/``."""
    prefix = f"{type_name}:".encode()

    def text(cell: str) -> str:
        return f'"{b2a_base64(prefix + cell.encode(), newline=False).decode()}"'

    return text


def _enum_text(type_: GraphQLEnumType) -> Callable[[Any], str]:
    known: dict[Any, str] = {}

    def text(cell: Any) -> str:
        if cell not in known:
            known[cell] = json.dumps(type_.serialize(cell))
        return known[cell]

    return text


def _int_text(cell: Any) -> str:
    if type(cell) is int and -(2**31) <= cell < 2**31:
        return str(cell)
    raise ValueError


_TEXTS: dict[str, Callable[[Any], str]] = {
    "UUID": lambda cell: f'"{cell}"',
    "Decimal": lambda cell: f'"{cell}"',
    "String": encode_basestring,
    "Boolean": lambda cell: "true" if cell else "false",
    "DateTime": lambda cell: f'"{cast("datetime", cell).isoformat()}"',
    "Int": _int_text,
}
