"""Connections: pages of a list in the form of the Relay cursor connections specification, plus ``nodes`` and
``totalCount``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

import strawberry
from graphql import GraphQLObjectType, get_named_type
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_subfields
from graphql.execution.values import VariableValues

from app.database import Row
from app.errors import BadUserInputError
from app.graph.context import Info
from app.graph.visibility import public
from app.paging import Cursors, Position
from app.statements import Slice

T = TypeVar("T")
DEFAULT_PAGE = 20
LARGEST_PAGE = 100


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = public("Whether the list goes on behind this page.")
    has_previous_page: bool = public("Whether there is something before this page.")
    start_cursor: str | None = public(
        "The cursor of the first edge, to pass as `before` for the page before; null on an empty page."
    )
    end_cursor: str | None = public(
        "The cursor of the last edge, to pass as `after` for the next page; null on an empty page."
    )


@strawberry.type(description="One object of a page, and its place in the list.")
class Edge(Generic[T]):
    node: T = public("The object.")
    cursor: str = public("Its place in the list in this order: opaque, for `after` or `before`.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = public("The objects of this page with their cursors.")
    nodes: list[T] = public("The objects of this page.")
    page_info: PageInfo = public("Where this page stands in the list.")
    total_count: int = public(
        "How many objects the whole list has, after `where` and `search`. Counted only when selected, with "
        "a statement of its own, and up to 10,000 unless the server is set otherwise: one more than that means more."
    )


@dataclass(frozen=True)
class Window:
    """Which part of a list was asked for: ``size`` rows, from its beginning or its end, between two cursors."""

    size: int
    from_end: bool
    after: Position | None
    before: Position | None
    looks_ahead: bool = True
    """Whether one row more is read, which tells whether the list goes on."""

    @classmethod
    def asked(cls, arguments: Mapping[str, Any], cursors: Cursors, *, looks_ahead: bool = True) -> "Window":
        """The part that a field's arguments ask for.

        ``before`` alone asks for what comes right before it. Both cursors can be given, as section 4.3 of the Relay
        specification has it.

        Raises:
            BadUserInputError: a page too large or too small, two sizes, or a cursor of another list or order.
        """
        given = {
            name: arguments[name] for name in ("first", "after", "last", "before") if arguments.get(name) is not None
        }
        if "first" in given and "last" in given:
            raise BadUserInputError("Give first or last, not both.")
        for name in {"first", "last"} & given.keys():
            if not 1 <= given[name] <= LARGEST_PAGE:
                raise BadUserInputError(f"{name} must be from 1 to {LARGEST_PAGE}.")
        positions = {name: cursors.decode(given[name], name) for name in ("after", "before") if name in given}
        return cls(
            given.get("first", given.get("last", DEFAULT_PAGE)),
            "last" in given or ("before" in given and not {"first", "after"} & given.keys()),
            positions.get("after"),
            positions.get("before"),
            looks_ahead,
        )

    @property
    def slice_(self) -> Slice:
        """What to read."""
        after, before = (position and position.bound(name) for name, position in self._positions)
        return Slice(self.size + self.looks_ahead, after, before, self.from_end)

    def parameters(self, cursors: Cursors) -> dict[str, object]:
        """The values of the slice's parameters."""
        values: dict[str, object] = {}
        for name, position in self._positions:
            values |= position.parameters(name, cursors.order) if position else {}
        return values

    def page(self, rows: list[Row], cursors: Cursors, total_count: int | None) -> "Page":
        """The page that the rows of ``slice_`` make."""
        goes_on = len(rows) > self.size
        nodes = rows[: self.size]
        if self.from_end:
            return Page(nodes[::-1], cursors, self.before is not None, goes_on or self.after is not None, total_count)
        return Page(nodes, cursors, goes_on or self.before is not None, self.after is not None, total_count)

    @property
    def _positions(self) -> tuple[tuple[str, Position | None], ...]:
        return ("after", self.after), ("before", self.before)


@dataclass(frozen=True)
class RowEdge:
    """What an ``Edge`` is resolved from."""

    node: Row
    cursor: str


@dataclass(frozen=True)
class Page:
    """What a ``Connection`` is resolved from: the rows of a page, where anything of it but the total was selected."""

    nodes: list[Row]
    cursors: Cursors
    has_next_page: bool = False
    has_previous_page: bool = False
    total_count: int | None = None

    @cached_property
    def edges(self) -> list[RowEdge]:
        return [RowEdge(row, self.cursors.encode(row)) for row in self.nodes]

    @property
    def page_info(self) -> "Page":
        return self

    @property
    def start_cursor(self) -> str | None:
        return self.cursors.encode(self.nodes[0]) if self.nodes else None

    @property
    def end_cursor(self) -> str | None:
        return self.cursors.encode(self.nodes[-1]) if self.nodes else None


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
