"""The number of statements is the query's: not that of its rows, nor of the parents of a level."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from graphql import GraphQLField, GraphQLNamedType, GraphQLObjectType
from strawberry.types.field import StrawberryField

from app.graph.declarations import Column, Connection, declared
from tests.factories import TODAY, Make
from tests.graph.conftest import SCHEMA, Gateway

pytestmark = pytest.mark.anyio

CORE = SCHEMA._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own, to walk through
LEVELS = 3


def object_type(name: str) -> GraphQLObjectType:
    type_ = CORE.type_map[name]
    assert isinstance(type_, GraphQLObjectType)
    return type_


def is_connection(field: GraphQLField) -> bool:
    definition = field.extensions.get("strawberry-definition")
    return isinstance(definition, StrawberryField) and isinstance(declared(definition), Connection)


def named(field: GraphQLField) -> GraphQLNamedType:
    """The type of a field, behind lists and non-nulls."""
    return CORE.type_map[f"{field.type}".strip("[]!")]  # pyright: ignore[reportUnknownMemberType]


def leaf_of(type_: GraphQLObjectType) -> str:
    """A column of a type: something to select that asks nothing further."""
    fields = ((name, field.extensions.get("strawberry-definition")) for name, field in type_.fields.items())
    return next(name for name, of in fields if isinstance(of, StrawberryField) and isinstance(declared(of), Column))


def paths(type_: GraphQLObjectType, levels: int) -> Iterator[tuple[str, int]]:
    """Selections below a type, each of one path down to a connection or an edge; and how many statements each adds."""
    for name, field in type_.fields.items():
        definition = field.extensions.get("strawberry-definition")
        if not isinstance(definition, StrawberryField) or isinstance(declared(definition), Column | None):
            continue
        of = named(field)
        if not isinstance(of, GraphQLObjectType):
            yield name, 1
        elif is_connection(field):
            nodes = named(of.fields["nodes"])
            assert isinstance(nodes, GraphQLObjectType)
            yield f"{name} {{ totalCount nodes {{ {leaf_of(nodes)} }} }}", 2
            if levels > 1:
                for below, number in paths(nodes, levels - 1):
                    yield f"{name}(first: 50) {{ nodes {{ {below} }} }}", number + 1
        else:
            yield f"{name} {{ {leaf_of(of)} }}", 1
            if levels > 1:
                for below, number in paths(of, levels - 1):
                    yield f"{name} {{ {below} }}", number + 1


async def fill(make: Make, size: int) -> None:
    """Rows of every table, so that every edge leads somewhere, ``size`` of each or more."""
    chain = [await make.category()]
    for _ in range(2 * LEVELS):
        chain.append(await make.category(parent_id=chain[-1]["id"]))
    for number in range(size):
        user = await make.user()
        profile = await make.profile(user_id=user["id"])
        await make.category(parent_id=chain[number % 3]["id"])
        product = await make.product(category_id=chain[(0, LEVELS, -1)[number % 3]]["id"])
        await make.image(product_id=product["id"], is_primary=True)
        for minute in range(1 + number % 2):
            created = TODAY - timedelta(minutes=minute)
            order = await make.order(user_id=user["id"], shipping_address_id=profile["id"], created_at=created)
            await make.item(order, product_id=product["id"])
            payment = await make.payment(order_id=order["id"])
            await make.refund(payment_id=payment["id"])


QUERIES = {
    f"{name} {{ nodes {{ {below} }} }}": number + 1
    for name, field in object_type("Query").fields.items()
    if is_connection(field)
    for below, number in paths(object_type(named(field).name.removesuffix("Connection")), LEVELS)
}


def test_every_connection_is_asked_below_every_type_that_has_it() -> None:
    text = " ".join(QUERIES)
    for parent in CORE.type_map.values():
        if not isinstance(parent, GraphQLObjectType) or parent.name == "Query" or parent.name.startswith("__"):
            continue
        for name, field in parent.fields.items():
            if is_connection(field):
                assert f"{name} {{ totalCount" in text
    assert len(QUERIES) > 300


async def test_the_number_does_not_depend_on_rows(gateway: Gateway, make: Make) -> None:
    """Of each query with few rows and with many; and it is one a level, and one for a total."""
    for size in (3, 9):
        await fill(make, size)
        for query, number in QUERIES.items():
            result = await gateway.execute(f"{{ {query} }}")
            assert result.errors is None, query
            assert len(gateway.statements) == number, query
