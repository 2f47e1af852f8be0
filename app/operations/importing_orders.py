"""The way of orders and their lines from CSV files into their partitioned tables, through temporary tables.

Only the data tells which partitions there must be, and a line's partition is that of its order, which the file of lines
does not name. The temporary tables keep the number of each record, for what is said of one that is refused.
"""

import asyncpg
from sqlalchemy import Table

from app.operations import partitions
from app.operations.bulk import drop_indexes
from app.operations.connect import Connection
from app.operations.csv_files import CsvFile, at_line
from app.operations.progress import Bar

# What the API can express. It also keeps a misspelt year from making partitions that no one needs.
_FIRST_DAY, _LAST_DAY = "1970-01-01", "2200-12-31"


async def load_orders(connection: Connection, file: CsvFile, table: Table, bar: Bar) -> int:
    """Load orders, making the partitions that they need, and return how many they are.

    Raises:
        OperationError: a row is refused; it names the file, the line and the reason.
    """
    await _stage(connection, file, table, bar)
    await _refuse(
        connection,
        file,
        "SELECT min(record) FROM staged_orders "
        f"WHERE created_at < '{_FIRST_DAY}' OR created_at >= date '{_LAST_DAY}' + 1",
        f"created_at is not between {_FIRST_DAY} and {_LAST_DAY}",
    )
    await _refuse_ids_seen_before(connection, file, table)
    quarters = await connection.fetch("SELECT DISTINCT date_trunc('quarter', created_at)::date FROM staged_orders")
    for (day,) in quarters:
        await partitions.ensure(connection, day, day)
    columns = ", ".join(column.name for column in table.columns)
    return await _insert(connection, file, table, f"INSERT INTO orders ({columns}) SELECT {columns} FROM staged_orders")


async def load_order_items(
    connection: Connection, file: CsvFile, table: Table, products: CsvFile | None, bar: Bar
) -> int:
    """Load the lines of orders that have been loaded, now or before, and return how many they are.

    The names and SKUs of ``products`` fill those that a line does not have.

    Raises:
        OperationError: a row is refused; it names the file, the line and the reason.
    """
    await _stage(connection, file, table, bar)
    # The file may have order_created_at, as a dump of the table does; then it must be right.
    their_order = "o.id = s.order_id AND o.created_at = coalesce(s.order_created_at, o.created_at)"
    await _refuse(
        connection,
        file,
        f"SELECT min(s.record) FROM staged_order_items s LEFT JOIN orders o ON {their_order} WHERE o.id IS NULL",
        "there is no such order (order_id)",
    )
    await _refuse_ids_seen_before(connection, file, table)
    await _stage_product_names(connection, products, table, bar)
    taken_from = {
        "order_created_at": "o.created_at",
        "product_name": "coalesce(s.product_name, p.name)",
        "product_sku": "coalesce(s.product_sku, p.sku)",
    }
    columns = [column.name for column in table.columns]
    selected = [taken_from.get(column, f"s.{column}") for column in columns]
    # Into an empty table, where no one is in the way, in bulk.
    is_filled = await connection.fetchval("SELECT EXISTS (SELECT FROM order_items)")
    restore = [] if is_filled else await drop_indexes(connection, [table.name])
    rows = await _insert(
        connection,
        file,
        table,
        f"INSERT INTO order_items ({', '.join(columns)}) SELECT {', '.join(selected)} FROM staged_order_items s "
        f"JOIN orders o ON {their_order} LEFT JOIN staged_products p ON p.id = s.product_id",
    )
    for statement in restore:
        await connection.execute(statement)
    return rows


async def _stage(connection: Connection, file: CsvFile, table: Table, bar: Bar) -> None:
    await connection.execute(
        f"CREATE TEMP TABLE staged_{table.name} (LIKE {table.name} INCLUDING DEFAULTS, "
        "record bigint GENERATED ALWAYS AS IDENTITY) ON COMMIT DROP"
    )
    if "order_created_at" in table.columns:
        await connection.execute(f"ALTER TABLE staged_{table.name} ALTER order_created_at DROP NOT NULL")
    await file.copy_into(connection, f"staged_{table.name}", bar)
    await connection.execute(f"ANALYZE staged_{table.name}")


async def _stage_product_names(connection: Connection, products: CsvFile | None, table: Table, bar: Bar) -> None:
    """Make ``staged_products`` with id, name and sku; empty where there is no file."""
    types = {
        "id": "uuid PRIMARY KEY",
        "name": str(table.columns["product_name"].type),
        "sku": str(table.columns["product_sku"].type),
    }
    if products is not None:
        types = dict.fromkeys(products.columns, "text") | types  # whether a price is one is not asked here
    columns = ", ".join(f"{_quoted(column)} {kind}" for column, kind in types.items())
    await connection.execute(f"CREATE TEMP TABLE staged_products ({columns}) ON COMMIT DROP")
    if products is not None:
        await products.copy_into(connection, "staged_products", bar)
    await connection.execute("ANALYZE staged_products")


async def _insert(connection: Connection, file: CsvFile, table: Table, statement: str) -> int:
    """Run an INSERT from the temporary table and return how many rows it inserted."""
    try:
        async with connection.transaction():
            status = await connection.execute(statement)
            await connection.execute(f"ANALYZE {table.name}")
    except asyncpg.CheckViolationError as error:
        condition = await connection.fetchval(
            "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conrelid = $1::regclass AND conname = $2",
            table.name,
            error.constraint_name,
        )
        await _refuse(
            connection,
            file,
            f"SELECT min(record) FROM staged_{table.name} WHERE NOT ({condition})",
            f'new row for relation "{table.name}" violates check constraint "{error.constraint_name}"',
        )
        raise
    return int(status.split()[-1])  # INSERT 0 n


async def _refuse(connection: Connection, file: CsvFile, first_culprit: str, why: str) -> None:
    """Fail if a query, which returns the number of the first culprit's record or null, finds one."""
    number = await connection.fetchval(first_culprit)
    if number is not None:
        raise at_line(file.path, file.line_of(number), why)


async def _refuse_ids_seen_before(connection: Connection, file: CsvFile, table: Table) -> None:
    """An id is unique over all partitions, which no constraint of a partitioned table can see to."""
    await _refuse(
        connection,
        file,
        f"SELECT min(record) FROM (SELECT max(record) AS record FROM staged_{table.name} "
        "GROUP BY id HAVING count(*) > 1) AS twice",
        "this id is in the file already",
    )
    await _refuse(
        connection,
        file,
        f"SELECT min(s.record) FROM staged_{table.name} s JOIN {table.name} t ON t.id = s.id",
        f"this id is in {table.name} already",
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
