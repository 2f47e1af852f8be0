"""What a schema holds, as PostgreSQL describes it: the tables of a database, and those that its models declare.

Every expression is printed by the server, so that two schemas with the same objects read alike, however the objects
were written. Left out are partitions and what they inherit, but not what one has of its own; objects of extensions,
owners and rights; and Alembic's own table.
"""

import re
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
),
partition AS (
    SELECT * FROM pg_class
    WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relispartition AND relkind IN ('r', 'p', 'f')
)
SELECT
    CASE relkind WHEN 'm' THEN 'materialized view' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END kind,
    relname AS "table", '' AS name,
    concat_ws(' ',
        CASE WHEN relpersistence = 'u' THEN 'UNLOGGED' END,
        CASE WHEN relkind = 'p' THEN 'PARTITION BY ' || pg_get_partkeydef(oid) END,
        CASE WHEN relforcerowsecurity THEN 'FORCE' END,
        CASE WHEN relrowsecurity THEN 'ROW LEVEL SECURITY' END,
        CASE WHEN relkind IN ('v', 'm') THEN 'WITH (' || array_to_string(reloptions, ', ') || ')' END,
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
FROM (SELECT * FROM relation UNION ALL SELECT * FROM partition) AS r JOIN pg_constraint ON conrelid = r.oid
WHERE conparentid = 0 AND contype NOT IN ('n', 't') AND (NOT relispartition OR coninhcount = 0)
UNION ALL
SELECT 'index', r.relname, i.relname, pg_get_indexdef(indexrelid, 0, true)
FROM (SELECT * FROM relation UNION ALL SELECT * FROM partition) AS r
    JOIN pg_index ON indrelid = r.oid JOIN pg_class i ON i.oid = indexrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
    AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = indexrelid)
UNION ALL
SELECT 'trigger', relname, tgname,
    pg_get_triggerdef(t.oid, true) || CASE tgenabled WHEN 'A' THEN ' ENABLE ALWAYS' ELSE '' END
FROM (SELECT * FROM relation UNION ALL SELECT * FROM partition) AS r JOIN pg_trigger t ON tgrelid = r.oid
WHERE NOT tgisinternal AND tgparentid = 0
UNION ALL
SELECT 'rule', relname, rulename,
    pg_get_ruledef(w.oid, true) || CASE ev_enabled WHEN 'O' THEN '' WHEN 'A' THEN ' ENABLE ALWAYS' ELSE ' DISABLED' END
FROM (SELECT * FROM relation UNION ALL SELECT * FROM partition) AS r JOIN pg_rewrite w ON ev_class = r.oid
WHERE rulename <> '_RETURN'
UNION ALL
SELECT 'policy', relname, polname,
    concat_ws(' ', CASE WHEN NOT polpermissive THEN 'AS RESTRICTIVE' END,
        'FOR ' || CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
            WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
        'TO ' || (SELECT string_agg(CASE of WHEN 0 THEN 'PUBLIC' ELSE of::regrole::text END, ', ' ORDER BY of)
            FROM unnest(polroles) AS of),
        'USING (' || pg_get_expr(polqual, polrelid, true) || ')',
        'WITH CHECK (' || pg_get_expr(polwithcheck, polrelid, true) || ')')
FROM (SELECT * FROM relation UNION ALL SELECT * FROM partition) AS r JOIN pg_policy ON polrelid = r.oid
UNION ALL
SELECT 'statistics', relname, stxname, replace(pg_get_statisticsobjdef(s.oid),
    quote_ident(current_schema()) || '.' || quote_ident(stxname), stxname)
FROM relation JOIN pg_statistic_ext s ON stxrelid = relation.oid
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
SELECT 'aggregate', '', format('%s(%s)', proname, pg_get_function_identity_arguments(oid)), ''
FROM pg_proc
WHERE pronamespace = quote_ident(current_schema())::regnamespace AND prokind IN ('a', 'w')
    AND ('pg_proc'::regclass, oid) NOT IN (TABLE extension_object)
UNION ALL
SELECT CASE typtype WHEN 'd' THEN 'domain' ELSE 'enum' END, '', typname,
    concat_ws(' ', CASE typtype WHEN 'd' THEN format_type(typbasetype, typtypmod) END,
        CASE WHEN typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || typdefault,
        (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum
            WHERE enumtypid = pg_type.oid),
        (SELECT string_agg(pg_get_constraintdef(oid, true), ' ' ORDER BY conname) FROM pg_constraint
            WHERE contypid = pg_type.oid AND contype = 'c'))
FROM pg_type
WHERE typnamespace = quote_ident(current_schema())::regnamespace AND typtype IN ('d', 'e')
    AND ('pg_type'::regclass, oid) NOT IN (TABLE extension_object)
"""


_TEXTS = re.compile(r"""ARRAY\[((?:'(?:[^']|'')*'::character varying(?:, )?)+)\]::text\[\]""")


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
    return {Item(row["kind"], row["table"], row["name"]): _as_restored(row["definition"]) for row in rows}


def _as_restored(definition: str) -> str:
    """``IN ('a', 'b')`` as it reads once it went through a dump, which casts each text and not the list of them."""
    return _TEXTS.sub(
        lambda found: f"ARRAY[{found[1].replace('::character varying', '::character varying::text')}]", definition
    )


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
