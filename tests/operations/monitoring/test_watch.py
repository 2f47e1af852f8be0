"""A topic again and again: so many times for a script, until Ctrl-C in a terminal."""

import json
import os
import pty
import select
import signal
import subprocess

import pytest

from app.settings import DATABASE_NAMES, Settings
from tests.http_server import COMMAND
from tests.operations.monitoring.conftest import Monitor


def test_so_many_times(monitor: Monitor) -> None:
    shown = monitor("watch", "status", "--count", "2", "--every", "0.1")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.count("status, every 0.1 s, at ") == 2
    assert shown.out.count("products ") == 2


def test_each_look_is_a_line_of_json(monitor: Monitor) -> None:
    shown = monitor("watch", "--count", "2", "--every", "0.1", "--json", "--database", "orders")
    assert shown.code == 0
    assert [json.loads(line)["rows"] for line in shown.out.splitlines()] == [[], []]


def test_a_database_that_is_down_ends_nothing(monitor: Monitor, shop: Settings) -> None:
    down = shop.model_copy(update={"users_database_url": "postgresql://postgres@127.0.0.1:1/users"})
    shown = monitor("watch", "status", "--count", "2", "--every", "0.1", on=down)
    assert shown.code == 2
    assert shown.out.count("cannot connect to the users database") == 2
    assert shown.out.count("products ") == 2
    assert shown.err.count("cannot connect to the users database") == 1


@pytest.mark.parametrize("every", ["0.1", "60"])
def test_ctrl_c_ends_it_cleanly(shop: Settings, every: str) -> None:
    """Whether it is looking or waiting, and whatever the terminal was, it is again."""
    urls = {f"{name.upper()}_DATABASE_URL": shop.database_url(name) for name in DATABASE_NAMES}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "monitor", "watch", "pools", "--every", every],
        env=os.environ | urls | {"TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        screen = read_until(ours, b"pools, every")
        process.send_signal(signal.SIGINT)
        screen += read_until(ours, b"\x1b[?1049l")  # back from the alternate screen
        assert process.wait(20) == 0
    os.close(ours)
    assert b"\x1b[?1049h" in screen
    assert b"Traceback" not in screen


def read_until(terminal: int, text: bytes) -> bytes:
    """What a terminal shows up to a text."""
    shown = b""
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], 20)
        assert ready, shown
        shown += os.read(terminal, 65536)
    return shown
