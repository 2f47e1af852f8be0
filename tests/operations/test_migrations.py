"""Databases are made, moved forth and back, and left whole when something goes wrong; by the command line as well."""

import asyncio
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from app import cli
from app.errors import OperationError
from app.operations.check import Report, check
from app.operations.connect import connected
from app.operations.databases import create
from app.operations.migrations import Moved, downgrade, new_revision, status, upgrade
from app.operations.server import LocalServer
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from tests.operations.revision_files import HEADS, add, copied, value

TODAY = datetime.now(UTC).date()

FILL: dict[DatabaseName, str] = {
    "users": """
        INSERT INTO users (email, password_hash) VALUES ('a@example.org', '!');
        INSERT INTO user_profiles (user_id) SELECT id FROM users""",
    "products": """
        INSERT INTO categories (name) VALUES ('root');
        INSERT INTO categories (name, parent_id) SELECT 'leaf', id FROM categories;
        INSERT INTO products (name, price, category_id) SELECT name, 1, id FROM categories;
        INSERT INTO product_images (product_id, url) SELECT id, 'https://example.org' FROM products""",
    "orders": """
        INSERT INTO orders (user_id, total_amount, shipping_address_id)
            VALUES (gen_random_uuid(), 2, gen_random_uuid());
        INSERT INTO order_items (order_id, order_created_at, product_id, quantity, unit_price)
            SELECT id, created_at, gen_random_uuid(), 2, 1 FROM orders;
        REFRESH MATERIALIZED VIEW CONCURRENTLY product_stats""",
    "payments": """
        INSERT INTO payments (order_id, amount, method) VALUES (gen_random_uuid(), 2, 'card');
        INSERT INTO refunds (payment_id, amount) SELECT id, 1 FROM payments""",
}
COPY = "CREATE DATABASE scratch TEMPLATE ecommerce_users"
OBJECTS = """
    SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname !~ '^alembic_version')
         + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            AND oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'e'))
"""  # an extension stays when what needed it goes: others may need it by now


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations that a test may add to."""
    return copied(tmp_path, monkeypatch)


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run ``storegraph`` on the four databases; returns its exit code."""
    for name in DATABASE_NAMES:
        monkeypatch.setenv(f"{name.upper()}_DATABASE_URL", settings.database_url(name))

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["storegraph", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert isinstance(end.value.code, int)
        return end.value.code

    return run


@pytest.mark.parametrize("name", DATABASE_NAMES)
def test_upgrade_and_downgrade_of_an_empty_and_of_a_filled_database(scratch_url: str, name: DatabaseName) -> None:
    async def run() -> None:
        assert await create(name, scratch_url)
        nothing = await value(scratch_url, OBJECTS)
        up = await upgrade(name, scratch_url, TODAY)
        head = HEADS[name]
        assert (up.before, up.after, len(up.partitions)) == (None, head, 16 if name == "orders" else 0)
        assert await downgrade(name, scratch_url, "base") == Moved(head, None, [])
        assert await value(scratch_url, OBJECTS) == nothing
        await upgrade(name, scratch_url, TODAY)
        for statement in FILL[name].split(";"):
            await value(scratch_url, statement)
        assert await upgrade(name, scratch_url, TODAY) == Moved(head, head, [])
        assert await check(name, scratch_url, TODAY) == Report([], [])
        for number in range(int(head) - 1, 0, -1):
            assert await downgrade(name, scratch_url, "-1") == Moved(f"{number + 1:04}", f"{number:04}", [])
        assert await downgrade(name, scratch_url, "-1") == Moved("0001", None, [])
        assert await value(scratch_url, OBJECTS) == nothing

    asyncio.run(run())


def test_the_view_can_be_read_and_refreshed_at_once(settings: Settings) -> None:
    async def run() -> None:
        async with connected("orders", settings.orders_database_url) as connection:
            assert await connection.fetch("SELECT * FROM product_stats") == []
            assert await connection.fetchval("SELECT count(*) FROM product_stats_refresh") == 1
            await connection.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY product_stats")

    asyncio.run(run())


def test_a_migration_that_fails_is_undone_and_those_before_it_stay(scratch_url: str, history: Path) -> None:
    good = add(history, "users", 'op.execute("CREATE TABLE good ()")')
    bad = add(history, "users", 'op.execute("CREATE TABLE bad ()"); op.execute("SELECT 1 / 0")')

    async def run() -> None:
        await create("users", scratch_url)
        with pytest.raises(
            OperationError, match=rf"^users database: migration {bad} failed and was undone: division by zero$"
        ):
            await upgrade("users", scratch_url, TODAY)
        at = await status("users", scratch_url)
        assert (at.revision, at.pending) == (good, [bad])
        assert await value(scratch_url, "SELECT to_regclass('good') IS NOT NULL AND to_regclass('bad') IS NULL")

    asyncio.run(run())


def test_a_revision_of_a_newer_version_is_left_alone(scratch_url: str) -> None:
    async def run() -> None:
        await create("users", scratch_url)
        await upgrade("users", scratch_url, TODAY)
        await value(scratch_url, "UPDATE alembic_version SET version_num = '0099'")
        for move in (upgrade("users", scratch_url, TODAY), downgrade("users", scratch_url, "base")):
            with pytest.raises(OperationError, match="is at revision 0099, which this version"):
                await move
        at = await status("users", scratch_url)
        assert (at.revision, at.head, at.pending) == ("0099", HEADS["users"], [])
        assert at.problem is not None

    asyncio.run(run())


@pytest.mark.parametrize("name", DATABASE_NAMES)
def test_alembic_sees_no_difference_either(settings: Settings, history: Path, name: DatabaseName) -> None:
    before = set((history / name).glob("*.py"))
    with pytest.raises(OperationError, match=f"nothing to migrate: the {name} database"):
        asyncio.run(new_revision(name, settings.database_url(name), "nothing", autogenerate=True))
    assert set((history / name).glob("*.py")) == before


def test_a_new_revision_holds_the_difference_and_can_be_applied(scratch_url: str, history: Path) -> None:
    async def run() -> None:
        await create("orders", scratch_url)
        await upgrade("orders", scratch_url, TODAY)
        await value(scratch_url, "ALTER TABLE order_items DROP product_sku")
        path = await new_revision("orders", scratch_url, "Add the product's SKU", autogenerate=True)
        first, second = (f"{int(HEADS['orders']) + number:04}" for number in (1, 2))
        assert path == history / "orders" / f"{first}_add_the_product_s_sku.py"
        assert "drop_table" not in path.read_text()
        assert (await upgrade("orders", scratch_url, TODAY)).after == first
        assert (await check("orders", scratch_url, TODAY)).findings == []
        blank = await new_revision("orders", "postgresql://nowhere.invalid/x", "By hand", autogenerate=False)
        assert blank.name == f"{second}_by_hand.py"
        with pytest.raises(OperationError, match=r"^orders database: .*not up to date"):
            await new_revision("orders", scratch_url, "Too early", autogenerate=True)

    asyncio.run(run())


def test_create_makes_a_database_that_knows_every_letter(server: LocalServer) -> None:
    name = 'Ünï "quoted" shop'
    url = server.url(quote(name)).replace("postgresql://", "postgres://")

    async def run() -> None:
        try:
            assert await create("users", url)
            assert not await create("users", url)
            assert await value(url, "SELECT current_database()") == name
            assert await value(url, "SELECT lower('ÉCOLE') = 'école' AND 'É' ILIKE 'é' AND 'Z' < 'a'")
            assert await value(url, "SHOW server_encoding") == "UTF8"
        finally:
            quoted = name.replace('"', '""')
            await value(server.url("postgres"), f'DROP DATABASE IF EXISTS "{quoted}"')

    asyncio.run(run())


def test_who_may_not_make_a_database_is_told(server: LocalServer) -> None:
    url = server.url("forbidden").replace("postgres@", "guest@")

    async def run() -> None:
        await value(server.url("postgres"), "CREATE ROLE guest LOGIN")
        try:
            with pytest.raises(OperationError, match="cannot make the users database forbidden: permission denied"):
                await create("users", url)
        finally:
            await value(server.url("postgres"), "DROP ROLE guest")

    asyncio.run(run())


def test_the_command_line_moves_one_step_back_and_forth(
    command: Callable[..., int], scratch_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORDERS_DATABASE_URL", scratch_url)
    assert command("db", "upgrade", "--database", "orders") == 2
    assert (
        "storegraph: the orders database does not exist; make it with `storegraph db create`" in capsys.readouterr().err
    )
    assert command("db", "create") == 0
    assert command("db", "check", "--database", "orders") == 1
    assert "orders: migration 0001: not applied" in capsys.readouterr().out
    assert command("db", "upgrade", "--database", "orders") == 0
    assert command("db", "check") == 0
    assert command("partitions", "ensure") == 0
    capsys.readouterr()
    assert command("partitions", "ensure", "--from", "2001-02-03", "--to", "2001-02-03", "--json") == 0
    assert json.loads(capsys.readouterr().out) == ["orders_2001_q1", "order_items_2001_q1"]
    assert command("db", "downgrade", "base", "--database", "orders", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "orders": {
            "before": HEADS["orders"],
            "after": None,
            "head": HEADS["orders"],
            "outcome": "moved",
            "applied": [f"{number:04}" for number in range(int(HEADS["orders"]), 0, -1)],
            "partitions": [],
            "problem": None,
        }
    }
    assert command("db", "downgrade", "-1", "--database", "orders") == 2
    assert "the orders database has no migrations to be undone, and not 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("revision", "problem"),
    [
        ("0999", r"the users database has no revision 0999: name one of 0001, .*, -1 for one step, or base"),
        ("head", r"the users database has no revision head: name one of 0001, .*, -1 for one step, or base"),
        ("-99", r"the users database has \d+ migrations to be undone, and not 99"),
        ("-0", r"the users database has no revision -0: .*"),
        ("0002", r"the users database is at 0001, and 0002 is not behind it: nothing to take back"),
    ],
)
def test_a_downgrade_that_cannot_be_is_told_in_our_words(
    settings: Settings, scratch_url: str, revision: str, problem: str
) -> None:
    async def run() -> None:
        await value(settings.users_database_url.replace("ecommerce_users", "postgres"), COPY)
        if revision == "0002":
            await downgrade("users", scratch_url, "0001")
        before = (await status("users", scratch_url)).revision
        with pytest.raises(OperationError) as refused:
            await downgrade("users", scratch_url, revision)
        assert re.fullmatch(problem, str(refused.value))
        assert (await status("users", scratch_url)).revision == before

    asyncio.run(run())


def test_the_history_says_what_is_applied(
    command: Callable[..., int], scratch_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("USERS_DATABASE_URL", scratch_url)
    assert command("db", "create") == 0
    assert command("db", "history", "--database", "users") == 0
    assert "yes" not in capsys.readouterr().out
    assert command("db", "upgrade", "--database", "users") == 0
    assert command("db", "downgrade", "0002", "--database", "users") == 0
    capsys.readouterr()
    assert command("db", "history", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    entries = found["users"]["revisions"]
    assert [entry["revision"] for entry in entries if entry["applied"]] == ["0001", "0002"]
    assert [entry["revision"] for entry in entries if entry["current"]] == ["0002"]
    assert entries[0] | {"created": None} == {
        "revision": "0001",
        "created": None,
        "message": "Create the tables of the users database",
        "requires": {},
        "applied": True,
        "current": False,
    }
    for name in DATABASE_NAMES:
        for entry in found[name]["revisions"]:
            assert date.fromisoformat(entry["created"]) <= TODAY
    monkeypatch.setenv("USERS_DATABASE_URL", "postgresql://me@127.0.0.1:1/users")
    assert command("db", "history", "--database", "users") == 2
    assert "?" in capsys.readouterr().out


def test_one_database_that_is_down_hides_no_other(
    command: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("USERS_DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/users")
    for line in ("create", "upgrade", "check", "status"):
        assert command("db", line) == 2
        shown = capsys.readouterr()
        assert "storegraph: cannot connect to the users database" in shown.err
        assert "payments" in shown.out
        assert "secret" not in shown.out + shown.err
    assert command("db", "status", "--json") == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["users"]["server_version"], found["payments"]["revision"]) == (None, HEADS["payments"])
