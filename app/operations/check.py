"""Whether a database, its migrations and its models agree: what ``storegraph db check`` says.

Alembic's own comparison sees no CHECK, trigger, function, view, policy, rule or partition; this one sees all of them.
Owners, rights, comments, storage parameters of tables and the order of columns are for who runs the database to choose.
"""

from dataclasses import dataclass
from datetime import date
from itertools import zip_longest

import asyncpg

from app.errors import OperationError
from app.operations import catalogue, check_partitions, migrations
from app.operations.catalogue import Item
from app.operations.connect import Connection, connected
from app.settings import DatabaseName


@dataclass(frozen=True)
class Report:
    """What is wrong with a database, and what is merely unwise about it: one line each."""

    findings: list[str]
    warnings: list[str]


async def check(name: DatabaseName, url: str, today: date) -> Report:
    """Compare a database with its models, and look for the partitions that ``today`` needs. Changes nothing.

    Where migrations are yet to be applied, they and invalid indexes are all that it reports: the rest must differ.

    Raises:
        OperationError: no connection, a revision that this version does not know, or no right to make a schema (which
            the comparison does, and takes back).
    """
    async with connected(name, url) as connection:
        pending = migrations.pending_after(name, await migrations.revision_of(connection))
        findings = [f"migration {revision}: not applied; run `storegraph db upgrade`" for revision in pending]
        transaction = connection.transaction()
        await transaction.start()
        try:
            warnings = await _locale(connection)
            findings += await _invalid_indexes(connection)
            if not pending:
                if name == "orders":
                    findings += await check_partitions.check(connection, today)
                findings += await _objects(connection, name)  # last: it leaves the search path elsewhere
        except (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError) as error:
            raise OperationError(
                f"cannot check the {name} database: {error}. The models' tables are made in a schema, and taken back"
            ) from None
        finally:
            await transaction.rollback()
    return Report(findings, warnings)


async def _objects(connection: Connection, name: DatabaseName) -> list[str]:
    schema = await connection.fetchval("SELECT current_schema()")
    actual = await catalogue.read(connection, schema)
    declared = await catalogue.read_declared(connection, migrations.METADATA[name])
    return sorted(_compare(actual, declared))


def _compare(actual: dict[Item, str], declared: dict[Item, str]) -> list[str]:
    findings = [f"{item}: missing" for item in _outermost(declared.keys() - actual.keys())]
    findings += [f"{item}: not in the models" for item in _outermost(actual.keys() - declared.keys())]
    findings += [
        f"{item}: differs: {_difference(actual[item], declared[item])}"
        for item in actual.keys() & declared.keys()
        if actual[item] != declared[item]
    ]
    return findings


def _outermost(items: set[Item]) -> list[Item]:
    """Without the columns, indexes and so on of a table that is itself among them."""
    whole = {item.table for item in items if not item.name}
    return [item for item in items if not item.name or item.table not in whole]


def _difference(actual: str, declared: str) -> str:
    """The first line that differs, of both."""
    for here, there in zip_longest(actual.splitlines(), declared.splitlines(), fillvalue="nothing"):
        if here.strip() != there.strip():
            return f"database has {here.strip()}, models say {there.strip()}"
    return "in white space only"


async def _invalid_indexes(connection: Connection) -> list[str]:
    """Those that no query uses, since what made them was stopped; not those that are being made at this moment."""
    rows = await connection.fetch(
        """
        SELECT t.relname AS table, i.relname AS name, indexrelid::regclass::text AS quoted,
            i.relkind = 'I' AS partitioned
        FROM pg_index JOIN pg_class i ON i.oid = indexrelid JOIN pg_class t ON t.oid = indrelid
        WHERE NOT indisvalid AND t.relnamespace = current_schema()::regnamespace
            AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE index_relid = indexrelid)
        ORDER BY 1, 2
        """
    )
    stopped = "is invalid, as a CREATE INDEX CONCURRENTLY that was stopped leaves it: no query uses it"
    return [
        f"index {row['table']}.{row['name']}: is invalid until one of each partition is attached to it"
        if row["partitioned"]
        else f"index {row['table']}.{row['name']}: {stopped}; REINDEX INDEX CONCURRENTLY {row['quoted']}, or drop it "
        "(a migration that makes it does so by itself)"
        for row in rows
    ]


async def _locale(connection: Connection) -> list[str]:
    encoding = await connection.fetchval("SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        return [f"encoding is {encoding}, not UTF8: names in some scripts cannot be stored"]
    if await connection.fetchval("SELECT lower('É') <> 'é'"):
        return ["the locale knows no letters beyond ASCII: searches and addresses with an É in them depend on its case"]
    return []
