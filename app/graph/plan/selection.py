"""An operation as a tree of selections of rows, compiled once and run many times.

A selection is what is asked of each row of one type: items in the order of the answer. Which fields those are, after
fragments, type conditions, merging and ``@skip`` and ``@include``, is worked out by graphql-core's own algorithm
(GraphQL specification, section 6.3.2).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, Generic, TypeVar

from graphql import FieldNode
from graphql.execution.values import VariableValues

from app.database import Row
from app.graph.asks import PageAsk
from app.graph.context import Ask
from app.graph.declarations import Nodes
from app.graph.visibility import Visibility
from app.joins import Join
from app.paging import AnyColumn
from app.reads import Columns

Asked = TypeVar("Asked")


class Asking(Generic[Asked]):
    """What an item asks, given the values of the variables. Worked out once where it depends on none."""

    def __init__(self, work_out: Callable[[VariableValues], Asked], *, varies: bool) -> None:
        self._work_out = work_out
        self._varies = varies
        self._known: Asked | None = None

    def of(self, variable_values: VariableValues) -> Asked:
        """What it asks.

        Raises:
            Exception: what is wrong with the arguments; each time anew.
        """
        if self._known is not None:
            return self._known
        asked = self._work_out(variable_values)
        if not self._varies:
            self._known = asked
        return asked


@dataclass(frozen=True, eq=False)
class Item:
    """A field of the answer: its response key, where it stands in the document, and what it is."""

    key: str
    nodes: tuple[FieldNode, ...]
    type_name: str
    """Of the object that it is a field of."""
    is_required: bool
    """Whether a null costs the object that it is a field of."""


@dataclass(frozen=True, eq=False)
class Typename(Item):
    """The name of the object's type."""


@dataclass(frozen=True, eq=False)
class Leaf(Item):
    """A cell of the row."""

    column: AnyColumn
    value: Callable[[Any], Any]
    """From the cell to what the answer holds. Raises what graphql-core's own serialization raises."""
    text: object
    """What ``code`` makes the cell's JSON with, as ``w`` in it: a function, or a mapping."""
    code: str
    """The Python expression of the JSON of a cell ``a``. It raises where the cell is NULL, and where ``value`` does."""
    is_quoted: bool
    """Whether the quotes around that are yet to be written."""
    for_staff: bool


@dataclass(frozen=True, eq=False)
class JoinedItem(Item):
    """Another row, which comes beside this one: its columns are among those of the selection."""

    items: tuple[Item, ...]
    key_column: AnyColumn
    """NULL where there is no such row."""


@dataclass(frozen=True, eq=False)
class Loading(Item):
    """A field that takes a statement of its own."""

    visible_to: Visibility
    number: int
    """Which of the selection's loaded items it is."""
    via: Columns
    """The columns of the row that it is found by. Without any, it is the same for all rows."""
    children: "tuple[Selection, ...]"
    """What is asked of the rows that it loads."""


@dataclass(frozen=True, eq=False)
class EdgeItem(Loading):
    """Another row, a list of rows, or one value of another row."""

    asking: Asking[tuple[Ask, object]]
    """The ask, and the key where there is no ``via``: None for the viewer's own."""
    is_list: bool
    along: int | None = None
    """Which of the selection's lists has its rows, if there is one. They come along where few rows are read."""

    @property
    def child(self) -> "Selection":
        """What is asked of the other rows."""
        return self.children[0]


@dataclass(frozen=True, eq=False)
class PagePart:
    """A field of a connection, of its edges or of its ``pageInfo``."""

    key: str
    name: str
    parts: "tuple[PagePart, ...]" = ()
    number: int = 0
    """Below ``nodes`` and ``node``: which of the connection's children is asked of the rows."""


@dataclass(frozen=True, eq=False)
class PageItem(Loading):
    """A page of rows. ``children``: what is asked of the rows, at each place below that asks for them."""

    asking: Asking[PageAsk]
    parts: tuple[PagePart, ...]
    wants_rows: bool
    wants_page: bool
    """Whether more of it is asked for than its nodes."""
    wants_total: bool
    type_names: tuple[str, str]
    """Of the connection and of its edges."""


@dataclass(frozen=True, eq=False)
class NodesItem(Loading):
    """Objects of any types, by their global ids. ``children``: what is asked of an object of each of the types, in the
    order of the declaration."""

    declaration: Nodes
    asking: Asking[list[str]]


@dataclass(frozen=True, eq=False)
class Selection:
    """What is asked of each row."""

    type_name: str
    items: tuple[Item, ...]
    width: int = 0
    """How many cells come before a row's own: one, which tells the key that it answers, or none."""
    equals: AnyColumn | None = None
    """The column that this cell is of, if it is one of the row's own."""
    columns: Columns = ()
    """What is read of each row: what the items show and are found by."""
    joins: tuple[Join, ...] = ()
    """The rows that come beside each of these."""
    lists: Columns = ()
    """The rows that can come along with each of these, in cells behind its columns: with all of them, or with none."""
    more: bool = False
    """Whether rows can have further cells behind these: lists, or what cursors need."""
    value: Leaf | None = None
    """Where one value of the row is asked, and no object: that value."""

    @cached_property
    def loaded(self) -> tuple[Loading, ...]:
        """The items that take statements of their own, also those of the rows beside."""
        return tuple(item for item in self._all if isinstance(item, Loading))

    @cached_property
    def joined(self) -> tuple[JoinedItem, ...]:
        """The rows beside."""
        return tuple(item for item in self._all if isinstance(item, JoinedItem))

    @cached_property
    def has_staff_cells(self) -> bool:
        """Whether there is a cell for staff alone in it, or anywhere below."""
        below = (child for item in self.loaded for child in item.children)
        cells = (item.for_staff for item in self._all if isinstance(item, Leaf))
        return any(cells) or any(child.has_staff_cells for child in below)

    @cached_property
    def has_joins(self) -> bool:
        """Whether rows come beside others or along with them in it, or anywhere below."""
        return bool(self.joins or self.lists) or any(child.has_joins for item in self.loaded for child in item.children)

    @cached_property
    def keys(self) -> tuple[Callable[[Row], Any] | None, ...]:
        """What takes from a row the key of each of the loaded items; None for one that is not found by the row."""
        return tuple(
            itemgetter(*(self.place(column) for column in item.via)) if item.via else None for item in self.loaded
        )

    @cached_property
    def _all(self) -> tuple[Item, ...]:
        return tuple(_with_those_beside(self.items))

    def place(self, column: AnyColumn) -> int:
        """Where a row has the cell of a column."""
        if self.equals is not None and str(column.key) == str(self.equals.key):
            return 0
        return self.width + [str(each.key) for each in self.columns].index(str(column.key))

    @property
    def end(self) -> int:
        """Where a row has the first of the lists, if they came along."""
        return self.width + len(self.columns)


def _with_those_beside(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        if isinstance(item, JoinedItem):
            yield from _with_those_beside(item.items)
