"""What a declared field asks of its database, given its arguments: the same whichever executor runs it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from strawberry.utils.str_converters import to_camel_case

from app.database import Row
from app.errors import BadUserInputError, NotFoundError
from app.graph.connection import LARGEST_PAGE, Window
from app.graph.context import Ask
from app.graph.declarations import LONGEST_SEARCH, Choice, Connection, Edge, Lookup
from app.graph.inputs import filter_of, order_of, storable
from app.graph.node import decode_global_id, decode_id
from app.paging import AnyColumn, Cursors, Order
from app.reads import TOTAL, WHOLE_TABLE, Columns, Read, counted, narrowed


def key_of(row: Row, via: Columns) -> object:
    """The key that a row holds in these columns; None if it is not complete."""
    if not via:
        return WHOLE_TABLE
    values = tuple(row[str(column.key)] for column in via)
    if None in values:
        return None
    return values[0] if len(values) == 1 else values


def edge_ask(declaration: Edge, columns: Columns, arguments: Mapping[str, Any], lists: Columns = ()) -> Ask:
    """What an edge asks. ``columns``: of the rows' type, which an edge to one value of them has no use for. ``lists``
    as ``Ask`` has them.

    Raises:
        BadUserInputError: an argument is out of its range.
    """
    wanted = columns if declaration.take is None else (declaration.take,)
    return Ask(_chosen(declaration.read, arguments), wanted, _parameters(declaration, arguments), lists=lists)


def lookup_ask(
    declaration: Lookup, type_name: str, columns: Columns, arguments: Mapping[str, Any], lists: Columns = ()
) -> tuple[Ask, object]:
    """What a look-up asks, and of which key. ``lists`` as ``Ask`` has them.

    Raises:
        BadUserInputError: not exactly one argument is given, or it is malformed.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    if len(given) != 1:
        raise BadUserInputError(f"Give exactly one of {' and '.join(declaration.by)}.")
    [(name, value)] = given.items()
    key = decode_id(value, type_name) if name == "id" else storable(value, name)
    return Ask(declaration.by[name], columns, lists=lists), key


def node_ids(arguments: Mapping[str, Any], *, many: bool) -> list[str]:
    """The ids that ``node`` or ``nodes`` is asked for.

    Raises:
        BadUserInputError: they are too many.
    """
    ids: list[str] = arguments["ids"] if many else [arguments["id"]]
    if len(ids) > LARGEST_PAGE:
        raise BadUserInputError(f"ids takes up to {LARGEST_PAGE}.")
    return ids


def node_of(node_id: str, types: Iterable[type]) -> tuple[type, str]:
    """The type and the uuid that a global id names.

    Raises:
        BadUserInputError: it is none of any of these types.
    """
    named, uuid = decode_global_id(node_id) or ("", "")
    for type_ in types:
        if type_.__name__ == named:
            return type_, uuid
    raise BadUserInputError("This is no global id: pass what a field called id returned.")


def missing_node(type_: type) -> NotFoundError:
    """What there is to say of a global id of which there is no object, or none that the viewer may see."""
    return NotFoundError(f"There is no {type_.__name__} with this id.")


@dataclass(frozen=True)
class PageAsk:
    """What a connection asks: for the rows of its page, and for the total, each only where it is wanted."""

    rows: Ask
    total: Ask
    window: Window
    cursors: Cursors


def page_ask(
    declaration: Connection,
    columns: Columns,
    arguments: Mapping[str, Any],
    largest_total: int,
    *,
    with_cursors: bool = True,
    looks_ahead: bool = True,
) -> PageAsk:
    """What a connection asks: with the columns that cursors are made of, and whether the list goes on, or without.

    Raises:
        BadUserInputError: a page size, a cursor, a filter, an order or a text to search for is not as it must be.
    """
    text = _search_of(arguments)
    read = declaration.search if text and declaration.search else _chosen(declaration.read, arguments)
    where, values = filter_of(arguments.get("where"))
    order = order_of(arguments.get("order_by"), read.order)
    # An order by rank is another one for each text.
    cursors = Cursors(order, _digest(text) if text and order == read.order else "")
    window = Window.asked(arguments, cursors, looks_ahead=looks_ahead)
    if text:
        values["search"] = text
    read = narrowed(read, where, order, by_key=text is None)
    of_page = tuple((values | window.parameters(cursors)).items())
    rows = Ask(read, _with_cursor(columns, order) if with_cursors else columns, of_page, window.slice_)
    total = Ask(counted(read, largest_total), (TOTAL,), tuple(values.items()))
    return PageAsk(rows, total, window, cursors)


@lru_cache(maxsize=1024)
def _with_cursor(columns: Columns, order: Order) -> Columns:
    """The columns, and those that a cursor is made of."""
    named: dict[str, AnyColumn] = {str(column.key): column for column in columns}
    return tuple((named | {sort.name: sort.column for sort in order}).values())


def _search_of(arguments: Mapping[str, Any]) -> str | None:
    """The text to look for; a blank one, as an empty box on a page sends it, is none."""
    text = storable(arguments.get("search") or "", "search").strip()
    if len(text) > LONGEST_SEARCH:
        raise BadUserInputError(f"search takes up to {LONGEST_SEARCH} characters.")
    return text or None


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _chosen(read: Read | Choice, arguments: Mapping[str, Any]) -> Read:
    if isinstance(read, Read):
        return read
    value = arguments.get(read.argument)
    return read.yes if (read.default if value is None else value) else read.no


def _parameters(declaration: Edge, arguments: Mapping[str, Any]) -> tuple[tuple[str, object], ...]:
    argument = declaration.argument
    if argument is None:
        return ()
    value = arguments.get(argument.name)
    if value is not None and value < argument.least:
        raise BadUserInputError(f"{to_camel_case(argument.name)} must be at least {argument.least}.")
    return ((argument.name, value),)
