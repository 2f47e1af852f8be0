"""The schema as text: printed for people and for client generators, read back, and compared.

Introspection is printed as graphql-js's ``introspectionFromSchema`` makes it, with no ``data`` around it:
graphql-codegen and graphql-inspector read it with and without, gql.tada only without.
"""

import difflib
import json

from graphql import (
    DirectiveDefinitionNode,
    DocumentNode,
    ExecutableDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    IntrospectionQuery,
    Source,
    build_ast_schema,
    build_client_schema,
    introspection_from_schema,
    lexicographic_sort_schema,
    parse,
    print_schema,
    specified_directives,
    validate_schema,
)

from app.errors import OperationError
from app.graph.schema import build_schema

_SPECIFIED = {directive.name for directive in specified_directives}


def gateway_sdl() -> str:
    """This gateway's schema in the schema definition language, sorted: what ``/schema.graphql`` serves."""
    return build_schema().as_str() + "\n"


def gateway_introspection() -> str:
    """This gateway's schema as the JSON of an introspection query, sorted: ``{"__schema": …}``."""
    schema = lexicographic_sort_schema(build_schema()._schema)  # pyright: ignore[reportPrivateUsage] -- see build_schema
    return json.dumps(introspection_from_schema(schema), indent=2, ensure_ascii=False) + "\n"


def read_schema(text: str, name: str) -> GraphQLSchema:
    """A schema of its text: definitions, or the JSON of an introspection query with or without ``data`` around it.

    Args:
        text: the schema.
        name: what to call it in an error, such as its file.

    Raises:
        OperationError: it is no valid schema.
    """
    if not text.strip():
        raise OperationError(f"{name} is empty")
    try:
        schema = _of_introspection(text) if text.lstrip()[0] == "{" else _of_definitions(text, name)
    except json.JSONDecodeError as error:
        raise OperationError(f"{name} begins as JSON does, and is none: {error}") from None
    except GraphQLError as error:
        place = "".join(f", line {location.line}" for location in error.locations or ())
        raise OperationError(f"{name}{place}: {error.message}") from None
    except (TypeError, ValueError, KeyError) as error:  # what graphql-core raises for a schema that contradicts itself
        found = str(error).split("\n\n")
        raise OperationError("\n".join(f"{name} is no valid schema: {each}" for each in found)) from None
    if errors := validate_schema(schema):
        raise OperationError("\n".join(f"{name} is no valid schema: {error.message}" for error in errors))
    return schema


def _of_introspection(text: str) -> GraphQLSchema:
    found = json.loads(text)
    introspection: IntrospectionQuery = found.get("data", found)
    return build_client_schema(introspection)


def _of_definitions(text: str, name: str) -> GraphQLSchema:
    document = parse(Source(text, name))
    if any(isinstance(node, ExecutableDefinitionNode) for node in document.definitions):
        raise ValueError("it has operations, where a schema has definitions of types")
    # A printer may define the specification's own directives, with or without descriptions: that says nothing.
    definitions = (
        node
        for node in document.definitions
        if not (isinstance(node, DirectiveDefinitionNode) and node.name.value in _SPECIFIED)
    )
    return build_ast_schema(DocumentNode(definitions=tuple(definitions)))


def difference(old: GraphQLSchema, new: GraphQLSchema, old_name: str, new_name: str) -> str:
    """How two schemas differ when both are printed in the same way: a unified diff, empty where they say the same."""
    before, after = (print_schema(lexicographic_sort_schema(schema)).splitlines() for schema in (old, new))
    return "\n".join(difflib.unified_diff(before, after, old_name, new_name, lineterm=""))
