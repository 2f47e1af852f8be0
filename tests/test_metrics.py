"""What the gateway says of itself to Prometheus: the port, the numbers of requests, and what is in no label."""

import asyncio
import socket
import urllib.request
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from http.client import HTTPConnection
from math import inf

import pytest
from httpx2 import Response
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.database import Databases
from app.errors import ErrorCode, OperationError
from app.graph.context import Context, Services
from app.graph.engine import Answer, Engine, Request
from app.graph.http import Endpoint
from app.graph.schema import build_schema
from app.identity.sessions import Identity
from app.main import create_app
from app.metrics import Distribution
from app.settings import DATABASE_NAMES, Settings, SettingsError, load_settings
from tests.http_server import free_port

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def measured(settings: Settings) -> Settings:
    """The settings of a gateway with metrics, which are at a port of their own."""
    return settings.model_copy(update={"metrics_port": free_port()})


@pytest.fixture
def client(measured: Settings) -> Generator[TestClient]:
    with TestClient(create_app(measured), raise_server_exceptions=False) as client:
        yield client


def scraped(settings: Settings) -> Series:
    """Every series, by name and labels, as Prometheus reads it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{settings.metrics_port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(series: Series, name: str, **labels: str) -> float:
    """The sum of all series of a name that have these labels."""
    return sum(
        value for (found, with_), value in series.items() if found == name and labels.items() <= dict(with_).items()
    )


# --- requests

QUERIES = {
    "a plan": {"query": "{ products { nodes { id } } }"},
    "with an error": {"query": "{ products(first: 0) { nodes { id } } categories { totalCount } }"},
    "not signed in": {"query": "{ orders { totalCount } viewer { id } }"},
    "resolvers": {"query": "{ __schema { queryType { name } } }"},
    "a mutation": {"query": "mutation { logOut(input: {}) { loggedOut } }"},
    "no document": {"query": "{ nothing }"},
    "no syntax": {"query": "{"},
    "too much": {"query": "{" + "".join(f"a{i}: __typename " for i in range(60)) + "}"},
    "no request": {"wrong": 1},
}
HEADERS = {"accept": "application/graphql-response+json"}


def codes_of(response: Response) -> set[str]:
    return {error["extensions"]["code"] for error in response.json().get("errors", ())}


def test_each_request_is_counted_by_status_executor_and_codes(client: TestClient, measured: Settings) -> None:
    answered: Counter[tuple[str, str, str]] = Counter()
    codes: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    bodies = [body for number, body in enumerate(QUERIES.values(), 1) for _ in range(number)]
    responses = [client.post("/graphql", json=body, headers=HEADERS) for body in bodies]
    responses += [
        client.post("/graphql", json=QUERIES["a plan"], headers={**HEADERS, "authorization": "Bearer x"}),
        client.get("/graphql", params=QUERIES["a mutation"], headers=HEADERS),
        client.put("/graphql", headers=HEADERS),
        client.post("/graphql", content="x" * 300_000, headers={"content-type": "application/json"}),
        client.get("/graphql", headers={"accept": "image/png"}),
    ]
    for body, response in zip([*bodies, *[{}] * 5], responses, strict=True):
        executor = response.headers.get("x-executor", "none")
        operation = "none" if executor == "none" else "mutation" if "mutation" in str(body) else "query"
        answered[str(response.status_code), executor, operation] += 1
        codes.update(codes_of(response))
        refused.update(codes_of(response) if executor == "none" else ())
    assert len(answered) >= 8
    assert len(codes) >= 3
    series = scraped(measured)
    name = "storegraph_requests_total"
    labels = ("status", "executor", "operation")
    assert {key: of(series, name, **dict(zip(labels, key, strict=True))) for key in answered} == answered
    assert of(series, name) == of(series, "storegraph_request_duration_seconds_count") == len(responses)
    assert {code: of(series, "storegraph_errors_total", code=code) for code in ErrorCode} == {
        code: codes[code] for code in ErrorCode
    }
    assert {code: of(series, "storegraph_requests_refused_total", code=code) for code in ErrorCode} == {
        code: refused[code] for code in ErrorCode
    }
    assert of(series, "storegraph_requests_in_flight") == 0


def test_documents_and_plans_are_counted(client: TestClient, measured: Settings) -> None:
    for body in (QUERIES["a plan"], QUERIES["a plan"], QUERIES["resolvers"], QUERIES["no document"]):
        client.post("/graphql", json=body)
    series = scraped(measured)
    assert of(series, "storegraph_documents_cached") == 2
    assert of(series, "storegraph_document_lookups_total", result="hit") == 1
    assert of(series, "storegraph_document_lookups_total", result="miss") == 3
    assert of(series, "storegraph_plans_total", result="compiled") == 1
    assert of(series, "storegraph_plans_total", result="declined") == 1


def test_what_is_being_answered_and_faults_are_counted(
    client: TestClient, measured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[float] = []

    async def fail(_self: Engine, _request: Request, _context: Context) -> Answer:
        during.append(of(await asyncio.to_thread(scraped, measured), "storegraph_requests_in_flight"))
        raise RuntimeError

    monkeypatch.setattr(Engine, "answer", fail)
    assert client.post("/graphql", json=QUERIES["a plan"]).status_code == 500
    series = scraped(measured)
    assert during == [1]
    assert of(series, "storegraph_requests_in_flight") == 0
    assert of(series, "storegraph_requests_total", status="500", executor="none") == 1
    assert of(series, "storegraph_errors_total", code="INTERNAL") == 1


@pytest.mark.anyio
async def test_whoever_goes_away_or_is_broken_off_is_counted(settings: Settings) -> None:
    async with Databases.opened(settings) as databases, Identity.opened(databases, settings) as identity:
        endpoint = Endpoint(Engine(build_schema(), settings), settings, None)
        headers = [(b"content-type", b"application/json")]
        state = {"services": Services(databases, settings, identity)}
        scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers}

        async def gone() -> dict[str, str]:
            return {"type": "http.disconnect"}

        async def never() -> dict[str, str]:
            waiting.set()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(_: object) -> None:
            raise AssertionError

        await endpoint(scope | {"state": state}, gone, send)
        waiting = asyncio.Event()
        task = asyncio.create_task(endpoint(scope | {"state": state}, never, send))
        await waiting.wait()
        task.cancel()
        await asyncio.wait({task})
    assert endpoint.figures.answered == {(499, "none", "none"): 1, (503, "none", "none"): 1}
    assert endpoint.figures.codes == {"TIMEOUT": 1}


# --- what is in no label


def test_nothing_that_clients_send_makes_a_series(client: TestClient, measured: Settings) -> None:
    def send(word: str) -> None:
        query = f'query {word} {{ {word}: products(search: "{word}") {{ nodes {{ {word}: name }} }} }}'
        for body in (
            {"query": query, "operationName": word, "variables": {word: word}},
            {"query": f"mutation {word} {{ {word}: logOut(input: {{}}) {{ loggedOut }} }}"},
            {"query": f"{{ {word} }}"},
        ):
            client.post("/graphql", json=body, headers={"x-request-id": word, "user-agent": word})
        client.request(word, "/graphql")
        client.get(f"/{word}")

    send("first")
    before = scraped(measured)
    for number in range(20):
        send(f"secret{number}")
    after = scraped(measured)
    # What the orders database is asked in the background of a scrape is there once it has answered.
    asked = ("storegraph_partitions_ahead_months", "storegraph_product_stats_age_seconds")
    series = [{key for key in scrape if key[0] not in asked} for scrape in (before, after)]
    assert series[0] == series[1]
    assert "secret" not in str(after.keys())
    assert of(after, "storegraph_requests_total") == 21 * 4


# --- where they are


def test_they_have_a_port_of_their_own(client: TestClient, measured: Settings) -> None:
    assert client.get("/metrics").status_code == 404
    connection = HTTPConnection("127.0.0.1", measured.metrics_port or 0, timeout=20)
    for method, path, status in (
        ("GET", "/metrics", 200),
        ("HEAD", "/metrics", 200),
        ("POST", "/metrics", 405),
        ("GET", "/graphql", 404),
        ("GET", "/", 404),
    ):
        connection.request(method, path)
        response = connection.getresponse()
        assert (response.status, response.getheader("server")) == (status, None)
        response.read()
    connection.close()


def test_both_formats_are_served(client: TestClient, measured: Settings) -> None:
    """Their own parser of the newer one is strict: about names, units, and the order of buckets."""
    client.post("/graphql", json=QUERIES["a plan"])
    request = urllib.request.Request(
        f"http://127.0.0.1:{measured.metrics_port}/metrics", headers={"accept": "application/openmetrics-text"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert len(families_of(answer.read().decode())) > 20
    for name, with_ in scraped(measured):
        assert name.startswith(("storegraph_", "process_", "python_")), with_


def families_of(text: str) -> list[Metric]:
    parse: Callable[[str], Iterator[Metric]] = getattr(open_metrics, "text_string_to_metric_families")  # noqa: B009 -- it has no types
    return list(parse(text))


def test_without_a_port_there_are_none(settings: Settings, measured: Settings) -> None:
    with TestClient(create_app(settings)), socket.socket() as unused:
        unused.bind(("127.0.0.1", measured.metrics_port or 0))


def test_a_port_that_is_taken_ends_the_start_with_a_line(measured: Settings, caplog: pytest.LogCaptureFixture) -> None:
    line = f"cannot serve metrics on 127.0.0.1 port {measured.metrics_port}: Address already in use"
    taken = socket.create_server(("127.0.0.1", measured.metrics_port or 0))
    with taken, pytest.raises(OperationError, match=line), TestClient(create_app(measured)):
        pass
    assert line in caplog.text
    nowhere = measured.model_copy(update={"metrics_host": "no.such.host.invalid"})
    with pytest.raises(OperationError, match=r"no\.such\.host\.invalid"), TestClient(create_app(nowhere)):
        pass


def test_it_is_not_the_port_of_the_api(settings: Settings) -> None:
    urls = {f"{name}_database_url": settings.database_url(name) for name in DATABASE_NAMES}
    with pytest.raises(SettingsError) as error:
        load_settings(**urls, port=9000, metrics_port=9000)
    assert str(error.value) == "METRICS_PORT and PORT are the same; metrics need a port of their own"


# --- how they are counted


@given(st.lists(st.floats(0, 20)), st.lists(st.floats(0, 20), min_size=1, unique=True).map(sorted))
def test_a_distribution_counts_what_is_at_most_each_bound(values: list[float], bounds: list[float]) -> None:
    distribution = Distribution(tuple(bounds))
    for value in values:
        distribution.add(value)
    assert list(distribution.cumulative()) == [
        (bound, sum(value <= bound for value in values)) for bound in (*bounds, inf)
    ]
    assert distribution.sum == pytest.approx(sum(values))
