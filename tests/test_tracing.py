"""Traces: which spans there are, below which others, and that none says what for."""

import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Event, Thread
from threading import enumerate as threads

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.testclient import TestClient

from app import tracing
from app.graph.context import Context
from app.graph.engine import Answer, Engine, Request
from app.identity.access_tokens import AccessTokens
from app.main import create_app
from app.settings import DATABASE_NAMES, Settings, SettingsError, load_settings
from app.tracing import Tracing
from app.viewer import Viewer
from tests.factories import Make

ENDPOINT = "http://127.0.0.1:1"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SESSION = "00000000-0000-0000-0000-000000000002"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """In place of a collector: everything that is sent there."""
    exporter = InMemorySpanExporter()

    def exporter_to(_endpoint: str) -> InMemorySpanExporter:
        return exporter

    monkeypatch.setattr(tracing, "exporter_to", exporter_to)
    return exporter


@contextmanager
def traced(settings: Settings, **changes: object) -> Generator[TestClient]:
    """A gateway that traces; when it has ended, everything is exported."""
    settings = settings.model_copy(update={"otel_exporter_otlp_endpoint": ENDPOINT, **changes})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def attributes(span: ReadableSpan) -> Mapping[str, object]:
    return dict(span.attributes or {})


def split(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The one operation, and its reads in the order in which they began."""
    spans = exporter.get_finished_spans()
    [operation] = [span for span in spans if span.kind is SpanKind.SERVER]
    return operation, sorted((span for span in spans if span is not operation), key=lambda span: span.start_time or 0)


QUERY = """query Bought($first: Int!) {
  orders(first: $first) { nodes { status items { quantity product { name } } payments { amount } } }
}"""
READS = [  # table, database, keys, rows
    ("order_items", "orders", 3, 6),
    ("orders", "orders", 1, 3),
    ("payments", "payments", 3, 0),
    ("products", "products", 6, 6),
]


@pytest.mark.anyio
@pytest.mark.parametrize("compiles", [True, False])
async def test_an_operation_and_each_of_its_reads(
    settings: Settings, make: Make, exported: InMemorySpanExporter, compiles: bool
) -> None:
    user = await make.user()
    for number in range(1, 4):
        order = await make.order(user_id=user["id"])
        for _ in range(number):
            await make.item(order, product_id=(await make.product())["id"])
    assert settings.jwt_secret is not None
    token = AccessTokens(settings.jwt_secret.get_secret_value(), 60).issue(Viewer(str(user["id"]), SESSION, "admin"))
    changed = settings.model_copy(update={"otel_exporter_otlp_endpoint": ENDPOINT})
    with TestClient(create_app(changed, compiles=compiles)) as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "authorization": f"Bearer {token}"}
        answer = client.post("/graphql", json={"query": QUERY, "variables": {"first": 4}}, headers=headers)
        assert "errors" not in answer.json()
    operation, reads = split(exported)
    assert operation.name == "query Bought"
    assert attributes(operation) == {
        "graphql.operation.type": "query",
        "graphql.operation.name": "Bought",
        "storegraph.executor": "plan" if compiles else "resolvers",
        "storegraph.codes": (),
    }
    assert operation.status.status_code is StatusCode.UNSET
    assert operation.parent is not None
    assert (operation.parent.trace_id, operation.parent.span_id) == (int(TRACE, 16), int(PARENT, 16))
    assert operation.resource.attributes["service.name"] == "storegraph"
    found = sorted(
        (
            str(attributes(read)["db.collection.name"]),
            attributes(read)["db.namespace"],
            attributes(read)["storegraph.keys"],
            attributes(read)["db.response.returned_rows"],
        )
        for read in reads
    )
    assert found == READS
    for read in reads:
        assert read.name == f"SELECT {attributes(read)['db.collection.name']}"
        assert read.parent is not None
        assert operation.context is not None
        assert read.parent.span_id == operation.context.span_id
        assert (
            (operation.start_time or 0) <= (read.start_time or 0) <= (read.end_time or 0) <= (operation.end_time or 0)
        )


# --- what is not in them


@pytest.mark.anyio
async def test_no_span_says_what_for(settings: Settings, make: Make, exported: InMemorySpanExporter) -> None:
    await make.product(name="secret 1")
    with traced(settings) as client:
        for body in (
            {"query": 'query { secret: products(search: "secret 2") { nodes { secret: name } } }'},
            {"query": "query($w: String) { products(search: $w) { x } }", "variables": {"w": "secret 3"}},
            {"query": 'mutation { logIn(input: {email: "secret@4.example", password: "secret 5"}) { accessToken } }'},
        ):
            client.post("/graphql", json=body, headers={"x-request-id": "secret6", "tracestate": "a=secret7"})
    spans = exported.get_finished_spans()
    assert len(spans) >= 4
    told = " ".join(span.to_json() for span in spans).lower()
    for word in ("secret", "search", "where", "password", "email", "127.0.0.1"):
        assert word not in told, word
    assert not [event for span in spans for event in span.events]


@pytest.mark.parametrize("error", [RuntimeError("secret"), ValueError("secret")])
def test_a_fault_has_no_text(
    settings: Settings, exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fail(_self: Engine, _request: Request, _context: Context) -> Answer:
        raise error

    monkeypatch.setattr(Engine, "answer", fail)
    with traced(settings) as client:
        assert client.post("/graphql", json={"query": "{ __typename }"}).status_code == 500
    [span] = exported.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert "secret" not in span.to_json()


# --- how it went


@pytest.mark.parametrize(
    ("query", "name", "executor", "code", "status"),
    [
        ("{ __typename }", "query", "plan", None, StatusCode.UNSET),
        ("{ nothing }", "GraphQL", "none", "BAD_USER_INPUT", StatusCode.UNSET),
        (
            "mutation Out { logOut(input: {}) { loggedOut } }",
            "mutation Out",
            "resolvers",
            "UNAUTHENTICATED",
            StatusCode.UNSET,
        ),
        ("{ products { totalCount } }", "query", "plan", "DATABASE_UNAVAILABLE", StatusCode.ERROR),
    ],
)
def test_the_outcome(
    settings: Settings,
    exported: InMemorySpanExporter,
    query: str,
    name: str,
    executor: str,
    code: str | None,
    status: StatusCode,
) -> None:
    with traced(settings, products_database_url=NOWHERE) as client:
        client.post("/graphql", json={"query": query})
    operation, reads = split(exported)
    assert (operation.name, operation.status.status_code, operation.parent) == (name, status, None)
    assert attributes(operation)["storegraph.executor"] == executor
    assert attributes(operation)["storegraph.codes"] == ((code,) if code else ())
    for read in reads:
        assert (read.status.status_code, attributes(read)["error.type"]) == (StatusCode.ERROR, "DATABASE_UNAVAILABLE")
    assert len(reads) == (code == "DATABASE_UNAVAILABLE")


@pytest.mark.parametrize("given", ["", "x", "00-" + "0" * 32 + f"-{PARENT}-01", f"00-{TRACE}-{PARENT}", "ä" * 500])
def test_a_parent_that_is_none_is_left_out(settings: Settings, exported: InMemorySpanExporter, given: str) -> None:
    with traced(settings) as client:
        headers = [(b"traceparent", given.encode())]
        assert client.post("/graphql", json={"query": "{ __typename }"}, headers=headers).status_code == 200
    [span] = exported.get_finished_spans()
    assert span.parent is None


def test_what_the_caller_does_not_sample_is_not_exported(settings: Settings, exported: InMemorySpanExporter) -> None:
    with traced(settings) as client:
        for flag in ("00", "01"):
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-{flag}"}
            client.post("/graphql", json={"query": "{ products { totalCount } }"}, headers=headers)
    assert len(exported.get_finished_spans()) == 2


def test_a_log_line_names_its_trace(
    settings: Settings, exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[str, object] = {}
    monkeypatch.setattr("app.graph.http.logs.add", said.update)
    with traced(settings) as client:
        client.post("/graphql", json={"query": "{ __typename }"}, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert said["trace_id"] == TRACE


# --- whether there are any


def test_without_a_collector_nothing_of_it_is_loaded(settings: Settings) -> None:
    program = """
import sys
from starlette.testclient import TestClient
from app.main import create_app
from app.settings import load_settings
with TestClient(create_app(load_settings())) as client:
    assert client.post("/graphql", json={"query": "{ products { totalCount } }"}).json()["data"]
print([name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "prometheus_client")])
"""
    urls = {f"{name.upper()}_DATABASE_URL": settings.database_url(name) for name in DATABASE_NAMES}
    done = subprocess.run([sys.executable, "-c", program], env=urls, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_without_the_package_it_serves_and_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "app.tracing", None)
    with traced(settings) as client:
        assert client.post("/graphql", json={"query": "{ __typename }"}).json()["data"]
    assert "pip install 'storegraph[otel]'" in caplog.text


def test_spans_reach_a_collector(settings: Settings) -> None:
    bodies: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its own name
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}/"
        with traced(settings, otel_exporter_otlp_endpoint=endpoint) as client:
            client.post("/graphql", json={"query": "query Mine { __typename }"})
        server.shutdown()
        thread.join()
    [(path, body)] = bodies
    assert path == "/v1/traces"
    assert b"query Mine" in body


def test_a_collector_that_takes_for_ever_holds_nobody_up(
    settings: Settings, exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the end, either, which would wait for ever for what is being exported."""
    released = Event()
    close = Tracing.close

    def close_late(self: Tracing) -> None:
        released.wait()
        close(self)

    monkeypatch.setattr(Tracing, "close", close_late)
    monkeypatch.setattr(tracing, "FLUSH", 0.05)
    with traced(settings) as client:
        assert client.post("/graphql", json={"query": "{ __typename }"}).json()["data"]
    assert not exported.get_finished_spans()
    [closing] = [thread for thread in threads() if thread.name == "traces"]
    assert closing.daemon
    released.set()
    closing.join()
    assert len(exported.get_finished_spans()) == 1


@pytest.mark.parametrize("wrong", ["collector:4318", "grpc://collector:4317", "http://"])
def test_an_address_that_is_none_is_refused(settings: Settings, wrong: str) -> None:
    urls = {f"{name}_database_url": settings.database_url(name) for name in DATABASE_NAMES}
    with pytest.raises(SettingsError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT: must be an address as in http://"):
        load_settings(**urls, otel_exporter_otlp_endpoint=wrong)
    assert load_settings(**urls, otel_exporter_otlp_endpoint="").otel_exporter_otlp_endpoint is None
