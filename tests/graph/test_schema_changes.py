"""What a change of the schema is found to mean: changes planted in a copy of the gateway's own."""

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    is_required_input_field,
)
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.graph.schema_changes import SEVERITIES, Change, find_changes
from app.graph.schema_operations import Broken, Operations, find_broken
from app.graph.schema_text import read_schema
from tests.graph.schemas import OBJECTS, OF_INTERFACES, SCHEMA, SDL, ask_for_each_field, edited, named, without

FIELDS = [
    (name, field)
    for name, type_ in OBJECTS.items()
    for field in type_.fields
    if len(type_.fields) > 1 and field not in OF_INTERFACES  # or the copy would be no valid schema
]
INPUTS = [
    (name, field)
    for name, type_ in SCHEMA.type_map.items()
    if isinstance(type_, GraphQLInputObjectType) and len(type_.fields) > 1
    for field in type_.fields
]
VALUES = [
    (name, value)
    for name, type_ in SCHEMA.type_map.items()
    if isinstance(type_, GraphQLEnumType) and not name.startswith("__")
    for value in type_.values
]
ASKED = ask_for_each_field()
OPERATIONS = Operations({f"{asked.name}.graphql": asked.text for asked in ASKED})


def changes(text: str, *, back: bool = False) -> list[Change]:
    new = read_schema(text, "new")
    return find_changes(new, SCHEMA) if back else find_changes(SCHEMA, new)


def broken(text: str, operations: Operations = OPERATIONS) -> list[Broken]:
    return find_broken(operations, SCHEMA, read_schema(text, "new"))


def test_nothing_is_found_where_nothing_changed() -> None:
    assert changes(SDL) == []
    assert broken(SDL) == []
    assert OPERATIONS.count == len(ASKED) > 150


@given(st.sampled_from(FIELDS))
@hypothesis_settings(max_examples=8)
def test_a_field_that_is_gone_is_named_with_each_operation_that_asks_for_it(of: tuple[str, str]) -> None:
    text = without(*of)
    found = changes(text)
    assert Change("breaking", "FIELD_REMOVED", f"Field {of[0]}.{of[1]} was removed.") in found
    assert [change.severity for change in changes(text, back=True) if "FIELD" in change.type] == ["safe"]
    breaks = broken(text)
    assert {(one.operation, one.effect) for one in breaks} == {
        (asked.name, "refused") for asked in ASKED if of in asked.uses
    }
    assert all(f"'{of[1]}'" in one.message and f"'{of[0]}'" in one.message for one in breaks)


NON_NULL = [(name, field) for name, field in FIELDS if str(OBJECTS[name].fields[field].type).endswith("!")]


def nullable(text: str) -> str:
    return text.removesuffix("!")


@given(st.sampled_from(NON_NULL))
@hypothesis_settings(max_examples=8)
def test_a_field_that_can_be_null_now_is_named_with_each_operation_that_reads_it(of: tuple[str, str]) -> None:
    text = edited(*of, nullable)
    before = str(OBJECTS[of[0]].fields[of[1]].type)
    description = f"Field {of[0]}.{of[1]} changed type from {before} to {before[:-1]}."
    assert changes(text) == [Change("breaking", "FIELD_CHANGED_KIND", description)]
    assert [change.severity for change in changes(text, back=True)] == ["safe"]
    found = broken(text)
    assert {(one.operation, one.effect) for one in found} == {(a.name, "reads") for a in ASKED if of in a.uses}
    assert all(f"{of[0]}.{of[1]} answers with {before[:-1]}," in one.message for one in found)


def reached(name: str, known: frozenset[str] = frozenset()) -> frozenset[str]:
    """The types that a value of this one can have in it, itself among them."""
    type_ = SCHEMA.type_map[name]
    if name in known or not isinstance(type_, GraphQLInputObjectType):
        return known | {name}
    for field in type_.fields.values():
        known |= reached(named(field).name, known | {name})
    return known | {name}


SENT = {
    f"query {name}_{argument}": (
        f"query {name}_{argument}($v: {given.type}) {{ {name}({argument}: $v) {{ __typename }} }}",
        reached(named(given).name),
    )
    for name, field in OBJECTS["Query"].fields.items()
    for argument, given in field.args.items()
    if not str(given.type).endswith("!")
}
SENDING = Operations({f"{name}.graphql": text for name, (text, _) in SENT.items()})


@given(st.sampled_from([*INPUTS, *VALUES]))
@hypothesis_settings(max_examples=15)
def test_what_is_taken_no_longer_breaks_each_operation_that_can_send_it(of: tuple[str, str]) -> None:
    text = without(*of)
    kind = "Field" if of in INPUTS else "Enum value"
    assert ("breaking", f"{kind} {of[0]}.{of[1]} was removed.") in {
        (change.severity, change.description) for change in changes(text)
    }
    type_ = SCHEMA.type_map[of[0]]
    back = {change.severity for change in changes(text, back=True) if f"{of[0]}.{of[1]}" in change.description}
    required = isinstance(type_, GraphQLInputObjectType) and is_required_input_field(type_.fields[of[1]])
    assert back == {"breaking" if required else "dangerous"}
    found = {(one.operation, one.effect) for one in broken(text, SENDING) if f"{of[0]}.{of[1]} was" in one.message}
    assert found == {(name, "sends") for name, (_, types) in SENT.items() if of[0] in types}


WHERE = "query List($where: OrderWhere) { orders(where: $where) { totalCount } }"


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (("OrderWhere", "userId"), "$where can hold what is refused: OrderWhere.userId was removed."),
        (("DecimalFilter", "gte"), "$where can hold what is refused: DecimalFilter.gte was removed."),
        (("OrderStatus", "PAID"), "$where can hold what is refused: OrderStatus.PAID was removed."),
        (("UserWhere", "email"), None),
        (("SortDirection", "ASC"), None),
    ],
)
def test_a_variable_reaches_what_its_input_can_hold(gone: tuple[str, str], message: str | None) -> None:
    found = broken(without(*gone), Operations({"list.graphql": WHERE}))
    assert found == ([Broken("list.graphql", 1, "query List", "sends", message)] if message else [])


def test_a_variable_of_what_takes_one_field_or_asks_for_more_is_named() -> None:
    operations = Operations({"list.graphql": WHERE})
    [needed] = broken(edited("IDFilter", "ne", lambda text: text + "!"), operations)
    assert needed.message == "$where can hold what is refused: IDFilter.ne takes ID!, and no longer ID."
    [one_of] = broken(SDL.replace("input OrderWhere {", "input OrderWhere @oneOf {"), operations)
    assert one_of.message == "$where can hold what is refused: OrderWhere takes exactly one field now."
    added = SDL.replace("input OrderWhere {", "input OrderWhere {\n  kind: String!")
    [new] = broken(added, operations)
    assert new.message == "$where can hold what is refused: OrderWhere.kind is required now."


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (
            "input OrderWhere {",
            "input OrderWhere @oneOf {",
            Change("breaking", "ONE_OF_ADDED", "OrderWhere takes exactly one field now."),
        ),
        (
            "input OrderOrderBy @oneOf {",
            "input OrderOrderBy {",
            Change("safe", "ONE_OF_REMOVED", "OrderOrderBy takes several fields now."),
        ),
        (
            '  email: String!\n\n  """The given name.',
            '  email: String! @deprecated(reason: "Ask for mail.")\n\n  """The given name.',
            Change("safe", "DEPRECATED", "User.email is deprecated: Ask for mail."),
        ),
        ("  CAPTURED\n", "  CAPTURED @deprecated\n", None),
        (
            "https://www.rfc-editor.org/rfc/rfc9562",
            "https://www.rfc-editor.org/rfc/rfc4122",
            Change(
                "dangerous",
                "SPECIFIED_BY_CHANGED",
                "UUID was specified by https://www.rfc-editor.org/rfc/rfc9562, now by "
                "https://www.rfc-editor.org/rfc/rfc4122.",
            ),
        ),
        (
            "    sku: String\n  ): Product",
            '    sku: String @deprecated(reason: "Old.")\n  ): Product',
            Change("safe", "DEPRECATED", "Query.product(sku:) is deprecated: Old."),
        ),
        (
            "  userId: IDFilter\n",
            '  userId: IDFilter @deprecated(reason: "Old.")\n',
            Change("safe", "DEPRECATED", "OrderWhere.userId is deprecated: Old."),
        ),
    ],
)
def test_what_graphql_core_does_not_look_at(old: str, new: str, change: Change | None) -> None:
    assert SDL.count(old) == 1
    change = change or Change("safe", "DEPRECATED", "PaymentStatus.CAPTURED is deprecated: No longer supported")
    text = SDL.replace(old, new)
    assert changes(text) == [change]
    [back] = changes(text, back=True)
    assert back != change
    if change.type == "DEPRECATED":
        assert back.type == "DEPRECATION_REMOVED"


def test_the_worst_comes_first() -> None:
    text = without("User", "email").replace("  CAPTURED\n", "  CAPTURED\n  LOST\n").replace('"An order."', '"Order."')
    found = [SEVERITIES.index(change.severity) for change in changes(text)]
    assert found == sorted(found)
    assert {*found} == {0, 1, 2}
