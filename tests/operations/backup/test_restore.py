"""A backup takes the place of what is there, with everything that belongs to it, where that was asked for."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import asyncpg
import pytest

from app.errors import OperationError
from app.operations import restore_loading
from app.operations.backup import back_up
from app.operations.client_programs import ClientPrograms
from app.operations.connect import connected
from app.operations.restore import Restored
from app.operations.restore_names import name_beside
from app.operations.server import LocalServer
from app.settings import DatabaseName, Settings
from tests.operations.backup.shops import SOURCE, contents, databases, on_server, put_back, set_of_all
from tests.operations.rows import rows, storegraph

PREFIX = "restored"


def test_what_has_something_in_it_is_not_replaced_unasked(
    server: LocalServer,
    shop: Settings,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = databases(server, PREFIX)
    on_server(server, f"DROP DATABASE {PREFIX}_payments WITH (FORCE)")
    assert storegraph(shop, monkeypatch, "backup", "restore", str(whole)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert (
        f"storegraph: the users database {PREFIX}_users has tables in it: --replace puts the backup in its place"
        in lines
    )
    assert databases(server, PREFIX).items() == before.items() - {(f"{PREFIX}_payments", before[f"{PREFIX}_payments"])}

    on_server(server, f"CREATE DATABASE {PREFIX}_payments")  # an empty one is in nobody's way
    assert asyncio.run(put_back(shop, whole, "payments", replace=False))["payments"].replaced
    assert databases(server, PREFIX).keys() == before.keys()


def test_sessions_in_the_old_database_are_ended_and_no_others(server: LocalServer, shop: Settings, whole: Path) -> None:
    before = databases(server, PREFIX)

    async def scenario() -> dict[DatabaseName, Restored]:
        async with (
            connected("users", shop.users_database_url) as idle,
            connected("users", shop.users_database_url) as writing,
            connected("orders", shop.orders_database_url) as elsewhere,
        ):
            await writing.execute("BEGIN; DELETE FROM user_profiles")
            done = await put_back(shop, whole, "users")
            assert await elsewhere.fetchval("SELECT 1") == 1
            for ended in (idle, writing):
                with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
                    await ended.fetchval("SELECT 1")
            return done

    done = asyncio.run(scenario())
    assert (done["users"].ended, done["users"].old, done["users"].problem) == (2, None, None)
    after = databases(server, PREFIX)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {f"{PREFIX}_users"}
    assert rows(shop, "users", "SELECT count(*) FROM user_profiles") == [(2,)]


def test_clients_that_come_back_all_the_time_do_not_keep_the_name(
    server: LocalServer, shop: Settings, whole: Path
) -> None:
    """As the gateway's pools do: each connects again the moment that its connection is ended."""

    async def stubborn(came_to: "asyncio.Queue[int]") -> None:
        while True:
            try:
                async with connected("users", shop.users_database_url) as connection:
                    sql = "SELECT datid FROM pg_stat_activity WHERE pid = pg_backend_pid()"
                    came_to.put_nowait(await connection.fetchval(sql))
                    await connection.execute("SELECT pg_sleep(60)")
            except (OperationError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pass  # and again

    async def scenario() -> None:
        came_to = asyncio.Queue[int]()
        clients = [asyncio.create_task(stubborn(came_to)) for _ in range(5)]
        for _ in clients:
            assert await came_to.get() == before
        await put_back(shop, whole, "users")
        served = 0
        while served < len(clients):  # by the new one, all of them
            served += await came_to.get() != before
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    before = databases(server, PREFIX)[f"{PREFIX}_users"]
    asyncio.run(scenario())
    assert databases(server, PREFIX)[f"{PREFIX}_users"] != before


def test_the_old_databases_can_be_kept(
    server: LocalServer,
    shop: Settings,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = databases(server, PREFIX)
    arguments = ["backup", "restore", str(whole), "--replace", "--keep-old", "--database", "users"]
    assert storegraph(shop, monkeypatch, *arguments, "--json") == 0
    users = json.loads(capsys.readouterr().out)["databases"]["users"]
    after = databases(server, PREFIX)
    assert after[users["old"]] == before[f"{PREFIX}_users"]
    assert after.keys() - before.keys() == {users["old"]}
    on_server(server, f'DROP DATABASE "{users["old"]}"')


def test_owners_rights_and_settings_come_back(
    server: LocalServer,
    shop: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database = f"{PREFIX}_users"
    for statement in (
        "CREATE ROLE keeper",
        "CREATE ROLE reporting",
        f"ALTER DATABASE {database} OWNER TO keeper",
        f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {database} TO reporting WITH GRANT OPTION",
        f"ALTER DATABASE {database} CONNECTION LIMIT 33",
        f"ALTER DATABASE {database} SET statement_timeout = '7s'",
        f'ALTER DATABASE {database} SET search_path = "$user", public',
        f"ALTER ROLE reporting IN DATABASE {database} SET storegraph.said = 'it''s, said'",
    ):
        on_server(server, statement)
    rows(shop, "users", "ALTER TABLE users OWNER TO keeper")
    rows(shop, "users", "GRANT SELECT ON user_profiles TO reporting")
    try:
        before = rows(shop, "users", KEPT)
        path = asyncio.run(back_up(shop, tmp_path, ["users"], plain=False, source=SOURCE)).path
        asyncio.run(put_back(shop, path))
        assert rows(shop, "users", KEPT) == before

        on_server(server, "ALTER ROLE reporting RENAME TO away")
        assert storegraph(shop, monkeypatch, "backup", "restore", str(path), "--replace") == 2
        assert "has no role reporting" in capsys.readouterr().err
        on_server(server, "ALTER ROLE away RENAME TO reporting")
        asyncio.run(put_back(shop, path, owners=False))
        owner, *rest = rows(shop, "users", KEPT)[0]
        assert (owner, rest) == ("postgres", [-1, None, None, "postgres", None])
    finally:
        rows(shop, "users", "REASSIGN OWNED BY keeper TO CURRENT_USER")
        rows(shop, "users", "DROP OWNED BY keeper, reporting")
        on_server(server, "DROP ROLE keeper")
        on_server(server, "DROP ROLE reporting")


KEPT = """
SELECT pg_get_userbyid(datdba), datconnlimit, (
    SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(datacl) AS acl
), (
    SELECT array_agg(setrole::regrole || array_to_string(setconfig, ';') ORDER BY setrole) FROM pg_db_role_setting
    WHERE setdatabase = d.oid
), (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'users'),
(SELECT relacl::text FROM pg_class WHERE relname = 'user_profiles')
FROM pg_database d WHERE datname = current_database()
"""


def test_what_does_not_add_up_across_the_databases_is_told(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows(shop, "orders", "UPDATE orders SET total_amount = 99")
    path = set_of_all(shop, tmp_path)
    assert storegraph(shop, monkeypatch, "backup", "restore", str(path), "--replace") == 1
    assert "contradict each other: order-totals; see `storegraph db audit`" in capsys.readouterr().out


@pytest.mark.parametrize("plain", [False, True])
def test_a_setting_that_older_servers_do_not_know_is_left_out(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    """As if this server were older than 17 and the programs newer: the dump goes through psql, and is whole."""
    loaded: list[bytes] = []
    find, feed = restore_loading.find_client_programs, restore_loading.feed

    def newer(source: Literal["embedded", "path"], oldest: int) -> ClientPrograms:
        return replace(find(source, oldest), version="99.1")

    async def recorded(text: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in text:
            loaded.append(part)
            yield part

    async def feed_recorded(*command: Any, text: AsyncIterator[bytes], doing: str) -> None:
        await feed(*command, text=recorded(text), doing=doing)

    monkeypatch.setattr(restore_loading, "find_client_programs", newer)
    monkeypatch.setattr(restore_loading, "feed", feed_recorded)
    monkeypatch.setattr(restore_loading, "_TRANSACTION_TIMEOUT_SINCE", 99)
    rows(shop, "users", "UPDATE user_profiles SET city = 'SET transaction_timeout = 0;'")
    before = contents(shop)
    path = asyncio.run(back_up(shop, tmp_path, ["users"], plain=plain, source=SOURCE)).path
    asyncio.run(put_back(shop, path, "users"))
    assert contents(shop) == before
    lines = b"".join(loaded).splitlines()
    assert b"SET statement_timeout = 0;" in lines
    assert b"SET transaction_timeout = 0;" not in lines


@pytest.mark.parametrize("database", ["users", "x" * 63, "é" * 31, "a" + "é" * 31])
def test_a_name_beside_another_is_not_cut_by_postgresql(database: str) -> None:
    name = name_beside(database, "restore_01234567")
    assert name.endswith("_restore_01234567")
    assert len(name.encode()) <= 63
    assert database.startswith(name.removesuffix("_restore_01234567"))
