"""Requests as they arrive on real sockets: too large, too slow, in pieces, broken off."""

import json
import socket
import time
from collections.abc import Generator
from contextlib import suppress

import pytest

from app.graph.engine import Answer, Engine, Request
from app.main import create_app
from app.settings import Settings
from tests.http_server import ask, exchange, post, served, until

TYPENAME = {"query": "{ __typename }"}


@pytest.fixture(scope="module")
def gateway_port(settings: Settings) -> Generator[int]:
    hasty = settings.model_copy(update={"body_timeout": 0.3, "max_body": 1000, "graphiql": False})
    with served(create_app(hasty), hasty) as port:
        yield port


@pytest.mark.parametrize(("length", "status"), [(20_000, 414), (60_000, 414), (65_530, 400)])
def test_an_overlong_address_is_refused(gateway_port: int, length: int, status: int) -> None:
    address = "/graphql?query=" + "%20" * (length // 3)
    sent = f"GET {address} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    answer = exchange(gateway_port, sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(gateway_port: int) -> None:
    with socket.create_connection(("127.0.0.1", gateway_port), timeout=10) as connection:
        connection.sendall(post(b"", "Content-Length: 1001"))  # and nothing of it
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_is_as_large_as_is_said(gateway_port: int) -> None:
    for size, status in ((1000, b"200"), (1001, b"413")):
        body = json.dumps({**TYPENAME, "x": ""}).encode()
        body = body.replace(b'"x": ""', b'"x": "' + b"x" * (size - len(body)) + b'"')
        assert len(body) == size
        assert exchange(gateway_port, post(body)).split()[1] == status
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (body[:500], body[500:])) + b"0\r\n\r\n"
        assert exchange(gateway_port, post(chunks, "Transfer-Encoding: chunked")).split()[1] == status


def test_a_body_without_an_end_is_refused_when_it_is_too_large(gateway_port: int) -> None:
    chunk = b"190\r\n" + b"x" * 400 + b"\r\n"
    with socket.create_connection(("127.0.0.1", gateway_port), timeout=10) as connection:
        connection.sendall(post(chunk * 3, "Transfer-Encoding: chunked"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_arrive_in_time_is_refused(gateway_port: int) -> None:
    answer = exchange(gateway_port, post(b'{"query"', "Content-Length: 100"))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["errors"][0]["extensions"] == {"code": "TIMEOUT"}


def test_a_client_that_goes_away_is_no_error(gateway_port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    exchange(gateway_port, post(b'{"query"', "Content-Length: 100"), then_close=True)
    until(lambda: any(getattr(record, "status", None) == 499 for record in caplog.records))
    assert [record for record in caplog.records if record.levelname != "INFO"] == []
    assert b'{"__typename":"Query"}' in exchange(gateway_port, ask("{ __typename }"))


def test_a_head_that_does_not_end_in_time_is_given_up(gateway_port: int) -> None:
    started = time.monotonic()
    assert exchange(gateway_port, b"GET /graphql HTTP/1.1\r\nHost: x\r\nX-Slow") == b""
    assert 0.3 <= time.monotonic() - started < 5


@pytest.mark.parametrize("line", [b"GET /", b"GET / HTTP/1.1\r\nX: "])
def test_a_head_that_does_not_end_at_all_is_given_up(gateway_port: int, line: bytes) -> None:
    with pytest.raises(ConnectionError):
        exchange(gateway_port, line + b"x" * 50_000_000)


def test_one_answer_does_not_wait_for_the_next_head(gateway_port: int) -> None:
    """The next request of a connection may come before the answer to the first is sent, and never be finished."""
    first = ask("{ __typename }").replace(b"Connection: close", b"Connection: keep-alive")
    answer = exchange(gateway_port, first + b"GET /graphql HTTP/1.1\r\nX-Slow")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"data":{"__typename":"Query"}}')


def test_requests_on_one_connection_are_answered_in_turn(gateway_port: int) -> None:
    kept = ask("{ __typename }").replace(b"Connection: close", b"Connection: keep-alive")
    answer = exchange(gateway_port, kept * 5 + ask("{ __typename }"))
    assert answer.count(b'{"data":{"__typename":"Query"}}') == 6


# --- trailers (RFC 9110, section 6.5)

CHUNKED = "Transfer-Encoding: chunked"


def chunked(body: bytes, trailers: bytes = b"") -> bytes:
    return b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailers)


def test_a_trailer_is_no_header_and_harms_nothing(gateway_port: int) -> None:
    body = json.dumps(TYPENAME).encode()
    assert exchange(gateway_port, post(body, "Authorization: Bearer x")).startswith(b"HTTP/1.1 401 ")
    trailers = b"Authorization: Bearer x\r\nX-Request-ID: trailing\r\n"
    kept = post(chunked(body, trailers), CHUNKED).replace(b"Connection: close", b"Connection: keep-alive")
    answer = exchange(gateway_port, kept + ask("{ __typename }"))
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert b"trailing" not in answer


@pytest.mark.parametrize("trailer", [b"X-More: " + b"x" * 1000 + b"\r\n", b"x"])
def test_trailers_without_an_end_are_given_up(gateway_port: int, trailer: bytes) -> None:
    """Many lines, or one: it is closed long before all of it is sent, and before the time for the body is over."""
    sent = 0
    with socket.create_connection(("127.0.0.1", gateway_port), timeout=10) as connection:
        connection.sendall(post(chunked(json.dumps(TYPENAME).encode()).removesuffix(b"\r\n"), CHUNKED) + b"X-First: ")
        with suppress(ConnectionError):
            while sent < 50_000_000:
                connection.sendall(trailer * (64_000 // len(trailer)))
                sent += 64_000
    assert sent < 20_000_000


# --- answers that nobody reads

LARGE = b"x" * 20_000_000


@pytest.fixture
def unread(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Generator[int]:
    """A gateway with one place, some of whose answers are larger than the sockets' buffers."""
    hasty = settings.model_copy(update={"body_timeout": 1.0, "max_in_flight": 1})

    async def answer(_engine: Engine, request: Request, _context: object) -> Answer:
        return Answer({"data": {"x": LARGE.decode() if "large" in (request.query or "") else "small"}}, refused=False)

    monkeypatch.setattr(Engine, "answer", answer)
    with served(create_app(hasty), hasty) as port:
        yield port


@pytest.mark.parametrize("kept", [True, False])
def test_an_answer_that_nobody_takes_keeps_its_place_until_the_connection_is_broken_off(
    unread: int, kept: bool
) -> None:
    request = ask("{ large }")
    if kept:
        request = request.replace(b"Connection: close", b"Connection: keep-alive")
    with socket.create_connection(("127.0.0.1", unread), timeout=10) as connection:
        connection.sendall(request)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert exchange(unread, ask("{ small }")).startswith(b"HTTP/1.1 503 ")
        until(lambda: exchange(unread, ask("{ small }")).startswith(b"HTTP/1.1 200 "), 5)
        assert len(rest(connection)) < len(LARGE)


def test_an_answer_that_is_taken_comes_whole(unread: int) -> None:
    with socket.create_connection(("127.0.0.1", unread), timeout=10) as connection:
        connection.sendall(ask("{ large }"))
        assert rest(connection).endswith(LARGE + b'"}}')
    assert exchange(unread, ask("{ small }")).endswith(b'"small"}}')


def rest(connection: socket.socket) -> bytes:
    """What had been sent when the other side broke off."""
    received: list[bytes] = []
    with suppress(ConnectionResetError):
        while data := connection.recv(2**20):
            received.append(data)
    return b"".join(received)
