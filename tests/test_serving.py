import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from app.errors import OperationError
from app.serving import listen
from app.settings import DATABASE_NAMES

COMMAND = Path(sys.executable).with_name("storegraph")


def nowhere() -> dict[str, str]:
    """An environment whose four databases do not answer."""
    return os.environ | {f"{name.upper()}_DATABASE_URL": f"postgresql://127.0.0.1:1/{name}" for name in DATABASE_NAMES}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_until_a_signal_and_ends_well(number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with subprocess.Popen(
        [COMMAND, "serve", "--port", str(port)], env=nowhere(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            assert any("startup complete" in line for line in process.stderr)  # waits for it
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as response:
                assert response.status == 200
            process.send_signal(number)
            process.communicate(timeout=20)
            assert process.returncode == 0
        finally:
            process.kill()


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = subprocess.run(
            [COMMAND, "serve", "--port", port], env=nowhere(), capture_output=True, text=True, check=False
        )
    assert told.returncode == 2
    assert told.stderr == (
        f"storegraph: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another with --port\n"
    )


def test_a_host_that_is_none_is_told() -> None:
    with pytest.raises(OperationError, match=r"cannot listen on no\.such\.host\.invalid: "):
        listen("no.such.host.invalid", 8000)


def test_an_address_of_version_6_is_taken() -> None:
    with listen("::1", 0) as listener:
        assert listener.getsockname()[0] == "::1"
