"""Copies of the gateway's schema with a change planted in them, and operations that ask for each of its fields."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from graphql import (
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    parse,
)

from app.graph.schema_text import gateway_sdl, read_schema

SDL = gateway_sdl()
SCHEMA = read_schema(SDL, "this")
OBJECTS: Mapping[str, GraphQLObjectType] = {
    name: of for name, of in SCHEMA.type_map.items() if isinstance(of, GraphQLObjectType) and not name.startswith("__")
}
ROOTS = {
    type_.name: kind
    for kind, type_ in (
        ("query", SCHEMA.query_type),
        ("mutation", SCHEMA.mutation_type),
        ("subscription", SCHEMA.subscription_type),
    )
    if type_
}
OF_INTERFACES = {name for of in SCHEMA.type_map.values() if isinstance(of, GraphQLInterfaceType) for name in of.fields}


def edited(type_name: str, part: str, edit: Callable[[str], str]) -> str:
    """The schema as text, with what ``edit`` makes of the text of a field, input field or enum value."""
    [found] = (
        child
        for definition in cast("Any", parse(SDL).definitions)
        if getattr(getattr(definition, "name", None), "value", None) == type_name
        for child in getattr(definition, "values", None) or definition.fields
        if child.name.value == part
    )
    return SDL[: found.loc.start] + edit(SDL[found.loc.start : found.loc.end]) + SDL[found.loc.end :]


def without(type_name: str, part: str) -> str:
    """The schema as text, without a field, input field or enum value."""
    return edited(type_name, part, lambda _text: "")


def type_of(field: object) -> Any:
    """The type of a field or argument, which graphql-core leaves partly open."""
    return cast("Any", field).type


def named(field: object) -> GraphQLNamedType:
    return cast("GraphQLNamedType", get_named_type(type_of(field)))


@dataclass(frozen=True)
class Asked:
    """An operation that asks for one field, and by way of which ones."""

    name: str
    text: str
    uses: frozenset[tuple[str, str]]


def ask_for_each_field() -> list[Asked]:
    """An operation for each field of each type of object, by the shortest way to it."""
    ways: dict[str, list[tuple[str, str]]] = {}
    waiting = deque((root, list[tuple[str, str]]()) for root in ROOTS)
    while waiting:
        type_name, way = waiting.popleft()
        if type_name in ways:
            continue
        ways[type_name] = way
        for name, field in OBJECTS[type_name].fields.items():
            if (to := named(field).name) in OBJECTS:
                waiting.append((to, [*way, (type_name, name)]))
    assert ways.keys() == OBJECTS.keys()
    return [_asked([*way, (type_name, name)]) for type_name, way in ways.items() for name in OBJECTS[type_name].fields]


def _asked(way: list[tuple[str, str]]) -> Asked:
    variables: list[str] = []
    opened: list[str] = []
    leaf = ""
    for type_name, field_name in way:
        field = OBJECTS[type_name].fields[field_name]
        given: list[str] = []
        for name, argument in field.args.items():
            if is_required_argument(argument):
                variable = f"$v{len(variables)}"
                variables.append(f"{variable}: {type_of(argument)}")
                given.append(f"{name}: {variable}")
        leaf = "" if is_leaf_type(named(field)) else " { __typename }"
        opened.append(field_name + (f"({', '.join(given)})" if given else ""))
    kind = ROOTS[way[0][0]]
    name = "_".join(way[-1])
    head = f"{kind} {name}" + (f"({', '.join(variables)})" if variables else "")
    text = head + " { " + " { ".join(opened) + leaf + " }" * len(opened)
    return Asked(f"{kind} {name}", text, frozenset(way))
