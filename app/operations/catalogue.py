"""What a schema holds, as PostgreSQL describes it: the tables of a database, and those that its models declare.

Every expression is printed by the server, so that two schemas with the same objects read alike, however the objects
were written. Left out are partitions and what they inherit, objects of extensions, and Alembic's own table.
"""

from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import MetaData, create_mock_engine
from sqlalchemy.sql.ddl import ExecutableDDLElement

from app.operations.connect import Connection

# Printed with the schema first on the search path, and "pretty", so that names are not qualified with it.
_OBJECTS = """
WITH extension_object AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
relation AS (
    SELECT * FROM pg_class
    WHERE relnamespace = quote_ident(current_schema())::regnamespace
        AND NOT relispartition AND relname <> 'alembic_version'
        AND ('pg_class'::regclass, oid) NOT IN (TABLE extension_object)
)
SELECT
    CASE relkind WHEN 'm' THEN 'materialized view' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END kind,
    relname AS "table", '' AS name,
    concat_ws(' ',
        CASE WHEN relpersistence = 'u' THEN 'UNLOGGED' END,
        CASE WHEN relkind = 'p' THEN 'PARTITION BY ' || pg_get_partkeydef(oid) END,
        CASE WHEN relrowsecurity THEN 'ROW LEVEL SECURITY' END,
        CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid, true) END,
        CASE WHEN NOT relispopulated THEN 'WITH NO DATA' END) AS definition
FROM relation WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
UNION ALL
SELECT 'column', relname, attname,
    concat_ws(' ', format_type(atttypid, atttypmod),
        CASE WHEN attcollation <> typcollation THEN 'COLLATE ' || attcollation::regcollation END,
        CASE WHEN attnotnull THEN 'NOT NULL' END,
        CASE WHEN attidentity <> '' THEN 'IDENTITY' END,
        CASE WHEN attgenerated = '' THEN 'DEFAULT ' ELSE 'GENERATED ' END || pg_get_expr(adbin, adrelid, true))
FROM relation JOIN pg_attribute ON attrelid = relation.oid JOIN pg_type ON pg_type.oid = atttypid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relkind IN ('r', 'p', 'f') AND attnum > 0 AND NOT attisdropped
UNION ALL  -- not those for NOT NULL ('n', from PostgreSQL 18 on), which the column shows, nor a trigger's ('t')
SELECT 'constraint', relname, conname, pg_get_constraintdef(pg_constraint.oid, true)
FROM relation JOIN pg_constraint ON conrelid = relation.oid WHERE conparentid = 0 AND contype NOT IN ('n', 't')
UNION ALL
SELECT 'index', relation.relname, i.relname,
    pg_get_indexdef(indexrelid, 0, true) || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END
FROM relation JOIN pg_index ON indrelid = relation.oid JOIN pg_class i ON i.oid = indexrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
UNION ALL
SELECT 'trigger', relname, tgname, pg_get_triggerdef(pg_trigger.oid, true)
FROM relation JOIN pg_trigger ON tgrelid = relation.oid WHERE NOT tgisinternal AND tgparentid = 0
UNION ALL  -- also of a partition alone, or of a foreign key, whose name says more than those of its triggers
SELECT DISTINCT 'disabled trigger', relname, coalesce(conname, tgname), ''
FROM pg_class JOIN pg_trigger t ON tgrelid = pg_class.oid LEFT JOIN pg_constraint ON pg_constraint.oid = tgconstraint
WHERE relnamespace = quote_ident(current_schema())::regnamespace AND tgenabled IN ('D', 'R')
    AND NOT EXISTS (SELECT FROM pg_trigger parent WHERE parent.oid = t.tgparentid AND parent.tgenabled IN ('D', 'R'))
UNION ALL
SELECT 'function', '', format('%s(%s)', proname, pg_get_function_identity_arguments(oid)),
    replace(pg_get_functiondef(oid), quote_ident(current_schema()) || '.' || quote_ident(proname), proname)
FROM pg_proc
WHERE pronamespace = quote_ident(current_schema())::regnamespace AND prokind IN ('f', 'p')
    AND ('pg_proc'::regclass, oid) NOT IN (TABLE extension_object)
UNION ALL
SELECT CASE typtype WHEN 'd' THEN 'domain' ELSE 'enum' END, '', typname, ''
FROM pg_type
WHERE typnamespace = quote_ident(current_schema())::regnamespace AND typtype IN ('d', 'e')
    AND ('pg_type'::regclass, oid) NOT IN (TABLE extension_object)
"""


@dataclass(frozen=True, order=True)
class Item:
    """An object of a schema. ``name`` is empty for a table itself, and ``table`` for what belongs to none."""

    kind: str
    table: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {'.'.join(filter(None, (self.table, self.name)))}"


async def read(connection: Connection, schema: str) -> dict[Item, str]:
    """Every object of a schema with its definition. Call it in a transaction: it sets the search path for the rest."""
    await _search_in(connection, schema)
    rows = await connection.fetch(_OBJECTS)
    return {Item(row["kind"], row["table"], row["name"]): row["definition"] for row in rows}


async def read_declared(connection: Connection, metadata: MetaData) -> dict[Item, str]:
    """Every object that the models declare, with its definition.

    It makes them all in a schema of their own. Call it in a transaction that is rolled back afterwards.
    """
    schema = f"storegraph_check_{uuid4().hex}"  # two checks at the same time would wait for each other's
    await connection.execute(f"CREATE SCHEMA {schema}")
    await _search_in(connection, schema)
    await connection.execute(";\n".join(_statements(metadata)))
    return await read(connection, schema)


async def _search_in(connection: Connection, schema: str) -> None:
    """Look names up in a schema, and then where the extensions are, whose operator classes an index can name."""
    await connection.execute(
        """
        SELECT set_config('search_path', concat_ws(', ', quote_ident($1), (
            SELECT string_agg(DISTINCT extnamespace::regnamespace::text, ', ') FROM pg_extension
        )), true)
        """,
        schema,
    )


def _statements(metadata: MetaData) -> list[str]:
    statements: list[str] = []

    def collect(ddl: ExecutableDDLElement, *_: object, **__: object) -> None:
        statements.append(str(ddl.compile(dialect=engine.dialect)))

    engine = create_mock_engine("postgresql+asyncpg://", collect)
    metadata.create_all(engine, checkfirst=False)
    return statements
