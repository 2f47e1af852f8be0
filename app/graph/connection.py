"""Connections: pages of a list in the form of the Relay cursor connections specification, plus ``nodes`` and
``totalCount``.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

import strawberry
from graphql import GraphQLObjectType, get_named_type
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_subfields
from graphql.execution.values import VariableValues

from app.database import Row
from app.graph.context import Info
from app.paging import Order, encode_cursor

T = TypeVar("T")


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether the list goes on behind this page.")
    has_previous_page: bool = strawberry.field(description="Whether there is something before this page.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first edge; null on an empty page.")
    end_cursor: str | None = strawberry.field(
        description="The cursor of the last edge, to pass as `after` for the next page; null on an empty page."
    )


@strawberry.type(description="One object of a page, and its place in the list.")
class Edge(Generic[T]):
    node: T = strawberry.field(description="The object.")
    cursor: str = strawberry.field(description="Its place in the list: opaque, for `after`.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = strawberry.field(description="The objects of this page with their cursors.")
    nodes: list[T] = strawberry.field(description="The objects of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page stands in the list.")
    total_count: int = strawberry.field(
        description="How many objects the whole list has. Counted only when selected, with a statement of its own."
    )


@dataclass(frozen=True)
class Place:
    """What an ``Edge`` is resolved from."""

    node: Row
    cursor: str


@dataclass(frozen=True)
class Page:
    """What a ``Connection`` is resolved from: the rows of a page, where anything of it but the total was selected."""

    nodes: list[Row]
    order: Order
    has_next_page: bool = False
    has_previous_page: bool = False
    total_count: int | None = None

    @cached_property
    def edges(self) -> list[Place]:
        return [Place(row, encode_cursor(self.order, row)) for row in self.nodes]

    @property
    def page_info(self) -> "Page":
        return self

    @property
    def start_cursor(self) -> str | None:
        return encode_cursor(self.order, self.nodes[0]) if self.nodes else None

    @property
    def end_cursor(self) -> str | None:
        return encode_cursor(self.order, self.nodes[-1]) if self.nodes else None


def selected(info: Info) -> set[str]:
    """The names of the fields selected below the current one, after fragments, ``@skip`` and ``@include``.

    Collected by graphql-core's own algorithm (section 6.3.2 of the GraphQL specification).
    """
    # Private, and the only way to graphql-core's own info. Any: its type parameters are left open there.
    raw = cast("Any", info._raw_info)  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
    collected = collect_subfields(
        raw.schema,
        {name: FragmentDetails(fragment) for name, fragment in raw.fragments.items()},
        VariableValues({}, raw.variable_values),  # Strawberry hands resolvers the values alone
        raw.operation,
        cast("GraphQLObjectType", get_named_type(raw.return_type)),
        [FieldDetails(node, None) for node in raw.field_nodes],
    )
    return {details[0].node.name.value for details in collected.grouped_field_set.values()}
