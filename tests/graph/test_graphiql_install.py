"""GraphiQL's files come from npm, from archives or not at all: never one that is not what the lock says."""

import base64
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.errors import OperationError
from app.graph import graphiql
from app.graph.graphiql import FOLDER, integrity_of, packages
from app.graph.graphiql_install import install
from tests.graph.locked import ARCHIVES, CONTENTS, archive_of, lock_them

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="NPM IS NOT TRIED: there is none")
FILES = {f"{name}/{path}": data for name, files in CONTENTS.items() for path, data in files.items()}


@pytest.fixture(autouse=True)
def locked(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    lock_them(tmp_path_factory.mktemp("lock"), monkeypatch)
    yield
    packages.cache_clear()


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    folder = tmp_path / "archives"
    folder.mkdir()
    for number, content in enumerate(ARCHIVES.values()):
        (folder / f"{number}.tgz").write_bytes(content)
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_archives_are_known_by_their_hashes_and_installed_once(tmp_path: Path, archives: Path) -> None:
    target = tmp_path / "graphiql"
    assert install(target, archives) == list(CONTENTS)
    assert content_of(target) == FILES
    assert install(target, tmp_path / "not there") == []
    (target / "small@1.0.0" / "a.js").write_bytes(b"window.small = 2;")
    (target / "@scope" / "other@2.0.0" / "dist" / "b.css").unlink()
    assert install(target, archives) == list(CONTENTS)
    assert content_of(target) == FILES


@given(st.sampled_from([0, 1]), st.integers(0), st.integers(1, 255))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_an_archive_with_one_byte_changed_is_refused(
    archives: Path, tmp_path: Path, number: int, place: int, change: int
) -> None:
    name, content = list(ARCHIVES)[number], bytearray(list(ARCHIVES.values())[number])
    content[place % len(content)] ^= change
    (archives / f"{number}.tgz").write_bytes(content)
    try:
        with pytest.raises(OperationError, match=f"^{name} is not to be had.*{number}.tgz"):
            install(tmp_path / "graphiql", archives)
    finally:
        (archives / f"{number}.tgz").write_bytes(ARCHIVES[name])
    assert not (tmp_path / "graphiql").exists()


@pytest.mark.parametrize("path", ["a.js", "LICENSE", "dist/b.css"])
def test_a_file_that_is_not_the_locked_one_is_refused(
    path: str, archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_them(tmp_path, monkeypatch, **{path: integrity_of(b"another", "sha384")})
    with pytest.raises(OperationError, match=f"{path} is missing in its archive, or is not what"):
        install(tmp_path / "graphiql", archives)
    assert not (tmp_path / "graphiql").exists()


def test_what_cannot_be_had_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archives: Path) -> None:
    with pytest.raises(OperationError, match=r"since there is no \.tgz file"):
        install(tmp_path / "graphiql", tmp_path)
    (tmp_path / "taken").write_text("")
    with pytest.raises(OperationError, match=r"cannot write .*taken.*choose another folder with --dir"):
        install(tmp_path / "taken", archives)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        OperationError, match=r"^there is no npm; .*`npm pack small@1\.0\.0 @scope/other@2\.0\.0`.*--from"
    ):
        install(tmp_path / "graphiql")


# --- npm, and a registry of our own


class Registry(BaseHTTPRequestHandler):
    """As much of a registry as ``npm pack`` asks of one."""

    archives: ClassVar[dict[str, bytes]]

    def do_GET(self) -> None:
        path = unquote(self.path).strip("/")
        if path in self.archives:
            self._send(self.archives[path])
            return
        version = next((of for of in self.archives if of.rpartition("@")[0] == path), None)
        if version is None:
            self._send(b'{"error": "not found"}', 404)
            return
        host = self.headers["Host"]
        dist = {"tarball": f"http://{host}/{version}", "integrity": integrity_of(self.archives[version], "sha512")}
        number = version.rpartition("@")[2]
        described = {"name": path, "version": number, "dist": dist}
        self._send(
            json.dumps({"name": path, "dist-tags": {"latest": number}, "versions": {number: described}}).encode()
        )

    def _send(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        pass


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[[dict[str, bytes]], None]]:
    """Has npm ask a registry of these archives, and keep nothing."""
    handler = type("Handler", (Registry,), {"archives": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name, value in {"registry": f"http://127.0.0.1:{server.server_port}/", "cache": str(tmp_path / "npm")}.items():
        monkeypatch.setenv(f"npm_config_{name}", value)
    yield handler.archives.update
    server.shutdown()
    thread.join()
    server.server_close()


@needs_npm
def test_npm_fetches_what_is_missing(tmp_path: Path, registry: Callable[[dict[str, bytes]], None]) -> None:
    registry(ARCHIVES)
    assert install(tmp_path / "graphiql") == list(CONTENTS)
    assert content_of(tmp_path / "graphiql") == FILES


@needs_npm
def test_a_registry_that_hands_out_something_else_is_not_believed(
    tmp_path: Path, registry: Callable[[dict[str, bytes]], None]
) -> None:
    """It says so of its own archive that npm finds nothing wrong with it."""
    registry(ARCHIVES | {"small@1.0.0": archive_of(CONTENTS["small@1.0.0"] | {"a.js": b"steal()"})})
    with pytest.raises(OperationError, match=r"^small@1\.0\.0 is not to be had"):
        install(tmp_path / "graphiql")
    assert not (tmp_path / "graphiql").exists()


@needs_npm
def test_what_npm_cannot_fetch_is_told_in_its_words(
    tmp_path: Path, registry: Callable[[dict[str, bytes]], None]
) -> None:
    registry({"small@1.0.0": ARCHIVES["small@1.0.0"]})
    with pytest.raises(OperationError, match=r"^npm could not fetch .*E404"):
        install(tmp_path / "graphiql")


# --- the lock, and the command


def test_the_lock_names_scripts_and_styles_with_hashes_of_their_length() -> None:
    packages.cache_clear()
    graphiql_lock = json.loads(Path(str(graphiql.__file__)).with_name("graphiql.lock.json").read_bytes())
    assert len(graphiql_lock) == 4
    for name, of in graphiql_lock.items():
        assert len(base64.b64decode(of["integrity"].removeprefix("sha512-"))) == 64, name
        for path, hash_ in of["files"].items():
            assert len(base64.b64decode(hash_.removeprefix("sha384-"))) == 48, path


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("storegraph"), "graphiql", "install", "--dir", tmp_path / "graphiql"]
    told = subprocess.run([*command, "--from", tmp_path], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr.startswith("storegraph: react@18.2.0 is not to be had, since there is no .tgz file: no archive")


def test_what_is_installed_in_the_package_is_in_a_wheel_made_of_it(tmp_path: Path, archives: Path) -> None:
    """Though the repository ignores it."""
    root, project = Path(__file__).parents[2], tmp_path / "project"
    install(project / "app" / FOLDER.name, archives)
    (project / "migrations").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(root / name, project)
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=project, check=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {f"app/{FOLDER.name}/{path}" for path in FILES} <= {*archive.namelist()}
