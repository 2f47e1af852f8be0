"""Old quarters are detached, exported and dropped, whole and wholly before the day, whatever interrupts the work."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.errors import OperationError
from app.operations import partitions_detach
from app.operations.connect import Connection, connected
from app.operations.importing import import_folder
from app.operations.partitions import TABLES, ensure
from app.operations.partitions_detach import Detached, detach, old_quarters
from app.operations.partitions_listed import listed
from app.operations.server import LocalServer
from app.settings import Settings
from tests.operations.rows import storegraph

TODAY = date(2026, 7, 4)
BEFORE = date(2020, 8, 15)  # within the third quarter, which stays
OLD = ["2020_q1", "2020_q2"]
# Other tests leave partitions behind.
EMPTY = """
    DO $$
    DECLARE
        name text;
    BEGIN
        FOR name IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'order_items'::regclass LOOP
            EXECUTE 'DROP TABLE ' || name;
        END LOOP;
        FOR name IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'orders'::regclass LOOP
            EXECUTE format('ALTER TABLE orders DETACH PARTITION %s; DROP TABLE %1$s', name);
        END LOOP;
    END
    $$
"""
# Two orders a quarter, with a line each, whose names try what CSV can bear.
FILL = """
    INSERT INTO orders (user_id, status, total_amount, shipping_address_id, created_at)
    SELECT gen_random_uuid(), 'paid', n, gen_random_uuid(),
        timestamptz '2020-01-01 00:00:00.000001' + n / 2 * interval '3 months' + n % 2 * interval '90 days 23 hours'
    FROM generate_series(0, 7) AS n;
    INSERT INTO order_items (order_id, order_created_at, product_id, product_name, product_sku, quantity, unit_price)
    SELECT id, created_at, gen_random_uuid(),
        (ARRAY['', NULL, E'two\\nlines', '"Ünï, code'])[1 + total_amount::int % 4],
        (ARRAY[NULL, '', '\\N', ' '])[1 + total_amount::int % 4], 1, total_amount FROM orders;
"""


async def filled(server: LocalServer, url: str) -> None:
    """A copy of the orders database with two orders in each quarter of 2020, and no other partitions."""
    async with connected("users", server.url("postgres")) as connection:
        await connection.execute("DROP DATABASE IF EXISTS scratch WITH (FORCE)")
        await connection.execute("CREATE DATABASE scratch TEMPLATE ecommerce_orders")
    async with connected("orders", url) as connection:
        await connection.execute(EMPTY)
        await ensure(connection, date(2020, 1, 1), date(2020, 12, 31))
        await connection.execute(FILL)


@pytest.fixture
def shop(settings: Settings, server: LocalServer, scratch_url: str) -> Settings:
    """The databases, but that of orders is the copy."""
    asyncio.run(filled(server, scratch_url))
    return settings.model_copy(update={"orders_database_url": scratch_url})


async def run_detach(
    shop: Settings, folder: Path | None = None, *, drop: bool = False, patience: float = 60, before: date = BEFORE
) -> list[Detached]:
    url = shop.orders_database_url
    async with connected("orders", url) as connection:
        old = await old_quarters(connection, before, TODAY)
    return await detach(url, old, folder, drop=drop, patience=patience)


async def states(shop: Settings) -> dict[str, str]:
    """What there is of 2020."""
    async with connected("orders", shop.orders_database_url) as connection:
        found = await listed(connection, exact=False)
    return {of.name: of.state for of in found if "2020" in of.name}


def expected(state: str | None) -> dict[str, str]:
    """What there is to be of 2020, when old quarters are in this state; None: gone."""
    of_quarter = {f"2020_q{n}": state if f"2020_q{n}" in OLD else "attached" for n in range(1, 5)}
    return {f"{table}_{quarter}": at for table in TABLES for quarter, at in of_quarter.items() if at}


async def contents(shop: Settings) -> list[Any]:
    """All rows of both tables."""
    async with connected("orders", shop.orders_database_url) as connection:
        return [
            [tuple(row) for row in await connection.fetch(f"SELECT t FROM {table} t ORDER BY id")] for table in TABLES
        ]


async def structure(shop: Settings) -> list[tuple[Any, ...]]:
    """Every constraint, index and trigger of 2020's partitions, but for the names that PostgreSQL numbers itself."""
    async with connected("orders", shop.orders_database_url) as connection:
        return [
            tuple(row)
            for row in await connection.fetch(
                """
                SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
                WHERE conrelid::regclass::text ~ '2020'
                    AND (contype <> 'f' OR confrelid = 'orders'::regclass)
                UNION ALL SELECT tablename, indexdef FROM pg_indexes WHERE tablename ~ '2020'
                UNION ALL SELECT tgrelid::regclass::text, tgname FROM pg_trigger
                WHERE tgrelid::regclass::text ~ '2020' AND NOT tgisinternal ORDER BY 1, 2
                """
            )
        ]


def test_what_is_exported_and_dropped_comes_back_by_an_import(shop: Settings, tmp_path: Path) -> None:
    before, whole = asyncio.run(contents(shop)), asyncio.run(structure(shop))
    done = asyncio.run(run_detach(shop, tmp_path, drop=True))
    assert [of.quarter for of in done] == OLD
    assert asyncio.run(states(shop)) == expected(None)
    assert [len(rows) for rows in asyncio.run(contents(shop))] == [4, 4]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        f"{quarter}/orders/{table}.csv" for quarter in OLD for table in sorted(TABLES)
    ]
    for quarter in OLD:
        asyncio.run(import_folder(shop, tmp_path / quarter, ["orders"]))
    assert asyncio.run(contents(shop)) == before
    assert asyncio.run(structure(shop)) == whole


def test_without_more_the_tables_stay_and_can_come_back(shop: Settings) -> None:
    done = asyncio.run(run_detach(shop))
    assert done == [Detached(quarter, [f"order_items_{quarter}", f"orders_{quarter}"], [], []) for quarter in OLD]
    assert asyncio.run(states(shop)) == expected("detached")
    assert asyncio.run(run_detach(shop)) == []

    async def attach() -> None:
        async with connected("orders", shop.orders_database_url) as connection:
            assert await connection.fetchval("SELECT count(*) FROM order_items_2020_q2") == 2
            for table in TABLES:
                bounds = "FOR VALUES FROM ('2020-04-01') TO ('2020-07-01')"
                await connection.execute(f"ALTER TABLE {table} ATTACH PARTITION {table}_2020_q2 {bounds}")

    asyncio.run(attach())
    assert [len(rows) for rows in asyncio.run(contents(shop))] == [6, 6]


def test_a_quarter_goes_when_all_of_it_is_before_the_day(shop: Settings) -> None:
    async def run() -> None:
        async with connected("orders", shop.orders_database_url) as connection:
            for number, start in enumerate((date(2020, 1, 1), date(2020, 4, 1), date(2020, 7, 1), date(2020, 10, 1))):
                for day in (start - timedelta(1), start, start + timedelta(1), start + timedelta(45)):
                    found = [old.quarter.number for old in await old_quarters(connection, day, TODAY)]
                    assert found == list(range(1, number + (day >= start)))
            with pytest.raises(OperationError, match="2026-07-05 is after today"):
                await old_quarters(connection, TODAY + timedelta(1), TODAY)
            await connection.execute(
                "CREATE TABLE orders_2019 PARTITION OF orders FOR VALUES FROM ('2019-01-01') TO ('2020-01-01')"
            )
            with pytest.raises(OperationError, match="partition orders_2019 is no quarter"):
                await old_quarters(connection, BEFORE, TODAY)

    asyncio.run(run())


def test_another_order_of_steps_is_refused(shop: Settings) -> None:
    async def run() -> None:
        async with connected("orders", shop.orders_database_url) as connection:
            orders = "ALTER TABLE orders DETACH PARTITION orders_2020_q1 CONCURRENTLY"
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                await connection.execute(orders)
            await connection.execute("ALTER TABLE order_items DETACH PARTITION order_items_2020_q1 CONCURRENTLY")
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                await connection.execute(orders)

    asyncio.run(run())
    assert asyncio.run(states(shop)) == expected("attached") | {"order_items_2020_q1": "detached"}
    assert next(of.detached for of in asyncio.run(run_detach(shop))) == ["orders_2020_q1"]
    assert asyncio.run(states(shop)) == expected("detached")


class KilledError(BaseException):
    """As if the process ended here."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int, *, after: bool) -> None:
    """End the work at one of the statements that change something or write a file, by its number from 1."""
    steps = count(1)

    def wrapped(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def run(self: Connection, sql: str, *args: Any, **options: Any) -> Any:
            is_it = sql.startswith(("ALTER", "DROP", "SELECT *")) and next(steps) == step
            if is_it and not after:
                raise KilledError
            result = await method(self, sql, *args, **options)
            if is_it:
                raise KilledError
            return result

        return run

    for name in ("execute", "copy_from_query"):
        monkeypatch.setattr(asyncpg.Connection, name, wrapped(getattr(asyncpg.Connection, name)))


@pytest.mark.parametrize("after", [False, True])
def test_killed_anywhere_it_goes_on_from_there(
    shop: Settings, server: LocalServer, tmp_path: Path, after: bool
) -> None:
    step = 0
    while True:
        step += 1
        asyncio.run(filled(server, shop.orders_database_url))
        before, folder = asyncio.run(contents(shop)), tmp_path / str(step)
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, step, after=after)
            try:
                asyncio.run(run_detach(shop, folder, drop=True, before=date(2020, 4, 1)))
            except KilledError:
                pass
            else:
                break  # that many steps there are not
        asyncio.run(run_detach(shop, folder, drop=True, before=date(2020, 4, 1)))
        assert {name for name in expected("attached") if "q1" not in name} == set(asyncio.run(states(shop)))
        assert [len(rows) for rows in asyncio.run(contents(shop))] == [6, 6]
        asyncio.run(import_folder(shop, folder / "2020_q1", ["orders"]))
        assert asyncio.run(contents(shop)) == before
        assert not list(folder.rglob("*.unfinished"))
    assert step == 8


def test_who_is_in_the_way_is_named_and_keeps_nobody_else_waiting(shop: Settings) -> None:
    async def run() -> None:
        url = shop.orders_database_url
        async with connected("orders", url) as reader, connected("orders", url) as other:
            await other.execute("SET lock_timeout TO '10s'")
            async with reader.transaction(isolation="repeatable_read"):
                await reader.fetch("SELECT FROM orders JOIN order_items ON order_id = orders.id")
                pid = reader.get_server_pid()
                with pytest.raises(OperationError, match=f"no lock on orders and order_items for 0 .*pid {pid} of "):
                    await run_detach(shop, patience=0)
                assert (await states(shop))["order_items_2020_q1"] == "detaching"
                work = asyncio.create_task(run_detach(shop))
                for _ in range(5):
                    assert await other.fetchval("SELECT count(*) FROM orders") == 8
                    await other.execute("UPDATE orders SET status = 'shipped' WHERE created_at >= '2020-07-01'")
                    assert not work.done()
                assert await reader.fetchval("SELECT count(*) FROM order_items") == 8
            assert [of.quarter for of in await work] == OLD

    asyncio.run(run())
    assert asyncio.run(states(shop)) == expected("detached")


def test_rows_that_change_while_they_are_exported_are_exported_anew(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = partitions_detach._export  # pyright: ignore[reportPrivateUsage] -- to write right after it

    async def export_and_write(connection: Connection, *args: Any, **options: Any) -> Any:
        sums = await export(connection, *args, **options)
        if not options["is_ours"]:
            await connection.execute("UPDATE orders SET status = 'delivered' WHERE created_at < '2020-07-01'")
        return sums

    monkeypatch.setattr(partitions_detach, "_export", export_and_write)
    asyncio.run(run_detach(shop, tmp_path, drop=True))
    for quarter in OLD:
        _, *written = (tmp_path / quarter / "orders" / "orders.csv").read_text().splitlines()
        assert [",delivered," in line for line in written] == [True, True]


def test_an_earlier_export_is_not_written_over(shop: Settings, tmp_path: Path) -> None:
    path = tmp_path / "2020_q2" / "orders" / "order_items.csv"
    path.parent.mkdir(parents=True)
    path.write_text("rows of another time\n")
    with pytest.raises(OperationError, match=rf"^{path} has other rows, from an earlier export: move it away"):
        asyncio.run(run_detach(shop, tmp_path, drop=True))
    assert path.read_text() == "rows of another time\n"
    assert not path.with_name("order_items.csv.unfinished").exists()
    done = {f"{table}_2020_q1" for table in TABLES}  # the quarter before it
    assert set(asyncio.run(states(shop))) == set(expected("attached")) - done
    path.unlink()
    assert [of.quarter for of in asyncio.run(run_detach(shop, tmp_path, drop=True))] == ["2020_q2"]


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_done(shop: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperationError, match=r"^not all was detached: .*file"):
        asyncio.run(run_detach(shop, tmp_path / "file", drop=True))
    assert asyncio.run(states(shop)) == expected("attached")


def test_the_command_asks_a_person(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[object, str, str]:
        code = storegraph(shop, monkeypatch, "partitions", "detach", "--before", str(BEFORE), *arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    with monkeypatch.context() as person:
        person.setattr(sys, "stdin", Terminal("n\n"))
        code, out, error = run("--drop")
        assert (code, out.strip()) == (1, "")
        assert "orders_2020_q1: about 2 rows" in error
        assert "exported nowhere. Then drop them?" in error
        assert asyncio.run(states(shop)) == expected("attached")
        person.setattr(sys, "stdin", Terminal("y\n"))
        code, out, error = run()
        assert (code, out.splitlines()[0].strip()) == (0, "2020_q1: detached order_items_2020_q1, orders_2020_q1")
        assert "Then detach them?" in error
        assert run()[:2] == (0, f"nothing is left to do before {BEFORE}\n")
    code, out, _ = run("--export", str(tmp_path), "--drop", "--json")
    assert code == 0
    assert json.loads(out)[1] == {
        "quarter": "2020_q2",
        "detached": [],
        "files": [str(tmp_path / "2020_q2" / "orders" / f"{table}.csv") for table in TABLES],
        "dropped": ["order_items_2020_q2", "orders_2020_q2"],
    }
    assert asyncio.run(states(shop)) == expected(None)


class Terminal(StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True
