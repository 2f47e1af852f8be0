"""Rows for tests: one method per table, every argument optional. Each inserts a row and returns all of it.

And how to be rid of them again.
"""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import count
from typing import Any, Self
from uuid import uuid4

from app.operations.connect import Connection, connected
from app.operations.migrations import METADATA
from app.settings import DATABASE_NAMES, DatabaseName, Settings

Row = dict[str, Any]
TODAY = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


KEPT = {"product_stats_refresh"}  # its one row is the migration's


async def empty(settings: Settings) -> None:
    """Empty every table. (DELETE takes a millisecond here, TRUNCATE a hundred.)"""

    async def empty_one(name: DatabaseName) -> None:
        async with connected(name, settings.database_url(name)) as connection:
            tables = [table.name for table in reversed(METADATA[name].sorted_tables)]
            await connection.execute(";".join(f"DELETE FROM {table}" for table in tables if table not in KEPT))
            if name == "orders" and await connection.fetchval("SELECT EXISTS (SELECT FROM product_stats)"):
                await connection.execute("REFRESH MATERIALIZED VIEW product_stats")

    await asyncio.gather(*map(empty_one, DATABASE_NAMES))


class Make:
    """Makes rows in the four databases. Enter it as a context manager: it holds a connection to each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._numbers = count(1)
        self._stack = AsyncExitStack()
        self.connections: dict[DatabaseName, Connection] = {}

    async def __aenter__(self) -> Self:
        for name in DATABASE_NAMES:
            connection = connected(name, self._settings.database_url(name))
            self.connections[name] = await self._stack.enter_async_context(connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def user(self, **values: Any) -> Row:
        number = next(self._numbers)
        return await self._insert(
            "users", "users", {"email": f"user{number}@example.com", "password_hash": "!"} | values
        )

    async def profile(self, **values: Any) -> Row:
        if "user_id" not in values:
            values["user_id"] = (await self.user())["id"]
        return await self._insert("users", "user_profiles", values)

    async def category(self, **values: Any) -> Row:
        return await self._insert("products", "categories", {"name": f"Category {next(self._numbers)}"} | values)

    async def product(self, **values: Any) -> Row:
        number = next(self._numbers)
        return await self._insert("products", "products", {"name": f"Product {number}", "price": "1.00"} | values)

    async def image(self, **values: Any) -> Row:
        if "product_id" not in values:
            values["product_id"] = (await self.product())["id"]
        url = f"https://img.example.com/{next(self._numbers)}.jpg"
        return await self._insert("products", "product_images", {"url": url} | values)

    async def order(self, **values: Any) -> Row:
        defaults = {"user_id": uuid4(), "total_amount": "0.00", "shipping_address_id": uuid4(), "created_at": TODAY}
        return await self._insert("orders", "orders", defaults | values)

    async def item(self, order: Row | None = None, **values: Any) -> Row:
        order = order or await self.order()
        defaults = {
            "order_id": order["id"],
            "order_created_at": order["created_at"],
            "created_at": order["created_at"],
            "product_id": uuid4(),
            "quantity": 1,
            "unit_price": "1.00",
        }
        return await self._insert("orders", "order_items", defaults | values)

    async def payment(self, **values: Any) -> Row:
        defaults = {"order_id": uuid4(), "amount": "10.00", "method": "card"}
        return await self._insert("payments", "payments", defaults | values)

    async def refund(self, **values: Any) -> Row:
        if "payment_id" not in values:
            values["payment_id"] = (await self.payment())["id"]
        return await self._insert("payments", "refunds", {"amount": "1.00"} | values)

    async def execute(self, database: DatabaseName, sql: str, *args: object) -> None:
        await self.connections[database].execute(sql, *args)

    async def _insert(self, database: DatabaseName, table: str, values: Row) -> Row:
        places = ", ".join(f"${i}" for i in range(1, len(values) + 1))
        sql = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places}) RETURNING *"
        row = await self.connections[database].fetchrow(sql, *values.values())
        assert row is not None
        return dict(row)
