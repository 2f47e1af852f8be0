"""What a database holds, in numbers: how many rows each table has, and a checksum of them.

Two databases with the same rows have the same checksums, in whatever order and on whatever pages the rows lie, whatever
the order of the columns, and whichever version the servers are of.
"""

from dataclasses import dataclass

from app.operations.connect import Connection
from app.operations.migrations_run import revision_of
from app.operations.progress import Bar


@dataclass(frozen=True)
class TableContents:
    """A table's rows. ``checksum`` has 16 hexadecimal digits."""

    rows: int
    checksum: str


@dataclass(frozen=True)
class Contents:
    """A database's revision, its objects, its tables' rows by ``schema.table``, and the views that were filled.

    ``objects`` is how many there are of each kind.
    """

    revision: str | None
    objects: dict[str, int]
    tables: dict[str, TableContents]
    filled_views: list[str]


_NAMESPACES = r"SELECT * FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'"
_RELATIONS = f"""
SELECT c.*, nspname FROM pg_class c JOIN ({_NAMESPACES}) n ON n.oid = relnamespace
WHERE NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
"""

# Columns by name, since a dump's are in an order of their own once one was dropped. What is generated is not dumped.
_TABLES = f"""
SELECT nspname || '.' || relname AS name, format('%I.%I', nspname, relname) AS quoted, (
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname COLLATE "C")
    FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
) AS columns
FROM ({_RELATIONS}) AS c WHERE relkind IN ('r', 'p') AND NOT relispartition ORDER BY nspname, relname
"""

_FILLED_VIEWS = f"""
SELECT nspname || '.' || relname FROM ({_RELATIONS}) AS c WHERE relkind = 'm' AND relispopulated
ORDER BY nspname, relname
"""

# Each as every version of PostgreSQL counts it: constraints are without those for NOT NULL, which came with 18.
_OBJECTS = f"""
WITH relation AS ({_RELATIONS}), namespace AS ({_NAMESPACES})
SELECT 'tables' AS kind, count(*) AS number FROM relation WHERE relkind IN ('r', 'p', 'f') AND NOT relispartition
UNION ALL SELECT 'partitions', count(*) FROM relation WHERE relkind IN ('r', 'p', 'f') AND relispartition
UNION ALL SELECT 'views', count(*) FROM relation WHERE relkind IN ('v', 'm')
UNION ALL SELECT 'sequences', count(*) FROM relation WHERE relkind = 'S'
UNION ALL SELECT 'indexes', count(*) FROM relation WHERE relkind IN ('i', 'I')
UNION ALL SELECT 'constraints', count(*) FROM pg_constraint JOIN relation ON relation.oid = conrelid
    WHERE contype NOT IN ('n', 't')
UNION ALL SELECT 'triggers', count(*) FROM pg_trigger JOIN relation ON relation.oid = tgrelid WHERE NOT tgisinternal
UNION ALL SELECT 'policies', count(*) FROM pg_policy
UNION ALL SELECT 'functions', count(*) FROM pg_proc p JOIN namespace n ON n.oid = pronamespace
    WHERE NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
UNION ALL SELECT 'extensions', count(*) FROM pg_extension
"""

# So that a value is always written the same way, and a policy that hides rows is an error.
_WRITTEN = {
    "search_path": "''",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "row_security": "off",
}


async def tables_in(connection: Connection) -> list[str]:
    """The names of the tables that a backup holds, each quoted, with its schema; of partitions the whole."""
    return [row["quoted"] for row in await connection.fetch(_TABLES)]


async def contents_of(connection: Connection, bar: Bar) -> Contents:
    """Read everything there is. Call it in a transaction whose statements all see the same rows.

    It sets the transaction's search path and formats.
    """
    revision = await revision_of(connection)
    await connection.execute(";".join(f"SET LOCAL {name} = {value}" for name, value in _WRITTEN.items()))
    objects = {row["kind"]: row["number"] for row in await connection.fetch(_OBJECTS)}
    tables: dict[str, TableContents] = {}
    for row in await connection.fetch(_TABLES):
        tables[row["name"]] = await _rows_of(connection, row["quoted"], row["columns"])
        bar.advance(1)
    views = [row[0] for row in await connection.fetch(_FILLED_VIEWS)]
    return Contents(revision, objects, tables, views)


async def _rows_of(connection: Connection, table: str, columns: str | None) -> TableContents:
    # A sum, so that no order matters, and two equal rows do not cancel each other out as they would by XOR. SHA-256,
    # which no server refuses, as one that is held to FIPS 140 refuses MD5; its first 64 bits are plenty for accidents.
    [row] = await connection.fetch(
        f"""
        SELECT count(*) AS rows, coalesce(sum(('x' || left(encode(
            sha256(convert_to(ROW({columns or ""})::text, 'UTF8')), 'hex'), 16))::bit(64)::bigint), 0) AS total
        FROM {table}
        """
    )
    return TableContents(row["rows"], f"{int(row['total']) % 2**64:016x}")


def differences(expected: Contents, found: Contents) -> list[str]:
    """What a restored database has otherwise than the backup says, one line each; empty where all is the same."""
    lines = [] if found.revision == expected.revision else [f"revision {found.revision}, not {expected.revision}"]
    for name in sorted(expected.tables.keys() | found.tables.keys()):
        before, after = expected.tables.get(name), found.tables.get(name)
        if after is None:
            lines.append(f"table {name}: missing")
        elif before is None:
            lines.append(f"table {name}: not in the backup")
        elif after.rows != before.rows:
            lines.append(f"table {name}: {after.rows:,} rows, not {before.rows:,}")
        elif after.checksum != before.checksum:
            lines.append(f"table {name}: as many rows, but not the same")
    for kind in sorted(expected.objects.keys() | found.objects.keys()):
        count, wanted = found.objects.get(kind, 0), expected.objects.get(kind, 0)
        if count != wanted:
            lines.append(f"{count} {kind}, not {wanted}")
    lines += [
        f"materialized view {name}: not filled" for name in expected.filled_views if name not in found.filled_views
    ]
    return lines
