"""Whether the partitions of orders and their lines are those that there should be, each just like its table."""

from datetime import date
from itertools import pairwise

from app.operations import partitions
from app.operations.connect import Connection
from app.operations.partitions import Quarter

_YEAR = 4  # quarters

_COLUMN = """
    concat_ws(' ', format_type({0}.atttypid, {0}.atttypmod), CASE WHEN {0}.attnotnull THEN 'NOT NULL' END,
        CASE {0}.attgenerated WHEN '' THEN 'DEFAULT ' ELSE 'GENERATED ' END
            || pg_get_expr({0}d.adbin, {0}.attrelid, true))
"""
_OF_THEIR_OWN = f"""
    WITH partition AS (
        SELECT p.oid, p.relname, inhparent, inhdetachpending, p.relpersistence = 'u' AS unlogged,
            p.relrowsecurity AND NOT t.relrowsecurity AS secured
        FROM pg_inherits JOIN pg_class p ON p.oid = inhrelid JOIN pg_class t ON t.oid = inhparent
        WHERE p.relispartition AND p.relkind IN ('r', 'p', 'f') AND t.relpersistence = 'p'
            AND p.relnamespace = current_schema()::regnamespace
    ),
    columns AS (
        SELECT relname, a.attname, {_COLUMN.format("a")} AS own, {_COLUMN.format("b")} AS inherited
        FROM partition JOIN pg_attribute a ON a.attrelid = partition.oid
            JOIN pg_attribute b ON b.attrelid = inhparent AND b.attname = a.attname
            LEFT JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
            LEFT JOIN pg_attrdef bd ON bd.adrelid = b.attrelid AND bd.adnum = b.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped
    )
    SELECT format('partition %s: is being detached: finish with ALTER TABLE %s DETACH PARTITION %s FINALIZE',
        relname, inhparent::regclass, oid::regclass) FROM partition WHERE inhdetachpending
    UNION ALL SELECT format('partition %s: is UNLOGGED, and its table is not', relname) FROM partition WHERE unlogged
    UNION ALL SELECT format('partition %s: has ROW LEVEL SECURITY, and its table has not', relname)
        FROM partition WHERE secured
    UNION ALL SELECT format('column %s.%s: differs: partition has %s, its table %s', relname, attname, own, inherited)
        FROM columns WHERE own <> inherited
    ORDER BY 1
"""


async def check(connection: Connection, today: date) -> list[str]:
    """What is wrong with the partitions of orders and their lines, one line each. Call it in a transaction.

    Args:
        connection: to the orders database.
        today: of which there must be partitions.
    """
    present = {table: await partitions.present(connection, table) for table in partitions.TABLES}
    findings = [finding for table in present for finding in _strange(table, present[table])] + _missing(present, today)
    return findings + await _of_their_own(connection)


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


async def _of_their_own(connection: Connection) -> list[str]:
    """What partitions have otherwise than their tables. Objects of their own are found as any others are."""
    return [row[0] for row in await connection.fetch(_OF_THEIR_OWN)]
