"""The schema as pages to read, made of what the types declare: a page for each type of object, and one for each other
kind of type. The databases have a page of their own (``app/operations/schema_databases.py``).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLScalarType,
    is_introspection_type,
    lexicographic_sort_schema,
)
from strawberry.types.base import has_object_definition

from app.graph.declarations import Connection, Edge, declared
from app.graph.fields import type_of_rows
from app.graph.schema import NODES, build_schema
from app.graph.schema_docs_parts import (
    DATABASES_PAGE,
    PAGES_OF_KINDS,
    Fields,
    argument_table,
    definition,
    enum_text,
    field_table,
    first_read,
    input_text,
    named_type,
    relation_table,
    scalar_text,
    source,
    type_link,
    type_of,
)
from app.markdown import code, link, table
from app.reads import Read
from app.settings import DATABASE_NAMES

_OF_PAGES = ("Connection", "Edge")
_INTRODUCTION = """\
# The schema

Every type of the API. `storegraph schema export` prints the same for client generators, and a running gateway serves it
at `/schema.graphql`.

Each field says by whom it is seen:

- **everybody**: also by who is not signed in;
- **owner, staff**: by whoever is signed in, of their own rows, and by support and admins of all rows;
- **staff**: by support and admins.

A field leads to other objects by a key in its own object's row. All of a level are read with one statement, however
many there are. Where a field leads into another database (**in bold**) it can be null: the row may be gone, and while
that database does not answer there is an error at the field's path.
"""

Kind = TypeVar("Kind", bound=GraphQLNamedType)


class SchemaPages:
    """The pages of this gateway's schema."""

    def __init__(self) -> None:
        schema = lexicographic_sort_schema(build_schema()._schema)  # pyright: ignore[reportPrivateUsage]
        self._types = [type_ for type_ in schema.type_map.values() if not is_introspection_type(type_)]
        self._objects = [type_ for type_ in self._types if isinstance(type_, Fields)]
        roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
        self._roots = [root.name for root in roots if root]
        self._reads = {of.__name__: read for of, read in NODES.items()} | _reads_of_sums(self._objects)

    def pages(self) -> dict[str, str]:
        """Each page's Markdown, by the name of its file; ``README.md`` is the one to begin with."""
        objects = {f"{type_.name}.md": self._object_page(type_) for type_ in self._objects}
        return objects | {
            "README.md": self._index(),
            "inputs.md": self._page_of_kind("Inputs", GraphQLInputObjectType, input_text),
            "enums.md": self._page_of_kind("Enums", GraphQLEnumType, enum_text),
            "scalars.md": self._page_of_kind("Scalars", GraphQLScalarType, scalar_text),
        }

    def _index(self) -> str:
        rest = {type_.name for type_ in self._objects} - {*self._roots}
        parts = [_INTRODUCTION, self._listed("Where operations begin", self._roots)]
        for database in DATABASE_NAMES:
            there = {name for name in rest & self._reads.keys() if self._reads[name].database == database}
            parts.append(self._listed(f"The {link(database, f'{DATABASES_PAGE}#{database}')} database", sorted(there)))
            rest -= there
        of_pages = {name for name in rest if name.endswith(_OF_PAGES)} | {"PageInfo"}
        parts.append(self._listed("Pages of lists", sorted(of_pages)))
        parts.append(self._listed("Other objects", sorted(rest - of_pages)))
        values = ", ".join(link(page.removesuffix(".md"), page) for page in PAGES_OF_KINDS.values())
        parts.append(f"## Values\n\nWhat arguments take and fields answer with: {values}.\n")
        parts.append(f"## Tables\n\n{link('The databases', DATABASES_PAGE)}: a diagram, and each table.\n")
        return "\n".join(parts)

    def _listed(self, title: str, names: Iterable[str]) -> str:
        described = {type_.name: type_.description or "" for type_ in self._objects}
        rows = ((link(code(name), f"{name}.md"), described[name]) for name in names)
        return f"## {title}\n" + table(("type", "what it is"), rows).removesuffix("\n")

    def _object_page(self, type_: Fields) -> str:
        read = self._reads.get(type_.name)
        parts = [f"{link('The schema', 'README.md')} / {type_.name}\n\n# {type_.name}\n\n{type_.description}"]
        parts.append("\n".join(self._facts(type_, read)))
        parts.append(f"## Fields\n{field_table(type_)}")
        if relations := relation_table(type_, read and read.database):
            parts.append(f"## Relations\n{relations}")
        for name, field in type_.fields.items():
            if field.args:
                parts.append(f"## Arguments of {name}\n{argument_table(field.args)}")
        return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"

    def _facts(self, type_: Fields, read: Read | None) -> Iterator[str]:
        if read:
            whose = "everybody sees all of them" if read.own is None else "one sees one's own, staff all of them"
            yield f"- **Rows**: {source(read)}; {whose}."
        if interfaces := ", ".join(type_link(of) for of in type_.interfaces):
            yield f"- **Is a**: {interfaces}."
        if isinstance(type_, GraphQLInterfaceType):
            yield f"- **Kinds**: {', '.join(type_link(of) for of in self._objects if type_ in of.interfaces)}."
        if ways := ", ".join(link(code(f"{of}.{name}"), f"{of}.md") for of, name in self._ways_to(type_)):
            yield f"- **Found by**: {ways}."

    def _ways_to(self, type_: GraphQLNamedType) -> Iterator[tuple[str, str]]:
        """The fields that answer with this type, or with a page of it."""
        for of in self._objects:
            for name, field in of.fields.items():
                found = {named_type(type_of(field)).name}
                if isinstance(declared(definition(field)), Connection):
                    found.add(type_of_rows(definition(field)).__name__)
                if type_.name in found and not (of.name.endswith(_OF_PAGES) and type_.name in self._reads):
                    yield of.name, name

    def _page_of_kind(self, title: str, kind: type[Kind], text: Callable[[Kind], str]) -> str:
        parts = [f"{link('The schema', 'README.md')} / {title}\n\n# {title}"]
        for type_ in self._types:
            if isinstance(type_, kind):
                parts += [f"## {type_.name}\n\n{type_.description}", text(type_).strip("\n")]
        return "\n\n".join(part for part in parts if part) + "\n"


def _reads_of_sums(objects: list[Fields]) -> dict[str, Read]:
    """What the types are read by that have no global id: sums, such as ``ProductStats``."""
    return {
        of.__name__: first_read(declaration.read)
        for type_ in objects
        for field in type_.fields.values()
        if isinstance(declaration := declared(definition(field)), Edge)
        and has_object_definition(of := type_of_rows(definition(field)))
        and of not in NODES
    }
