import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from app.demo import PUBLIC_QUERY, demo
from app.errors import OperationError
from app.settings import DATABASE_NAMES
from tests.http_server import free_port

COMMAND = Path(sys.executable).with_name("storegraph")
SCALE = 0.01


class Demo:
    """A demo in a process of its own, at the point where it says what to try."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        command = [COMMAND, "demo", "--port", str(self.port), "--data-dir", str(folder)]
        self.process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said = ""

    def ready(self) -> "Demo":
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if line.startswith("To stop"):
                return self
        raise AssertionError(f"the demo ended: {self.said}")

    def ask(self, query: str) -> dict[str, object]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, object] = json.load(response)
        return answer

    def end(self, number: signal.Signals) -> int:
        """Send the signal; the exit code."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=30)
        self.said += rest
        return self.process.returncode


@contextmanager
def started(folder: Path, *arguments: str) -> Generator[Demo]:
    it = Demo(folder, *arguments)
    try:
        yield it
    finally:
        it.process.kill()
        it.process.wait()
        assert it.process.stdout is not None
        it.process.stdout.close()


def postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def secret_in(folder: Path) -> str:
    [line] = [line for line in (folder / "demo.env").read_text().splitlines() if line.startswith("JWT_SECRET=")]
    return line


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_from_nothing_to_an_answer_and_back(scratch: Path) -> None:
    folder = scratch / "a demo's data"
    with started(folder, "--scale", str(SCALE)) as first:
        answer = first.ready().ask(PUBLIC_QUERY)
        assert "errors" not in answer
        server = postmaster(folder)

        # A second one takes part in the first one's server, and leaves it running.
        with started(folder) as second:
            assert second.ready().ask(PUBLIC_QUERY) == answer
            assert "earlier start" in second.said
            assert second.end(signal.SIGINT) == 0
        with pytest.raises(OperationError, match="running"):
            demo(port=free_port(), data_dir=folder, scale=SCALE, reset=True)
        assert first.ask(PUBLIC_QUERY) == answer

        assert first.end(signal.SIGTERM) == 0
    assert not is_alive(server)

    secret = secret_in(folder)
    assert (folder / "demo.env").stat().st_mode & 0o777 == 0o600
    with started(folder) as again:
        assert again.ready().ask(PUBLIC_QUERY) == answer
        assert secret_in(folder) == secret
        check_what_it_says(again)
        server = postmaster(folder)
        assert again.end(signal.SIGHUP) == 0
    assert not is_alive(server)


def check_what_it_says(running: Demo) -> None:
    """The commands that it prints do what it says."""
    public, of_staff = re.findall(r"curl (?:.*\\\n)*.*", running.said)
    source = re.search(r"set -a; .*set \+a", running.said)
    assert source is not None

    def run(command: str) -> object:
        environment = {"PATH": os.environ["PATH"]}  # and nothing that would be set already
        answer = subprocess.run(["bash", "-ec", command], capture_output=True, check=True, env=environment)
        return json.loads(answer.stdout)

    assert "errors" not in str(run(public))
    status = run(f"{source[0]}; {shlex.quote(str(COMMAND))} db status --json")
    assert len(cast("dict[str, object]", status)) == len(DATABASE_NAMES)
    answer = cast("dict[str, Any]", run(f"{source[0]}; {of_staff}"))
    assert "errors" not in answer
    assert answer["data"]["orders"]["nodes"][0]["user"]["email"]


def test_data_are_made_anew_after_a_broken_first_start_and_on_reset(scratch: Path) -> None:
    folder = scratch / "broken off"
    with started(folder, "--scale", "1") as it:
        assert it.process.stdout is not None
        assert it.process.stdout.readline().startswith("Making the data")
        assert it.end(signal.SIGINT) == 130
    for arguments in ([], ["--reset"]):
        with started(folder, "--scale", str(SCALE), *arguments) as it:
            assert "errors" not in it.ready().ask(PUBLIC_QUERY)
            assert "Making the data" in it.said
            assert it.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("reset", [False, True])
def test_the_folder_of_something_else_is_left_alone(tmp_path: Path, reset: bool) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(OperationError, match="not a demo's folder"):
        demo(port=None, data_dir=tmp_path, scale=SCALE, reset=reset)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(OperationError, match=r"letter\.txt: Not a directory"):
        demo(port=None, data_dir=tmp_path / "letter.txt", scale=SCALE, reset=False)


@pytest.mark.parametrize("reset", [False, True])
def test_a_port_that_is_taken_is_one_line_and_costs_no_data(tmp_path: Path, reset: bool) -> None:
    data = tmp_path / "postgres"
    data.mkdir()
    (tmp_path / "demo.lock").touch()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(
            OperationError, match=r"cannot listen on 127\.0\.0\.1 port \d+: Address already in use; .*--port"
        ),
    ):
        demo(port=taken.getsockname()[1], data_dir=tmp_path, scale=SCALE, reset=reset)
    assert data.exists()


def test_no_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", _no_home)
    monkeypatch.delenv("STOREGRAPH_DATA", raising=False)
    with pytest.raises(OperationError, match="STOREGRAPH_DATA or --data-dir"):
        demo(port=None, data_dir=None, scale=SCALE, reset=False)


def _no_home(*_: object, **__: object) -> Path:
    raise RuntimeError("Could not determine home directory.")
