"""The number of statements is the query's: not that of its rows, nor of the parents of a level.

To resolvers it is one for each edge. In a plan those of ``BESIDE`` come with the rows that lead to them.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    parse,
    visit,
)
from strawberry.types.field import StrawberryField

from app.graph import context
from app.graph.declarations import Column, Connection, Declared, Edge, declared
from tests.factories import TODAY, Make
from tests.graph.conftest import SCHEMA, Gateway

pytestmark = pytest.mark.anyio

CORE = SCHEMA._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own, to walk through
LEVELS = 3
BESIDE = {("Product", "category"), ("Product", "primaryImage"), ("Category", "parent")}
"""The edges to one row of the same database that everybody may see."""
WALKS = {"ancestors", "descendants"}
"""The edges whose rows are worked out, so that nothing comes beside them."""
Number = tuple[int, int]
"""Of statements, by resolvers and by a plan."""


def object_type(name: str) -> GraphQLObjectType:
    type_ = CORE.type_map[name]
    assert isinstance(type_, GraphQLObjectType)
    return type_


def declaration_of(field: GraphQLField) -> Declared | None:
    definition = field.extensions.get("strawberry-definition")
    return declared(definition) if isinstance(definition, StrawberryField) else None


def is_connection(field: GraphQLField) -> bool:
    return isinstance(declaration_of(field), Connection)


def named(field: GraphQLField) -> GraphQLNamedType:
    """The type of a field, behind lists and non-nulls."""
    return CORE.type_map[f"{field.type}".strip("[]!")]  # pyright: ignore[reportUnknownMemberType]


def leaf_of(type_: GraphQLObjectType) -> str:
    """A column of a type: something to select that asks nothing further."""
    return next(name for name, field in type_.fields.items() if isinstance(declaration_of(field), Column))


def spellings(name: str, field: GraphQLField) -> list[str]:
    """A field as it is, and with its boolean argument the other way."""
    flags = {argument: of.default_value for argument, of in field.args.items() if of.default_value in (True, False)}
    return [name, *(f"{name}({argument}: {str(not default).lower()})" for argument, default in flags.items())]


def paths(type_: GraphQLObjectType, levels: int, *, walked: bool = False) -> Iterator[tuple[str, Number]]:
    """Selections below a type, each of one path down to a connection or an edge; and how many statements each adds.
    ``walked``: whether the rows of the type are those of a walk."""
    for name, field in type_.fields.items():
        if not isinstance(declaration_of(field), Edge | Connection):
            continue
        of = named(field)
        beside = (type_.name, name) in BESIDE and not walked
        for spelling in spellings(name, field):
            if not isinstance(of, GraphQLObjectType):
                yield spelling, (1, 1)
            elif is_connection(field):
                nodes = object_type(f"{of.name}".removesuffix("Connection"))
                yield f"{spelling} {{ totalCount nodes {{ {leaf_of(nodes)} }} }}", (2, 2)
                if levels > 1:
                    for below, (resolvers, plan) in paths(nodes, levels - 1):
                        yield f"{spelling} {{ nodes {{ {below} }} }}", (resolvers + 1, plan + 1)
            else:
                own = 0 if beside else 1
                yield f"{spelling} {{ {leaf_of(of)} }}", (1, own)
                if levels > 1:
                    for below, (resolvers, plan) in paths(of, levels - 1, walked=name in WALKS):
                        yield f"{spelling} {{ {below} }}", (resolvers + 1, plan + own)


async def fill(make: Make, size: int) -> None:
    """Rows of every table, so that every edge leads somewhere, ``size`` of each or more."""
    chain = [await make.category()]
    for _ in range(2 * LEVELS):
        chain.append(await make.category(parent_id=chain[-1]["id"]))
    for number in range(size):
        user = await make.user()
        profile = await make.profile(user_id=user["id"])
        await make.category(parent_id=chain[number % 3]["id"])
        product = await make.product(category_id=chain[(LEVELS, 0, -1)[number % 3]]["id"])
        await make.image(product_id=product["id"], is_primary=True)
        for minute in range(1 + number % 2):
            created = TODAY - timedelta(minutes=minute)
            order = await make.order(user_id=user["id"], shipping_address_id=profile["id"], created_at=created)
            await make.item(order, product_id=product["id"])
            payment = await make.payment(order_id=order["id"])
            await make.refund(payment_id=payment["id"])


QUERIES = {
    f"{name} {{ nodes {{ {below} }} }}": (resolvers + 1, plan + 1)
    for name, field in object_type("Query").fields.items()
    if is_connection(field)
    for below, (resolvers, plan) in paths(object_type(named(field).name.removesuffix("Connection")), LEVELS)
}


class Asked(Visitor):
    """Gathers the fields of a query, each with the type that it is asked of."""

    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self._types = types
        self.fields: set[tuple[str, str]] = set()

    def enter_field(self, node: FieldNode, *_: object) -> None:
        parent = self._types.get_parent_type()
        assert parent is not None
        self.fields.add((parent.name, node.name.value))


def test_every_edge_and_connection_is_asked_of_every_type_that_has_it() -> None:
    types = TypeInfo(CORE)
    asked = Asked(types)
    for query in QUERIES:
        visit(parse(f"{{ {query} }}"), TypeInfoVisitor(types, asked))
    expected = {
        (type_.name, name)
        for type_ in CORE.type_map.values()
        if isinstance(type_, GraphQLObjectType)
        for name, field in type_.fields.items()
        if isinstance(declaration_of(field), Edge | Connection)
    }
    assert len(expected) > 25
    assert expected <= asked.fields


@pytest.mark.parametrize("lists", [True, False])
async def test_the_number_does_not_depend_on_rows(
    gateway: Gateway, make: Make, monkeypatch: pytest.MonkeyPatch, lists: bool
) -> None:
    """Of each query with one parent and with many; and it is one a level, and one for a total. None has an OFFSET.

    What comes along as lists where few rows are read takes fewer, and never more.
    """
    resolvers = gateway.resolvers
    if not lists:
        monkeypatch.setattr(context, "MOST_WITH_LISTS", 0)
    fewer = 0
    for size in (1, 11):
        await fill(make, size)
        for query, numbers in QUERIES.items():
            for executor, number in zip((resolvers, gateway), numbers, strict=True):
                result = await executor.execute(f"{{ {query} }}")
                assert result.errors == [], query
                assert len(gateway.statements) <= number, query
                fewer += number - len(gateway.statements)
                assert not any("OFFSET" in sql.upper() for _, sql in gateway.statements)
    assert (fewer > 0) == lists
