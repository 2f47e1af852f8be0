"""An operation as a tree of selections of rows, compiled once and run many times.

A selection is what is asked of each row of one type: items in the order of the answer. Which fields those are, after
fragments, type conditions, merging and ``@skip`` and ``@include``, is worked out by graphql-core's own algorithm
(GraphQL specification, section 6.3.2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphql import FieldNode, GraphQLField
from strawberry.types.field import StrawberryField

from app.graph.declarations import Connection, Edge, Lookup, Nodes, Own
from app.reads import Columns


@dataclass(frozen=True, eq=False)
class Item:
    """A field of the answer: its response key, where it stands in the document, and what it is."""

    key: str
    nodes: tuple[FieldNode, ...]
    type_name: str
    """Of the object that it is a field of."""
    definition: GraphQLField | None
    """None for ``__typename``."""
    is_required: bool
    """Whether a null costs the object that it is a field of."""


@dataclass(frozen=True, eq=False)
class Typename(Item):
    """The name of the object's type."""


@dataclass(frozen=True, eq=False)
class Leaf(Item):
    """A cell of the row."""

    cell: str
    value: Callable[[Any], Any]
    """From the cell to what the answer holds. Raises what graphql-core's own serialization raises."""
    text: Callable[[Any], str]
    """From a cell that is not NULL to JSON. Raises the same."""
    is_plain: bool
    """Whether the cell never is NULL, and is its own JSON text between quotes."""
    for_staff: bool


@dataclass(frozen=True, eq=False)
class EdgeItem(Item):
    """Another row, a list of rows, or one value of another row."""

    field: StrawberryField
    declaration: Edge | Lookup | Own
    is_list: bool
    number: int
    """Which of the selection's loaded items it is."""
    child: "Selection"
    """Of the other rows."""

    @property
    def children(self) -> "tuple[Selection, ...]":
        """What is asked of the rows that it loads."""
        return (self.child,)


@dataclass(frozen=True, eq=False)
class PagePart:
    """A field of a connection, of its edges or of its ``pageInfo``."""

    key: str
    name: str
    parts: "tuple[PagePart, ...]" = ()
    nodes: "Selection | None" = None
    """What is asked of the rows, below ``nodes`` and below ``node``."""
    number: int = 0
    """Which of the connection's children that is."""


@dataclass(frozen=True, eq=False)
class PageItem(Item):
    """A page of rows."""

    field: StrawberryField
    declaration: Connection
    number: int
    """Which of the selection's loaded items it is."""
    parts: tuple[PagePart, ...]
    children: "tuple[Selection, ...]"
    """What is asked of the rows, at each place below that asks for them."""
    wants_rows: bool
    wants_total: bool
    type_names: tuple[str, str]
    """Of the connection and of its edges."""


@dataclass(frozen=True, eq=False)
class NodesItem(Item):
    """Objects of any types, by their global ids."""

    field: StrawberryField
    declaration: Nodes
    number: int
    """Which of the selection's loaded items it is."""
    children: "tuple[Selection, ...]"
    """What is asked of an object of each of the types, in the order of the declaration."""


Loading = EdgeItem | PageItem | NodesItem


@dataclass(frozen=True, eq=False)
class Selection:
    """What is asked of each row."""

    type_name: str
    columns: Columns
    items: tuple[Item, ...]
    value: Leaf | None = None
    """Where one value of the row is asked, and no object: that value."""

    @property
    def loaded(self) -> tuple[Loading, ...]:
        """The items that take statements of their own."""
        return tuple(item for item in self.items if isinstance(item, Loading))

    @property
    def has_staff_cells(self) -> bool:
        """Whether there is a cell for staff alone in it, or anywhere below."""
        below = (child for item in self.loaded for child in item.children)
        cells = (item.for_staff for item in self.items if isinstance(item, Leaf))
        return any(cells) or any(child.has_staff_cells for child in below)
