"""Every argument and every input field of the schema is given what does not belong there, and some that just does.

Whatever is sent: the answer is well-formed and in time, its errors are the client's, and nothing internal is in it.
"""

# graphql-core leaves the type parameters of its own types open.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, cast
from uuid import uuid4

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLObjectType,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
)

from app.errors import ErrorCode
from app.graph.node import encode_id
from app.viewer import Viewer
from tests.factories import Make
from tests.graph.conftest import ADMIN, SCHEMA, Gateway

pytestmark = pytest.mark.anyio
CORE = SCHEMA._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own, to walk through

INTERNAL = re.compile(
    r"Traceback|\.py\b|sqlalchemy|asyncpg|strawberry|psycopg|pg_|SELECT |INSERT |relation \"|syntax error at"
    r"|NoneType|UNSET|Maybe\[|<class|object at 0x|password_hash|codec|argon"
    r"|(?-i:\bNone\b|\bTrue\b|\bFalse\b)",
    re.IGNORECASE,
)
LONGEST = 5.0  # seconds, on a machine that does much else

TOO_LONG = 10**5000
"""More digits than Python turns into an int. JSON has none of them here: the endpoint refuses them."""
UUID = "0190B0C0-0000-7000-8000-000000000000"
ANYTHING: list[Any] = [None, True, 0, -1, 1.5, "", "x", [], {}, [None], [[]], {"x": 1}, [{"x": [1]}]]
TEXTS = ["\0", "a\0b", "\ud800", "𝄞" * 300, "a" * 100_000, "%_\\", "'; DROP TABLE users; --", "\u202e\u0000", "\n"]
ARABIC_ONE, WIDE_TWO = "\u0661", "\uff12"  # digits to Python's isdigit()
IDS = [
    UUID,
    UUID.lower(),
    UUID[:-1],
    ARABIC_ONE * 36,
    encode_id("User", UUID.lower()),
    encode_id("Order", UUID.lower()),
]
VALUES: dict[str, list[Any]] = {
    "Int": [1, 100, 101, 2**31 - 1, 2**31, -(2**31) - 1, 10**400, TOO_LONG, 1e300],
    "String": [*TEXTS, '"', "kettle -kettle", '"kettle', "or or", "- -", "eyJh", "W10", "WzEsMl0", UUID],
    "ID": [*TEXTS, *IDS, encode_id("User", UUID), encode_id("Nothing", UUID.lower()), encode_id("User", "\0"), "===="],
    "Decimal": [
        *("NaN", "Infinity", "-Infinity", "1e5", "0.001", "999999999", "-99999999.99", f"{ARABIC_ONE}.2", "1.", "+1"),
        *(" 1", 10**9, 10**400, -0.0, "1_000", "0x10"),
    ],
    "DateTime": [
        *("now", "infinity", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-30T00:00:00Z", 0, 1e20),
        *("2026-01-01T00:00:00", "2026-01-01T24:00:00Z", "1970-01-01T00:00:00+14:00", "2026-01-01T00:00:60Z"),
        *("2026-01-01T00:00:00+99:99", f"{WIDE_TWO}026-01-01T00:00:00Z"),
    ],
    "Boolean": ["true", 1, "false"],
}


@dataclass(frozen=True)
class Slot:
    """A place for a value: a query with the variable ``$v`` of a type, and what to put the value into."""

    name: str
    query: str
    argument_type: str
    type_: GraphQLInputType
    put: Callable[[Any], Any]
    field: tuple[str, str] | None = None
    """The input type, and the field of it, that the value is for; None where it is for the whole argument."""


def values_for(type_: GraphQLInputType) -> list[Any]:
    named = get_named_type(type_)
    found = list(VALUES.get(named.name, []))
    if isinstance(named, GraphQLEnumType):
        found += ["NOPE", *list(named.values)[:1], *(name.lower() for name in list(named.values)[:1])]
    if isinstance(named, GraphQLInputObjectType):
        found += [{name: {} for name in named.fields}, {"and": [{}]}, {"or": []}, {"not": {"not": {}}}]
    if is_list_type(get_nullable_type(type_)):
        found += [[value] for value in found] + [found[:1] * 101, found[:2] * 3]
    return [*ANYTHING, *found]


def filler(type_: GraphQLInputType) -> Any:
    """Something valid for what has to be given beside."""
    named = get_named_type(type_)
    if isinstance(named, GraphQLInputObjectType):
        return {name: filler(field.type) for name, field in named.fields.items() if is_required_input_field(field)}
    value = {"ID": UUID, "String": "no.such.token@example.com", "Int": 1, "Boolean": True}[named.name]
    return [value] if is_list_type(get_nullable_type(type_)) else value


def slots_of(field_name: str, arguments: dict[str, GraphQLArgument], query: Callable[[str], str]) -> Iterator[Slot]:
    """The places of a field: each argument, and each field of the inputs that it takes."""
    for name, argument in arguments.items():
        others = {
            other: filler(of.type) for other, of in arguments.items() if other != name and is_required_argument(of)
        }
        given = "".join(f", {other}: {literal(value)}" for other, value in others.items())
        text = query(f"({name}: $v{given})")

        whole = Slot(f"{field_name}({name})", text, str(argument.type), argument.type, lambda value: value)
        yield whole
        yield from inner(whole, frozenset())


def inner(outer: Slot, passed: frozenset[str]) -> Iterator[Slot]:
    """The fields of the input that a place takes, and of those in it; each type once."""
    named = get_named_type(outer.type_)
    if not isinstance(named, GraphQLInputObjectType) or named.name in passed:
        return
    is_list = is_list_type(get_nullable_type(outer.type_))
    required = {name: filler(field.type) for name, field in named.fields.items() if is_required_input_field(field)}
    for name, field in named.fields.items():

        def put(value: Any, name: str = name) -> Any:
            whole = {**required, name: value}
            return outer.put([whole] if is_list else whole)

        slot = replace(outer, name=f"{outer.name[:-1]}.{name})", type_=field.type, put=put, field=(named.name, name))
        yield slot
        yield from inner(slot, passed | {named.name})


WAYS = {
    "Query": "query%s {{ {} }}",
    "Mutation": "mutation%s {{ {} }}",
    "User": "query%s {{ users {{ nodes {{ {} }} }} }}",
    "Category": "query%s {{ categories {{ nodes {{ {} }} }} }}",
    "Product": "query%s {{ products {{ nodes {{ {} }} }} }}",
}
"""How to get to a field of each type that has any with arguments, by a list that has rows."""


def all_slots() -> Iterator[Slot]:
    """The arguments of every field. The inputs of one below the root are those of the root's own list."""
    for type_ in CORE.type_map.values():
        if not isinstance(type_, GraphQLObjectType) or type_.name.startswith("__"):
            continue
        for name, field in type_.fields.items():
            if not field.args:
                continue
            way, below = WAYS[type_.name], selected(field)
            at_root = type_.name in ("Query", "Mutation")
            arguments = {of: value for of, value in field.args.items() if at_root or of not in ("where", "orderBy")}

            def query(given: str, way: str = way, name: str = name, below: str = below) -> str:
                return way.format(f"{name}{given} {below}")

            yield from slots_of(f"{type_.name}.{name}", arguments, query)


def selected(field: GraphQLField) -> str:
    """Something to select of a field."""
    named = get_named_type(field.type)
    if isinstance(named, GraphQLObjectType) and named.name.endswith("Connection"):
        return "{ totalCount nodes { id } }"
    if isinstance(named, GraphQLObjectType) and named.name.endswith("Payload"):
        return f"{{ {next(iter(named.fields))} }}"
    return "{ id }" if is_composite_type(named) else ""


def literal(value: Any) -> str:
    """A value in GraphQL's own notation; a text that is a name could be an enum's value."""
    if isinstance(value, dict):
        fields = (f"{name}: {literal(of)}" for name, of in cast("dict[str, Any]", value).items())
        return "{" + ", ".join(fields) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, cast("list[Any]", value))) + "]"
    if isinstance(value, int) and value == TOO_LONG:
        return "1" * 5001
    return json.dumps(value)


SLOTS = list(all_slots())


def test_every_argument_and_input_field_has_its_slot() -> None:
    inputs = [type_ for type_ in CORE.type_map.values() if isinstance(type_, GraphQLInputObjectType)]
    assert {slot.field for slot in SLOTS} - {None} == {(type_.name, name) for type_ in inputs for name in type_.fields}
    assert len(SLOTS) > 250


async def check(gateway: Gateway, query: str, viewer: Viewer, **variables: Any) -> None:
    started = monotonic()
    result = await gateway.execute(query, viewer=viewer, **variables)
    assert monotonic() - started < LONGEST, query[:500]
    assert result.data is not None or result.errors
    json.dumps([result.data, result.errors, result.extensions])
    for error in result.errors:
        code = ErrorCode(error["extensions"]["code"])
        assert code is not ErrorCode.INTERNAL, (query[:500], str(variables)[:500], error)
        assert len(error["message"]) <= 600
        assert not INTERNAL.search(error["message"]), (query[:500], error["message"])


GROUPS = sorted({slot.name.partition("(")[0] for slot in SLOTS})


@pytest.mark.parametrize("group", GROUPS)
async def test_hostile_values(gateway: Gateway, make: Make, group: str) -> None:
    gateway = gateway.limited(max_failures_per_account=10**6, max_failures_per_address=10**6)
    user = await make.user()
    category = await make.category()
    await make.product(category_id=category["id"])
    await make.order(user_id=user["id"])
    for slot in SLOTS:
        if slot.name.partition("(")[0] != group:
            continue
        for value in values_for(slot.type_):
            given = slot.put(value)
            viewer = ADMIN if group != "Mutation.changePassword" else Viewer(str(uuid4()), str(uuid4()), "admin")
            if literal(TOO_LONG) not in literal(given):
                await check(gateway, slot.query % f"($v: {slot.argument_type})", viewer, v=given)
            await check(gateway, slot.query.replace("$v", literal(given)).replace("%s", "", 1), viewer)


def test_what_is_looked_for_would_be_found() -> None:
    for text in (
        'relation "users" does not exist',
        "asyncpg.exceptions.DataError",
        "'NoneType' object",
        "value of non-null type 'Int!' not to be None.",
        "found: {'isNull': False}",
        "app/reads.py",
    ):
        assert INTERNAL.search(text)
    assert not INTERNAL.search("not to be null, none of these, a true word")
