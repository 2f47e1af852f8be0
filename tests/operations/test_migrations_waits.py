"""Migrations among others: two at once, one that is killed, and tables that somebody else holds."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.errors import OperationError
from app.operations.check import check
from app.operations.connect import Connection, connected
from app.operations.migrations import Moved, status, upgrade
from app.operations.migrations_wait import Patience, only_one
from app.operations.server import LocalServer
from app.settings import Settings
from tests.operations.revision_files import HEADS, PAUSE, add, concurrently, copied, upgrading, value
from tests.operations.rows import storegraph

TODAY = datetime.now(UTC).date()
HASTE = Patience(lock_timeout=0.2, attempts=5, pause=0.01)
ADD_COLUMN = 'op.execute("ALTER TABLE users ADD extra int")'
TERMINATE = """SELECT pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity WHERE datname = 'scratch' AND query LIKE '%FROM pause%' OFFSET 0) AS of"""
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('extra')"


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(tmp_path, monkeypatch)


@pytest.fixture
def users(settings: Settings, server: LocalServer, scratch_url: str) -> str:
    """A database of users at its head, of a test's own, with a table ``pause`` that has a row."""
    asyncio.run(value(server.url("postgres"), "CREATE DATABASE scratch TEMPLATE ecommerce_users"))
    asyncio.run(value(scratch_url, "CREATE TABLE pause (); INSERT INTO pause DEFAULT VALUES;"))
    return scratch_url


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait for what others do; that it never comes true is a failure after a minute."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 -- another process is to make it true
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(server: LocalServer) -> AsyncGenerator[Callable[[str], Awaitable[int]]]:
    """How many sessions of the scratch database there are of which something is true."""
    async with connected("users", server.url("postgres")) as watcher:
        count = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'scratch' AND backend_type = 'client backend' AND "
        )

        async def sessions(which: str) -> int:
            return await watcher.fetchval(count + which)

        yield sessions


def test_two_upgrades_at_once_wait_for_each_other(server: LocalServer, users: str, history: Path) -> None:
    add(history, "users", PAUSE)
    head = add(
        history, "users", concurrently("extra", "users", "role")
    )  # for which a waiting statement would be a trap
    said: list[str] = []
    waiting = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    async def run() -> None:
        async with watching(server) as sessions:
            first = await upgrading("users", users)
            await until(lambda: sessions("query LIKE '%FROM pause%' AND state = 'active'"))
            second = asyncio.create_task(upgrade("users", users, TODAY, say=say))
            await asyncio.wait({second, asyncio.create_task(waiting.wait())}, return_when=asyncio.FIRST_COMPLETED)
            assert not second.done()
            await value(users, "DELETE FROM pause;")
            assert await second == Moved(head, head, [])
            assert (await first.communicate())[0].decode().split() == [HEADS["users"], head]
        assert await value(users, VALID) is True

    asyncio.run(run())
    [line] = said
    assert line.startswith("users database: another migration is running: pid ")
    assert "FROM pause" in line
    assert line.endswith("Waiting for its end")


def test_who_does_not_want_to_wait_for_another_is_told_of_it(
    settings: Settings, users: str, history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = add(history, "users", ADD_COLUMN)
    mine = settings.model_copy(update={"users_database_url": users})
    line = ("db", "upgrade", "--no-wait")

    async def run() -> int:
        async with connected("users", users) as holder, only_one("users", holder, Patience(), print):
            assert await asyncio.to_thread(storegraph, mine, monkeypatch, *line) == 2
            return holder.get_server_pid()

    pid = asyncio.run(run())
    shown = capsys.readouterr()
    assert shown.err.startswith(
        f"storegraph: users database: another migration is running: pid {pid} (storegraph, user"
    )
    assert re.search(rf"users .* {HEADS['users']} .* {HEADS['users']} .* {head} .* failed", shown.out)
    assert re.search(rf"payments .* {HEADS['payments']} .* not tried", shown.out)
    assert storegraph(mine, monkeypatch, *line) == 0


def test_a_migration_that_was_killed_is_undone_and_run_again(server: LocalServer, users: str, history: Path) -> None:
    done = add(history, "users", 'op.execute("CREATE TABLE first ()")')
    killed = add(history, "users", f'op.execute("CREATE TABLE second ()"); {PAUSE}')

    async def run() -> None:
        async with watching(server) as sessions:
            process = await upgrading("users", users)
            await until(lambda: sessions("query LIKE '%FROM pause%' AND state = 'active'"))
            process.kill()
            await process.communicate()
            at = await status("users", users)
            assert (at.revision, at.pending) == (done, [killed])

            async def gone() -> bool:  # though what it was at would go on for ever
                return not await sessions("query LIKE '%FROM pause%'")

            await until(gone)
        assert await value(users, "SELECT to_regclass('second')") is None
        await value(users, "DELETE FROM pause;")
        assert await upgrade("users", users, TODAY) == Moved(done, killed, [])

    asyncio.run(run())


def test_an_index_that_was_left_half_built_is_found_and_made_anew(
    server: LocalServer, users: str, history: Path
) -> None:
    head = add(history, "users", concurrently("extra", "users", "role"))
    said: list[str] = []

    async def run() -> None:
        async with watching(server) as sessions, connected("users", users) as holder:
            await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM users")  # for which an index waits
            process = await upgrading("users", users)
            await until(lambda: sessions("query LIKE 'CREATE INDEX%' AND wait_event_type = 'Lock'"))
            assert (await check("users", users, TODAY)).findings == [
                f"migration {head}: not applied; run `storegraph db upgrade`"
            ]  # for as long as it is being built
            process.kill()
            await process.communicate()

            async def gone() -> bool:
                return not await sessions("query LIKE 'CREATE INDEX%'")

            await until(gone)
        assert await value(users, VALID) is False
        [_, finding] = (await check("users", users, TODAY)).findings
        assert finding.startswith("index users.extra: is invalid, as a CREATE INDEX CONCURRENTLY that was stopped")
        assert await upgrade("users", users, TODAY, say=said.append) == Moved(HEADS["users"], head, [])
        assert await value(users, VALID) is True

    asyncio.run(run())
    assert said == ["users database: index extra is invalid, as a stopped one leaves it: made anew"]


def test_an_index_waits_longer_than_others_and_then_names_who_is_in_its_way(users: str, history: Path) -> None:
    head = add(history, "users", concurrently("extra", "users", "role"))
    once = Patience(lock_timeout=0.05, attempts=2, pause=1)
    assert once.in_all > 1

    async def run() -> None:
        async with connected("users", users) as holder:
            async with holder.transaction(isolation="repeatable_read"):
                await holder.fetch("SELECT FROM users")
                with pytest.raises(OperationError) as stuck:
                    await upgrade("users", users, TODAY, patience=once)
            assert str(stuck.value).startswith(f"users database: migration {head} got no lock in one attempt")
            assert f"pid {holder.get_server_pid()} (storegraph, user postgres, idle in transaction" in str(stuck.value)
        assert (await upgrade("users", users, TODAY, patience=once)).after == head

    asyncio.run(run())


async def held(holder: Connection, lock: str) -> None:
    await holder.execute(f"BEGIN; LOCK TABLE users IN {lock} MODE")


def test_a_lock_held_by_another_is_waited_for_in_turns_and_traffic_flows(users: str, history: Path) -> None:
    head = add(history, "users", ADD_COLUMN)
    waiting = asyncio.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    async def run() -> None:
        async with connected("users", users) as holder, connected("users", users) as reader:
            await held(holder, "ACCESS SHARE")
            patience = Patience(lock_timeout=0.2, attempts=1000, pause=0.01)
            move = asyncio.create_task(upgrade("users", users, TODAY, patience=patience, say=say))
            async with asyncio.timeout(60):
                await waiting.wait()
                for _ in range(5):  # each may have to queue behind the migration, until that gives way
                    await reader.fetch("SELECT FROM users")
            assert not move.done()
            await holder.execute("ROLLBACK")
            assert await move == Moved(HEADS["users"], head, [])
        [line] = said
        assert f"in its way: pid {holder.get_server_pid()} (storegraph, user postgres, idle in tr" in line
        assert line.endswith("BEGIN; LOCK TABLE users IN ACCESS SHARE MODE")

    asyncio.run(run())


def test_a_lock_that_is_not_to_be_had_is_given_up_clearly_and_the_migration_runs_again(
    users: str, history: Path
) -> None:
    done = add(history, "users", 'op.execute("CREATE TABLE first ()")')
    head = add(history, "users", ADD_COLUMN)

    async def run() -> None:
        async with connected("users", users) as holder:
            await held(holder, "ROW EXCLUSIVE")
            with pytest.raises(OperationError) as stuck:
                await upgrade("users", users, TODAY, patience=HASTE)
            assert (await status("users", users)).revision == done
            pid = holder.get_server_pid()
        said = str(stuck.value)
        assert said.startswith(
            f"users database: migration {head} got no lock in 5 attempts, and was given up. In its way"
        )
        assert f"pid {pid} (storegraph, user postgres, idle in transaction, since {TODAY.year}-" in said
        assert "BEGIN; LOCK TABLE users IN ROW EXCLUSIVE MODE. Run it again" in said
        assert (await upgrade("users", users, TODAY, patience=HASTE)).after == head

    asyncio.run(run())


def test_partitions_wait_in_turns_as_well(settings: Settings, server: LocalServer, scratch_url: str) -> None:
    async def run() -> None:
        await value(server.url("postgres"), "CREATE DATABASE scratch TEMPLATE ecommerce_orders")
        later = TODAY.replace(year=TODAY.year + 20, day=1)
        async with connected("orders", scratch_url) as holder:
            await holder.execute("BEGIN; LOCK TABLE orders IN SHARE UPDATE EXCLUSIVE MODE")
            with pytest.raises(OperationError, match="no lock on orders and order_items"):
                await upgrade("orders", scratch_url, later, patience=HASTE)
        assert len((await upgrade("orders", scratch_url, later, patience=HASTE)).partitions) == 16

    asyncio.run(run())


def test_a_connection_that_breaks_is_told_and_what_was_begun_is_undone(
    server: LocalServer, users: str, history: Path
) -> None:
    head = add(history, "users", f'op.execute("CREATE TABLE first ()"); {PAUSE}')

    async def run() -> None:
        async with watching(server) as sessions:
            move = asyncio.create_task(upgrade("users", users, TODAY))
            await until(lambda: sessions("query LIKE '%FROM pause%' AND state = 'active'"))
            await value(server.url("postgres"), TERMINATE)
            with pytest.raises(OperationError, match="users database"):
                await move
        await value(users, "DELETE FROM pause;")
        assert (await upgrade("users", users, TODAY)).after == head

    asyncio.run(run())


def test_a_migration_that_python_refuses_is_told_with_its_place(users: str, history: Path) -> None:
    head = add(history, "users", "op.get_bind().no_such_thing()")
    with pytest.raises(OperationError, match=rf"migration {head} failed and was undone: AttributeError: .*, line 7\)$"):
        asyncio.run(upgrade("users", users, TODAY))
