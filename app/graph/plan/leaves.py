"""What a plan makes of cells: the value that an answer holds, and the expression that writes its JSON."""

# graphql-core leaves the type parameters of its own types open.
# pyright: reportUnknownParameterType=false, reportUnknownArgumentType=false

import json
from collections.abc import Callable
from functools import partial
from json.encoder import encode_basestring
from typing import Any

from graphql import GraphQLEnumType, GraphQLOutputType, get_named_type, is_leaf_type
from strawberry.types.field import StrawberryField

from app.graph import declarations
from app.graph.node import encode_id
from app.graph.plan.selection import Leaf
from app.graph.visibility import ADMIN, visibility
from app.paging import AnyColumn, is_small_integer
from app.statements import as_text


class DeclinedError(Exception):
    """The operation has a field that is neither a column, an edge nor a connection: resolvers run it."""


def column_leaf(
    common: dict[str, Any], type_: GraphQLOutputType, field: StrawberryField, declaration: declarations.Column
) -> Leaf:
    """The item of a field that is a column of its type's own row. ``common``: what every item is told.

    Raises:
        DeclinedError: its type is none that is known here.
    """
    for_staff = visibility(field) is ADMIN
    if not declaration.is_id:
        return value_leaf(common, type_, declaration.column, for_staff=for_staff)
    type_name: str = common["type_name"]
    return Leaf(
        **common,
        column=declaration.column,
        value=partial(encode_id, type_name),
        text=f"{type_name}:".encode(),
        code=_ID,
        is_quoted=True,
        for_staff=for_staff,
    )


def value_leaf(common: dict[str, Any], type_: GraphQLOutputType, column: AnyColumn, *, for_staff: bool = False) -> Leaf:
    """The item of a field that shows a cell as it is.

    Raises:
        DeclinedError: its type is none that is known here.
    """
    named = get_named_type(type_)
    if not is_leaf_type(named):
        raise DeclinedError
    value: Callable[[Any], Any] = named.serialize
    if isinstance(named, GraphQLEnumType):
        text, code, is_quoted = _EnumTexts(named), "{w}[{a}]", False
    elif named.name == "Int" and is_small_integer(column):
        text, code, is_quoted = None, "{a}.__index__()", False  # which nothing has but integers, and these fit
    elif named.name == "DateTime":
        # The driver's own objects take five times as long to make and to write.
        text, code, is_quoted, column = time_text, "{w}({a})", False, as_text(column)
        value = _from_time_text
    elif named.name in _TEXTS:
        text, code, is_quoted = _TEXTS[named.name]
    else:
        raise DeclinedError
    return Leaf(**common, column=column, value=value, text=text, code=code, is_quoted=is_quoted, for_staff=for_staff)


# As ``encode_id``. Of letters, digits, colons and hyphens Base64 makes neither ``+`` nor ``/``.
_ID = "b64({w}+{a}.encode(),newline=False).decode()"


class _EnumTexts(dict[Any, str]):
    """The JSON of an enum's values by their cells, as they are met."""

    def __init__(self, type_: GraphQLEnumType) -> None:
        super().__init__()
        self._type = type_

    def __missing__(self, cell: Any) -> str:
        text = self[cell] = json.dumps(self._type.serialize(cell))  # raises of what is no value of it
        return text


def _int_text(cell: Any) -> str:
    if type(cell) is int and -(2**31) <= cell < 2**31:
        return str(cell)
    raise ValueError


def time_text(cell: str) -> str:
    """The JSON of a time, from how PostgreSQL writes one: ``2026-01-31 23:59:59.5+00`` in UTC and DateStyle ISO.

    Raises:
        ValueError: it is none of the four-digit years.
    """
    if cell[10:11] != " " or cell[-3:] != "+00":
        raise ValueError(f"no time: {cell!r}")
    if len(cell) == _WHOLE_SECONDS:
        return f'"{cell[:10]}T{cell[11:19]}+00:00"'
    return f'"{cell[:10]}T{cell[11:-3]:0<15}+00:00"'  # which PostgreSQL writes without the zeros at its end


_WHOLE_SECONDS = len("2026-01-31 23:59:59+00")


def _from_time_text(cell: str) -> str:
    return json.loads(time_text(cell))


_TEXTS: dict[str, tuple[object, str, bool]] = {
    "UUID": (None, "{a}+e", True),  # which is text already; to add nothing to NULL raises
    "Decimal": (None, "{a}+e", True),
    "String": (encode_basestring, "{w}({a})", False),
    "Boolean": ({True: "true", False: "false"}, "{w}[{a}]", False),
    "Int": (_int_text, "{w}({a})", False),
}
