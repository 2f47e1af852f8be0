"""What a field of the read model is, as data: which column of the type's own row, or which read by which key.

It stands in the field's ``metadata["declared"]``, where any executor finds it. It decides which arguments the
field takes. Who may see the field stands beside it (visibility.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import strawberry
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField

from app.graph.connection import DEFAULT_PAGE, LARGEST_PAGE
from app.paging import AnyColumn
from app.reads import Columns, Read

LONGEST_SEARCH = 200


@dataclass(frozen=True)
class Column:
    """A value of the type's own row. ``is_id``: the row's key, shown as a global id."""

    column: AnyColumn
    is_id: bool = False


@dataclass(frozen=True)
class Choice:
    """A boolean argument that decides between two reads of the same shape."""

    argument: str
    default: bool
    description: str
    yes: Read
    no: Read


@dataclass(frozen=True)
class IntArgument:
    """An argument that is a parameter of the read; NULL where it is not given."""

    name: str
    least: int
    description: str


@dataclass(frozen=True)
class Edge:
    """Another row, or a list of rows, or one value of another row (``take``), found by columns of one's own row."""

    read: Read | Choice
    via: Columns
    take: AnyColumn | None = None
    argument: IntArgument | None = None


@dataclass(frozen=True)
class Connection:
    """A page of the rows found by columns of one's own row; of all rows where ``via`` is empty.

    ``where`` and ``order_by`` are the inputs that filter and order it. ``search`` finds rows by a text, which is its
    read's parameter of that name, best first.
    """

    read: Read | Choice
    via: Columns
    where: object = None
    order_by: object = None
    search: Read | None = None


@dataclass(frozen=True)
class Lookup:
    """A row found by an argument of the root: exactly one of these, each with the read that it is the key of."""

    by: Mapping[str, Read]


@dataclass(frozen=True)
class Own:
    """The row whose key is the viewer's."""

    read: Read


@dataclass(frozen=True)
class Nodes:
    """Objects of any type by their global ids: each type with its read by uuid. ``many``: of a list of ids."""

    reads: Mapping[type, Read]
    many: bool


Declared = Column | Edge | Connection | Lookup | Own | Nodes


def declared(field: StrawberryField) -> Declared | None:
    """The declaration of a field; None for an ordinary one."""
    return field.metadata.get("declared")


def arguments_of(declaration: Declared) -> list[StrawberryArgument]:
    """The arguments that a field of this declaration takes."""
    arguments: list[StrawberryArgument] = []
    if isinstance(declaration, Connection):
        arguments += _page_arguments(declaration)
    if isinstance(declaration, Edge | Connection) and isinstance(choice := declaration.read, Choice):
        arguments.append(_argument(choice.argument, bool, choice.description, default=choice.default))
    if isinstance(declaration, Edge) and declaration.argument:
        arguments.append(_argument(declaration.argument.name, int, declaration.argument.description))
    if isinstance(declaration, Nodes) and declaration.many:
        text = f"Global ids, up to {LARGEST_PAGE}."
        arguments.append(_argument("ids", list[strawberry.ID], text, required=True))
    elif isinstance(declaration, Nodes):
        arguments.append(_argument("id", strawberry.ID, "A global id.", required=True))
    if isinstance(declaration, Lookup):
        for name in declaration.by:
            kind, text = (strawberry.ID, "An id or a UUID.") if name == "id" else (str, f"The {name}, whole.")
            arguments.append(_argument(name, kind, text, required=len(declaration.by) == 1))
    return arguments


def _page_arguments(declaration: Connection) -> list[StrawberryArgument]:
    arguments = [
        _argument("first", int, f"How many objects, 1 to {LARGEST_PAGE}; {DEFAULT_PAGE} if not given."),
        _argument("after", str, "Go on behind this cursor of the same list in the same order."),
        _argument("last", int, f"How many objects from the end, 1 to {LARGEST_PAGE}."),
        _argument("before", str, "End before this cursor of the same list in the same order."),
    ]
    if declaration.search is not None:
        text = f"What to look for, up to {LONGEST_SEARCH} characters. The best comes first unless `orderBy` is given."
        arguments.append(_argument("search", str, text))
    if declaration.where is not None:
        arguments.append(_argument("where", declaration.where, "Only those for which this holds."))
    if declaration.order_by is not None:
        order_by = list[cast("Any", declaration.order_by)]
        arguments.append(
            _argument("order_by", order_by, "In this order, ties by id; null and an empty list are the usual one.")
        )
    return arguments


def _argument(
    name: str, type_: object, description: str, *, default: object = strawberry.UNSET, required: bool = False
) -> StrawberryArgument:
    annotation = StrawberryAnnotation(type_ if required else cast("Any", type_) | None)
    return StrawberryArgument(name, None, annotation, default=default, description=description)
