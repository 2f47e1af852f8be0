"""The load of a benchmark: keep-alive connections that each send the next request once the one before is answered.

HTTP/1.1 by hand over epoll(7), in the one thread of whoever calls. Load, server and PostgreSQL share the machine, and
asyncio or a client library would take several times as much of it. Linux only.
"""

import re
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Self

_CONNECT_WITHIN = 10.0
_ANSWER_WITHIN = 60.0
_LARGEST_READ = 1 << 18
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """What is sent, and how long the body of the answer is: another length is another answer, an error most likely."""

    data: bytes
    length: int | None = None
    """Bytes; None while it is not known."""


@dataclass(frozen=True)
class Load:
    """What a load came to."""

    times: list[float]
    """Seconds of each request, from sending it to the last byte of the answer."""
    seconds: float
    """From the first request to the last answer."""
    cpu: float
    """Seconds of CPU that the load itself took."""


def http(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """A connection that is asked one thing at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_WITHIN)
        self.socket.settimeout(_ANSWER_WITHIN)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self._request = Request(b"")
        self._head = b""
        self._missing = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, request: Request, now: float) -> None:
        """Ask the next thing, once the answer before is there."""
        self.sent_at, self._request, self._head = now, request, b""
        self.socket.sendall(request.data)

    def receive(self) -> bytes | None:
        """A piece of the answer's body, or None while its head is not whole.

        Raises:
            SystemExit: it is not the answer that was expected; nobody wants its time.
        """
        data = self.socket.recv(_LARGEST_READ)
        if not data:
            raise SystemExit("the server has closed a connection on which it was asked something")
        if self._missing == 0:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return None
            self._missing = self._length_of(head + b"\r\n")
        self._missing -= len(data)
        return data

    @property
    def is_answered(self) -> bool:
        """Whether the whole of the answer has been received."""
        return self._missing == 0

    def ask(self, request: Request) -> bytes:
        """The body of one answer."""
        self.send(request, 0.0)
        body = bytearray()
        while (piece := self.receive()) is None or not self.is_answered:
            body += piece or b""
        return bytes(body + piece)

    def _length_of(self, head: bytes) -> int:
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None or length[1] == b"0":
            raise SystemExit(f"not an answer with a body of known length:\n{head.decode('latin-1')}")
        if self._request.length not in (None, int(length[1])):
            raise SystemExit(f"{length[1].decode()} bytes came where {self._request.length} did before")
        return int(length[1])


def drive(port: int, requests: Iterator[Request], seconds: float, connections: int) -> Load:
    """Send requests for some seconds, and wait for the answers to the last ones.

    Raises:
        SystemExit: the server did not answer, or not as expected.
    """
    times: list[float] = []
    with ExitStack() as stack:
        opened = [stack.enter_context(Connection(port)) for _ in range(connections)]
        poll = stack.enter_context(select.epoll())
        busy = {connection.socket.fileno(): connection for connection in opened}
        cpu, start = process_time(), perf_counter()
        for descriptor, connection in busy.items():
            poll.register(descriptor, select.EPOLLIN)
            connection.send(next(requests), perf_counter())
        while busy:
            ready = poll.poll(_ANSWER_WITHIN)
            if not ready:
                raise SystemExit(f"the server has not answered for {_ANSWER_WITHIN:.0f} seconds")
            for descriptor, _ in ready:
                connection = busy[descriptor]
                if connection.receive() is None or not connection.is_answered:
                    continue
                now = perf_counter()
                times.append(now - connection.sent_at)
                if now - start < seconds:
                    connection.send(next(requests), now)
                else:
                    poll.unregister(descriptor)
                    del busy[descriptor]
        return Load(times, perf_counter() - start, process_time() - cpu)
