"""What was backed up can be had back, and a set says truly what is in it."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.errors import OperationError
from app.operations import backup
from app.operations.backup import Made, back_up
from app.operations.backup_contents import TableContents
from app.operations.backup_sets import list_sets, read_manifest, write_manifest
from app.operations.check import Report, check
from app.operations.connect import connected
from app.operations.server import LocalServer
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from tests.operations.backup.shops import SOURCE, contents, databases, on_server, programs_on_path
from tests.operations.rows import rows, storegraph

PREFIX = "backedup"


def make_set(shop: Settings, folder: Path, *names: DatabaseName, plain: bool = False) -> Made:
    return asyncio.run(back_up(shop, folder, names or DATABASE_NAMES, plain=plain, source=SOURCE))


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_what_was_lost_is_had_back(
    server: LocalServer, shop: Settings, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, partitions = contents(shop), rows(shop, "orders", PARTITIONS)
    views = rows(shop, "orders", "TABLE product_stats")
    assert views
    assert partitions
    assert all(table.rows for found in before.values() for name, table in found.tables.items() if name not in SESSIONS)
    option = ["--plain"] if form == "plain" else []
    assert storegraph(shop, monkeypatch, "backup", "run", str(tmp_path), *option) == 0
    for name in DATABASE_NAMES:
        on_server(server, f"DROP DATABASE {PREFIX}_{name} WITH (FORCE)")
    [found] = list_sets(tmp_path)
    assert storegraph(shop, monkeypatch, "backup", "restore", str(found.path)) == 0
    assert contents(shop) == before
    assert rows(shop, "orders", PARTITIONS) == partitions
    assert rows(shop, "orders", "TABLE product_stats") == views
    assert databases(server, PREFIX).keys() == {f"{PREFIX}_{name}" for name in DATABASE_NAMES}


SESSIONS = {"public.login_failures", "public.refresh_tokens"}
PARTITIONS = """
SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY 1
"""


def test_a_restored_database_agrees_with_its_models_and_the_others(
    shop: Settings, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert storegraph(shop, monkeypatch, "backup", "restore", str(whole), "--replace", "--json") == 0
    audited = json.loads(capsys.readouterr().out)["audit"]
    assert audited
    assert not any(audited.values())
    for name in DATABASE_NAMES:
        report = asyncio.run(check(name, shop.database_url(name), datetime.now(UTC).date()))
        assert report == Report([], []), name


def test_the_manifest_says_what_the_dump_holds_whatever_is_written_meanwhile(
    server: LocalServer, shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, before = backup._dump, contents(shop)  # pyright: ignore[reportPrivateUsage] -- between snapshot and dump

    async def dump(source: Any, *args: Any, **options: Any) -> Any:
        async with connected(source.name, source.url) as writer:
            for table in source.tables:
                if table != "public.alembic_version":
                    with pytest.raises(asyncpg.LockNotAvailableError):
                        await writer.execute(f"SET lock_timeout = 1; TRUNCATE {table} CASCADE")
            if source.name == "payments":
                await writer.execute(
                    "INSERT INTO payments (order_id, amount, method) SELECT order_id, 9, method FROM payments"
                )
            if source.name == "users":
                await writer.execute("UPDATE users SET first_name = 'Later'")
        return await real(source, *args, **options)

    monkeypatch.setattr(backup, "_dump", dump)
    made = make_set(shop, tmp_path)
    assert {name: saved.contents for name, saved in made.manifest.databases.items()} == before
    assert contents(shop) != before
    assert storegraph(shop, monkeypatch, "backup", "verify", str(made.path)) == 0
    assert storegraph(shop, monkeypatch, "backup", "restore", str(made.path), "--replace") == 0
    assert contents(shop) == before


def test_the_snapshots_are_taken_together(whole: Path) -> None:
    manifest = read_manifest(whole)
    first, last = manifest.snapshots
    assert manifest.created_at <= first <= last
    assert manifest.span == pytest.approx((last - first).total_seconds(), abs=0.5)


def test_only_whole_sets_have_a_name(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs_on_path(
        tmp_path / "bin",
        f'case "$*" in *orders*--version) ;; *{PREFIX}_orders*) ls -d {tmp_path}/sets/* > {tmp_path}/seen; '
        'echo "pg_dump: error: no room" >&2; exit 1;; esac',
        only="pg_dump",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("STOREGRAPH_POSTGRES", "path")
    assert storegraph(shop, monkeypatch, "backup", "run", str(tmp_path / "sets")) == 2
    assert capsys.readouterr().err == "storegraph: cannot back the orders database up: no room\n"
    assert (tmp_path / "seen").read_text().strip().endswith("Z.unfinished")
    assert list((tmp_path / "sets").iterdir()) == []


def test_a_connection_that_is_lost_leaves_nothing(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = backup._dump  # pyright: ignore[reportPrivateUsage] -- between snapshot and dump

    async def dump(source: Any, *args: Any, **options: Any) -> Any:
        if source.name == "orders":
            async with connected("orders", shop.orders_database_url) as other:
                await other.execute("SELECT pg_terminate_backend($1)", source.connection.get_server_pid())
        return await real(source, *args, **options)

    monkeypatch.setattr(backup, "_dump", dump)
    with pytest.raises(OperationError, match=r"^cannot back the orders database up: "):
        make_set(shop, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_being_changed_is_not_waited_for_for_ever(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_LOCK_WAIT", 0.01)

    async def attempt() -> None:
        async with connected("users", shop.users_database_url) as other, other.transaction():
            await other.execute("LOCK TABLE users")
            await back_up(shop, tmp_path, DATABASE_NAMES, plain=False, source=SOURCE)

    with pytest.raises(OperationError, match=r"^the users database: somebody has been changing its tables"):
        asyncio.run(attempt())
    assert list(tmp_path.iterdir()) == []


def test_sets_are_for_nobody_else_to_read(whole: Path) -> None:
    assert whole.stat().st_mode & 0o777 == 0o700


def test_verify_finds_what_a_dump_has_otherwise_than_its_manifest(
    server: LocalServer,
    shop: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, before = make_set(shop, tmp_path, "users", "payments"), databases(server, PREFIX)
    saved = made.manifest.databases["users"]
    tables = dict(saved.contents.tables)
    tables["public.users"] = replace(tables["public.users"], checksum="0123456789abcdef")
    tables["public.user_profiles"] = TableContents(3, "0123456789abcdef")
    tables["public.lost"] = TableContents(0, "0000000000000000")
    del tables["public.login_failures"]
    objects = saved.contents.objects | {"triggers": 5}
    planted = replace(saved.contents, revision="0001", tables=tables, objects=objects, filled_views=["public.sales"])
    changed = dict(made.manifest.databases) | {"users": replace(saved, contents=planted)}
    write_manifest(made.path, replace(made.manifest, databases=changed))

    assert storegraph(shop, monkeypatch, "backup", "verify", str(made.path), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["payments"]["findings"] == []
    assert found["users"]["findings"] == [
        f"revision {saved.contents.revision}, not 0001",
        "table public.login_failures: not in the backup",
        "table public.lost: missing",
        "table public.user_profiles: 2 rows, not 3",
        "table public.users: as many rows, but not the same",
        "4 triggers, not 5",
        "materialized view public.sales: not filled",
    ]
    assert databases(server, PREFIX) == before


def test_verify_finds_a_dump_that_cannot_be_restored(
    server: LocalServer,
    shop: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, before = make_set(shop, tmp_path, "users", plain=True), databases(server, PREFIX)
    planted(made, "users", b"CREATE TABLE public.users", b"CREATE TABEL public.users")
    assert storegraph(shop, monkeypatch, "backup", "verify", str(made.path)) == 1
    printed = capsys.readouterr().out
    assert "not good" in printed
    assert "users: cannot restore the users database" in printed
    assert 'syntax error at or near "TABEL"' in printed
    assert databases(server, PREFIX) == before


def planted(made: Made, name: DatabaseName, old: bytes, new: bytes) -> None:
    """Change a dump, and its checksums with it: what no checksum of a file can find."""
    path = made.path / f"{name}.sql"
    text = path.read_bytes()
    assert text.count(old) == 1
    path.write_bytes(text.replace(old, new))
    saved = made.manifest.databases[name]
    file = replace(saved.file, bytes=path.stat().st_size, sha256=backup.backup_sets.digest_of(path))
    write_manifest(made.path, replace(made.manifest, databases={name: replace(saved, file=file)}))


def test_verify_finds_a_changed_row(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_set(shop, tmp_path, "users", plain=True)
    planted(made, "users", "\tŽofie\t".encode(), "\tŽofia\t".encode())
    assert storegraph(shop, monkeypatch, "backup", "verify", str(made.path)) == 1
    assert "users: table public.users: as many rows, but not the same\n" in capsys.readouterr().out


def test_the_commands_print_what_there_is(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert storegraph(shop, monkeypatch, "backup", "run", str(tmp_path), "--database", "users", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    saved = made["manifest"]["databases"]["users"]
    assert list(made["manifest"]["databases"]) == ["users"]
    assert json.loads((Path(made["path"]) / "manifest.json").read_text()) == made["manifest"]
    assert saved["contents"]["tables"]["public.users"]["rows"] == 1

    assert storegraph(shop, monkeypatch, "backup", "list", str(tmp_path), "--json") == 0
    [listed] = json.loads(capsys.readouterr().out)
    assert (listed["path"], listed["state"], listed["plain"]) == (made["path"], "whole", False)
    assert listed["rows"] == {"users": sum(table["rows"] for table in saved["contents"]["tables"].values())}

    assert storegraph(shop, monkeypatch, "backup", "list", str(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in (Path(made["path"]).name, "just now", "users", "whole"))
    assert storegraph(shop, monkeypatch, "backup", "verify", str(tmp_path)) == 2
    assert "it has sets of backups in it: name one of them" in capsys.readouterr().err
    assert storegraph(shop, monkeypatch, "backup", "verify", made["path"], "--database", "orders") == 2
    assert capsys.readouterr().err.endswith("has no orders database; it has users\n")


def test_a_dump_of_newer_programs_wants_programs_as_new(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_set(shop, tmp_path, "users")
    saved = replace(made.manifest.databases["users"], pg_dump_version="99beta1")
    write_manifest(made.path, replace(made.manifest, databases={"users": saved}))
    assert storegraph(shop, monkeypatch, "backup", "restore", str(made.path), "--replace") == 2
    assert "no pg_dump, pg_restore, psql of version 99 or newer" in capsys.readouterr().err
