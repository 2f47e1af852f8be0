"""What an operation asks for, as a number: refused before it is executed, where it is too much.

The cost is how many objects an operation asks for: the page sizes multiplied down the tree. A list without pages counts
as five objects, a single object as one, and its fields as nothing, but for a ``totalCount`` and what else is a number
that takes a statement of its own: one. It is read off the document, the declarations of the fields and the variables,
in time linear in the document: each fragment is looked at once.

It bounds what a list with pages can answer, and guesses the length of the other lists. A field that stands twice in a
selection counts twice, also where the two are merged into one; and so do all the types that ``node`` could answer with.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NamedTypeNode,
    NullValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_enum_type,
)
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from app.errors import LimitExceededError
from app.graph import connection
from app.graph.connection import DEFAULT_PAGE, LARGEST_PAGE
from app.graph.declarations import Connection, Declared, Edge, Nodes, declared
from app.settings import Settings

LIST = 5
"""How many objects a list without pages counts as."""

INTROSPECTION = 3
"""How many objects one of the schema counts as: they are all made at once, and nobody else is served meanwhile."""

COUNTED = frozenset({"first", "last", "ids"})
"""The arguments that a cost depends on, besides those of ``@skip`` and ``@include``."""

COUNTED_TO = 1_000_000_000
"""No cost is larger: a document can ask for numbers of any length."""


def check_cost(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, object],
    settings: Settings,
) -> int:
    """The cost of an operation, as ``cost_of`` has it.

    Raises:
        LimitExceededError: it is above ``max_cost``; the message has both.
    """
    cost = cost_of(schema, document, operation, variables)
    if cost > settings.max_cost:
        raise LimitExceededError(
            f"The operation asks for up to {cost:,} objects; at most {settings.max_cost:,} are allowed. "
            "Ask for smaller pages, or for fewer lists inside of lists."
        )
    return cost


def cost_of(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, object],
) -> int:
    """How many objects an operation of a valid document asks for.

    ``variables`` are as the client sent them. A value that the executor will refuse counts as the most that it could
    read: a page of 200 as one of 100.
    """
    root = schema.get_root_type(operation.operation)
    if root is None:
        return 0
    return _Reckoner(schema, document, _values(operation, variables)).selections(operation.selection_set, root).once


def _values(operation: OperationDefinitionNode, variables: Mapping[str, object]) -> dict[str, object]:
    """What the variables of an operation are: as they were sent, or by default."""
    values: dict[str, object] = {}
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        if name in variables:
            values[name] = variables[name]
        elif definition.default_value is not None:
            values[name] = _plain(definition.default_value)
    return values


def _plain(node: ValueNode) -> object:
    """A literal as JSON would have it, as far as a cost depends on it."""
    match node:
        case IntValueNode():
            return float(node.value)  # of any length: int() takes up to 4,300 digits
        case BooleanValueNode():
            return node.value
        case NullValueNode():
            return None
        case ListValueNode():
            return list(node.values)
        case _:
            return node


@dataclass(frozen=True)
class _Cost:
    """What a selection costs: ``once`` for its object; in that of a connection also ``each`` for every object of the
    page, and whether the ``page`` is read at all."""

    once: int = 0
    each: int = 0
    page: bool = False

    def __add__(self, other: "_Cost") -> "_Cost":
        return _Cost(
            min(self.once + other.once, COUNTED_TO), min(self.each + other.each, COUNTED_TO), self.page or other.page
        )

    def times(self, number: int) -> "_Cost":
        """That of so many objects, each of which counts as one and for what is below it."""
        return _Cost(min(number * (1 + self.once), COUNTED_TO))


_NOTHING = _Cost()


class _Reckoner:
    """Adds up one operation. Each fragment is looked at once: what it costs does not depend on where it is spread.

    It recurses as far as ``check_limits`` lets a document go: fields, fragments and inline fragments in each other.
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, object]) -> None:
        self._schema = schema
        self._variables = variables
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._costs: dict[str, _Cost] = {}

    def selections(self, selected: SelectionSetNode | None, parent: object) -> _Cost:
        """What is selected of an object of the type ``parent``."""
        cost = _NOTHING
        if selected is not None and is_composite_type(parent):
            for selection in selected.selections:
                if self._is_included(selection):
                    cost += self._selection(selection, parent)
        return cost

    def _selection(self, selection: SelectionNode, parent: GraphQLCompositeType) -> _Cost:
        match selection:
            case FieldNode():
                return self._field(selection, parent)
            case InlineFragmentNode(type_condition=None):
                return self.selections(selection.selection_set, parent)
            case InlineFragmentNode(type_condition=NamedTypeNode() as condition):
                return self.selections(selection.selection_set, self._schema.get_type(condition.name.value))
            case FragmentSpreadNode():
                return self._fragment(selection.name.value)
            case _:
                return _NOTHING

    def _fragment(self, name: str) -> _Cost:
        if name not in self._costs:
            self._costs[name] = (
                _NOTHING  # also while it is looked at: it would be in itself in an invalid document only
            )
            if (fragment := self._fragments.get(name)) is not None:
                type_ = self._schema.get_type(fragment.type_condition.name.value)
                self._costs[name] = self.selections(fragment.selection_set, type_)
        return self._costs[name]

    def _field(self, node: FieldNode, parent: GraphQLCompositeType) -> _Cost:
        name = node.name.value
        field = self._schema.get_field(parent, name)
        if field is None:
            return _NOTHING
        type_ = cast("Any", field).type  # Any: graphql-core leaves its type parameters open
        named = cast("object", get_named_type(type_))
        below = self.selections(node.selection_set, named)
        if _is(parent, connection.Connection):
            return _COSTS_OF_A_PAGE.get(name, _NOTHING) + _Cost(each=below.once)
        if _is(parent, connection.Edge):
            return below  # its node has been counted with the page
        match declaration := _declaration(field):
            case Connection():
                size = self._page_size(node)
                return _Cost(min(below.once + size * (below.page + below.each), COUNTED_TO))
            case Nodes(many=True):
                return below.times(self._number_of_ids(node))
            case _:
                pass
        if not is_composite_type(named):
            return _Cost(1) if isinstance(declaration, Edge) else _NOTHING
        if name in ("__schema", "__type"):
            return below.times(INTROSPECTION)
        if not str(type_).startswith("["):
            return below.times(1)
        return below.times(_lengths_of_introspection(self._schema).get((parent.name, name), LIST))

    def _page_size(self, node: FieldNode) -> int:
        """As connection.py has it: ``first`` or ``last``, which are refused together."""
        given = [value for name in ("first", "last") if (value := self._argument(node, name)) is not None]
        return max(map(_clamped, given), default=DEFAULT_PAGE)

    def _number_of_ids(self, node: FieldNode) -> int:
        ids = self._argument(node, "ids")
        if isinstance(ids, list):
            return min(len(cast("list[object]", ids)), LARGEST_PAGE)
        return 0 if ids is None else 1  # one is a list of one: section 3.11 of the specification, "Input Coercion"

    def _argument(self, node: FieldNode | DirectiveNode, name: str) -> object:
        """The value of an argument; None where it is not given."""
        for argument in node.arguments or ():
            if argument.name.value == name:
                value = argument.value
                return self._variables.get(value.name.value) if isinstance(value, VariableNode) else _plain(value)
        return None

    def _is_included(self, selection: SelectionNode) -> bool:
        """Whether it is executed, as ``@skip`` and ``@include`` have it; what they do not say is."""
        excluding = {"skip": True, "include": False}
        return not any(
            self._argument(directive, "if") is excluding[directive.name.value]
            for directive in selection.directives or ()
            if directive.name.value in excluding
        )


_COSTS_OF_A_PAGE = {
    "edges": _Cost(page=True),
    "nodes": _Cost(page=True),
    "pageInfo": _Cost(page=True),
    "totalCount": _Cost(once=1),
}
"""What the fields of a connection cost by themselves. A page is read once, for all of them."""


def _clamped(size: object) -> int:
    """The most objects that a page of this size can have; a size that is none is refused when it is executed."""
    if isinstance(size, bool) or not isinstance(size, int | float) or (isinstance(size, float) and math.isnan(size)):
        return LARGEST_PAGE
    return int(min(max(size, 1), LARGEST_PAGE))


def _is(type_: GraphQLCompositeType, kind: type) -> bool:
    """Whether a type is made from a class of this kind."""
    definition = type_.extensions.get("strawberry-definition")
    return isinstance(definition, StrawberryObjectDefinition) and issubclass(definition.origin, kind)


def _declaration(field: GraphQLField) -> Declared | None:
    made_from = field.extensions.get("strawberry-definition")
    return declared(made_from) if isinstance(made_from, StrawberryField) else None


@lru_cache(maxsize=8)
def _lengths_of_introspection(schema: GraphQLSchema) -> dict[tuple[str, str], int]:
    """How long the lists of the introspection of a schema are: on the average, since ``types`` has them all.

    Without it, thirty times the whole schema would cost little, and take more than a second.
    """
    types = list(schema.type_map.values())
    fields = [field for type_ in types if isinstance(type_, _WITH_FIELDS) for field in type_.fields.values()]
    objects = [type_ for type_ in types if isinstance(type_, _WITH_FIELDS)]
    counts = {
        "fields": len(fields),
        "interfaces": sum(len(type_.interfaces) for type_ in objects),
        "possibleTypes": sum(len(schema.get_possible_types(type_)) for type_ in types if is_abstract_type(type_)),
        "inputFields": sum(len(type_.fields) for type_ in types if isinstance(type_, GraphQLInputObjectType)),
        "enumValues": sum(len(type_.values) for type_ in types if is_enum_type(type_)),
    }
    lengths = {("__Type", name): math.ceil(count / len(types)) for name, count in counts.items()}
    arguments = math.ceil(sum(len(field.args) for field in fields) / len(fields))
    return lengths | {("__Schema", "types"): len(types), ("__Field", "args"): arguments}


_WITH_FIELDS = (GraphQLObjectType, GraphQLInterfaceType)
