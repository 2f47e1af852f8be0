"""What an error says, in whose words: graphql-core's own messages print values as Python does."""

from time import process_time
from typing import Any

import pytest
from graphql import GraphQLError
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadUserInputError
from app.graph.guard.errors import LONGEST_MESSAGE, Errors
from tests.graph.conftest import Gateway

LITERALS: dict[str, tuple[str, str]] = {
    "a null": (
        "{ node(id: null) { id } }",
        "Expected value of non-null type 'ID!' not to be null.",
    ),
    "a field that has to be there": (
        "{ products(where: {category: {includeDescendants: true}}) { totalCount } }",
        "Expected value of type 'CategoryScope' to include required field 'id'.",
    ),
    "a field that there is not": (
        "{ orders(where: {zzzz: {eq: true}}) { totalCount } }",
        "Expected value of type 'OrderWhere' not to include unknown field 'zzzz'.",
    ),
    "a field that is like another": (
        "{ orders(where: {statu: {eq: PAID}}) { totalCount } }",
        "Expected value of type 'OrderWhere' not to include unknown field 'statu'. Did you mean 'status'?",
    ),
    "no object": (
        "{ orders(where: 5) { totalCount } }",
        "Expected value of type 'OrderWhere' to be an object.",
    ),
    "no Int": ("{ orders(first: true) { totalCount } }", "Int cannot represent non-integer value."),
    "a large Int": (
        "{ orders(first: 2147483648) { totalCount } }",
        "Int cannot represent non 32-bit signed integer value.",
    ),
    "no Boolean": (
        "{ products(where: {sku: {isNull: 1}}) { totalCount } }",
        "Boolean cannot represent a non boolean value.",
    ),
    "no String": ("{ products(search: true) { totalCount } }", "String cannot represent a non string value."),
    "no ID": ("{ node(id: true) { id } }", "ID cannot represent a non-string and non-integer value."),
    "a text for an enum": (
        '{ orders(where: {status: {eq: "PAID"}}) { totalCount } }',
        "Enum 'OrderStatus' cannot represent non-enum value. Did you mean the enum value 'PAID'?",
    ),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", LITERALS)
async def test_a_literal_that_is_wrong(gateway: Gateway, name: str) -> None:
    query, message = LITERALS[name]
    _, errors = await gateway.refuse(query)
    assert errors == [(None, "BAD_USER_INPUT", message)]


VARIABLES: list[tuple[str, str, Any, str]] = [
    ("Int", "first", True, "Int cannot represent non-integer value."),
    ("Int", "first", {"a: b": None}, "Int cannot represent non-integer value."),
    ("Int", "first", "value: ", "Int cannot represent non-integer value."),
    ("String", "search", False, "String cannot represent a non string value."),
    ("ProductWhere", "where", [True], "Expected value of type 'ProductWhere' to be an object."),
    (
        "ProductWhere",
        "where",
        {"zzzz": {"eq": None}},
        "Expected value of type 'ProductWhere' not to include unknown field 'zzzz'.",
    ),
    (
        "ProductWhere",
        "where",
        {"pric": True},
        "Expected value of type 'ProductWhere' not to include unknown field 'pric'. Did you mean 'price'?",
    ),
    ("[ProductOrderBy!]", "orderBy", None, ""),
    (
        "[ProductOrderBy!]",
        "orderBy",
        [None],
        "Expected value of non-null type 'ProductOrderBy!' not to be null.",
    ),
    (
        "[ProductOrderBy!]",
        "orderBy",
        {"price": "NONE"},
        "Value 'NONE' does not exist in 'SortDirection' enum.",
    ),
    ("[ProductOrderBy!]", "orderBy", {"price": True}, "Enum 'SortDirection' cannot represent non-string value."),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("type_", "argument", "value", "message"), VARIABLES, ids=repr)
async def test_a_variable_that_is_wrong(gateway: Gateway, type_: str, argument: str, value: Any, message: str) -> None:
    query = f"query($v: {type_}) {{ products({argument}: $v) {{ totalCount }} }}"
    _, errors = await gateway.refuse(query, v=value)
    assert [(path, code) for path, code, _ in errors] == [(None, "BAD_USER_INPUT")] * len(errors)
    assert [text for _, _, text in errors if text.endswith(f": {message}")] == [text for _, _, text in errors]
    assert bool(errors) == bool(message)


def told(error: GraphQLError) -> str | None:
    errors = Errors()
    errors.add(error)
    return errors.formatted[0].get("message")


@pytest.mark.parametrize(
    "text",
    [
        "This filter, found: nothing.",
        "Ours cannot represent a value: None.",
        "It is not to be None.",
    ],
)
def test_what_we_say_ourselves_is_said_as_it_is(text: str) -> None:
    assert told(GraphQLError(text, original_error=BadUserInputError(text))) == text


def test_a_hint_behind_a_long_value_is_kept() -> None:
    value = "x" * 10 * LONGEST_MESSAGE
    hint = "Did you mean the enum value 'PAID', 'PENDING', or 'SHIPPED'?"
    text = f"Enum 'OrderStatus' cannot represent non-enum value: {value}. {hint}"
    assert told(GraphQLError(text)) == f"Enum 'OrderStatus' cannot represent non-enum value. {hint}"


def test_a_long_message_is_cut() -> None:
    assert told(GraphQLError("x" * 2 * LONGEST_MESSAGE)) == "x" * LONGEST_MESSAGE + "…"


@given(st.text(st.sampled_from("a:.'? found,valueDidyoumeanenm")), st.text())
def test_nothing_of_a_value_is_left_whatever_it_is(found: str, value: str) -> None:
    for beginning in ("Int cannot represent non-integer value", "Enum 'A' cannot represent non-enum value"):
        assert told(GraphQLError(f"{beginning}: {found}{value}")) == f"{beginning}."
    assert told(GraphQLError(f"Expected an object, found: {found}{value}.")) == "Expected an object."


def test_it_takes_no_time_to_find_the_value() -> None:
    """Each of them could be the beginning of a hint."""
    started = process_time()
    told(GraphQLError("Enum 'A' cannot represent non-enum value: " + ". Did you mean the enum value 'a', " * 8_000))
    told(GraphQLError("cannot represent " + "value " * 40_000))
    told(GraphQLError("cannot represent " * 15_000))
    assert process_time() - started < 1
