"""Loads folders of CSV files into the databases: ``DIR/<database>/<table>.csv``, one transaction a database.

Rows are added to those that are there. Orders and their lines go through a temporary table first, because only their
data tells which partitions there must be, and a line's partition is that of its order.
"""

from collections.abc import Sequence
from pathlib import Path

import asyncpg
from sqlalchemy import Table

from app.domains.orders.tables import Order, OrderItem
from app.errors import OperationError
from app.operations import statistics
from app.operations.connect import Connection, connected
from app.operations.contents import Summary, tables_of
from app.operations.csv_files import CsvFile, at_line, read_header
from app.operations.importing_orders import load_order_items, load_orders
from app.operations.progress import Bar, progress_bar
from app.settings import DATABASE_NAMES, DatabaseName, Settings


async def import_folder(
    settings: Settings, folder: Path, databases: Sequence[DatabaseName] = DATABASE_NAMES
) -> Summary:
    """Load ``folder/<database>/<table>.csv`` into each of ``databases``. A file that is missing is an empty table.

    Raises:
        OperationError: the folder holds no such file, or one of no table, and nothing was done; or some of the
            databases could not be loaded: one line for each, naming file, line and reason, and one that tells which
            were loaded. Of a database that could not be loaded nothing is.
    """
    files = {name: _files(folder, name) for name in databases}
    paths = [path for of_database in files.values() for path in of_database.values()]
    if not paths:
        raise OperationError(f"{folder} has nothing to import; expected files such as {folder / 'users' / 'users.csv'}")
    for name in databases:  # before the first is loaded: to import it again would meet its own rows
        async with connected(name, settings.database_url(name)):
            pass
    loaded: Summary = {}
    failures: list[str] = []
    with progress_bar(sum(path.stat().st_size for path in paths)) as bar:
        for name in databases:
            bar.say(name)
            try:
                loaded[name] = await _import_database(settings, name, folder, files[name], bar)
            except OperationError as error:
                failures.append(str(error))
    if failures:
        done = ", ".join(loaded) or "nothing"
        failed = ", ".join(name for name in databases if name not in loaded)
        raise OperationError("\n".join([*failures, f"loaded: {done}; not loaded: {failed}"]))
    return loaded


def _files(folder: Path, name: DatabaseName) -> dict[str, Path]:
    """The files of one database by table. One of no table is an error: it is a misspelt name, not an empty table."""
    found = {path.stem: path for path in sorted((folder / name).glob("*.csv"))}
    known = [table.name for table in tables_of(name)]
    if unknown := next((path for table, path in found.items() if table not in known), None):
        raise OperationError(f"{unknown}: the {name} database has no such table to import; it has {', '.join(known)}")
    return found


async def _import_database(
    settings: Settings, name: DatabaseName, folder: Path, files: dict[str, Path], bar: Bar
) -> dict[str, int]:
    try:
        async with connected(name, settings.database_url(name)) as connection, connection.transaction():
            rows = {table.name: 0 for table in tables_of(name)}
            for table in tables_of(name):
                if path := files.get(table.name):
                    file = _checked(read_header(path), table)
                    rows[table.name] = await _load(connection, file, table, folder, bar)
            if name == "orders":
                await statistics.refresh(connection)
            return rows
    except asyncpg.UndefinedTableError as error:
        raise OperationError(f"the {name} database: {error.message}; run `storegraph db upgrade` first") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise OperationError(f"the {name} database: {error}") from None


def _checked(file: CsvFile, table: Table) -> CsvFile:
    """The file, if its columns are those of a table: none unknown, and none missing that must be there."""
    known = [column.name for column in table.columns if column.computed is None]
    if unknown := next((column for column in file.columns if column not in known), None):
        raise at_line(file.path, 1, f'{table.name} has no column "{unknown}"; it has {", ".join(known)}')
    for column in table.columns:
        is_needed = not column.nullable and column.server_default is None and column.name != "order_created_at"
        if is_needed and column.name not in file.columns:
            raise at_line(file.path, 1, f'column "{column.name}" is missing')
    return file


async def _load(connection: Connection, file: CsvFile, table: Table, folder: Path, bar: Bar) -> int:
    if table.name == Order.__tablename__:
        return await load_orders(connection, file, table, bar)
    if table.name == OrderItem.__tablename__:
        return await load_order_items(connection, file, table, _product_names(folder), bar)
    # Triggers keep the plan of their first run, when to read the whole of a small table was best.
    await connection.execute("SET LOCAL enable_seqscan = off")
    rows = await file.copy_into(connection, table.name, bar)
    await connection.execute(f"ANALYZE {table.name}")
    return rows


def _product_names(folder: Path) -> CsvFile | None:
    """The products in the folder, if lines of orders can find their names there."""
    path = folder / "products" / "products.csv"
    file = read_header(path) if path.exists() else None
    return file if file and "id" in file.columns else None
