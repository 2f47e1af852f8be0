"""From a validated operation to a plan; or to none, where the operation is more than rows, edges and pages."""

# graphql-core leaves the type parameters of its own types open.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from graphql import (
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    Node,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
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
from app.graph.plan.being_compiled import Field, RowsRead, Seen
from app.graph.plan.leaves import DeclinedError, column_leaf, value_leaf
from app.graph.plan.selection import (
    Asking,
    EdgeItem,
    Item,
    JoinedItem,
    Leaf,
    Loading,
    NodesItem,
    PageItem,
    PagePart,
    Selection,
    Typename,
)
from app.graph.visibility import PUBLIC
from app.joins import Join, beside, can_join, can_list, joined, key_column
from app.paging import AnyColumn
from app.reads import Columns, Read
from app.statements import list_of

MOST_JOINS = 4
"""Of one statement: what comes beside a row is sent with each, and the rest has statements of its own."""

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
    *,
    joins: bool = True,
) -> Selection | None:
    """The plan of a valid operation, as a selection of the root; None where it is to be run by resolvers.

    ``joins``: whether rows of the same database may come beside others, or each edge has its own statement.

    It is good for all values of the variables that no ``@skip`` and no ``@include`` depends on.
    """
    if operation.operation is not OperationType.QUERY or schema.query_type is None:
        return None
    compiler = _Compiler(strawberry, schema, operation, fragments, variable_values, largest_total, joins)
    try:
        fields = collect_fields(schema, fragments, variable_values, schema.query_type, operation).grouped_field_set
        return compiler.selection(schema.query_type, fields, RowsRead(joinable=()))
    except (DeclinedError, GraphQLError):  # the latter of a condition that is null
        return None


@dataclass(frozen=True)
class _Compiler:
    strawberry: Schema
    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDetails]
    variable_values: VariableValues
    largest_total: int
    joins: bool

    def selection(self, type_: GraphQLObjectType, fields: Grouped, rows: RowsRead, width: int = 0) -> Selection:
        """A selection of rows; ``width`` as it has it."""
        items = self._items(type_, fields, rows, _as_it_is)
        if rows.equals is not None:
            rows.columns.pop(str(rows.equals.key), None)
        elif rows.of is not None and not rows.columns:  # a row has a cell of its own
            rows.need(columns_of(rows.of)[0])
        columns, joins, lists = tuple(rows.columns.values()), tuple(rows.joins), tuple(rows.lists)
        return Selection(type_.name, items, width, rows.equals, columns, joins, lists, more=bool(lists))

    def _items(self, type_: GraphQLObjectType, fields: Grouped, rows: RowsRead, seen: Seen) -> tuple[Item, ...]:
        items: list[Item] = []
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
            item = self._item(Field(key, details, type_, definition, made_from, rows, seen))
            items.append(item)
            match item:
                case Loading():
                    rows.need(*item.via)
                case Leaf():
                    rows.need(item.column)
                case JoinedItem():
                    rows.need(item.key_column)
                case _:
                    pass
        return tuple(items)

    def _item(self, field: Field) -> Item:
        match declared(field.made_from):
            case Column(column, is_id):
                column = field.seen(column)
                return column_leaf(field.common, field.definition.type, field.made_from, Column(column, is_id))
            case Edge() as declaration:
                return self._joined(field, declaration) or self._edge(field, declaration)
            case Lookup() as declaration:
                child = self._below(field, RowsRead(tuple(declaration.by.values())))
                by = {name: joined(read, child.joins) for name, read in declaration.by.items()}
                name = type_of_rows(field.made_from).__name__
                return self._edge_item(
                    field, child, (), lambda given: lookup_ask(Lookup(by), name, child.columns, given, child.lists)
                )
            case Own(read):
                child = self._below(field, RowsRead((read,)))
                ask = Ask(joined(read, child.joins), child.columns, lists=child.lists)
                return self._edge_item(field, child, (), lambda _: (ask, None))
            case Connection() as declaration:
                return self._page(field, declaration)
            case Nodes() as declaration:
                return self._nodes(field, declaration)
            case _:
                raise DeclinedError

    def _joined(self, field: Field, declaration: Edge) -> JoinedItem | None:
        """The item of an edge to a row that can come beside; None if it cannot."""
        read, rows = declaration.read, field.rows
        type_ = get_named_type(field.definition.type)
        if (
            not self.joins
            or not rows.joinable
            or not isinstance(read, Read)
            or not isinstance(type_, GraphQLObjectType)
            or not can_join(rows.joinable, read)
            or field.made_from.metadata["visible_to"] is not PUBLIC
        ):
            return None
        [via] = field.via(declaration.via)
        known = next((join for join in rows.joins if join.via is via and join.other is read), None)
        if known is None and len(rows.joins) == MOST_JOINS:
            return None
        join = known or Join(via, read, f"j{len(rows.joins)}_")
        rows.joins[join] = None
        items = self._items(type_, self._subfields(type_, field.details), rows, partial(beside, join))
        return JoinedItem(**field.common, items=items, key_column=beside(join, key_column(read)))

    def _edge(self, field: Field, declaration: Edge) -> EdgeItem:
        read = declaration.read
        if declaration.take is not None:
            leaf = value_leaf(field.common, field.definition.type, declaration.take)
            child = Selection("", (), 1, None, (leaf.column,), value=leaf)
            declaration = replace(declaration, take=leaf.column)
        elif isinstance(read, Read):
            child = self._below(field, RowsRead((read,), read.equals))
            declaration = replace(declaration, read=joined(read, child.joins))
        else:
            child = self._below(field, RowsRead(()))
        item = self._edge_item(
            field,
            child,
            field.via(declaration.via),
            lambda given: (edge_ask(declaration, child.columns, given, child.lists), None),
        )
        return self._along(field, declaration, item)

    def _along(self, field: Field, declaration: Edge, item: EdgeItem) -> EdgeItem:
        """The item of an edge whose rows can come along with the row; or as it is, if they cannot."""
        read, rows = declaration.read, field.rows
        if (
            not self.joins
            or not isinstance(read, Read)
            or declaration.argument is not None
            or field.made_from.metadata["visible_to"] is not PUBLIC
            or not can_list(rows.joinable, read)
        ):
            return item
        [via] = item.via
        rows.lists.append(list_of(read, via, item.child.columns, f"l{len(rows.lists)}"))
        return replace(item, along=len(rows.lists) - 1)

    def _edge_item(
        self, field: Field, child: Selection, via: Columns, ask: Callable[[Arguments], tuple[Ask, object]]
    ) -> EdgeItem:
        return EdgeItem(
            **field.loading(),
            via=via,
            children=(child,),
            asking=self._asking(field, ask),
            is_list=is_list_type(get_nullable_type(field.definition.type)),
        )

    def _nodes(self, field: Field, declaration: Nodes) -> NodesItem:
        children: list[Selection] = []
        reads: dict[type, Read] = {}
        for of_type, read in declaration.reads.items():
            type_ = self.schema.type_map[of_type.__name__]
            if not isinstance(type_, GraphQLObjectType):
                raise DeclinedError
            fields = self._subfields(type_, field.details)
            children.append(self.selection(type_, fields, RowsRead((read,), read.equals, of_type), 1))
            reads[of_type] = joined(read, children[-1].joins)
        asking = self._asking(field, lambda given: node_ids(given, many=declaration.many))
        return NodesItem(
            **field.loading(),
            via=(),
            children=tuple(children),
            asking=asking,
            declaration=Nodes(reads, declaration.many),
        )

    def _below(self, field: Field, rows: RowsRead, width: int = 1) -> Selection:
        """What is asked of the rows of an edge or of a page."""
        type_ = get_named_type(field.definition.type)
        if not isinstance(type_, GraphQLObjectType):
            raise DeclinedError
        rows.of = type_of_rows(field.made_from)
        return self.selection(type_, self._subfields(type_, field.details), rows, width)

    def _subfields(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> Grouped:
        return collect_subfields(
            self.schema, self.fragments, self.variable_values, self.operation, type_, details
        ).grouped_field_set

    def _page(self, field: Field, declaration: Connection) -> PageItem:
        type_ = get_named_type(field.definition.type)
        if not isinstance(type_, GraphQLObjectType):
            raise DeclinedError
        # All places read the same rows, so that a row has the cells of all of them.
        rows = RowsRead(_reads_of(declaration), of=type_of_rows(field.made_from))
        found: list[Selection] = []
        parts = tuple(self._parts(type_, field, rows, found))
        names = {part.name for part in parts}
        with_cursors = any(inner.name in _CURSORS for part in parts for inner in part.parts)
        if not rows.columns:
            rows.need(columns_of(type_of_rows(field.made_from))[0])
        columns, joins = tuple(rows.columns.values()), tuple(rows.joins)
        declaration = _joined_page(declaration, joins)
        return PageItem(
            **field.loading(),
            via=field.via(declaration.via),
            children=tuple(
                replace(child, width=1 if declaration.via else 0, columns=columns, joins=joins, more=with_cursors)
                for child in found
            ),
            asking=self._asking(
                field,
                lambda given: page_ask(
                    declaration,
                    columns,
                    given,
                    self.largest_total,
                    with_cursors=with_cursors,
                    looks_ahead="pageInfo" in names,
                ),
            ),
            parts=parts,
            wants_rows=not names <= {"totalCount", "__typename"},
            wants_page=with_cursors or not names <= {"nodes", "edges", "__typename"},
            wants_total="totalCount" in names,
            type_names=(type_.name, type_.name.removesuffix("Connection") + "Edge"),
        )

    def _parts(
        self, type_: GraphQLObjectType, field: Field, rows: RowsRead, found: list[Selection]
    ) -> Iterable[PagePart]:
        for key, inner in self._subfields(type_, field.details).items():
            name = inner[0].node.name.value
            target = get_named_type(type_.fields[name].type) if name in type_.fields else None
            if name in ("nodes", "node") and isinstance(target, GraphQLObjectType):
                rows.loaded = 0  # each place has its own
                found.append(
                    Selection(target.name, self._items(target, self._subfields(target, inner), rows, _as_it_is))
                )
                yield PagePart(key, name, number=len(found) - 1)
            elif isinstance(target, GraphQLObjectType):
                yield PagePart(key, name, tuple(self._parts(target, replace(field, details=inner), rows, found)))
            else:
                yield PagePart(key, name)

    def _asking(self, field: Field, ask: Callable[[Arguments], Asked]) -> Asking[Asked]:
        """What an item asks, from the arguments of its field as a resolver would get them."""
        node, definition = field.details[0].node, field.definition
        converter, config = self.strawberry.schema_converter, self.strawberry.config

        def work_out(variable_values: VariableValues) -> Asked:
            if not definition.args:
                return ask({})
            values = get_argument_values(definition, node, variable_values)
            return ask(convert_arguments(values, field.made_from.arguments, converter.scalar_registry, config))

        return Asking(work_out, varies=any(map(_has_variable, node.arguments or ())))


def _as_it_is(column: AnyColumn) -> AnyColumn:
    return column


def _reads_of(declaration: Connection) -> tuple[Read, ...]:
    """All reads that a connection can be of, as its arguments have it."""
    read = declaration.read
    chosen = (read,) if isinstance(read, Read) else (read.yes, read.no)
    return chosen if declaration.search is None else (*chosen, declaration.search)


def _joined_page(declaration: Connection, joins: tuple[Join, ...]) -> Connection:
    read, search = declaration.read, declaration.search
    if isinstance(read, Read):
        read = joined(read, joins)
    else:
        read = replace(read, yes=joined(read.yes, joins), no=joined(read.no, joins))
    return replace(declaration, read=read, search=search and joined(search, joins))


_CURSORS = ("startCursor", "endCursor", "cursor")


def _has_variable(node: Node) -> bool:
    if isinstance(node, VariableNode):
        return True
    below = (getattr(node, key) for key in QUERY_DOCUMENT_KEYS.get(node.kind, ()))
    return any(
        _has_variable(each) for found in below for each in ((found,) if isinstance(found, Node) else found or ())
    )
