"""Fills four empty databases with a made-up shop, in bulk: COPY, one transaction a database, all or nothing.

Indexes and foreign keys of the large tables are dropped first and made again after the last row, which is several times
faster than to keep them up to date. All is one transaction: whatever ends the work early, they are as before.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import date, timedelta
from io import BytesIO
from itertools import islice

import asyncpg

from app.errors import OperationError
from app.operations import partitions, seed_data, seed_sales, statistics
from app.operations.bulk import drop_indexes
from app.operations.connect import Connection, connected
from app.operations.contents import Summary, tables_of
from app.operations.progress import Bar, progress_bar
from app.operations.seed_data import Shop
from app.operations.seed_sales import sales_of
from app.settings import DATABASE_NAMES, DatabaseName, Settings

_COLUMNS = seed_data.COLUMNS | seed_sales.COLUMNS
_IN_BULK: dict[DatabaseName, list[str]] = {"orders": ["orders", "order_items"], "payments": ["payments"]}
"""The large tables. Not refunds: what keeps them within their payment needs the index."""
_FIRST_YEAR, _LAST_YEAR = 1973, 2200
_CHUNK = 10_000


async def is_empty(settings: Settings) -> bool:
    """Whether none of the four databases has a row.

    Raises:
        OperationError: a database cannot be reached, or has no tables yet.
    """
    with _plain_errors():
        for name in DATABASE_NAMES:
            async with connected(name, settings.database_url(name)) as connection:
                if await _filled_table(connection, name):
                    return False
    return True


async def seed(settings: Settings, *, orders: int, seed: int = 1, until: date) -> Summary:
    """Fill the four databases and return how many rows each table got.

    The same ``orders``, ``seed`` and ``until`` make the same rows. All rows are of the three years before ``until``.
    Who reads orders or payments meanwhile waits for the end.

    Raises:
        OperationError: a database is not empty, has no tables or fails. Nothing was seeded.
    """
    if not _FIRST_YEAR <= until.year <= _LAST_YEAR:
        raise OperationError(f"--until {until}: expected a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    with _plain_errors(), progress_bar(orders) as bar:
        async with AsyncExitStack() as stack:
            connections: dict[DatabaseName, Connection] = {}
            for name in DATABASE_NAMES:
                connections[name] = await stack.enter_async_context(_filling(settings, name))
            return await _fill(connections, Shop(orders, seed, until), bar)


@contextmanager
def _plain_errors() -> Generator[None]:
    try:
        yield
    except asyncpg.UndefinedTableError as error:
        raise OperationError(f"{error.message}; run `storegraph db upgrade` first") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise OperationError(f"nothing was seeded: {error}") from None


@asynccontextmanager
async def _filling(settings: Settings, name: DatabaseName) -> AsyncGenerator[Connection]:
    """A transaction in an empty database, which no one else can write to meanwhile."""
    async with connected(name, settings.database_url(name)) as connection, connection.transaction():
        tables = ", ".join(table.name for table in tables_of(name))
        await connection.execute(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")
        if filled := await _filled_table(connection, name):
            raise OperationError(
                f"the {name} database is not empty: {filled} has rows; only empty databases are seeded"
            )
        # Triggers keep the plan of their first run, when to read the whole of a small table was best.
        await connection.execute("SET LOCAL enable_seqscan = off")
        yield connection


async def _filled_table(connection: Connection, name: DatabaseName) -> str | None:
    for table in tables_of(name):
        if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table.name})"):
            return table.name
    return None


async def _fill(connections: dict[DatabaseName, Connection], shop: Shop, bar: Bar) -> Summary:
    summary: Summary = {name: {table.name: 0 for table in tables_of(name)} for name in DATABASE_NAMES}
    await _fill_catalogue(connections, shop, bar, summary)
    await partitions.ensure(connections["orders"], shop.first_day, shop.until - timedelta(days=1))
    restore: dict[DatabaseName, list[str]] = {
        name: await drop_indexes(connections[name], tables) for name, tables in _IN_BULK.items()
    }
    await _fill_sales(connections, shop, bar, summary)
    bar.say("indexes")
    async with _tasks() as tasks:
        for name, statements in restore.items():
            tasks.create_task(_finish(connections[name], name, statements))
    return summary


async def _fill_catalogue(connections: dict[DatabaseName, Connection], shop: Shop, bar: Bar, summary: Summary) -> None:
    catalogue: dict[DatabaseName, dict[str, Iterator[str]]] = {
        "users": {"users": shop.user_rows(), "user_profiles": shop.profile_rows()},
        "products": {
            "categories": shop.category_rows(),
            "products": shop.product_rows(),
            "product_images": shop.image_rows(),
        },
    }
    for name, tables in catalogue.items():
        bar.say(name)
        for table, rows in tables.items():
            while chunk := await asyncio.to_thread(list, islice(rows, _CHUNK)):
                summary[name][table] += await _copy(connections[name], table, chunk)
        await _finish(connections[name], name, [])


async def _fill_sales(connections: dict[DatabaseName, Connection], shop: Shop, bar: Bar, summary: Summary) -> None:
    async def copy(name: DatabaseName, tables: dict[str, list[str]]) -> None:
        for table, rows in tables.items():
            summary[name][table] += await _copy(connections[name], table, rows)

    bar.say("orders")
    chunk_of = sales_of(shop)
    sales = await asyncio.to_thread(chunk_of, 0)
    number = 0
    while sales.orders:
        number += 1
        async with _tasks() as tasks:  # the next chunk is made while the servers take this one
            following = tasks.create_task(asyncio.to_thread(chunk_of, number))
            tasks.create_task(copy("orders", {"orders": sales.orders, "order_items": sales.order_items}))
            tasks.create_task(copy("payments", {"payments": sales.payments, "refunds": sales.refunds}))
        bar.advance(len(sales.orders))
        sales = following.result()


async def _copy(connection: Connection, table: str, rows: list[str]) -> int:
    source = BytesIO("".join(rows).encode())
    await connection.copy_to_table(table, source=source, columns=_COLUMNS[table].split())
    return len(rows)


async def _finish(connection: Connection, name: DatabaseName, restore: list[str]) -> None:
    """Gather the statistics of what has been filled, and make again what was dropped, which uses them."""
    await connection.execute("SET LOCAL enable_seqscan = on")
    await connection.execute("SET LOCAL maintenance_work_mem = '256MB'")
    for table in tables_of(name):
        await connection.execute(f"ANALYZE {table.name}")
    for statement in restore:
        await connection.execute(statement)
    if name == "orders":
        await statistics.refresh(connection)


@asynccontextmanager
async def _tasks() -> AsyncGenerator[asyncio.TaskGroup]:
    """A task group that fails with the first of its errors instead of a group of them."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
