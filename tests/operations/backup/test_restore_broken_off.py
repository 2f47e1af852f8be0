"""Whatever breaks a restore off, and whenever it does, the databases are the ones that there were."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.errors import OperationError
from app.operations import restore as restoring
from app.operations import restore_names
from app.operations.connect import Connection, connected
from app.operations.restore import Restored
from app.operations.server import LocalServer
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from tests.operations.backup.shops import (
    contents,
    databases,
    programs_on_path,
    put_back,
)

PREFIX = "unharmed"
SECOND: DatabaseName = "products"


def broken_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second database's dump does not load."""

    async def load(name: DatabaseName, *args: Any) -> None:
        await real(name, *args)
        if name == SECOND:
            raise OperationError("planted")

    real = restoring.load
    monkeypatch.setattr(restoring, "load", load)


def another_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second database is not what the manifest says."""

    async def load(name: DatabaseName, url: str, *args: Any) -> None:
        await real(name, url, *args)
        if name == SECOND:
            async with connected(name, url) as connection:
                await connection.execute("UPDATE products SET name = 'planted'")

    real = restoring.load
    monkeypatch.setattr(restoring, "load", load)


def refused_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second database cannot have its name: after the first has got its own, and before the others do."""

    async def rename(name: DatabaseName, *args: Any) -> int:
        if name == SECOND and name not in failed:
            failed.append(name)
            raise OperationError("planted")
        return await real(name, *args)

    failed: list[str] = []
    real = restoring.rename
    monkeypatch.setattr(restoring, "rename", rename)


def failing_after_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second database has its name already when something fails."""

    async def rename(name: DatabaseName, *args: Any) -> int:
        ended = await real(name, *args)
        if name == SECOND and name not in failed:
            failed.append(name)
            raise OperationError("planted")
        return ended

    failed: list[str] = []
    real = restoring.rename
    monkeypatch.setattr(restoring, "rename", rename)


@pytest.mark.parametrize("fail", [broken_dump, another_row, refused_names, failing_after_its_names])
def test_where_one_fails_all_are_the_ones_that_there_were(
    server: LocalServer,
    shop: Settings,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
    fail: Callable[[pytest.MonkeyPatch], None],
) -> None:
    before, rows_before = databases(server, PREFIX), contents(shop)
    fail(monkeypatch)
    with pytest.raises(OperationError, match=r"planted|as many rows, but not the same"):
        asyncio.run(put_back(shop, whole))
    assert databases(server, PREFIX) == before
    assert contents(shop) == rows_before


def test_a_change_of_names_that_postgresql_refuses_changes_none(
    server: LocalServer, shop: Settings, whole: Path
) -> None:
    """The database's second name is taken, so that its first one, which it has given away by then, comes back to it."""
    before = databases(server, PREFIX)
    renames = [(f"{PREFIX}_users", f"{PREFIX}_away"), (f"{PREFIX}_payments", f"{PREFIX}_orders")]
    with pytest.raises(OperationError, match="already exists"):
        asyncio.run(restore_names.rename("users", shop.users_database_url, renames))
    assert databases(server, PREFIX) == before


def test_sessions_that_do_not_go_keep_their_database(
    server: LocalServer, shop: Settings, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL would wait five seconds for them. Here they are not asked to go, and the wait is broken off."""
    waiting = "pg_stat_activity WHERE query LIKE 'ALTER DATABASE % RENAME %'"
    give_up = f"SELECT count(pg_cancel_backend(pid)) FROM {waiting} AND $1::oid IS NOT NULL"
    monkeypatch.setattr(restore_names, "_SESSIONS", give_up)
    before = databases(server, PREFIX)

    async def scenario() -> None:
        async with connected("users", shop.users_database_url):
            await put_back(shop, whole, "users")

    with pytest.raises(
        OperationError, match=f"^cannot put a database in the place of {PREFIX}_users: canceling statement"
    ):
        asyncio.run(scenario())
    assert databases(server, PREFIX) == before


def test_what_is_cancelled_between_two_databases_is_taken_back(
    server: LocalServer, shop: Settings, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = restore_names._while_ending_sessions  # pyright: ignore[reportPrivateUsage] -- amid a change of names
    before, running = databases(server, PREFIX), list[asyncio.Task[Any]]()

    async def while_ending_sessions(renamer: Connection, sql: str, *args: Any) -> int:
        if sql.startswith(f'ALTER DATABASE "{PREFIX}_{SECOND}"') and not running[0].cancelling():
            running[0].cancel()
        return await real(renamer, sql, *args)

    async def scenario() -> None:
        running.append(asyncio.create_task(put_back(shop, whole)))
        await running[0]

    monkeypatch.setattr(restore_names, "_while_ending_sessions", while_ending_sessions)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scenario())
    assert databases(server, PREFIX) == before


def test_once_all_have_their_names_nothing_is_broken_off(
    server: LocalServer, shop: Settings, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = databases(server, PREFIX), restoring.drop

    async def drop(*args: Any) -> None:
        running[0].cancel()
        await real(*args)

    running: list[asyncio.Task[Any]] = []

    async def scenario() -> dict[Any, Restored]:
        running.append(asyncio.create_task(put_back(shop, whole)))
        return await running[0]

    for module in (restoring, restore_names):
        monkeypatch.setattr(module, "drop", drop)
    assert asyncio.run(scenario()).keys() == set(DATABASE_NAMES)
    after = databases(server, PREFIX)
    assert after.keys() == before.keys()
    assert not after.items() & before.items()


@pytest.mark.parametrize(
    ("number", "command", "program"), [(signal.SIGINT, "restore", "pg_restore"), (signal.SIGTERM, "run", "pg_dump")]
)
def test_a_signal_leaves_everything_as_it_was(
    server: LocalServer, shop: Settings, whole: Path, tmp_path: Path, number: signal.Signals, command: str, program: str
) -> None:
    before, held = databases(server, PREFIX), tmp_path / "held"
    os.mkfifo(held)
    # Each waits, as a long load does, and tells its number by opening the pipe; but for the question for its version.
    programs_on_path(tmp_path / "bin", f'[ "$1" = --version ] || {{ echo $$ > {held}; exec sleep 600; }}', only=program)
    variables = {f"{name.upper()}_DATABASE_URL": shop.database_url(name) for name in DATABASE_NAMES}
    variables |= {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "STOREGRAPH_POSTGRES": "path"}
    arguments = {"restore": [str(whole), "--replace"], "run": [str(tmp_path / "sets")]}[command]
    with subprocess.Popen(
        [sys.executable, "-c", "from app.cli import main; main()", "backup", command, *arguments],
        env=variables,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        children: set[int] = set()
        while len(children) < len(DATABASE_NAMES):
            children |= {int(line) for line in held.read_text().split()}
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said == "storegraph: broken off; everything is as it was\n"
    assert databases(server, PREFIX) == before
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    if command == "run":
        assert list((tmp_path / "sets").iterdir()) == []
