"""What is known of a field, and of the rows that a statement is to read, while an operation is compiled."""

# graphql-core leaves the type parameters of its own types open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from graphql import GraphQLField, GraphQLObjectType, is_non_null_type
from graphql.execution.collect_fields import FieldDetails
from strawberry.types.field import StrawberryField

from app.joins import Join
from app.paging import AnyColumn
from app.reads import Columns, Read

Seen = Callable[[AnyColumn], AnyColumn]


@dataclass(frozen=True)
class Field:
    """A field of the answer while it is compiled."""

    key: str
    details: list[FieldDetails]
    parent: GraphQLObjectType
    definition: GraphQLField
    made_from: StrawberryField
    rows: "RowsRead"
    """The rows that it is a field of, or beside which."""
    seen: Seen
    """Where these have a column of the object that it is a field of."""

    @property
    def common(self) -> dict[str, Any]:
        """What every item is told."""
        return {
            "key": self.key,
            "nodes": tuple(detail.node for detail in self.details),
            "type_name": self.parent.name,
            "is_required": is_non_null_type(self.definition.type),
        }

    def loading(self) -> dict[str, Any]:
        """What every item that takes a statement is told; once for each."""
        return {**self.common, "visible_to": self.made_from.metadata["visible_to"], "number": self.rows.next_number()}

    def via(self, columns: Columns) -> Columns:
        """The columns that it is found by."""
        return tuple(map(self.seen, columns))


@dataclass
class RowsRead:
    """What one statement is to read, as it turns out."""

    joinable: Sequence[Read]
    """The reads that it can be of, if rows can come beside its own."""
    equals: AnyColumn | None = None
    of: type | None = None
    """The class that the read model has for them; None for the root, which has none."""
    columns: dict[str, AnyColumn] = dataclass_field(default_factory=dict[str, AnyColumn])
    joins: dict[Join, None] = dataclass_field(default_factory=dict[Join, None])
    lists: list[AnyColumn] = dataclass_field(default_factory=list[AnyColumn])
    """What it can bring along of other rows, as a list in a cell."""
    loaded: int = 0

    def next_number(self) -> int:
        """Which of the items that take a statement the next one is."""
        self.loaded += 1
        return self.loaded - 1

    def need(self, *columns: AnyColumn) -> None:
        """Have these read."""
        self.columns |= {str(column.key): column for column in columns}
