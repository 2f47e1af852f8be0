"""Whether a database, its migrations and its models agree: what ``storegraph db check`` says.

Alembic's own comparison sees no CHECK, trigger, function, view or partition; this one sees all of them.
"""

from dataclasses import dataclass
from datetime import date
from itertools import pairwise, zip_longest

import asyncpg

from app.errors import OperationError
from app.operations import catalogue, migrations, partitions
from app.operations.catalogue import Item
from app.operations.connect import Connection, connected
from app.operations.partitions import Quarter
from app.settings import DatabaseName

_YEAR = 4  # quarters


@dataclass(frozen=True)
class Report:
    """What is wrong with a database, and what is merely unwise about it: one line each."""

    findings: list[str]
    warnings: list[str]


async def check(name: DatabaseName, url: str, today: date) -> Report:
    """Compare a database with its models, and look for the partitions that ``today`` needs. Changes nothing.

    Where migrations are yet to be applied, they are what it reports: the rest is different until they are.

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
            if not pending:
                if name == "orders":
                    findings += await _partitions(connection, today)
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


async def _locale(connection: Connection) -> list[str]:
    encoding = await connection.fetchval("SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        return [f"encoding is {encoding}, not UTF8: names in some scripts cannot be stored"]
    if await connection.fetchval("SELECT lower('É') <> 'é'"):
        return ["the locale knows no letters beyond ASCII: searches and addresses with an É in them depend on its case"]
    return []


async def _partitions(connection: Connection, today: date) -> list[str]:
    present = {table: await partitions.present(connection, table) for table in partitions.TABLES}
    return [finding for table in present for finding in _strange(table, present[table])] + _missing(present, today)


def _strange(table: str, bounds_by_name: dict[str, str]) -> list[str]:
    findings: list[str] = []
    for name, bounds in bounds_by_name.items():
        quarter = Quarter.with_bounds(bounds)
        if bounds == "DEFAULT":
            findings.append(f"partition {name}: not in the models: a default partition keeps others from being made")
        elif quarter is None:
            findings.append(f"partition {name}: differs: database has {bounds}, which is no quarter of a year in UTC")
        elif name != quarter.partition(table):
            findings.append(f"partition {name}: differs: its bounds are those of {quarter.partition(table)}")
    return findings


def _missing(present: dict[str, dict[str, str]], today: date) -> list[str]:
    """Quarters of this year and the next, those that only the other table has, and those between two others.

    A gap of a year or more is none: nothing is sold in the years between old data that was imported and today's.
    """
    found = {
        table: {quarter for bounds in by_name.values() if (quarter := Quarter.with_bounds(bounds))}
        for table, by_name in present.items()
    }
    wanted = set(partitions.quarters(*partitions.this_year_and_next(today))).union(*found.values())
    for before, after in pairwise(sorted(wanted)):
        between = list(partitions.quarters(before.next.start, after.start))[:-1]
        if len(between) < _YEAR:
            wanted.update(between)
    return [
        f"partition {quarter.partition(table)}: missing; run `storegraph partitions ensure "
        f"--from {quarter.start} --to {quarter.start}`"
        for table in present
        for quarter in sorted(wanted - found[table])
    ]
