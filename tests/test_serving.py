import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import OperationError
from app.serving import listen
from app.settings import DATABASE_NAMES, Settings
from tests.http_server import exchange, post, served

COMMAND = Path(sys.executable).with_name("storegraph")


def nowhere() -> dict[str, str]:
    """An environment whose four databases do not answer."""
    urls = {f"{name.upper()}_DATABASE_URL": f"postgresql://127.0.0.1:1/{name}" for name in DATABASE_NAMES}
    return os.environ | urls | {"DRAIN_GRACE": "0"}


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


@pytest.mark.parametrize(
    ("secret", "is_told"), [({}, True), ({"JWT_SECRET": "rZ3k8Jq1sT0vYb5nXe7uWc9aLd2fGh4iKo6pMj8lNq0="}, False)]
)
def test_who_serves_without_a_secret_is_told_how_to_make_one(secret: dict[str, str], is_told: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [COMMAND, "serve", "--port", str(port)]
    with subprocess.Popen(command, env=nowhere() | secret, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said: list[str] = []
            for line in process.stderr:
                said.append(line)
                if "serving http" in line:
                    break
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
        finally:
            process.kill()
    events = [json.loads(line) for line in said]  # all of it, so that whoever reads the log can read these too
    told = [event for event in events if "JWT_SECRET is not set" in event["event"]]
    assert len(told) == is_told
    assert all("openssl rand" in event["event"] and event["level"] == "warning" for event in told)
    assert events[-1]["event"] == f"serving http://127.0.0.1:{port}/graphql"


def test_nothing_is_said_to_be_served_where_the_application_fails(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    missing = {"TRUSTED_DOCUMENTS": "log", "TRUSTED_DOCUMENTS_MANIFEST": str(tmp_path / "missing")}
    told = subprocess.run(
        [COMMAND, "serve", "--port", port], env=nowhere() | missing, capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert "serving http" not in (told.stdout + told.stderr).lower()


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


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(
        OperationError, match=r"cannot listen on 192\.0\.2\.1 port 8000: .*; choose another with --host$"
    ):
        listen("192.0.2.1", 8000)


def test_a_host_that_is_none_is_told() -> None:
    with pytest.raises(OperationError, match=r"cannot listen on no\.such\.host\.invalid: "):
        listen("no.such.host.invalid", 8000)


def test_an_address_of_version_6_is_taken() -> None:
    with listen("::1", 0) as listener:
        assert listener.getsockname()[0] == "::1"


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "10.0.0.1, 192.0.2.7", "192.0.2.7"),  # whoever asks can write what they like on the left
        ("127.0.0.0/8, 192.0.2.7", "10.0.0.1, 192.0.2.7", "10.0.0.1"),
        ("192.0.2.1", "192.0.2.7", "127.0.0.1"),
    ],
)
def test_a_proxy_is_believed_only_where_it_is_trusted(
    settings: Settings, trusted: str, forwarded: str, address: str
) -> None:
    addresses: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            addresses.append(scope["client"][0])
            await Response()(scope, receive, send)
            return
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})

    with served(app, settings.model_copy(update={"trusted_proxies": trusted})) as port:
        exchange(port, post(b"", f"X-Forwarded-For: {forwarded}"))
    assert addresses == [address]
