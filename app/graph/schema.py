"""The schema, assembled. ``schema.graphql`` beside this file is the printed one; a test holds the two together."""

import strawberry
from graphql import GraphQLError
from strawberry.extensions import DisableIntrospection
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from app.graph.guard.errors import MaskErrors
from app.graph.orders.query import OrdersQuery
from app.graph.payments.query import PaymentsQuery
from app.graph.products.query import ProductsQuery
from app.graph.scalars import SCALARS
from app.graph.users.query import UsersQuery


@strawberry.type(description="Everything that can be asked.")
class Query(UsersQuery, ProductsQuery, OrdersQuery, PaymentsQuery):
    pass


class Schema(strawberry.Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Nothing: ``MaskErrors`` logs the faults, a line each. Strawberry's own way is a stack for every error."""


def build_schema(*, introspection: bool = True) -> Schema:
    """The schema. Without introspection it does not tell what there is, also not by suggesting it in an error."""
    return Schema(
        Query,
        extensions=[MaskErrors] if introspection else [MaskErrors, DisableIntrospection],
        config=StrawberryConfig(scalar_map=SCALARS, sort_schema=True, disable_field_suggestions=not introspection),
    )
