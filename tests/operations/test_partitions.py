"""Partitions are made where they are missing, by whoever asks first, without getting in readers' way."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import OperationError
from app.operations import partitions
from app.operations.connect import connected
from app.operations.partitions import Quarter, months_from
from app.operations.partitions_listed import Partition, listed, months_ahead
from app.operations.server import LocalServer
from app.settings import Settings
from tests.operations.rows import storegraph

THIS_YEAR = datetime.now(UTC).year
INSERT = """
    INSERT INTO orders (user_id, total_amount, shipping_address_id, created_at)
    VALUES (gen_random_uuid(), 1, gen_random_uuid(), $1::text::timestamptz)
"""
LINE = """
    INSERT INTO order_items (order_id, order_created_at, product_id, quantity, unit_price)
    SELECT id, created_at, gen_random_uuid(), 1, 1 FROM orders LIMIT 1
"""
WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'orders'::regclass AND NOT granted)"
# Without the foreign keys that PostgreSQL adds to a table for each partition of the one referred to.
COUNTS = """
    SELECT (SELECT count(*) FROM pg_index WHERE indrelid = oid) AS indexes,
        (SELECT count(*) FROM pg_trigger WHERE tgrelid = oid AND NOT tgisinternal) AS triggers,
        (SELECT count(*) FROM pg_attribute WHERE attrelid = oid AND attnotnull AND attnum > 0) AS not_null,
        (SELECT count(*) FROM pg_attrdef WHERE adrelid = oid) AS defaults,
        (SELECT array_agg(DISTINCT pg_get_constraintdef(pg_constraint.oid)) FROM pg_constraint
            WHERE conrelid = pg_class.oid AND (relispartition OR conparentid = 0)) AS constraints
    FROM pg_class WHERE oid = $1::text::regclass
"""


@pytest.fixture
def url(settings: Settings, server: LocalServer, scratch_url: str) -> str:
    """An orders database that a test may leave as it likes."""

    async def copy() -> None:
        async with connected("users", server.url("postgres")) as connection:
            await connection.execute("CREATE DATABASE scratch TEMPLATE ecommerce_orders")

    asyncio.run(copy())
    return scratch_url


async def ensure(url: str, first: date, last: date) -> list[str]:
    async with connected("orders", url) as connection:
        return await partitions.ensure(connection, first, last)


def test_quarters() -> None:
    assert list(partitions.quarters(date(2023, 12, 31), date(2024, 4, 1))) == [
        Quarter(2023, 4),
        Quarter(2024, 1),
        Quarter(2024, 2),
    ]
    assert [Quarter.of(date(2024, month, 1)).number for month in range(1, 13)] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert Quarter(2024, 4).bounds == "FOR VALUES FROM ('2024-10-01 00:00:00+00') TO ('2025-01-01 00:00:00+00')"
    assert Quarter.with_bounds(Quarter(2024, 4).bounds) == Quarter(2024, 4)
    assert Quarter.with_bounds("DEFAULT") is None


def test_makes_what_is_missing_and_says_what(url: str) -> None:
    assert asyncio.run(ensure(url, date(2019, 12, 31), date(2020, 1, 1))) == [
        "orders_2019_q4",
        "order_items_2019_q4",
        "orders_2020_q1",
        "order_items_2020_q1",
    ]
    assert asyncio.run(ensure(url, date(2019, 10, 1), date(2020, 4, 1))) == ["orders_2020_q2", "order_items_2020_q2"]
    assert asyncio.run(ensure(url, date(2019, 10, 1), date(2020, 4, 1))) == []


def test_bounds_are_those_of_utc(url: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as connection:
            await partitions.ensure(connection, date(2020, 1, 1), date(2020, 12, 31))
            await connection.execute(INSERT, "2020-04-01 01:59:59+02")
            await connection.execute(INSERT, "2020-04-01 02:00:00+02")
            assert await connection.fetchval("SELECT count(*) FROM orders_2020_q1") == 1
            assert await connection.fetchval("SELECT count(*) FROM orders_2020_q2") == 1

    asyncio.run(run())


@pytest.mark.parametrize("table", partitions.TABLES)
def test_a_partition_has_all_that_its_table_has_and_nothing_of_its_own(url: str, table: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as connection:
            await partitions.ensure(connection, date(2020, 1, 1), date(2020, 1, 1))
            of_table = await connection.fetchrow(COUNTS, table)
            assert of_table is not None
            assert of_table["indexes"] >= 4
            assert await connection.fetchrow(COUNTS, f"{table}_2020_q1") == of_table
            alone = (
                "SELECT count(*) FROM pg_index WHERE indrelid = $1::text::regclass AND indexrelid NOT IN (TABLE heirs)"
            )
            heirs = "WITH heirs AS (SELECT inhrelid FROM pg_inherits)"
            assert await connection.fetchval(f"{heirs} {alone}", f"{table}_2020_q1") == 0

    asyncio.run(run())


def test_a_role_with_other_habits_changes_nothing(url: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as connection:
            await connection.execute("ALTER DATABASE scratch SET datestyle TO 'SQL, DMY'")
            await connection.execute("ALTER DATABASE scratch SET TimeZone TO 'Asia/Tokyo'")
        assert len(await ensure(url, date(2020, 1, 1), date(2020, 1, 1))) == 2
        assert await ensure(url, date(2020, 1, 1), date(2020, 1, 1)) == []

    asyncio.run(run())


def test_two_at_once_share_the_work(url: str) -> None:
    async def run() -> None:
        made = await asyncio.gather(*(ensure(url, date(2010, 1, 1), date(2012, 12, 31)) for _ in range(4)))
        names = [name for of_one in made for name in of_one]
        assert len(names) == len(set(names)) == 24

    asyncio.run(run())


def test_a_reader_neither_waits_nor_is_waited_for(url: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as reader, reader.transaction():
            await reader.fetch("SELECT FROM orders JOIN order_items ON order_id = orders.id")
            async with asyncio.timeout(20):  # for ever, if it waited
                assert await ensure(url, date(2020, 1, 1), date(2020, 1, 1)) == [
                    "orders_2020_q1",
                    "order_items_2020_q1",
                ]

    asyncio.run(run())


def test_writers_are_neither_refused_nor_queued(url: str) -> None:
    """What waits for a lock in a queue keeps everybody out who comes later; so there is no waiting in one."""

    async def run() -> None:
        async with connected("orders", url) as busy, connected("orders", url) as writer:
            async with busy.transaction():
                await busy.execute(INSERT, f"{THIS_YEAR}-01-01")  # in the way for as long as it is open
                making = asyncio.create_task(ensure(url, date(2020, 1, 1), date(2020, 1, 1)))
                await writer.execute("SET lock_timeout TO '10s'")
                for _ in range(3):
                    while not await writer.fetchval(WAITING):
                        pass
                    await writer.execute(INSERT, f"{THIS_YEAR}-01-01")
                    await writer.execute(LINE)
                    assert not making.done()
            assert await making == ["orders_2020_q1", "order_items_2020_q1"]
            assert await writer.fetchval("SELECT count(*) FROM orders") == 4
            assert await writer.fetchval("SELECT count(*) FROM order_items") == 3

    asyncio.run(run())


def test_what_is_in_the_way_for_too_long_is_named(url: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as busy, connected("orders", url) as connection:
            async with busy.transaction():
                await busy.execute(INSERT, f"{THIS_YEAR}-01-01")
                pid = busy.get_server_pid()
                with pytest.raises(OperationError, match=rf"for 0 seconds; .* pid {pid} of storegraph, idle in trans"):
                    await partitions.ensure(connection, date(2020, 1, 1), date(2020, 1, 1), patience=0)
            assert await connection.fetchval("SELECT to_regclass('orders_2020_q1')") is None
            assert len(await partitions.ensure(connection, date(2020, 1, 1), date(2020, 1, 1), patience=0)) == 2

    asyncio.run(run())


def test_within_a_longer_transaction_the_rest_waits_as_before(url: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as connection:
            await connection.execute("SET lock_timeout TO '7s'")
            async with connection.transaction():
                await partitions.ensure(connection, date(2020, 1, 1), date(2020, 1, 1))
                assert await connection.fetchval("SHOW lock_timeout") == "7s"

    asyncio.run(run())


def test_two_years_of_a_job_that_runs_each_month(url: str) -> None:
    """However the clock moves on, an order finds its partition, and the alarm is silent."""

    async def run() -> None:
        async with connected("orders", url) as connection:
            for month in range(24):
                today = months_from(date(2031, 11, 30), month)[1].replace(day=28)
                made = await partitions.ensure(connection, *months_from(today, 3))
                assert len(made) == (4 if not month else 2 if today.month % 3 == 1 else 0)
                ahead = months_ahead(await listed(connection, exact=False), today)
                assert 3 <= ahead <= 5
                for later in range(-1, 4) if month else range(4):
                    await connection.execute(INSERT, f"{months_from(today, later)[1]} 23:59:59.999999")

    asyncio.run(run())


@given(st.dates(date(1990, 1, 1), date(2190, 1, 1)), st.integers(0, 60))
def test_a_month_ahead_is_one_that_was_made(today: date, months: int) -> None:
    made = [
        Partition(
            table, quarter.partition(table), midnight(quarter.start), midnight(quarter.next.start), 0, 0, "attached"
        )
        for table in partitions.TABLES
        for quarter in partitions.quarters(*months_from(today, months))
    ]
    assert months <= months_ahead(made, today) <= months + 2
    first, last = made[0], made[-1]
    assert months_ahead([replace(of, state="detached") if of == last else of for of in made], today) < max(months, 1)
    assert months_ahead([replace(first, start=None, end=None), *made[1:]], today) == 0  # a default partition is none
    assert months_ahead([replace(of, end=None) if of.end == last.end else of for of in made], today) > 12 * 1000


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


@pytest.mark.parametrize(
    ("setup", "first", "last", "message"),
    [
        ("SELECT", date(2020, 1, 2), date(2020, 1, 1), "2020-01-02 is after 2020-01-01"),
        ("SELECT", date(202, 1, 1), date(2020, 1, 1), "At most 100 years"),
        ("SELECT", date(9999, 1, 1), date(9999, 1, 1), "At most 100 years"),
        ("CREATE TABLE orders_2020_q1 ()", date(2020, 1, 1), date(2020, 1, 1), "orders_2020_q1 exists but is no"),
        (
            "CREATE TABLE orders_2020 PARTITION OF orders FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
            date(2020, 1, 1),
            date(2020, 1, 1),
            'cannot make partition orders_2020_q1: .* would overlap partition "orders_2020"',
        ),
        ("DROP TABLE orders CASCADE", date(2020, 1, 1), date(2020, 1, 1), "run `storegraph db upgrade"),
    ],
)
def test_what_cannot_be_made_is_one_clear_line(url: str, setup: str, first: date, last: date, message: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as connection:
            await connection.execute(setup)
        with pytest.raises(OperationError, match=message):
            await ensure(url, first, last)
        async with connected("orders", url) as connection:
            assert await connection.fetchval("SELECT to_regclass('order_items_2020_q1')") is None

    asyncio.run(run())


def test_lists_what_there_is_and_what_was_detached(url: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as connection:
            await partitions.ensure(connection, date(2020, 1, 1), date(2020, 12, 31))
            for day in ("2020-01-01", "2020-03-31", "2020-06-30"):
                await connection.execute(INSERT, day)
            await connection.execute("ALTER TABLE orders DETACH PARTITION orders_2020_q3")
            await connection.execute("CREATE TABLE orders_2020 PARTITION OF orders DEFAULT")
            await connection.execute("CREATE TABLE orders_1999_q1 ()")  # no likeness but the name
            await connection.execute(
                "CREATE TABLE order_items_old PARTITION OF order_items FOR VALUES FROM (MINVALUE) TO ('1960-06-15')"
            )
            found = {of.name: of for of in await listed(connection, exact=True)}
            assert "orders_1999_q1" not in found
            start, end = midnight(date(2020, 1, 1)), midnight(date(2020, 4, 1))
            q1 = found["orders_2020_q1"]
            assert q1 == Partition("orders", "orders_2020_q1", start, end, 2, q1.bytes, "attached")
            assert q1.bytes > 8192
            q3 = found["orders_2020_q3"]
            assert (q3.start, q3.end, q3.state) == (midnight(date(2020, 7, 1)), midnight(date(2020, 10, 1)), "detached")
            assert (found["orders_2020"].start, found["orders_2020"].end) == (None, None)
            old = found["order_items_old"]
            assert (old.table, old.start, old.end) == ("order_items", None, midnight(date(1960, 6, 15)))
            await connection.execute("ANALYZE")
            assert {of.name: of for of in await listed(connection, exact=False)} == found

    asyncio.run(run())


def test_without_tables_there_is_nothing_to_list(url: str) -> None:
    async def run() -> None:
        async with connected("orders", url) as connection:
            await connection.execute("DROP TABLE orders CASCADE")
            with pytest.raises(OperationError, match="run `storegraph db upgrade"):
                await listed(connection, exact=False)

    asyncio.run(run())


def test_the_commands(
    settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[object, str, str]:
        on_a_copy = settings.model_copy(update={"orders_database_url": url})
        code = storegraph(on_a_copy, monkeypatch, "partitions", *arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    ahead = 24 - datetime.now(UTC).month
    assert run("check", "--months", str(ahead))[0] == 0
    code, out, _ = run("check", "--months", str(ahead + 1))
    assert code == 1
    assert f"storegraph partitions ensure --months {ahead + 1}" in out
    code, out, _ = run("ensure", "--months", str(ahead + 1), "--json")
    assert (code, json.loads(out)) == (0, [f"{table}_{THIS_YEAR + 2}_q1" for table in partitions.TABLES])
    code, out, _ = run("check", "--months", str(ahead + 1), "--json")
    assert (code, json.loads(out)) == (0, {"months_ahead": ahead + 3, "months": ahead + 1})
    assert run("ensure", "--months", "1")[1] == "every partition is there already\n"
    code, _, error = run("ensure", "--months", "1", "--from", "2020-01-01")
    assert (code, error) == (2, "storegraph: --months says from when to when: leave --from and --to out\n")
    code, out, _ = run("list", "--json")
    printed = json.loads(out)
    assert (code, printed["months_ahead"]) == (0, ahead + 3)
    starts = {of["name"]: of["start"] for of in printed["partitions"]}
    assert (
        starts[f"order_items_{THIS_YEAR}_q1"] == starts[f"orders_{THIS_YEAR}_q1"] == f"{THIS_YEAR}-01-01T00:00:00+00:00"
    )
    assert f"orders_{THIS_YEAR + 2}_q1" in starts
    assert f"orders_{THIS_YEAR + 2}_q2" not in starts
    code, out, _ = run("list", "--exact")
    assert code == 0
    assert f"order_items_{THIS_YEAR}_q1" in out
    assert "estimates" not in out
