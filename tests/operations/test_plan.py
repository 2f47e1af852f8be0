"""``storegraph db plan``: what would run, what it locks, and that what is dangerous does not go unseen."""

import asyncio
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from app.errors import OperationError
from app.operations import plan_squawk
from app.operations.connect import connected
from app.operations.migrations_run import Statement
from app.operations.server import LocalServer
from app.settings import DATABASE_NAMES, Settings
from tests.operations.revision_files import HEADS, add, concurrently, copied, value
from tests.operations.rows import storegraph

SQUAWK = plan_squawk.find()


@pytest.fixture(autouse=True)
def _no_squawk(monkeypatch: pytest.MonkeyPatch) -> None:  # whatever is installed here
    monkeypatch.setattr(plan_squawk, "find", lambda: None)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(tmp_path, monkeypatch)


def planned(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, dict[str, Any]]:
    """The exit code, and what is planned for the users database. It is of the JSON's types: ``Any``."""
    code = storegraph(settings, monkeypatch, "db", "plan", "--json", "--database", "users")
    return code, json.loads(capsys.readouterr().out)["users"]


def rules(plan: dict[str, Any]) -> list[list[str]]:
    """The rules that each statement breaks."""
    statements = [statement for migration in plan["migrations"] for statement in migration["statements"]]
    return [[finding["rule"] for finding in statement["findings"]] for statement in statements]


def test_nothing_is_pending(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert storegraph(settings, monkeypatch, "db", "plan") == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [f"{name}: nothing is pending; it is at {HEADS[name]}" for name in DATABASE_NAMES]
    assert shown.err.startswith("squawk is not installed")


def test_an_index_that_keeps_writers_waiting_is_flagged_and_one_built_beside_them_is_not(
    settings: Settings, history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number = add(history, "users", concurrently("extra", "users", "role"))
    code, plan = planned(settings, monkeypatch, capsys)
    assert (code, plan["flagged"], plan["problem"]) == (0, 0, None)
    [migration] = plan["migrations"]
    assert (migration["revision"], migration["message"], migration["place"]) == (number, "Added by a test", 1)
    [statement] = migration["statements"]
    assert statement["outside"]
    assert statement["sql"] == "CREATE INDEX CONCURRENTLY IF NOT EXISTS extra ON users (role)"
    [lock] = statement["locks"]
    assert (lock["table"], lock["mode"], lock["blocks"]) == ("users", "SHARE UPDATE EXCLUSIVE", "")

    add(history, "users", 'op.create_index("slow", "users", ["role"])')
    code, plan = planned(settings, monkeypatch, capsys)
    assert (code, plan["flagged"], rules(plan)) == (1, 1, [[], ["create-index"]])
    [lock] = plan["migrations"][1]["statements"][0]["locks"]
    assert (lock["mode"], lock["blocks"]) == ("SHARE", "writes")


# The bodies of migrations, and the rules that each of their statements breaks.
DANGERS: list[tuple[list[str], list[list[str]]]] = [
    (["op.execute('ALTER TABLE users ADD x uuid DEFAULT gen_random_uuid()')"], [["add-column"]]),
    (["op.alter_column('users', 'first_name', nullable=False)"], [["set-not-null"]]),
    (["op.alter_column('users', 'role', type_=sa.Text())"], [[]]),
    (["op.alter_column('users', 'role', type_=sa.String(5))"], [["alter-type"]]),
    (["op.create_foreign_key('x', 'users', 'user_profiles', ['id'], ['id'])"], [["add-foreign-key"]]),
    (
        ["op.create_foreign_key('x', 'users', 'user_profiles', ['id'], ['id'], postgresql_not_valid=True)"],
        [["not-validated"]],
    ),
    (
        [
            "op.create_foreign_key('x', 'users', 'user_profiles', ['id'], ['id'], postgresql_not_valid=True)",
            "op.execute('ALTER TABLE users VALIDATE CONSTRAINT x')",
        ],
        [[], []],
    ),
    (
        [
            "op.create_foreign_key('x', 'users', 'user_profiles', ['id'], ['id'], postgresql_not_valid=True); "
            "op.execute('ALTER TABLE users VALIDATE CONSTRAINT x')"
        ],
        [[], ["lock-held"]],
    ),
    (
        ["op.execute('ALTER TABLE users ADD x int'); op.execute('UPDATE users SET x = 1 WHERE x IS NULL')"],
        [[], ["lock-held"]],
    ),
    (["op.create_index('x', 'users', ['role'], postgresql_concurrently=True)"], [["concurrently"]]),
    (
        ["op.create_table('x', sa.Column('id', sa.Integer)); " + concurrently("y", "users", "role").split(": ", 1)[1]],
        [[], ["concurrently"]],
    ),
    (
        ["with op.get_context().autocommit_block(): op.execute('CREATE INDEX CONCURRENTLY x ON users (role)')"],
        [["not-resumable"]],
    ),
    (["op.execute('DO $$ BEGIN END $$')"], [["unknown"]]),
    (["op.create_table('x', sa.Column('id', sa.Integer)); op.create_index('y', 'x', ['id'])"], [[], []]),
    (["op.create_table('x', sa.Column('id', sa.Integer))", "op.create_index('y', 'x', ['id'])"], [[], []]),
]


@pytest.mark.parametrize(("bodies", "expected"), DANGERS)
def test_what_is_dangerous_is_flagged(
    settings: Settings,
    history: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bodies: list[str],
    expected: list[list[str]],
) -> None:
    for body in bodies:
        add(history, "users", body, "import sqlalchemy as sa")
    code, plan = planned(settings, monkeypatch, capsys)
    assert rules(plan) == expected
    assert code == int(any(expected))


def test_what_is_outside_of_a_transaction_is_alone(
    settings: Settings, history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    block = concurrently("extra", "users", "role")
    add(history, "users", f"op.execute('ALTER TABLE users ADD x int')\n    {block}")
    assert planned(settings, monkeypatch, capsys)[0] == 1
    assert rules(planned(settings, monkeypatch, capsys)[1]) == [[], ["mixed"]]


def test_a_migration_can_accept_a_danger_and_says_why(
    settings: Settings, history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accepts = 'accepts = {"create-index": "the shop is closed"}'
    add(history, "users", 'op.create_index("slow", "users", ["role"])', accepts)
    code, plan = planned(settings, monkeypatch, capsys)
    assert (code, plan["flagged"]) == (0, 0)
    assert plan["migrations"][0]["statements"][0]["findings"][0]["accepted"] == "the shop is closed"
    assert storegraph(settings, monkeypatch, "db", "plan") == 0
    assert "accepted create-index: the shop is closed" in capsys.readouterr().out
    add(history, "users", 'op.create_index("slower", "users", ["status"])')
    assert planned(settings, monkeypatch, capsys)[0] == 1


def test_a_migration_that_asks_the_database_does_not_tell_its_sql(
    settings: Settings, history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number = add(history, "users", 'op.execute("SELECT " + str(op.get_bind().exec_driver_sql("SELECT 1").scalar()))')
    code, plan = planned(settings, monkeypatch, capsys)
    assert (code, plan["flagged"]) == (1, 1)
    assert plan["migrations"][0]["problem"].startswith(f"migration users {number} does not tell its SQL")


def test_it_changes_nothing_and_the_histories_of_the_shop_are_free_of_danger_from_the_start(
    server: LocalServer, scratch_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(value(server.url("postgres"), "CREATE DATABASE scratch"))
    for name in DATABASE_NAMES:
        empty = settings.model_copy(update={f"{name}_database_url": scratch_url})
        assert storegraph(empty, monkeypatch, "db", "plan", "--database", name) == 0
    assert (
        asyncio.run(value(scratch_url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"))
        == 0
    )


def test_what_a_person_sees_fits_in_80_columns_and_names_sizes(
    settings: Settings, history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.cli.output.output._width", 80)
    long = "A" * 30
    add(
        history,
        "orders",
        f'op.create_index("slow", "orders", ["status"]); op.execute("SELECT {", ".join([long] * 9)}")',
    )
    assert storegraph(settings, monkeypatch, "db", "plan") == 1
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("1 of 1: orders ")
    assert "Added by a test" in lines
    text = " ".join(" ".join(lines).split())
    assert "CREATE INDEX slow ON orders (status);" in text
    assert "partitions): SHARE, blocks writes" in text
    assert "! create-index: builds an index over orders, which takes no writes meanwhile" in text
    assert "attach those" in text  # there is no CONCURRENTLY for a table with partitions
    assert f"orders: 1 migration from {HEADS['orders']} to " in text


def test_one_database_that_is_down_hides_no_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = settings.model_copy(update={"users_database_url": "postgresql://nobody@127.0.0.1:1/users"})
    assert storegraph(lost, monkeypatch, "db", "plan") == 2
    shown = capsys.readouterr()
    assert f"payments: nothing is pending; it is at {HEADS['payments']}" in shown.out
    assert "users: not known" in shown.out
    assert "cannot connect to the users database" in shown.err


@pytest.fixture
def squawk(tmp_path: Path) -> Path:
    """A program that finds something in the second and in the last line of what it is given, of two kinds."""
    program = tmp_path / "squawk"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\nlines = sys.stdin.read().splitlines()\n"
        "found = {'message': 'Slow.', 'help': None}\n"
        "print(json.dumps([found | {'line': 1, 'rule_name': 'slow-one'}] * 2 + [\n"
        "    found | {'line': 1, 'rule_name': 'prefer-text-field'},\n"
        "    found | {'line': len(lines) - 1, 'rule_name': 'slow-two'}]))\nsys.exit(1)\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_squawks_findings_come_with_their_statements(
    settings: Settings,
    history: Path,
    squawk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(plan_squawk, "find", lambda: str(squawk))
    add(history, "users", "op.execute('ALTER TABLE users ADD x int'); op.execute('CREATE TABLE x ()')")
    code, plan = planned(settings, monkeypatch, capsys)
    assert (code, rules(plan)) == (1, [["slow-one"], []])  # what is new is nobody's yet
    [finding] = plan["migrations"][0]["statements"][0]["findings"]
    assert finding == {"source": "squawk", "rule": "slow-one", "message": "Slow.", "accepted": None}


def test_who_accepts_a_danger_by_our_name_accepts_squawks_with_it(
    settings: Settings,
    history: Path,
    squawk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    renamed = squawk.read_text().replace("slow-one", "require-concurrent-index-creation")
    squawk.write_text(renamed.replace("slow-two", "prefer-identity"))
    monkeypatch.setattr(plan_squawk, "find", lambda: str(squawk))
    accepts = 'accepts = {"create-index": "the shop is closed"}'
    add(history, "users", 'op.create_index("slow", "users", ["role"])', accepts)
    code, plan = planned(settings, monkeypatch, capsys)
    assert (code, rules(plan)) == (0, [["create-index", "require-concurrent-index-creation"]])


def test_a_squawk_that_fails_is_told(squawk: Path) -> None:
    squawk.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    with pytest.raises(OperationError, match=r"^squawk failed with exit code 3: broken$"):
        plan_squawk.findings(str(squawk), [Statement("SELECT 1", outside=False)], 18)


@pytest.mark.skipif(SQUAWK is None, reason="squawk is not installed: pip install squawk-cli")
def test_squawk_itself_sees_what_stands_outside_of_a_transaction() -> None:
    statements = [
        Statement("CREATE INDEX a ON users (role)", outside=False),
        Statement("CREATE INDEX CONCURRENTLY IF NOT EXISTS b\n    ON users (role)", outside=True),
        Statement("ALTER TABLE users ALTER role SET NOT NULL", outside=False),
    ]
    first, second, third = plan_squawk.findings(str(SQUAWK), statements, 18)
    assert "require-concurrent-index-creation" in {danger.rule for danger in first}
    assert second == []
    assert third


def test_it_takes_no_lock_that_anybody_waits_for(
    settings: Settings, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(history, "users", "op.execute('ALTER TABLE users ADD x int')")

    async def run() -> None:
        async with connected("users", settings.users_database_url) as holder:
            await holder.execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            assert await asyncio.to_thread(storegraph, settings, monkeypatch, "db", "plan") == 0
            await holder.execute("ROLLBACK")

    asyncio.run(run())
