"""The schema as text: what is exported and introspected is the same, and everything in it says what it is."""

import json
from enum import Enum

import pytest
from graphql import (
    DocumentNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    get_introspection_query,
    is_specified_scalar_type,
    parse,
    print_ast,
    print_schema,
)

from app.errors import OperationError
from app.graph.enums import describe_enum
from app.graph.schema_text import difference, gateway_introspection, read_schema
from tests.graph.conftest import Gateway
from tests.graph.schemas import SCHEMA, SDL

WHOLE = get_introspection_query(
    specified_by_url=True,
    directive_is_repeatable=True,
    schema_description=True,
    input_value_deprecation=True,
    experimental_directive_deprecation=True,
    one_of=True,
)


@pytest.mark.anyio
async def test_introspection_and_both_exports_say_the_same(gateway: Gateway) -> None:
    introspected = await gateway.ask(WHOLE)
    exported = json.loads(gateway_introspection())
    assert exported == introspected
    assert [*exported] == ["__schema"]
    for text in (gateway_introspection(), json.dumps({"data": introspected})):
        assert difference(read_schema(text, "introspection"), SCHEMA, "introspection", "definitions") == ""
        assert print_schema(read_schema(text, "introspection")) == print_schema(SCHEMA)


def test_everything_is_sorted() -> None:
    schema = json.loads(gateway_introspection())["__schema"]
    named: list[list[str]] = [[of["name"] for of in schema[part]] for part in ("types", "directives")]
    for type_ in schema["types"]:
        if type_["name"].startswith("__"):
            continue  # the specification's own
        parts = ("fields", "inputFields", "enumValues", "interfaces", "possibleTypes")
        named += [[of["name"] for of in type_[part] or ()] for part in parts]
        named += [[of["name"] for of in field["args"]] for field in type_["fields"] or ()]
    assert [names for names in named if names != sorted(names)] == []
    assert sum(len(names) > 1 for names in named) > 50
    kinds = ("type ", "input ", "enum ", "scalar ", "interface ")
    printed = [line.split()[1] for line in SDL.splitlines() if line.startswith(kinds)]
    assert printed == sorted(printed)


def test_everything_says_what_it_is() -> None:
    """Types, fields, arguments, values, inputs and directives; and a scalar of ours, where it is specified."""
    lacking: list[str] = []

    def described(what: str, text: str | None) -> None:
        if not (text or "").strip():
            lacking.append(what)

    for name, type_ in SCHEMA.type_map.items():
        if name.startswith("__"):
            continue  # the specification's own
        described(name, type_.description)
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for part, field in type_.fields.items():
                described(f"{name}.{part}", field.description)
                for argument, given in getattr(field, "args", {}).items():
                    described(f"{name}.{part}({argument}:)", given.description)
        elif isinstance(type_, GraphQLEnumType):
            for value, definition in type_.values.items():
                described(f"{name}.{value}", definition.description)
        elif isinstance(type_, GraphQLScalarType) and not is_specified_scalar_type(type_):
            described(f"{name} @specifiedBy", type_.specified_by_url)
    for directive in SCHEMA.directives:
        described(f"@{directive.name}", directive.description)
        for argument, given in directive.args.items():
            described(f"@{directive.name}({argument}:)", given.description)
    assert lacking == []


@pytest.mark.parametrize("values", [{"CUSTOMER": "…"}, dict.fromkeys(("CUSTOMER", "ADMIN", "GUEST"), "…")])
def test_an_enum_is_described_whole(values: dict[str, str]) -> None:
    class Role(Enum):
        CUSTOMER = "customer"
        ADMIN = "admin"

    with pytest.raises(TypeError, match=r"^Role is described by \["):
        describe_enum(Role, "What a user may do.", **values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type Query {", r"^FILE, line 1: Syntax Error: Expected Name, found <EOF>\.$"),
        ("type Query { a: Missing }", r"^FILE is no valid schema: Unknown type 'Missing'\.$"),
        ("type A { a: Int }", r"^FILE is no valid schema: Query root type must be provided\.$"),
        ("type Query implements N { a: Int } interface N { id: ID! }", "^FILE is no valid schema: .*N.id expected"),
        ("type Query { a: A1, b: B2 }", r"^FILE is no valid schema: .*'A1'\.\nFILE is no valid schema: .*'B2'\.$"),
        ("# nothing", r"^FILE, line 1: Syntax Error: Unexpected <EOF>\.$"),
        (" \n", "^FILE is empty$"),
        ("query Search { a }", "^FILE is no valid schema: it has operations, where a schema has definitions of types$"),
        ("type Query { a: Int } fragment A on Query { a }", "^FILE is no valid schema: it has operations"),
        ("{ a }", "^FILE begins as JSON does, and is none: Expecting property name"),
        ('{"data": null}', "^FILE is no valid schema: "),
        ('{"errors": [{"message": "Introspection is off."}]}', "^FILE is no valid schema: "),
        ('{"__schema": ', "^FILE begins as JSON does, and is none: Expecting value"),
        ('{"__schema": {}}', "^FILE is no valid schema: "),
        ('{"__schema": []}', "^FILE is no valid schema: "),
    ],
)
def test_what_is_no_schema_is_refused_by_its_name(text: str, message: str) -> None:
    with pytest.raises(OperationError, match=message):
        read_schema(text, "FILE")


def test_only_what_a_schema_says_makes_a_difference() -> None:
    turned = print_ast(DocumentNode(definitions=parse(SDL).definitions[::-1]))
    same = "# turned round\n" + turned.replace("\n\n", "\n\n\n").replace("directive @oneOf on INPUT_OBJECT", "")
    assert difference(read_schema(same, "same"), SCHEMA, "same", "this") == ""
    other = SDL.replace('"An order."', '"Mine."', 1)
    found = difference(read_schema(other, "a.graphql"), SCHEMA, "a.graphql", "this")
    assert found.splitlines()[:2] == ["--- a.graphql", "+++ this"]
    assert [line for line in found.splitlines()[2:] if line[0] in "+-"] == ['-"""Mine."""', '+"""An order."""']
