"""Runs the migrations of one database, over the connection that ``app.operations.migrations_run`` opened.

Imports nothing of the application: the models, which only ``revision --autogenerate`` needs, are handed over as well.
Offline, what would run is written to the buffer that was handed over, one statement a call.
"""

from alembic import context
from sqlalchemy import Connection, Index, MetaData, text
from sqlalchemy.schema import SchemaItem

# Partitions, and the foreign keys that PostgreSQL itself adds to a table for each partition of the one referred to.
INHERITED = """
    SELECT relname FROM pg_class WHERE relispartition
    UNION SELECT conname FROM pg_constraint WHERE conparentid <> 0
"""


def run_online(connection: Connection, metadata: MetaData) -> None:
    inherited = frozenset(connection.scalars(text(INHERITED)))
    connection.rollback()  # Alembic makes no transactions of its own on a connection that is in one

    def include_object(
        item: SchemaItem, name: str | None, _kind: str, reflected: bool, compare_to: SchemaItem | None
    ) -> bool:
        """What autogenerate compares: not what is made as time goes on, nor what SQLAlchemy cannot read back."""
        if isinstance(item, Index) and compare_to is not None:
            return not any("COLLATE" in str(expression) for expression in item.expressions)
        return not (reflected and name in inherited)

    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=include_object,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_offline() -> None:
    context.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # others write each % twice
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online(context.config.attributes["connection"], context.config.attributes["metadata"])
