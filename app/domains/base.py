"""What the tables of all four databases share: names of constraints, common columns, and objects that are not tables.

A database's functions, triggers and views are declared beside its tables, as SQL that runs with ``create_all``. The
migrations carry their own copies; ``storegraph db check`` builds the declared ones and compares them with what is
there.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, cast
from uuid import UUID

from sqlalchemy import DDL, CheckConstraint, DateTime, MetaData, Numeric, Table, event, text
from sqlalchemy.orm import DeclarativeBase, mapped_column

from app.settings import DatabaseName

# PostgreSQL's own names for keys; the guide's `idx_` and `check_` for the rest.
NAMING_CONVENTION = {
    "pk": "%(table_name)s_pkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "ck": "check_%(constraint_name)s",
    "ix": "idx_%(table_name)s_%(column_0_N_name)s",
}

GENERATED_UUID = text("gen_random_uuid()")

Id = Annotated[UUID, mapped_column(primary_key=True, server_default=GENERATED_UUID)]
Timestamp = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=text("CURRENT_TIMESTAMP"))]
Money = Annotated[str, mapped_column(Numeric(10, 2))]
"""Rows carry amounts as text with two decimals, as the API does; no float ever stands in between."""


def new_metadata(database: DatabaseName) -> MetaData:
    """The metadata of one database, which names constraints by the common convention."""
    return MetaData(naming_convention=NAMING_CONVENTION, info={"database": database})


def check_one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """The CHECK that keeps a text column to the values of an enum."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def table_of(model: type[DeclarativeBase]) -> Table:
    """The table behind a model."""
    return cast("Table", model.__table__)  # declared wider, for models mapped to a subquery; ours never are


def declare_function(base: type[DeclarativeBase], sql: str) -> None:
    """Declare a function that the tables of this database need."""
    event.listen(base.metadata, "before_create", DDL(sql.replace("%", "%%")))


def declare_trigger(model: type[DeclarativeBase], sql: str) -> None:
    """Declare a trigger of a table."""
    event.listen(table_of(model), "after_create", DDL(sql.replace("%", "%%")))


def declare_view(base: type[DeclarativeBase], sql: str) -> None:
    """Declare a view over the tables of a database, or an index of one."""
    event.listen(base.metadata, "after_create", DDL(sql.replace("%", "%%")))


def keep_updated_at(base: type[DeclarativeBase], *models: type[DeclarativeBase]) -> None:
    """Declare what keeps ``updated_at`` right, whoever writes: the time of the last change. One call a database."""
    declare_function(
        base,
        """\
CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := CURRENT_TIMESTAMP;
    RETURN NEW;
END
$$""",
    )
    for model in models:
        name = model.__tablename__
        declare_trigger(
            model,
            f"CREATE TRIGGER {name}_touch_updated_at BEFORE UPDATE ON {name} "
            "FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at()",
        )
