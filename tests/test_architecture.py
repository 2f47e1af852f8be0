"""The rules that keep the code in shape: who may import whom, sizes, and what every declaration must have."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import cast, get_args

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    is_introspection_type,
    is_specified_scalar_type,
)
from sqlalchemy import MetaData, Table
from strawberry.types.base import (
    StrawberryObjectDefinition,
    StrawberryOptional,
    get_object_definition,
    has_object_definition,
)
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import StrawberryLazyReference

from app.graph.connection import LARGEST_PAGE
from app.graph.declarations import Choice, Column, Connection, Edge, Lookup, declared
from app.graph.fields import columns_of, type_of_rows
from app.graph.schema import NODES, build_schema
from app.graph.visibility import ADMIN, OWNER, PUBLIC, visibility
from app.paging import AnyColumn
from app.reads import Read
from app.settings import DATABASE_NAMES

ROOT = Path(__file__).parent.parent
APP = ROOT / "app"
MODULES = sorted(APP.rglob("*.py"))
SOURCES = [
    *MODULES,
    *(path for folder in ("bench", "migrations", "tests") for path in sorted((ROOT / folder).rglob("*.py"))),
]

SCHEMA = build_schema()._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own, to walk through
TYPES = [type_ for type_ in SCHEMA.type_map.values() if not is_introspection_type(type_)]
OBJECTS = [type_ for type_ in TYPES if isinstance(type_, GraphQLObjectType)]


def name_of(path: Path) -> str:
    """``app/graph/fields.py`` is ``app.graph.fields``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> Iterator[str]:
    """The modules that a file imports, also inside functions; not those for type checkers."""
    checked = {
        id(node)
        for block in ast.walk(tree_of(path))
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in chain.from_iterable(ast.walk(statement) for statement in block.body)
    }
    for node in ast.walk(tree_of(path)):
        if id(node) in checked:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}, line {node.lineno}: imports are absolute"
            assert not node.level, f"{path}, line {node.lineno}: imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def under(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


# What each part of the program may import of the others, nearest the root of the table first.
LAYERS: tuple[str, ...] = (
    "app.settings",
    "app.errors",
    "app.markdown",
    "app.viewer",
    "app.logs",
    "app.breaker",
    "app.metrics",
    "app.tracing",
    "app.deadline",
    "app.pool",
    "app.database",
    "app.replicas",
    "app.paging",
    "app.filters",
    "app.reads",
    "app.joins",
    "app.statements",
    "app.domains",
    "app.identity",
    "app.graph",
    "app.middleware",
    "app.demo_token",
    "app.metrics_upkeep",
    "app.metrics_collector",
    "app.metrics_server",
    "app.main",
    "app.serving",
    "app.workers",
)
"""What each may import: itself, and what stands before it."""

ARROW: dict[str, tuple[str, ...]] = {
    **{part: LAYERS[:number] for number, part in enumerate(LAYERS)},
    "app.operations": ("app.domains", "app.database", "app.markdown", "app.errors", "app.settings"),
    "app.demo": ("app.operations", *LAYERS),
    "app.cli": ("app.demo", "app.operations", *LAYERS),
}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    module = name_of(path)
    if module == "app":
        return
    [part] = [part for part in ARROW if under(module, part)]
    allowed = (part, *ARROW[part])
    found = [name for name in imports_of(path) if under(name, "app") and name != "app"]
    assert [name for name in found if not under(name, *allowed)] == []


@pytest.mark.parametrize("path", sorted((APP / "domains").rglob("*.py")), ids=name_of)
def test_no_domain_knows_another(path: Path) -> None:
    own = ".".join(name_of(path).split(".")[:3])
    others = [f"app.domains.{name}" for name in DATABASE_NAMES if f"app.domains.{name}" != own]
    assert [name for name in imports_of(path) if under(name, *others)] == []


def test_domains_have_the_same_files() -> None:
    """A file appears with its first content: what changes a database, where something does."""
    for folder, always, later in (
        ("domains", {"tables.py", "reads.py"}, "writes.py"),
        ("graph", {"inputs.py", "types.py", "query.py"}, "mutation.py"),
    ):
        for name in DATABASE_NAMES:
            files = {path.name for path in (APP / folder / name).glob("*.py")} - {"__init__.py", later}
            assert files == always, f"{folder}/{name}"


@pytest.mark.parametrize("number", range(len(DATABASE_NAMES)))
def test_the_graphs_packages_point_left(number: int) -> None:
    """users < products < orders < payments; the way back is in lazy.py."""
    right = [f"app.graph.{name}" for name in DATABASE_NAMES[number + 1 :]]
    for path in (APP / "graph" / DATABASE_NAMES[number]).glob("*.py"):
        assert [name for name in imports_of(path) if under(name, *right)] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_stay_where_they_belong(path: Path) -> None:
    module, imported = name_of(path), list(imports_of(path))
    if not under(module, "app.graph"):
        assert [name for name in imported if under(name, "strawberry", "graphql")] == []
    places = (
        "app.domains",
        "app.pool",
        "app.database",
        "app.replicas",
        "app.reads",
        "app.joins",
        "app.statements",
        "app.filters",
        "app.paging",
        "app.operations",
    )
    if not under(module, *places):
        assert [name for name in imported if under(name, "sqlalchemy", "asyncpg")] == []
    words = {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    words |= {name.rpartition(".")[2] for name in imported}
    if module != "app.settings":
        assert not words & {"environ", "environb", "getenv"}
    if module != "app.graph.lazy":
        assert "lazy" not in words - {"lazy" for name in imported if name == "app.graph.lazy"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    if under(name_of(path), "migrations"):
        return  # one statement after the other, written once
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 400
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name


def declared_fields() -> Iterator[tuple[str, StrawberryField]]:
    """Every field of every object type, with the type's name."""
    for type_ in OBJECTS:
        definition = type_.extensions.get("strawberry-definition")
        if isinstance(definition, StrawberryObjectDefinition):
            yield from ((type_.name, field) for field in definition.fields)


def loaded_types() -> set[type]:
    """Every type that is made from rows."""
    kinds = (Edge, Connection, Lookup)
    types = {type_of_rows(field) for _, field in declared_fields() if isinstance(declared(field), kinds)}
    return {type_ for type_ in types if has_object_definition(type_)}


def table_of(column: AnyColumn) -> Table:
    return getattr(column, "expression", column).table


def test_every_key_into_another_database_has_an_edge() -> None:
    keys = {
        (name, table.name, column.name)
        for name in DATABASE_NAMES
        for table in metadata_of(name).tables.values()
        for column in table.columns
        if "refers_to" in column.info
    }
    assert len(keys) == 4
    edges = {
        (table_of(via).metadata.info["database"], table_of(via).name, via.key)
        for _, field in declared_fields()
        if isinstance(declaration := declared(field), Edge)
        for via in declaration.via
    }
    assert keys <= edges


def metadata_of(database: str) -> MetaData:
    return import_module(f"app.domains.{database}.tables").Base.metadata


def test_a_key_into_another_database_names_a_table_that_there_is() -> None:
    for name in DATABASE_NAMES:
        for table in metadata_of(name).tables.values():
            for column in table.columns:
                if (target := column.info.get("refers_to")) is not None:
                    database, target_table, target_column = target.split(".")
                    assert target_column in metadata_of(database).tables[target_table].columns
                    assert database != name


def test_an_edge_into_another_database_can_be_null() -> None:
    """No foreign key protects it, and the other database may be down."""
    crossing = 0
    for name, field in declared_fields():
        declaration = declared(field)
        if isinstance(declaration, Edge | Connection) and declaration.via:
            read = declaration.read.yes if isinstance(declaration.read, Choice) else declaration.read
            if read.database != table_of(declaration.via[0]).metadata.info["database"]:
                crossing += 1
                assert isinstance(field.type, StrawberryOptional), f"{name}.{field.name}"
    assert crossing >= 8


def test_every_list_without_an_end_is_a_connection_with_a_cap() -> None:
    connections = [type_ for type_ in OBJECTS if type_.name.endswith("Connection")]
    assert connections
    for type_ in OBJECTS:
        for name, field in type_.fields.items():
            if not str(field.type).rstrip("!").endswith("Connection"):
                continue
            assert {"first", "after"} <= set(field.args), f"{type_.name}.{name}"
            assert f"1 to {LARGEST_PAGE}" in str(field.args["first"].description)


def test_everything_is_described() -> None:
    for type_ in TYPES:
        if isinstance(type_, GraphQLScalarType) and is_specified_scalar_type(type_):
            continue
        assert type_.description, type_.name
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for name, field in type_.fields.items():
                assert field.description, f"{type_.name}.{name}"
                for argument, definition in getattr(field, "args", {}).items():
                    assert definition.description, f"{type_.name}.{name}({argument}:)"
        if isinstance(type_, GraphQLEnumType):
            assert type_.values


def test_what_a_type_selects_has_distinct_names() -> None:
    """Cells are found by name: a name stands for one column only."""
    assert len(loaded_types()) >= 9
    for type_ in loaded_types():
        for column in columns_of(type_):
            same = [other for other in _columns(type_) if other.key == column.key]
            assert all(str(other) == str(column) for other in same), f"{type_.__name__}: {column.key}"


def _columns(type_: type) -> Iterator[AnyColumn]:
    for field in get_object_definition(type_, strict=True).fields:
        declaration = declared(field)
        if isinstance(declaration, Column):
            yield declaration.column
        elif isinstance(declaration, Edge | Connection):
            yield from declaration.via


def reads_of(field: StrawberryField) -> list[Read]:
    """Every read that a field can make."""
    declaration = declared(field)
    if isinstance(declaration, Lookup):
        return list(declaration.by.values())
    if not isinstance(declaration, Edge | Connection):
        return []
    read = declaration.read
    found = [read.yes, read.no] if isinstance(read, Choice) else [read]
    return found + ([declaration.search] if isinstance(declaration, Connection) and declaration.search else [])


def fields_of(type_: type) -> list[StrawberryField]:
    return get_object_definition(type_, strict=True).fields


def test_rows_that_have_an_owner_are_read_as_the_owner_s_alone() -> None:
    """A type with a field that is not public has an owner, or the field is for staff; and so has each read of it."""
    owned: set[str] = set()
    for _, field in declared_fields():
        type_ = type_of_rows(field) if reads_of(field) else None
        if type_ is None or not has_object_definition(type_):
            continue
        has_owner = any(visibility(of_type) is OWNER for of_type in fields_of(type_))
        assert all((read.own is not None) == has_owner for read in reads_of(field)), field.name
        assert not has_owner or all(visibility(of_type) is not PUBLIC for of_type in fields_of(type_)), type_.__name__
        owned |= {type_.__name__} if has_owner else set()
    for type_, read in NODES.items():
        assert (read.own is not None) == (type_.__name__ in owned), type_.__name__
    assert owned == {"User", "UserProfile", "UserOrderStats", "Order", "OrderItem", "Payment", "Refund"}


def test_no_list_is_filtered_or_ordered_by_what_its_viewers_do_not_see() -> None:
    """Whoever could order a list by it would find it out."""
    seen = 0
    for name, field in declared_fields():
        declaration = declared(field)
        if not isinstance(declaration, Connection) or visibility(field) is ADMIN:
            continue
        hidden = {
            of_type.metadata["declared"].column.key
            for of_type in fields_of(type_of_rows(field))
            if isinstance(declared(of_type), Column) and visibility(of_type) is ADMIN
        }
        for given in (declaration.where, declaration.order_by):
            if given is None:
                continue
            for of_input in fields_of(resolved(given)):
                column = getattr(of_input.metadata.get("means"), "column", of_input.metadata.get("sorts"))
                seen += 1
                assert column is None or column.key not in hidden, f"{name}.{field.name}: {column.key}"
    assert seen > 20


def resolved(given: object) -> type:
    """The input that an argument takes, also where it is named lazily."""
    marks = [mark for mark in getattr(given, "__metadata__", ()) if isinstance(mark, StrawberryLazyReference)]
    if not marks:
        return cast("type", given)
    [name] = {getattr(of, "__forward_arg__", None) for of in get_args(given)} - {None}
    return getattr(import_module(marks[0].module), cast("str", name))


def test_a_field_that_does_not_say_who_may_see_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    field = next(field for name, field in declared_fields() if name == "Order" and field.name == "total_amount")
    monkeypatch.setattr(field, "metadata", {"declared": declared(field)})
    with pytest.raises(TypeError, match=r"^Order\.totalAmount does not say who may see it$"):
        build_schema()


def test_no_type_shows_a_password() -> None:
    for type_ in loaded_types():
        assert "password_hash" not in {column.key for column in columns_of(type_)}


def test_the_printed_schema_is_current() -> None:
    printed = (APP / "graph" / "schema.graphql").read_text(encoding="utf-8")
    assert printed == build_schema().as_str() + "\n", "run: storegraph schema export > app/graph/schema.graphql"
