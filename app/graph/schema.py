"""The schema, assembled. ``schema.graphql`` beside this file is the printed one; a test holds the two together."""

from collections.abc import Mapping

import strawberry
from graphql import GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, is_introspection_type
from strawberry.schema.config import StrawberryConfig

from app.domains.orders import reads as order_reads
from app.domains.payments import reads as payment_reads
from app.domains.products import reads as product_reads
from app.domains.users import reads as user_reads
from app.graph.fields import node, nodes
from app.graph.node import Node
from app.graph.orders.query import OrdersQuery
from app.graph.orders.types import Order, OrderItem
from app.graph.payments.query import PaymentsQuery
from app.graph.payments.types import Payment, Refund
from app.graph.products.query import ProductsQuery
from app.graph.products.types import Category, Product, ProductImage
from app.graph.scalars import SCALARS
from app.graph.users.mutation import UsersMutation
from app.graph.users.query import UsersQuery
from app.graph.users.types import User, UserProfile
from app.graph.visibility import visibility
from app.reads import Read

NODES: Mapping[type, Read] = {
    User: user_reads.user_by_id,
    UserProfile: user_reads.profile_by_id,
    Category: product_reads.category_by_id,
    Product: product_reads.product_by_id,
    ProductImage: product_reads.image_by_id,
    Order: order_reads.order_by_id,
    OrderItem: order_reads.item_by_id,
    Payment: payment_reads.payment_by_id,
    Refund: payment_reads.refund_by_id,
}


@strawberry.type(description="Everything that can be asked.")
class Query(UsersQuery, ProductsQuery, OrdersQuery, PaymentsQuery):
    node: Node | None = node(NODES, "The object with this id, of whatever type.")
    nodes: list[Node | None] = nodes(
        NODES, "The objects with these ids, of whatever types, in the order of the ids. One statement for each type."
    )


@strawberry.type(description="Everything that can be changed.")
class Mutation(UsersMutation):
    pass


def build_schema() -> strawberry.Schema:
    """The schema.

    Raises:
        TypeError: a field does not say who may see it.
    """
    schema = strawberry.Schema(Query, Mutation, config=StrawberryConfig(scalar_map=SCALARS, sort_schema=True))
    for type_ in schema._schema.type_map.values():  # pyright: ignore[reportPrivateUsage] -- there is no other way to it
        if isinstance(type_, GraphQLInputObjectType):
            # Strawberry keeps this to itself, and then graphql-core lets a literal with two fields through.
            type_.is_one_of = type_.extensions["strawberry-definition"].is_one_of
        elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not is_introspection_type(type_):
            for name, field in type_.fields.items():
                if visibility(field.extensions["strawberry-definition"]) is None:
                    raise TypeError(f"{type_.name}.{name} does not say who may see it")
    return schema
