"""What the pages about the schema are put together from: rows of their tables, and links from type to type."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    get_named_type,
    print_ast,
)
from graphql.utilities import get_default_value_ast
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from app.graph.declarations import Choice, Column, Connection, Edge, Lookup, Nodes, Own, declared
from app.graph.visibility import Visibility, visibility
from app.markdown import code, link, table
from app.paging import AnyColumn
from app.reads import Match, Read, Shape
from app.settings import DatabaseName

DATABASES_PAGE = "databases.md"
PAGES_OF_KINDS: Mapping[type[GraphQLNamedType], str] = {
    GraphQLInputObjectType: "inputs.md",
    GraphQLEnumType: "enums.md",
    GraphQLScalarType: "scalars.md",
}
Fields = GraphQLObjectType | GraphQLInterfaceType

_WHO = {Visibility.PUBLIC: "everybody", Visibility.OWNER: "owner, staff", Visibility.ADMIN: "staff"}


def type_link(type_: object) -> str:
    """A type as code, with the page that says what it is."""
    named = named_type(type_)
    page = PAGES_OF_KINDS.get(type(named))
    return link(code(str(type_)), f"{page}#{named.name.lower()}" if page else f"{named.name}.md")


def named_type(type_: object) -> GraphQLNamedType:
    """The type behind lists and non-nulls."""
    return cast("GraphQLNamedType", get_named_type(cast("Any", type_)))


def type_of(field: GraphQLField | GraphQLArgument | GraphQLInputField) -> object:
    """The type of a field or argument, which graphql-core leaves partly open."""
    return cast("Any", field).type


def definition(field: GraphQLField) -> StrawberryField:
    """What a field was declared with."""
    return field.extensions["strawberry-definition"]


def first_read(read: Read | Choice) -> Read:
    """The read that a field makes, where an argument decides between two the simpler one: both are of one table."""
    return read.no if isinstance(read, Choice) else read


def database_link(database: DatabaseName) -> str:
    """A database, with the place where its tables are listed."""
    return link(database, f"{DATABASES_PAGE}#{database}")


def source(read: Read) -> str:
    """Where the rows of a read are from."""
    if read.rows is None:
        return f"worked out in the {database_link(read.database)} database"
    name = read.rows.model.__tablename__
    return f"of {link(code(f'{read.database}.{name}'), f'{DATABASES_PAGE}#{read.database}{name}')}"


def field_table(type_: Fields) -> str:
    """The fields of a type."""
    rows = (
        (
            code(name + ("(…)" if field.args else "")),
            type_link(type_of(field)),
            _WHO[cast("Visibility", visibility(definition(field)))],
            field.description or "",
        )
        for name, field in type_.fields.items()
    )
    return table(("field", "type", "seen by", "what it is"), rows)


def argument_table(arguments: "Mapping[str, GraphQLArgument] | Mapping[str, GraphQLInputField]") -> str:
    """The arguments of a field, or the fields of an input."""
    rows = (
        (code(name), type_link(type_of(given)), _default(given), given.description or "")
        for name, given in arguments.items()
    )
    return table(("name", "type", "default", "what it is"), rows)


def _default(given: GraphQLArgument | GraphQLInputField) -> str:
    default = get_default_value_ast(given)
    return "" if default is None else code(print_ast(default))


def relation_table(type_: Fields, home: DatabaseName | None) -> str:
    """Where the fields of a type lead. ``home``: the database that its own rows are in; None where it has none."""
    rows = (
        (code(name), type_link(type_of(field)), *_relation(definition(field), home))
        for name, field in type_.fields.items()
        if _leads_on(definition(field))
    )
    return table(("field", "answers with", "in the database", "what", "found by"), rows)


def _leads_on(field: StrawberryField) -> bool:
    return not isinstance(declared(field), Column | None)


def _relation(field: StrawberryField, home: DatabaseName | None) -> Iterator[str]:
    """In which database, what is found there, and by which key."""
    declaration = declared(field)
    match declaration:
        case Nodes():
            yield from ("each", "rows of any table" if declaration.many else "a row of any table")
            yield code("ids" if declaration.many else "id")
        case Lookup(by):
            yield from (database_link(next(iter(by.values())).database), "a row")
            yield " or ".join(code(name) for name in by)
        case Own(read):
            yield from (database_link(read.database), "a row", "who asks")
        case Edge(via=via) | Connection(via=via):
            read = first_read(declaration.read)
            crosses = home is not None and home != read.database
            yield f"**{database_link(read.database)}**" if crosses else database_link(read.database)
            yield _what(read, one_value=isinstance(declaration, Edge) and declaration.take is not None)
            yield _key(read, via) + _chosen(declaration.read)
        case _:
            raise TypeError(f"no word for {declaration}")


def _what(read: Read, *, one_value: bool) -> str:
    if one_value:
        return "a value, worked out"
    if read.shape is Shape.ONE:
        return "a row" if read.rows else "sums"
    return "a page" if read.shape is Shape.PAGE else "a whole list"


def _key(read: Read, via: tuple[AnyColumn, ...]) -> str:
    """The columns of one's own row, and the column there that equals them, where that is all there is to it."""
    if not via:
        return "all rows"
    ours = ", ".join(code(name_of(column)) for column in via)
    there = read.keys.equals if isinstance(read.keys, Match) else None
    return ours if there is None else f"{ours} → {code(name_of(there))}"


def _chosen(read: Read | Choice) -> str:
    return f"; more with {code(to_camel_case(read.argument))}" if isinstance(read, Choice) else ""


def name_of(column: AnyColumn) -> str:
    """A column with its table."""
    expression = cast("Any", getattr(column, "expression", column))
    return f"{expression.table.name}.{expression.name}"


def input_text(type_: GraphQLInputObjectType) -> str:
    """What an input takes."""
    one = "\nExactly one field is given.\n" if type_.is_one_of else ""
    return one + argument_table(type_.fields)


def enum_text(type_: GraphQLEnumType) -> str:
    """The values of an enum."""
    rows = ((code(name), value.description or "") for name, value in type_.values.items())
    return table(("value", "what it means"), rows)


def scalar_text(type_: GraphQLScalarType) -> str:
    """Where a scalar is specified."""
    return f"Specified by <{type_.specified_by_url}>." if type_.specified_by_url else ""
