"""Many rows into empty tables: indexes and foreign keys made after them cost far less than those kept up to date.

The worst is a foreign key to a partitioned table, checked row by row.
"""

from app.operations.connect import Connection

_INDEXES = """
    SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
    FROM pg_index i WHERE i.indrelid = ANY($1::regclass[])
    AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid) ORDER BY 1
"""
_FOREIGN_KEYS = """
    SELECT conrelid::regclass::text AS owner, quote_ident(conname) AS name, pg_get_constraintdef(oid) AS definition
    FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND conrelid = ANY($1::regclass[]) ORDER BY 1, 2
"""


async def drop_indexes(connection: Connection, tables: list[str]) -> list[str]:
    """Drop the indexes and foreign keys of tables and return the statements that make them again, all at once.

    What keeps rows unique stays. Other sessions can neither read nor write the tables, nor those that they refer to,
    until the transaction ends, which must be the one that makes them again: then an interruption changes nothing.
    """
    restore: list[str] = []
    foreign_keys = await connection.fetch(_FOREIGN_KEYS, tables)
    for index, definition in await connection.fetch(_INDEXES, tables):
        await connection.execute(f"DROP INDEX {index}")
        # Of a partitioned table PostgreSQL prints ON ONLY, which would leave the partitions without the index.
        restore.append(definition.replace(" ON ONLY ", " ON ", 1))
    for table, key, definition in foreign_keys:
        await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {key}")
        restore.append(f"ALTER TABLE {table} ADD CONSTRAINT {key} {definition}")
    return restore
