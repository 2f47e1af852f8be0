"""What is in the log of a gateway in a process of its own, and what never is."""

import json
import logging
import traceback
from collections.abc import Callable, Generator

import pytest

from app import logs
from app.settings import Settings
from tests.http_server import Process, exchange, post, serving, until

SENTINEL = "Zq7SentinelXw4"
REQUEST = {"method": "POST", "path": "/graphql", "event": "request", "level": "info", "logger": "app.requests"}


@pytest.fixture(scope="module")
def gateway(settings: Settings) -> Generator[Process]:
    secret = SENTINEL + "rZ3k8Jq1sT0vYb5nXe7uWc9aLd2fGh4i"
    with serving(settings, LOG_LEVEL="debug", JWT_SECRET=secret, MAX_BODY="5000") as process:
        yield process


def send(gateway: Process, body: object, *headers: str, id_: str, path: str = "/graphql") -> bytes:
    return exchange(gateway.port, post(json.dumps(body).encode(), f"X-Request-ID: {id_}", *headers, path=path))


def events_of(gateway: Process, id_: str) -> list[dict[str, object]]:
    """The lines of a request, once its own is there: it is the last one."""

    def found() -> list[dict[str, object]]:
        return [event for event in gateway.events() if event.get("request_id") == id_]

    until(lambda: any(event["event"] == "request" for event in found()))
    return found()


def line_of(gateway: Process, id_: str) -> dict[str, object]:
    [line] = [event for event in events_of(gateway, id_) if event["event"] == "request"]
    return line


def test_a_request_is_one_line_with_what_it_cost(gateway: Process) -> None:
    query = "query Shelf { products { totalCount nodes { id } } categories { nodes { id } } }"
    send(gateway, {"query": query}, id_="one-line")
    line = line_of(gateway, "one-line")
    assert REQUEST.items() <= line.items()
    assert line["status"] == 200
    assert line["operation"] == "Shelf"
    assert line["executor"] == "plan"
    assert line["statements"] == {"products": 3}
    assert line["codes"] == []
    assert isinstance(line["duration_ms"], float)
    assert str(line["timestamp"]).endswith("Z")
    assert set(line) == {
        *REQUEST,
        "request_id",
        "status",
        "operation",
        "executor",
        "statements",
        "codes",
        "duration_ms",
        "timestamp",
    }


def test_a_request_that_fails_says_how(gateway: Process) -> None:
    send(gateway, {"query": "{ orders { nodes { id } } }"}, id_="fails")
    assert line_of(gateway, "fails")["codes"] == ["UNAUTHENTICATED"]
    send(gateway, {"query": "x" * 6000}, id_="large")
    line = line_of(gateway, "large")
    assert line["codes"] == ["LIMIT_EXCEEDED"]
    assert line["status"] == 413


def test_what_a_client_did_wrong_is_a_short_line_for_those_who_look_for_it(gateway: Process) -> None:
    send(gateway, {"query": "{ " + "nothing " * 300 + "}"}, id_="wrong")
    errors = [event for event in events_of(gateway, "wrong") if event["event"] != "request"]
    assert errors
    for error in errors:
        assert error["level"] == "debug"
        assert all(len(str(value)) <= logs.LONGEST_VALUE for value in error.values())


def test_probes_are_not_in_the_log_of_who_does_not_ask_for_them(gateway: Process) -> None:
    sent = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-ID: probe\r\n\r\n"
    exchange(gateway.port, sent)
    assert line_of(gateway, "probe")["level"] == "debug"


def test_nothing_that_a_client_sent_is_in_the_log(gateway: Process, clean: None) -> None:
    sign_up = "mutation($i: SignUpInput!) { signUp(input: $i) { __typename } }"
    person = {"email": f"{SENTINEL}@example.com", "password": SENTINEL, "firstName": SENTINEL, "lastName": SENTINEL}
    bodies: list[object] = [
        {"query": f'{{ product(sku: "{SENTINEL}") {{ id }} }}'},
        {"query": f"{{ {SENTINEL} }}"},
        {"query": f'{{ "{SENTINEL}'},
        {"query": f"{{ products(first: {SENTINEL}) {{ totalCount }} }}"},
        {"query": "query($x: Int!) { products(first: $x) { totalCount } }", "variables": {"x": SENTINEL}},
        {"query": "query($x: String) { products(search: $x) { totalCount } }", "variables": {"x": SENTINEL}},
        {"query": "{ product(id: $x) { id } }", "variables": {SENTINEL: 1}},
        {"query": "{ __typename }", "operationName": SENTINEL},
        {"query": "{ __typename }", "extensions": {SENTINEL: SENTINEL}},
        {"documentId": SENTINEL},
        {"query": [SENTINEL]},
        SENTINEL,
        {"query": sign_up, "variables": {"i": person}},
        {"query": sign_up.replace("SignUp", "LogIn").replace("signUp", "logIn"), "variables": {"i": person}},
    ]
    for number, body in enumerate(bodies):
        id_ = f"private-{number}"
        send(gateway, body, f"X-{SENTINEL}: {SENTINEL}", f"Cookie: a={SENTINEL}", f"Origin: {SENTINEL}", id_=id_)
        assert events_of(gateway, id_)
    headers = (f"Authorization: Bearer {SENTINEL}", f"User-Agent: {SENTINEL}", f"Accept: {SENTINEL}")
    for number, one in enumerate(headers):
        send(gateway, {"query": "{ __typename }"}, one, id_=f"header-{number}")
        assert events_of(gateway, f"header-{number}")
    for number, path in enumerate((f"/graphql?query={SENTINEL}", f"/nothing?x={SENTINEL}")):
        sent = f"GET {path} HTTP/1.1\r\nHost: {SENTINEL}\r\nConnection: close\r\nX-Request-ID: get-{number}\r\n\r\n"
        exchange(gateway.port, sent.encode())
        assert line_of(gateway, f"get-{number}")
    exchange(gateway.port, f"NONSENSE {SENTINEL}\r\n\r\n".encode())  # no HTTP at all
    until(lambda: any("Invalid HTTP request" in line for line in gateway.lines))
    send(gateway, {"query": "{ __typename }"}, id_=f"bad id {SENTINEL}")
    assert [line for line in gateway.lines if SENTINEL.lower() in line.lower()] == []


def test_a_path_is_shown_as_text_and_not_at_any_length(gateway: Process) -> None:
    path = "/%1b[31m%0aforged%22" + "x" * 1000
    exchange(gateway.port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-ID: p\r\n\r\n".encode())
    shown = str(line_of(gateway, "p")["path"])
    assert shown.startswith('/\\x1b[31m\\nforged"x')
    assert len(shown) == logs.LONGEST_VALUE


@pytest.fixture
def root() -> Generator[logging.Logger]:
    """The root logger, put back as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers, logger.level
    yield logger
    logger.handlers, logger.level = handlers, level


@pytest.mark.parametrize("format_", ["json", "console"])
def test_an_exception_is_told_without_its_text(
    settings: Settings, root: logging.Logger, capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    logs.configure(settings.model_copy(update={"log_format": format_}))
    try:
        raise ValueError(SENTINEL)
    except ValueError:
        logging.getLogger("somebody").exception("it went wrong: %d", 1)
    told = capsys.readouterr().err
    assert SENTINEL not in told
    for part in ("it went wrong: 1", "somebody", "builtins.ValueError"):
        assert part in told
    assert format_ == "console" or told.count("\n") == 1


def test_of_where_an_exception_came_from_only_our_own_lines_are_told_and_the_last_of_too_many() -> None:
    code = compile("def f(n):\n    return f(n - 1) if n else 1 / 0", logs.__file__, "exec")
    ours: dict[str, Callable[[int], object]] = {}
    exec(code, ours)  # so that it seems to come from a file of ours, at any depth
    for depth, least, most in ((3, 4, 4), (300, 15, 17)):
        with pytest.raises(ZeroDivisionError) as raised:
            ours["f"](depth)
        stack = logs.fault(raised.value)["stack"]
        assert len(stack) <= logs.LONGEST_VALUE
        assert stack.split(" > ") == ["logs.py:2"] * len(stack.split(" > "))
        assert least <= len(stack.split(" > ")) <= most


@pytest.mark.parametrize("format_", ["json", "console"])
def test_no_value_is_longer_than_200_characters(
    settings: Settings, root: logging.Logger, capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    logs.configure(settings.model_copy(update={"log_format": format_}))
    logging.getLogger("somebody").warning("X" * 1000, extra={"more": "Y" * 1000, "none": None})
    told = capsys.readouterr().err
    assert (told.count("X"), told.count("Y")) == (200, 200)
    assert "none" not in told


def test_starlettes_traceback_in_a_message_is_replaced_by_the_exception_without_its_text(
    settings: Settings, root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(settings)
    try:
        raise ValueError(SENTINEL)
    except ValueError:
        logging.getLogger("uvicorn.error").error(traceback.format_exc())
    told = capsys.readouterr().err
    assert SENTINEL not in told
    assert "Traceback" not in told
    event = json.loads(told)
    assert (event["exception"], event["logger"]) == ("builtins.ValueError", "uvicorn")


def test_a_person_reads_first_what_a_request_was(
    settings: Settings, root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(settings.model_copy(update={"log_format": "console"}))
    values: dict[str, object] = {"method": "POST", "path": "/graphql", "status": 200, "duration_ms": 19.2}
    log = logging.getLogger(logs.REQUESTS)
    log.info("request", extra={**values, "operation": "Name", "codes": [], "statements": {"products": 3}})
    log.info("request", extra={**values, "operation": None, "codes": ["TIMEOUT"], "statements": {}})
    named, nameless = capsys.readouterr().err.splitlines()
    assert "] POST /graphql 200 19 ms Name" in named
    assert "products" in named
    assert "codes" not in named
    assert "POST /graphql 200 19 ms " in nameless
    assert "TIMEOUT" in nameless
    assert not any(word in nameless for word in ("operation", "statements", "None"))


def test_the_level_is_that_of_the_settings(
    settings: Settings, root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(settings.model_copy(update={"log_level": "warning"}))
    logging.getLogger("somebody").info("quiet")
    logging.getLogger("somebody").warning("loud")
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line).items() >= {"event": "loud", "level": "warning", "logger": "somebody"}.items()
