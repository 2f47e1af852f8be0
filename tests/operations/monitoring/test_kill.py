"""A query is cancelled or a session ended, wherever it is; and what a command line should leave alone, it does."""

import asyncio
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from app.errors import OperationError
from app.operations.binaries import find_binaries
from app.operations.connect import connected
from app.operations.monitoring import kill
from app.operations.monitoring.servers import Server, opened
from app.operations.server import LocalServer
from app.settings import Settings, load_local_settings
from tests.http_server import until
from tests.operations.monitoring.conftest import Monitor, urls_of
from tests.operations.monitoring.sessions import Sessions
from tests.operations.rows import rows

SLEEP = "SELECT pg_sleep(600)"
ASLEEP = "wait_event = 'PgSleep'"


def test_a_query_is_cancelled_and_its_session_goes_on(sessions: Sessions, monitor: Monitor) -> None:
    session = sessions.open("SET application_name = 'sleeper'")
    pid, sleeping = session.get_server_pid(), sessions.start(session, SLEEP, ASLEEP)
    done = monitor("kill", str(pid))
    assert (done.code, done.out) == (0, f"pid {pid}: cancelled\n")
    shown = rf"pid {pid} of orders on 127\.0\.0\.1:\d+ \(postgres, sleeper\): active for \d.*s\n  {re.escape(SLEEP)}\n"
    assert re.fullmatch(shown, done.err)
    assert isinstance(sessions.outcome(sleeping), asyncpg.QueryCanceledError)
    sessions.run(session.execute("SELECT 1"))


def test_a_session_is_ended_wherever_it_is(sessions: Sessions, monitor: Monitor, elsewhere: Settings) -> None:
    away = Sessions(elsewhere.payments_database_url)
    session = away.open("BEGIN")
    pid = session.get_server_pid()
    done = monitor("kill", str(pid), "--terminate", "--json", on=elsewhere)
    assert (done.code, done.json["done"], done.json["database"]) == (0, "terminated", "payments")
    assert done.json["state"] == "idle in transaction"
    left = rows(elsewhere, "payments", "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid)
    assert left == [(0,)]
    away.close()


def test_what_does_nothing_is_not_cancelled(sessions: Sessions, monitor: Monitor) -> None:
    pid = sessions.open("BEGIN", "SELECT 1").get_server_pid()
    done = monitor("kill", str(pid))
    assert (done.code, done.out) == (2, "")
    message = (
        f"storegraph: pid {pid} is idle in transaction, there is nothing to cancel: --terminate ends the session\n"
    )
    assert done.err.endswith(message)


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_a_person_is_asked_first(
    sessions: Sessions, monitor: Monitor, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    class Keyboard(io.StringIO):
        def isatty(self) -> bool:
            return True

    session = sessions.open()
    sleeping = sessions.start(session, SLEEP, ASLEEP)
    monkeypatch.setattr(sys, "stdin", Keyboard(answer))
    asked = monitor("kill", str(session.get_server_pid()))
    assert asked.code == code
    assert "Cancel what it does? [y/N]" in asked.err
    if code == 0:
        assert isinstance(sessions.outcome(sleeping), asyncpg.QueryCanceledError)
    else:
        assert monitor("activity", "--json").json["rows"][0]["query"] == SLEEP
        unasked = monitor("kill", str(session.get_server_pid()), "--yes")
        assert (unasked.code, "[y/N]" in unasked.err) == (0, False)


def test_processes_of_the_server_and_of_nobody_are_refused(shop: Settings, monitor: Monitor) -> None:
    [(pid,)] = rows(shop, "users", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    done = monitor("kill", str(pid), "--terminate")
    assert (done.code, done.out) == (2, "")
    assert done.err == f"storegraph: pid {pid} is a background checkpointer, no client's session: the server needs it\n"
    gone = monitor("kill", "1")
    assert (gone.code, gone.err) == (2, "storegraph: there is no session with pid 1\n")


def test_replication_is_refused(shop: Settings, monitor: Monitor, second_server: LocalServer, tmp_path: Path) -> None:
    program = find_binaries(load_local_settings().postgres).folder / "pg_receivewal"
    elsewhere = shop.model_copy(update={"payments_database_url": second_server.url("postgres")})
    command = [program, "-D", tmp_path, "-d", second_server.url("postgres"), "--no-loop"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as receiver:
        try:
            find = "SELECT pid FROM pg_stat_replication"
            until(lambda: rows(elsewhere, "payments", find))
            [(pid,)] = rows(elsewhere, "payments", find)
            done = monitor("kill", str(pid), "--terminate", on=elsewhere)
            assert (done.code, rows(elsewhere, "payments", find)) == (2, [(pid,)])
            message = f"storegraph: pid {pid} sends the WAL to a standby or a subscriber: end it there\n"
            assert done.err == message
        finally:
            receiver.terminate()


def test_its_own_sessions_are_refused(shop: Settings) -> None:
    async def run() -> None:
        async with opened(urls_of(shop)) as ([server], _):
            for pid in server.pids:
                with pytest.raises(OperationError, match=f"^pid {pid} is this command's own session$"):
                    await kill.find_on(server, pid)

    asyncio.run(run())


def test_a_number_that_two_servers_have_given_away(
    sessions: Sessions, monitor: Monitor, elsewhere: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test can make two servers give the same number: the second one is said to have the first one's session."""
    session = sessions.open()
    pid, find_on = session.get_server_pid(), kill.find_on

    async def also(server: Server, pid: int) -> kill.Victim | None:
        found = await find_on(server, pid)
        return found or (victim and replace(victim, server=server.address))

    victim = asyncio.run(kill.find(urls_of(elsewhere), pid, terminate=True))
    monkeypatch.setattr(kill, "find_on", also)
    done = monitor("kill", str(pid), "--terminate", on=elsewhere)
    assert done.code == 2
    assert re.fullmatch(
        rf"storegraph: there is a pid {pid} on each of 127.0.0.1:\d+, 127.0.0.1:\d+: say which with --database\n",
        done.err,
    )
    assert monitor("kill", str(pid), "--terminate", "--database", "orders", on=elsewhere).code == 0


def test_a_role_that_may_not_is_told_what_it_lacks(
    sessions: Sessions, monitor: Monitor, shop: Settings, roles: dict[str, Settings]
) -> None:
    session = sessions.open()
    sessions.start(session, SLEEP, ASLEEP)
    pid = session.get_server_pid()
    blind = monitor("kill", str(pid), on=roles["plain"])
    assert (blind.code, blind.err) == (
        2,
        f"storegraph: the role plain does not see what pid {pid} is: GRANT pg_read_all_stats TO plain\n",
    )
    watcher = monitor("kill", str(pid), on=roles["watcher"])
    assert watcher.code == 2
    assert watcher.err.endswith(
        "storegraph: the role watcher may not stop a session of postgres: GRANT pg_signal_backend TO watcher; "
        "a superuser's only a superuser may\n"
    )


def test_a_process_that_another_took_the_number_of_is_left_alone(sessions: Sessions, shop: Settings) -> None:
    session = sessions.open("BEGIN")
    urls = urls_of(shop)

    async def run() -> None:
        victim = await kill.find(urls, session.get_server_pid(), terminate=True)
        async with connected("users", shop.users_database_url) as connection:
            earlier = await connection.fetchval("SELECT $1::timestamptz - interval '1 day'", victim.backend_start)
        with pytest.raises(OperationError, match=rf"^pid {victim.pid} has ended by itself$"):
            await kill.end(urls, replace(victim, backend_start=earlier), terminate=True)

    asyncio.run(run())
    sessions.run(session.execute("SELECT 1"))
