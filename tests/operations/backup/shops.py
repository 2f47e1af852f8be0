"""A shop of a test module's own, for tests that take databases away: copies of the worker's, with some rows."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from shlex import quote
from typing import Any

from app.operations.backup import back_up
from app.operations.backup_contents import Contents, contents_of
from app.operations.client_programs import find_client_programs
from app.operations.connect import connected
from app.operations.progress import progress_bar
from app.operations.restore import Restored, restore
from app.operations.server import LocalServer
from app.operations.statistics import refresh
from app.settings import DATABASE_NAMES, DatabaseName, Settings, load_local_settings
from tests.factories import TODAY, Make

SOURCE = load_local_settings().postgres
PROGRAMS = ("pg_dump", "pg_restore", "psql")


@contextmanager
def shop_of_its_own(server: LocalServer, settings: Settings, prefix: str) -> Generator[Settings]:
    """Four databases as the worker's are, named with the prefix; whatever else has that prefix goes afterwards."""
    urls = {f"{name}_database_url": server.url(f"{prefix}_{name}") for name in DATABASE_NAMES}
    shop = settings.model_copy(update=urls)
    for name in DATABASE_NAMES:
        on_server(server, f"CREATE DATABASE {prefix}_{name} TEMPLATE ecommerce_{name}")
    asyncio.run(_fill(shop))
    yield shop
    for [database] in on_server(server, "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", f"{prefix}_"):
        on_server(server, f'DROP DATABASE "{database}" WITH (FORCE)')


async def _fill(shop: Settings) -> None:
    """Some of everything that a dump could get wrong."""
    async with Make(shop) as make:
        user = await make.user(first_name="Žofie", last_name="O'Brien \\ \"", password_hash="tab\tline\nend")
        address = await make.profile(user_id=user["id"], city="")
        await make.profile(user_id=user["id"], city=None)
        root = await make.category(name="Küche")
        product = await make.product(category_id=(await make.category(parent_id=root["id"]))["id"], name="Tee kettle")
        await make.image(product_id=product["id"])
        await make.execute("products", "INSERT INTO product_words SELECT word FROM product_words")  # twice each
        for days in (0, 100, 200):
            order = await make.order(
                user_id=user["id"],
                shipping_address_id=address["id"],
                total_amount="1.00",
                created_at=TODAY - timedelta(days=days),
            )
            await make.item(order, product_id=product["id"])
            payment = await make.payment(order_id=order["id"], amount="1.00")
        await make.refund(payment_id=payment["id"])
        await make.execute("users", "ALTER TABLE users ADD extra int; ALTER TABLE users DROP extra")
        async with make.connections["orders"].transaction():
            await refresh(make.connections["orders"])


def on_server(server: LocalServer, sql: str, *args: object) -> list[tuple[Any, ...]]:
    """Run one statement in the server's own database. A row's values are what its columns are: ``Any``."""

    async def fetch() -> list[tuple[Any, ...]]:
        async with connected("users", server.url("postgres")) as connection:
            return [tuple(row) for row in await connection.fetch(sql, *args)]

    return asyncio.run(fetch())


def databases(server: LocalServer, prefix: str) -> dict[str, int]:
    """The server's databases with the prefix and their numbers, which no other database ever gets."""
    sql = "SELECT datname, oid FROM pg_database WHERE starts_with(datname, $1)"
    return dict(on_server(server, sql, f"{prefix}_"))


def contents(shop: Settings) -> dict[DatabaseName, Contents]:
    """What is in the four databases."""

    async def read() -> dict[DatabaseName, Contents]:
        found: dict[DatabaseName, Contents] = {}
        with progress_bar(1) as bar:
            for name in DATABASE_NAMES:
                async with connected(name, shop.database_url(name)) as connection, connection.transaction():
                    found[name] = await contents_of(connection, bar)
        return found

    return asyncio.run(read())


async def put_back(
    shop: Settings,
    folder: Path,
    only: DatabaseName | None = None,
    *,
    replace: bool = True,
    keep_old: bool = False,
    owners: bool = True,
) -> dict[DatabaseName, Restored]:
    """Restore a set, over what is there."""
    return await restore(shop, folder, only, replace=replace, keep_old=keep_old, owners=owners, jobs=1, source=SOURCE)


def set_of_all(shop: Settings, folder: Path) -> Path:
    """A set of all four databases."""
    return asyncio.run(back_up(shop, folder, DATABASE_NAMES, plain=False, source=SOURCE)).path


def programs_on_path(folder: Path, script: str, only: str | None = None) -> None:
    """Put programs into a folder for PATH: the real ones, after a shell script; where ``only`` is given, that alone.

    In the script, ``$real`` is the real program and ``$0`` the one that was called.
    """
    folder.mkdir(exist_ok=True)
    real = find_client_programs("embedded", 0)
    for name in PROGRAMS:
        before = script if only in (None, name) else ""
        program = folder / name
        program.write_text(f'#!/bin/sh\nreal={quote(str(getattr(real, name)))}\n{before}\nexec "$real" "$@"\n')
        program.chmod(0o755)
