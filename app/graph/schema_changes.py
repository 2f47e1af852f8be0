"""What a change of the schema means for clients: which of its parts break them, may surprise them, or are safe.

graphql-core finds most of it. It does not look at ``@oneOf``, at deprecations and at ``@specifiedBy``: those are found
here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from graphql import (
    BreakingChange,
    DangerousChange,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    find_schema_changes,
)

Severity = Literal["breaking", "dangerous", "safe"]
SEVERITIES: tuple[Severity, ...] = ("breaking", "dangerous", "safe")


@dataclass(frozen=True)
class Change:
    """One change between two schemas.

    Attributes:
        severity: ``breaking``: what a client sends is refused, or what it reads is gone or of another type;
            ``dangerous``: a client meets what it did not know, or a default that is another one; else ``safe``.
        type: the kind of change, such as FIELD_REMOVED.
        description: what changed, in a sentence.
    """

    severity: Severity
    type: str
    description: str


def find_changes(old: GraphQLSchema, new: GraphQLSchema) -> list[Change]:
    """What changed from one schema to another: the worst first, then by kind and description."""
    found = [
        Change(_severity(change), change.type.name, change.description) for change in find_schema_changes(old, new)
    ]
    for name, before in old.type_map.items():
        if type(after := new.type_map.get(name)) is type(before) and not name.startswith("__"):
            found += _changes_of_type(before, after)
    return sorted(found, key=lambda change: (SEVERITIES.index(change.severity), change.type, change.description))


def _severity(change: object) -> Severity:
    if isinstance(change, BreakingChange):
        return "breaking"
    return "dangerous" if isinstance(change, DangerousChange) else "safe"


def _changes_of_type(old: GraphQLNamedType, new: GraphQLNamedType | None) -> Iterator[Change]:
    match old, new:
        case GraphQLInputObjectType(), GraphQLInputObjectType():
            if new.is_one_of and not old.is_one_of:
                yield Change("breaking", "ONE_OF_ADDED", f"{old.name} takes exactly one field now.")
            if old.is_one_of and not new.is_one_of:
                yield Change("safe", "ONE_OF_REMOVED", f"{old.name} takes several fields now.")
            for name in old.fields.keys() & new.fields.keys():
                yield from _deprecation(f"{old.name}.{name}", old.fields[name], new.fields[name])
        case GraphQLScalarType(), GraphQLScalarType() if old.specified_by_url != new.specified_by_url:
            before, after = (of.specified_by_url or "nothing" for of in (old, new))
            yield Change("dangerous", "SPECIFIED_BY_CHANGED", f"{old.name} was specified by {before}, now by {after}.")
        case GraphQLEnumType(), GraphQLEnumType():
            for name in old.values.keys() & new.values.keys():
                yield from _deprecation(f"{old.name}.{name}", old.values[name], new.values[name])
        case ((GraphQLObjectType() | GraphQLInterfaceType()), (GraphQLObjectType() | GraphQLInterfaceType())):
            for name in old.fields.keys() & new.fields.keys():
                before, after = old.fields[name], new.fields[name]
                yield from _deprecation(f"{old.name}.{name}", before, after)
                for argument in before.args.keys() & after.args.keys():
                    what = f"{old.name}.{name}({argument}:)"
                    yield from _deprecation(what, before.args[argument], after.args[argument])
        case _:
            pass


Element = GraphQLField | GraphQLArgument | GraphQLInputField | GraphQLEnumValue


def _deprecation(what: str, old: Element, new: Element) -> Iterator[Change]:
    before, after = old.deprecation_reason, new.deprecation_reason
    if before == after:
        return
    if after is None:
        yield Change("safe", "DEPRECATION_REMOVED", f"{what} is no longer deprecated.")
    else:
        yield Change("safe", "DEPRECATED", f"{what} is deprecated: {after}")
