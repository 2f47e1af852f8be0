"""Plans and resolvers answer alike: documents that hypothesis-graphql makes of the schema, which knows nothing of it.

``documents.py`` asks what is likely to go wrong; these ask whatever the schema lets one ask, wide rather than deep.
They are varied a little, for what hypothesis-graphql makes none of: conditions and variables.
"""

from random import Random
from typing import Any, cast

from graphql import (
    ArgumentNode,
    BooleanValueNode,
    ConstValueNode,
    DirectiveNode,
    DocumentNode,
    EnumValueNode,
    FieldNode,
    GraphQLInputObjectType,
    InlineFragmentNode,
    NameNode,
    NullValueNode,
    ObjectFieldNode,
    ObjectValueNode,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    get_named_type,
    parse_type,
    print_ast,
    value_from_ast_untyped,
    visit,
)
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis_graphql import nodes, queries

from app.graph.engine import Request
from app.graph.node import decode_global_id
from app.viewer import Viewer
from tests.graph.plan.conftest import World
from tests.graph.plan.documents import CORE

# graphql-core leaves the type parameters of its own types open.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

WORLDS = 5
"""How many there are: each gets its part of the profile's examples."""

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
"""A document takes 20 ms to make, and thousands of choices."""
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""Not to shrink what fails: that takes minutes, and the failure has the whole request in it."""

TEXTS = ["sku-1", "Product 2", "product", "user1@example.com", "ad", "%", "", "Žofie"]
TIMES = ["2000-01-01T00:00:00Z", "2100-12-31T23:59:59.999999+01:00"]


def documents(ids: list[str]) -> st.SearchStrategy[DocumentNode]:
    """Documents whose values are likely to find something."""
    scalars: dict[str, st.SearchStrategy[ValueNode]] = {
        "ID": st.sampled_from([*ids, "nonsense"]).map(nodes.String),
        "Int": st.sampled_from([1, 2, 3, 100, 0, 101]).map(nodes.Int),
        "String": st.sampled_from(TEXTS).map(nodes.String),
        "Decimal": st.sampled_from(["1.00", "0.50", "-1", "99999999.99"]).map(nodes.String),
        "DateTime": st.sampled_from(TIMES).map(nodes.String),
    }
    return queries(CORE, custom_scalars=scalars, print_ast=lambda document: document)


class Variation(Visitor):
    """Makes another document of one: with conditions and variables, and without most of what can only be refused.

    Attributes:
        types: which variables it declares.
        values: which of them it gives, and as what.
    """

    def __init__(self, random: Random, types: TypeInfo, ids: list[str]) -> None:
        super().__init__()
        self._ids: dict[str, list[str]] = {}
        for node_id in ids:
            if (named := decode_global_id(node_id)) is not None:
                self._ids.setdefault(named[0], []).append(node_id)
        self._random = random
        self._types = types
        self.types: dict[str, VariableDefinitionNode] = {}
        self.values: dict[str, Any] = {}

    def enter_field(self, node: FieldNode, *_: Any) -> FieldNode:
        arguments = {argument.name.value: argument for argument in node.arguments or ()}
        for one, other in ("first", "last"), ("id", "sku"), ("id", "email"):  # both of two are refused
            if one in arguments and other in arguments and self._random.random() < 0.9:
                del arguments[self._random.choice([one, other])]
        for name in ("after", "before"):  # what is no cursor is refused
            if name in arguments and self._random.random() < 0.9:
                del arguments[name]
        for name in {"id", "ids"} & arguments.keys():
            if (found := self._id(node.name.value)) is not None and self._random.random() < 0.9:
                arguments[name] = ArgumentNode(name=NameNode(value=name), value=found)
        return FieldNode(
            alias=node.alias,
            name=node.name,
            arguments=tuple(arguments.values()),
            directives=self._conditions(0.1),
            selection_set=node.selection_set,
        )

    def _id(self, field: str) -> ValueNode | None:
        """What a field of this name finds something by."""
        if field in ("node", "nodes"):
            kind = self._random.choice(list(self._ids))
            several: list[ValueNode] = [
                nodes.String(self._random.choice(self._ids[kind])) for _ in range(self._random.randint(0, 3))
            ]
            return nodes.List(several) if field == "nodes" and several else nodes.String(self._ids[kind][0])
        found = self._ids.get(field.capitalize())
        return nodes.String(self._random.choice(found)) if found else None

    def enter_inline_fragment(self, node: InlineFragmentNode, *_: Any) -> InlineFragmentNode:
        return InlineFragmentNode(
            type_condition=node.type_condition, directives=self._conditions(0.2), selection_set=node.selection_set
        )

    def enter_object_value(self, node: ObjectValueNode, *_: Any) -> ObjectValueNode | None:
        type_ = get_named_type(self._types.get_input_type())
        fields = list(node.fields)
        if isinstance(type_, GraphQLInputObjectType) and type_.is_one_of:  # which hypothesis-graphql does not know of
            field = self._random.choice(fields)
            if isinstance(field.value, NullValueNode):
                field = ObjectFieldNode(name=field.name, value=EnumValueNode(value="ASC"))
            return ObjectValueNode(fields=(field,))
        # A null in a filter is refused.
        return ObjectValueNode(
            fields=tuple(of for of in fields if not isinstance(of.value, NullValueNode) or self._random.random() < 0.1)
        )

    def leave_argument(self, node: ArgumentNode, *_: Any) -> ArgumentNode | None:
        value = self._variable(node.value, str(self._types.get_input_type()))
        return value and ArgumentNode(name=node.name, value=value)

    def leave_object_field(self, node: ObjectFieldNode, *_: Any) -> ObjectFieldNode | None:
        parent = get_named_type(self._types.get_parent_input_type())
        must_be_given = isinstance(parent, GraphQLInputObjectType) and parent.is_one_of
        value = self._variable(node.value, f"{self._types.get_input_type()}{'!' if must_be_given else ''}")
        return value and ObjectFieldNode(name=node.name, value=value)

    def leave_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> OperationDefinitionNode:
        return OperationDefinitionNode(
            operation=node.operation,
            name=node.name,
            variable_definitions=tuple(self.types.values()),
            selection_set=node.selection_set,
        )

    def _conditions(self, chance: float) -> tuple[DirectiveNode, ...]:
        found: list[DirectiveNode] = []
        for name in self._random.sample(["skip", "include"], k=2):
            if self._random.random() < chance:
                value: BooleanValueNode | VariableNode = BooleanValueNode(value=self._random.random() < 0.5)
                if self._random.random() < 0.7:
                    value = self._declared("Boolean!", self._random.choice(["yes", "no", "some"]), value)
                argument = ArgumentNode(name=NameNode(value="if"), value=value)
                found.append(DirectiveNode(name=NameNode(value=name), arguments=(argument,)))
        return tuple(found)

    def _variable(self, value: ValueNode, type_: str) -> VariableNode | None:
        """A variable in place of a value, now and then; never in place of what has variables in it already."""
        if self._random.random() > 0.25 or "$" in print_ast(value):
            return None
        name = f"v{len(self.types)}"
        if type_.endswith("!") or self._random.random() < 0.5:
            return self._declared(type_, name, value)
        # Not given: either the value is its default, or it has none.
        return self._declared(type_, name, default=value if self._random.random() < 0.5 else None)

    def _declared(
        self, type_: str, name: str, value: ValueNode | None = None, default: ValueNode | None = None
    ) -> VariableNode:
        variable = VariableNode(name=NameNode(value=name))
        if name not in self.types:
            self.types[name] = VariableDefinitionNode(
                variable=variable, type=parse_type(type_), default_value=cast("ConstValueNode | None", default)
            )
            if value is not None:
                self.values[name] = value_from_ast_untyped(value)
        return variable


def varied(document: DocumentNode, random: Random, ids: list[str]) -> tuple[str, dict[str, Any]]:
    """The text of a variation, and the values of its variables."""
    types = TypeInfo(CORE)
    variation = Variation(random, types, ids)
    return print_ast(visit(document, TypeInfoVisitor(types, variation))), variation.values


def test_plans_and_resolvers_answer_alike(world: World) -> None:
    compiled = refused = 0
    most = max(1, hypothesis_settings().max_examples // WORLDS)

    @hypothesis_settings(print_blob=False, max_examples=most, phases=PHASES, suppress_health_check=SLOW)
    @given(documents(world.ids), st.integers(0, 2**63), st.sampled_from(world.viewers))
    def examples(document: DocumentNode, seed: int, viewer: Viewer) -> None:
        nonlocal compiled, refused
        text, variables = varied(document, Random(seed), world.ids)
        answer = world.executors.answer(Request(text, variables=variables), viewer)
        assert answer.is_compiled or answer.refused, text
        compiled += answer.is_compiled
        refused += answer.refused

    examples()
    assert compiled > 10 * refused, (compiled, refused)
