"""Reads of a database what decides on the locks of the statements to come."""

import asyncpg

from app.operations.connect import Connection
from app.operations.plan_locks import Facts, Relation

# Some functions look into the tables, and wait for who has locked them: each of them is in one place, to be left out.
_RELATIONS = """
    SELECT relname AS name, rows::bigint, size::bigint, partitions::int FROM pg_class c, LATERAL (
        SELECT sum(reltuples) FILTER (WHERE reltuples >= 0) AS rows, {looks} AS size,
            count(*) FILTER (WHERE of.oid <> c.oid) AS partitions
        FROM pg_class of
        WHERE of.oid = c.oid
            OR of.relispartition AND of.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = c.oid)
    ) AS all_of_it
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_SIZE = "coalesce(sum(pg_total_relation_size(of.oid)), 0)"
_INDEXES = """
    SELECT i.relname AS name, t.relname AS table
    FROM pg_index JOIN pg_class t ON t.oid = indrelid JOIN pg_class i ON i.oid = indexrelid
    WHERE t.relnamespace = current_schema()::regnamespace
"""
_COLUMNS = """
    SELECT relname AS table, attname AS name, format_type(atttypid, atttypmod) AS type
    FROM pg_class c JOIN pg_attribute ON attrelid = c.oid
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
"""
_FOREIGN = """
    SELECT t.relname AS table, conname AS name, r.relname AS refers_to
    FROM pg_constraint JOIN pg_class t ON t.oid = conrelid JOIN pg_class r ON r.oid = confrelid
    WHERE contype = 'f' AND t.relnamespace = current_schema()::regnamespace
"""
_NEVER_NULL = """
    SELECT relname AS table, attname AS name
    FROM pg_constraint JOIN pg_class c ON c.oid = conrelid
        JOIN pg_attribute ON attrelid = c.oid AND ARRAY[attnum] = conkey
    WHERE contype = 'c' AND convalidated AND relnamespace = current_schema()::regnamespace
        AND {looks} = format('CHECK ((%I IS NOT NULL))', attname)
"""
_CHECK = "pg_get_constraintdef(pg_constraint.oid)"


async def read(connection: Connection) -> Facts:
    """What a database holds, in the schema that its search path begins with.

    Where somebody has locked a table against all others, sizes are left out, and no CHECK counts.
    """
    await connection.execute("SET lock_timeout TO '500ms'")
    facts = Facts()
    for row in await _looking(connection, _RELATIONS, _SIZE):
        facts.relations[row["name"]] = Relation(row["rows"], row["size"], row["partitions"])
    for row in await _looking(connection, _NEVER_NULL, _CHECK):
        facts.never_null.add((row["table"], row["name"]))
    facts.indexes = {row["name"]: row["table"] for row in await connection.fetch(_INDEXES)}
    facts.types = {(row["table"], row["name"]): row["type"] for row in await connection.fetch(_COLUMNS)}
    facts.foreign = {(row["table"], row["name"]): row["refers_to"] for row in await connection.fetch(_FOREIGN)}
    return facts


async def _looking(connection: Connection, sql: str, looks: str) -> list[asyncpg.Record]:
    try:
        return await connection.fetch(sql.format(looks=looks))
    except asyncpg.LockNotAvailableError:
        return await connection.fetch(sql.format(looks="NULL"))
