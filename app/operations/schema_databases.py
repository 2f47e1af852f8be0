"""The page about the four databases, made of the models: a diagram, and each table with its columns."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any, cast

from sqlalchemy import Column, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase

from app.domains.orders.tables import PRODUCT_STATS
from app.domains.products.tables import PRODUCT_WORDS
from app.markdown import code, link, table
from app.operations.migrations import METADATA
from app.settings import DATABASE_NAMES, DatabaseName

_WITHOUT_A_MODEL = {
    PRODUCT_WORDS.name: "The words of products' names and descriptions, in which misspelt ones find their likes.",
    PRODUCT_STATS.name: "A materialized view: the sales of each product that was ever sold.",
}
_VIEWS: dict[DatabaseName, list[Table]] = {"orders": [PRODUCT_STATS]}
_DIALECT = postgresql.dialect()
_SHORT = {
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "VARCHAR": "varchar",
}

_INTRODUCTION = """\
[The schema](README.md) / The databases

# The databases

Four databases, each of which knows nothing of the others. A solid line is a foreign key. A dashed one is a key into
another database, which no constraint protects: the row that it names may be gone, so the field that follows it can be
null, and `storegraph db audit` looks for such rows. Names are `database.table`.
"""


def databases_page() -> str:
    """The page, in Markdown."""
    parts = [_INTRODUCTION, "```mermaid\n" + "\n".join(_diagram()) + "\n```\n"]
    for name in DATABASE_NAMES:
        parts.append(f"## {name}")
        about = _about(name)
        tables = (*METADATA[name].sorted_tables, *_VIEWS.get(name, []))
        parts += [f"### {name}.{of.name}\n\n{about[of.name]}\n{_columns(name, of)}" for of in tables]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _about(name: DatabaseName) -> dict[str, str]:
    """What each table holds, as its model says."""
    base: type[DeclarativeBase] = import_module(f"app.domains.{name}.tables").Base
    models = {str(mapper.class_.__tablename__): str(mapper.class_.__doc__) for mapper in base.registry.mappers}
    return {table: " ".join(text.replace("``", "`").split()) for table, text in (models | _WITHOUT_A_MODEL).items()}


def _diagram() -> Iterator[str]:
    yield "erDiagram"
    for name in DATABASE_NAMES:
        for of in METADATA[name].sorted_tables:
            yield f'    {name}_{of.name}["{name}.{of.name}"] {{'
            of_keys = [column for column in of.columns if _keys(of, column)] or of.columns
            for column in sorted(of_keys, key=lambda column: not column.primary_key):
                marks = ", ".join(_keys(of, column))
                yield f"        {_type(column).partition('(')[0]} {column.name} {marks}".rstrip()
            yield "    }"
    for name in DATABASE_NAMES:
        for of in METADATA[name].sorted_tables:
            yield from _lines(name, of)


def _lines(name: DatabaseName, of: Table) -> Iterator[str]:
    """The keys of a table: from one row, or from one or none, to as many of this table as there may be."""
    for key in sorted(of.foreign_key_constraints, key=lambda key: str(key.column_keys)):
        [first, *_] = key.columns
        there = "|o" if any(column.nullable for column in key.columns) else "||"
        names = ", ".join(column.name for column in key.columns)
        yield f'    {name}_{key.referred_table.name} {there}--{_many(of, first)} {name}_{of.name} : "{names}"'
    for column in of.columns:
        if target := column.info.get("refers_to"):
            database, there, _ = target.split(".")
            yield f'    {database}_{there} |o..{_many(of, column)} {name}_{of.name} : "{column.name}"'


def _many(of: Table, column: Column[Any]) -> str:
    return "o|" if _is_unique(of, column) or list(of.primary_key.columns) == [column] else "o{"


def _is_unique(of: Table, column: Column[Any]) -> bool:
    alone = [constraint.columns.keys() for constraint in of.constraints if isinstance(constraint, UniqueConstraint)] + [
        index.columns.keys()
        for index in of.indexes
        if index.unique and index.dialect_options["postgresql"]["where"] is None
    ]
    return [column.key] in alone


def _keys(of: Table, column: Column[Any]) -> list[str]:
    marks = {
        "PK": column.primary_key,
        "FK": bool(column.foreign_keys) or "refers_to" in column.info,
        "UK": _is_unique(of, column),
    }
    return [mark for mark, holds in marks.items() if holds]


def _type(column: Column[Any]) -> str:
    text = str(column.type.compile(dialect=_DIALECT))
    for long, short in _SHORT.items():
        text = text.replace(long, short)
    return text.lower().replace(" ", "")


def _columns(name: DatabaseName, of: Table) -> str:
    return table(
        ("column", "type", "null", "default", "key"),
        (
            (
                code(column.name),
                code(_type(column)),
                "can be" if column.nullable and of is not PRODUCT_STATS else "",
                _default(column),
                "; ".join(_key(name, of, column)),
            )
            for column in of.columns
        ),
    )


def _default(column: Column[Any]) -> str:
    if column.computed is not None:
        return "worked out"
    if column.server_default is None:
        return ""
    default = cast("Any", column.server_default).arg
    return code(str(getattr(default, "text", default)))


def _key(name: DatabaseName, of: Table, column: Column[Any]) -> Iterator[str]:
    if column.primary_key:
        yield "primary"
    if _is_unique(of, column):
        yield "unique"
    for key in column.foreign_keys:
        there = f"{name}.{key.column.table.name}"
        yield f"names {link(code(f'{key.column.table.name}.{key.column.name}'), '#' + there.replace('.', ''))}"
    if target := column.info.get("refers_to"):
        database, there, _ = target.split(".")
        yield f"names {link(code(target), f'#{database}{there}')} in another database"
