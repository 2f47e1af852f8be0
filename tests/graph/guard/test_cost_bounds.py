"""The cost of an operation against the objects that it is really answered with, at the most."""

from random import Random
from typing import Any, cast

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    OperationDefinitionNode,
    build_schema,
    execute,  # pyright: ignore[reportUnknownVariableType] -- its type parameters are left open
    get_named_type,
    is_composite_type,
    parse,
    validate,
)
from graphql.execution import ExecutionResult
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.graph.guard.cost import LIST, cost_of
from app.graph.schema import build_schema as build_our_schema
from tests.factories import Make
from tests.graph.conftest import Gateway

pytestmark = pytest.mark.anyio

OURS = build_our_schema()
SCHEMA = OURS._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own
EXAMPLES = hypothesis_settings(max_examples=80, print_blob=False)


COMPUTED = {"depth", "productCount", "amountRefunded"}
"""The fields that are a number and take a statement of their own."""


def cost(query: str, variables: dict[str, object]) -> int:
    """The cost of a valid query."""
    document = parse(query)
    assert validate(SCHEMA, document) == [], query
    return cost_of(SCHEMA, document, cast("OperationDefinitionNode", document.definitions[0]), variables)


class Counted:
    """Answers every field of a schema with as much as there could be, and counts the objects."""

    def __init__(self) -> None:
        self.objects = 0

    def resolve(self, source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:  # Any: as graphql-core's
        parent, name = info.parent_type.name, info.field_name
        if parent.endswith("Connection"):
            return self._of_connection(source, name)
        if parent.endswith("Edge"):
            return source if name == "node" else "cursor"
        type_ = cast("Any", info).return_type
        named = cast("Any", get_named_type(type_))
        if named.name.endswith("Connection"):
            given = [arguments[name] for name in ("first", "last") if arguments.get(name) is not None]
            return {"size": max(given, default=20)}
        if not is_composite_type(named):
            self.objects += name in COMPUTED
            return _leaf(named)
        if str(type_).startswith("["):
            return self._rows(len(arguments["ids"]) if "ids" in arguments else LIST)
        return self._rows(1)[0]

    def _of_connection(self, source: dict[str, Any], name: str) -> Any:
        if name == "totalCount":
            self.objects += 1
            return 1
        if "rows" not in source:
            source["rows"] = self._rows(source["size"])
        return {} if name == "pageInfo" else source["rows"]

    def _rows(self, number: int) -> list[dict[str, Any]]:
        self.objects += number
        return [{} for _ in range(number)]


def _leaf(type_: Any) -> object:
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    return {"Int": 1, "Boolean": True}.get(type_.name, "x")


def _any_order(*_: object) -> str:
    return "Order"


TWIN = build_schema(OURS.as_str())
"""A schema of the same text, for ``Counted`` to answer. What could be of any type is an order."""
for _type in TWIN.type_map.values():
    if isinstance(_type, GraphQLInterfaceType):
        _type.resolve_type = _any_order


class Maker:
    """Makes a valid query. Each field has an alias of its own, so that nothing is merged, unless ``twice``: then some
    fields are there twice."""

    def __init__(self, random: Random, *, twice: bool) -> None:
        self.random = random
        self.twice = twice
        self.number = 0
        self.fragments: list[str] = []
        self.variables: dict[str, tuple[str, object]] = {}

    def query(self) -> str:
        body = self.selections(cast("GraphQLObjectType", TWIN.query_type), 4 if self.twice else 5)
        declared = " ".join(f"${name}: {type_}" for name, (type_, _) in self.variables.items())
        return f"query {f'({declared})' if declared else ''} {{ {body} }} {' '.join(self.fragments)}"

    def values(self) -> dict[str, object]:
        return {name: value for name, (_, value) in self.variables.items()}

    def selections(self, type_: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> str:
        names = self.random.sample(sorted(type_.fields), min(len(type_.fields), self.random.randint(1, 3)))
        parts = [self.field(type_, name, depth) for name in names] + ["__typename"]
        if isinstance(type_, GraphQLInterfaceType) and depth:
            order = cast("GraphQLObjectType", TWIN.type_map["Order"])
            parts.append(f"... on Order {{ {self.selections(order, depth - 1)} }}")
        return " ".join(part for part in parts if part)

    def field(self, type_: GraphQLObjectType | GraphQLInterfaceType, name: str, depth: int) -> str:
        field = type_.fields[name]
        below = cast("Any", get_named_type(field.type))
        selected = ""
        if is_composite_type(below):
            if not depth:
                return ""
            selected = f"{{ {self.selections(cast('GraphQLObjectType', below), depth - 1)} }}"
        arguments = [self.argument(argument) for argument in sorted(field.args)]
        given = ", ".join(argument for argument in arguments if argument)
        text = f"{self.name('a')}: {name}{f'({given})' if given else ''} {self.directive()} {selected}"
        if self.twice and self.random.random() < 0.3:
            text = f"{text} {text}"
        match self.random.randint(0, 7):
            case 0:
                return f"... on {type_.name} {self.directive()} {{ {text} }}"
            case 1:
                fragment = self.name("f")
                self.fragments.append(f"fragment {fragment} on {type_.name} {{ {text} }}")
                return f"...{fragment} {self.directive()}"
            case _:
                return text

    def argument(self, name: str) -> str:
        match name:
            case "first":
                size = self.random.choice([1, 2, 2, 3, 3, None])
                return f"first: {self.variable('Int', size) if self.random.random() < 0.5 else size or 'null'}"
            case "last":
                return "last: 2" if self.twice and self.random.random() < 0.2 else ""
            case "id":
                return 'id: "x"'
            case "ids":
                ids = ["x"] * self.random.randint(0, 4)
                return f"ids: {self.variable('[ID!]!', ids)}"
            case _:
                return ""

    def directive(self) -> str:
        match self.random.randint(0, 9):
            case 0:
                return f"@skip(if: {self.variable('Boolean!', self.random.random() < 0.5)})"
            case 1:
                return self.random.choice(["@include(if: true)", "@include(if: false)"])
            case _:
                return ""

    def variable(self, type_: str, value: object) -> str:
        name = self.name("v")
        self.variables[name] = (type_, value)
        return f"${name}"

    def name(self, letter: str) -> str:
        self.number += 1
        return f"{letter}{self.number}"


def counted(query: str, variables: dict[str, object]) -> int:
    """How many objects there are in the largest answer."""
    twin = Counted()
    result = execute(TWIN, parse(query), variable_values=variables, field_resolver=twin.resolve)
    assert isinstance(result, ExecutionResult)
    assert result.errors is None, query
    return twin.objects


@EXAMPLES
@given(st.randoms(use_true_random=True))
def test_a_cost_is_the_number_of_objects_in_the_largest_answer(random: Random) -> None:
    maker = Maker(random, twice=False)
    query = maker.query()
    assert cost(query, maker.values()) == counted(query, maker.values()), query


@EXAMPLES
@given(st.randoms(use_true_random=True))
def test_a_cost_is_at_least_that_where_fields_are_merged(random: Random) -> None:
    maker = Maker(random, twice=True)
    query = maker.query()
    assert cost(query, maker.values()) >= counted(query, maker.values()), query


@EXAMPLES
@given(st.randoms(use_true_random=True), st.integers(-5, 130))
def test_a_larger_page_never_costs_less(random: Random, size: int) -> None:
    maker = Maker(random, twice=True)
    query, values = maker.query(), maker.values()
    pages = [name for name, (type_, value) in maker.variables.items() if type_ == "Int" and value]
    before = cost(query, values)
    for name in pages:
        other = cost(query, values | {name: size})
        assert other >= before if size >= cast("int", values[name]) else other <= before


async def test_a_real_answer_has_no_more_objects_than_its_cost(gateway: Gateway, make: Make) -> None:
    for _ in range(3):
        user = await make.user()
        for _ in range(4):
            order = await make.order(user_id=user["id"])
            for _ in range(2):
                await make.item(order=order)
    query = """{ users(first: 2) { totalCount nodes { row: __typename orders(first: 3) { nodes { row: __typename
               items { row: __typename } user { row: __typename } } } } } }"""
    answer = str(await gateway.ask(query))
    rows = answer.count("'row'")
    assert rows == 2 + 2 * 3 * (1 + 2 + 1)
    assert rows <= cost(query, {}) == 1 + 2 + 2 * 3 * (1 + LIST + 1)
