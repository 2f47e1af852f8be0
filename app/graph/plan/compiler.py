"""From a validated operation to a plan; or to none, where the operation is more than rows, edges and pages."""

# graphql-core leaves the type parameters of its own types open.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    Node,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_non_null_type,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues, get_argument_values
from graphql.language.ast import QUERY_DOCUMENT_KEYS
from strawberry import Schema
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from app.graph.asks import edge_ask, lookup_ask, node_ids, page_ask
from app.graph.context import Ask
from app.graph.declarations import Column, Connection, Edge, Lookup, Nodes, Own, declared
from app.graph.fields import columns_of, type_of_rows
from app.graph.plan.leaves import DeclinedError, column_leaf, value_leaf
from app.graph.plan.selection import (
    Asking,
    EdgeItem,
    Item,
    Leaf,
    Loading,
    NodesItem,
    PageItem,
    PagePart,
    Selection,
    Typename,
)
from app.paging import AnyColumn
from app.reads import Columns, Read

Grouped = dict[str, list[FieldDetails]]
Arguments = Mapping[str, Any]
Asked = TypeVar("Asked")


def compiled(
    strawberry: Schema,
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: dict[str, FragmentDetails],
    variable_values: VariableValues,
    largest_total: int,
) -> Selection | None:
    """The plan of a valid operation, as a selection of the root; None where it is to be run by resolvers.

    It is good for all values of the variables that no ``@skip`` and no ``@include`` depends on.
    """
    if operation.operation is not OperationType.QUERY or schema.query_type is None:
        return None
    compiler = _Compiler(strawberry, schema, operation, fragments, variable_values, largest_total)
    try:
        fields = collect_fields(schema, fragments, variable_values, schema.query_type, operation).grouped_field_set
        return compiler.selection(schema.query_type, fields)
    except (DeclinedError, GraphQLError):  # the latter of a condition that is null
        return None


@dataclass(frozen=True)
class _Field:
    """A field of the answer while it is compiled."""

    key: str
    details: list[FieldDetails]
    parent: GraphQLObjectType
    definition: GraphQLField
    made_from: StrawberryField
    number: int
    """Which of the parent's fields that take a statement it is, if it is one."""

    @property
    def common(self) -> dict[str, Any]:
        """What every item is told."""
        return {
            "key": self.key,
            "nodes": tuple(detail.node for detail in self.details),
            "type_name": self.parent.name,
            "is_required": is_non_null_type(self.definition.type),
        }

    @property
    def loading(self) -> dict[str, Any]:
        """What every item that takes a statement is told."""
        return {**self.common, "visible_to": self.made_from.metadata["visible_to"], "number": self.number}


@dataclass(frozen=True)
class _Compiler:
    strawberry: Schema
    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDetails]
    variable_values: VariableValues
    largest_total: int

    def selection(
        self,
        type_: GraphQLObjectType,
        fields: Grouped,
        *,
        of: type | None = None,
        width: int = 0,
        equals: AnyColumn | None = None,
    ) -> Selection:
        """A selection of rows that the read model has as the class ``of``; without one, of the root."""
        items: list[Item] = []
        needed: dict[str, AnyColumn] = {}
        number = 0
        for key, details in fields.items():
            name = details[0].node.name.value
            if name == "__typename":
                nodes = tuple(detail.node for detail in details)
                items.append(Typename(key, nodes, type_.name, is_required=True))
                continue
            definition = type_.fields.get(name)
            made_from = definition.extensions.get("strawberry-definition") if definition else None
            if definition is None or not isinstance(made_from, StrawberryField):
                raise DeclinedError
            item = self._item(_Field(key, details, type_, definition, made_from, number))
            items.append(item)
            if isinstance(item, Loading):
                number += 1
                needed |= {str(column.key): column for column in item.via}
            elif isinstance(item, Leaf):
                needed[str(item.column.key)] = item.column
        if equals is not None:
            needed.pop(str(equals.key), None)
        elif of is not None and not needed:  # a row has a cell of its own
            needed = {str(column.key): column for column in columns_of(of)[:1]}
        return Selection(type_.name, tuple(items), width, equals, tuple(needed.values()))

    def _item(self, field: _Field) -> Item:
        match declared(field.made_from):
            case Column() as declaration:
                return column_leaf(field.common, field.definition.type, field.made_from, declaration)
            case Edge() as declaration:
                child = self._edge_child(field, declaration)
                columns = child.columns
                return self._edge(
                    field, child, declaration.via, lambda given: (edge_ask(declaration, columns, given), None)
                )
            case Lookup() as declaration:
                child = self._below(field, get_named_type(field.definition.type), 1)
                columns, name = child.columns, type_of_rows(field.made_from).__name__
                return self._edge(field, child, (), lambda given: lookup_ask(declaration, name, columns, given))
            case Own() as declaration:
                child = self._below(field, get_named_type(field.definition.type), 1)
                ask = Ask(declaration.read, child.columns)
                return self._edge(field, child, (), lambda _: (ask, None))
            case Connection() as declaration:
                return self._page(field, declaration)
            case Nodes() as declaration:
                return self._nodes(field, declaration)
            case _:
                raise DeclinedError

    def _edge_child(self, field: _Field, declaration: Edge) -> Selection:
        if declaration.take is None:
            equals = declaration.read.equals if isinstance(declaration.read, Read) else None
            return self._below(field, get_named_type(field.definition.type), 1, equals)
        leaf = value_leaf(field.common, field.definition.type, declaration.take)
        return Selection("", (), 1, None, (declaration.take,), value=leaf)

    def _edge(
        self, field: _Field, child: Selection, via: Columns, ask: Callable[[Arguments], tuple[Ask, object]]
    ) -> EdgeItem:
        return EdgeItem(
            **field.loading,
            via=via,
            children=(child,),
            asking=self._asking(field, ask),
            is_list=is_list_type(get_nullable_type(field.definition.type)),
        )

    def _nodes(self, field: _Field, declaration: Nodes) -> NodesItem:
        children: list[Selection] = []
        for of_type, read in declaration.reads.items():
            type_ = self.schema.type_map[of_type.__name__]
            if not isinstance(type_, GraphQLObjectType):
                raise DeclinedError
            children.append(
                self.selection(type_, self._subfields(type_, field.details), of=of_type, width=1, equals=read.equals)
            )
        asking = self._asking(field, lambda given: node_ids(given, many=declaration.many))
        return NodesItem(**field.loading, via=(), children=tuple(children), asking=asking, declaration=declaration)

    def _below(self, field: _Field, type_: object, width: int, equals: AnyColumn | None = None) -> Selection:
        if not isinstance(type_, GraphQLObjectType):
            raise DeclinedError
        return self.selection(
            type_, self._subfields(type_, field.details), of=type_of_rows(field.made_from), width=width, equals=equals
        )

    def _subfields(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> Grouped:
        return collect_subfields(
            self.schema, self.fragments, self.variable_values, self.operation, type_, details
        ).grouped_field_set

    def _page(self, field: _Field, declaration: Connection) -> PageItem:
        type_ = get_named_type(field.definition.type)
        if not isinstance(type_, GraphQLObjectType):
            raise DeclinedError
        found: list[Selection] = []
        parts = tuple(self._parts(type_, field, 1 if declaration.via else 0, found))
        names = {part.name for part in parts}
        with_cursors = any(inner.name in _CURSORS for part in parts for inner in part.parts)
        # All places read the same rows, so that a row has the cells of all of them.
        of_all = {str(column.key): column for child in found for column in child.columns}
        columns = tuple(of_all.values()) or columns_of(type_of_rows(field.made_from))[:1]
        return PageItem(
            **field.loading,
            via=declaration.via,
            children=tuple(replace(child, columns=columns, more=with_cursors) for child in found),
            asking=self._asking(
                field,
                lambda given: page_ask(declaration, columns, given, self.largest_total, with_cursors=with_cursors),
            ),
            parts=parts,
            wants_rows=not names <= {"totalCount", "__typename"},
            wants_total="totalCount" in names,
            type_names=(type_.name, type_.name.removesuffix("Connection") + "Edge"),
        )

    def _parts(self, type_: GraphQLObjectType, field: _Field, width: int, found: list[Selection]) -> Iterable[PagePart]:
        for key, inner in self._subfields(type_, field.details).items():
            name = inner[0].node.name.value
            target = get_named_type(type_.fields[name].type) if name in type_.fields else None
            below = replace(field, details=inner)
            if name in ("nodes", "node"):
                found.append(self._below(below, target, width))
                yield PagePart(key, name, number=len(found) - 1)
            elif isinstance(target, GraphQLObjectType):
                yield PagePart(key, name, tuple(self._parts(target, below, width, found)))
            else:
                yield PagePart(key, name)

    def _asking(self, field: _Field, ask: Callable[[Arguments], Asked]) -> Asking[Asked]:
        """What an item asks, from the arguments of its field as a resolver would get them."""
        node, definition = field.details[0].node, field.definition
        converter, config = self.strawberry.schema_converter, self.strawberry.config

        def work_out(variable_values: VariableValues) -> Asked:
            if not definition.args:
                return ask({})
            values = get_argument_values(definition, node, variable_values)
            return ask(convert_arguments(values, field.made_from.arguments, converter.scalar_registry, config))

        return Asking(work_out, varies=any(map(_has_variable, node.arguments or ())))


_CURSORS = ("startCursor", "endCursor", "cursor")


def _has_variable(node: Node) -> bool:
    if isinstance(node, VariableNode):
        return True
    below = (getattr(node, key) for key in QUERY_DOCUMENT_KEYS.get(node.kind, ()))
    return any(
        _has_variable(each) for found in below for each in ((found,) if isinstance(found, Node) else found or ())
    )
