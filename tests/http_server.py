"""A gateway on a real socket: in a thread of this process, or in a process of its own."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from random import randrange

import uvicorn
from starlette.types import ASGIApp

from app.serving import config_of
from app.settings import DATABASE_NAMES, Settings

COMMAND = Path(sys.executable).with_name("storegraph")


def free_port() -> int:
    """A port for a process that is yet to start: below those that the system gives to whoever asks for any."""
    while True:
        try:
            with socket.create_server(("127.0.0.1", randrange(10_000, 32_000))) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue


@contextmanager
def served(app: ASGIApp, settings: Settings) -> Generator[int]:
    """The port of an application that a thread serves as ``app/serving.py`` does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = uvicorn.Server(config_of(app, settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive())
            yield port
        finally:
            server.should_exit = True
            thread.join()


def until(done: Callable[[], object], seconds: float = 20) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def exchange(port: int, sent: bytes, *, then_close: bool = False) -> bytes:
    """What comes back over a connection of its own until the other side closes it; nothing if we close first."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(sent)
        if then_close:
            return b""
        received = b""
        while data := connection.recv(65536):
            received += data
        return received


def post(body: bytes, *headers: str, path: str = "/graphql") -> bytes:
    """A POST on a connection that is closed after it, as it is sent."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: close",
        "Content-Type: application/json",
        *headers,
    ]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def ask(query: str) -> bytes:
    """A query on a connection that is closed after it, as it is sent."""
    return post(json.dumps({"query": query}).encode())


class Process:
    """``storegraph serve`` in a process of its own, over the databases of the settings."""

    def __init__(self, settings: Settings, **environment: str) -> None:
        self.port = free_port()
        urls = {f"{name.upper()}_DATABASE_URL": settings.database_url(name) for name in DATABASE_NAMES}
        self.process = subprocess.Popen(
            [COMMAND, "serve", "--port", str(self.port)],
            env=os.environ | urls | environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def ended(self, seconds: float = 20) -> int:
        """The exit code, with everything that it logged in ``lines``."""
        code = self.process.wait(timeout=seconds)
        self._reader.join(timeout=seconds)
        return code

    def events(self) -> list[dict[str, object]]:
        """What it logged, as JSON."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]


@contextmanager
def serving(settings: Settings, **environment: str) -> Generator[Process]:
    """A gateway in a process of its own that takes requests, killed at the end if it is still there."""
    process = Process(settings, **environment)
    try:
        until(lambda: any("startup complete" in line for line in process.lines) or process.process.poll() is not None)
        assert process.process.poll() is None, process.lines
        yield process
    finally:
        process.process.kill()
        process.process.wait()
        assert process.process.stderr is not None
        process.process.stderr.close()
