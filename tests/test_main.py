"""The application's routes, over its real lifespan and pools."""

import hashlib
import json
from collections.abc import Generator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.graph.page import tour
from app.main import create_app
from app.middleware import Draining
from app.settings import DATABASE_NAMES, Settings
from tests.factories import Make

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def client(settings: Settings) -> Generator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def lost(settings: Settings) -> Settings:
    """The settings of a gateway whose databases are all gone."""
    return settings.model_copy(update={f"{name}_database_url": NOWHERE for name in DATABASE_NAMES})


def test_a_query(client: TestClient, clean: None) -> None:
    response = client.post("/graphql", json={"query": "{ products { totalCount nodes { name } } }"})
    assert response.status_code == 200
    assert response.json() == {"data": {"products": {"totalCount": 0, "nodes": []}}}


def test_errors_are_json_with_a_code_and_nothing_internal(client: TestClient) -> None:
    response = client.post("/graphql", json={"query": "{ products(first: 0) { nodes { id } } }"})
    assert response.json() == {
        "data": {"products": None},
        "errors": [
            {
                "message": "first must be from 1 to 100.",
                "locations": [{"line": 1, "column": 3}],
                "path": ["products"],
                "extensions": {"code": "BAD_USER_INPUT"},
            }
        ],
        "extensions": {"requestId": response.headers["x-request-id"]},
    }


@pytest.mark.anyio
async def test_answers_are_utf_8(client: TestClient, make: Make) -> None:
    await make.product(name="Ž")
    response = client.post("/graphql", json={"query": "{ products { nodes { name } } }"})
    assert "Ž".encode() in response.content


def test_a_missing_database_is_told_along_with_the_requests_id(settings: Settings) -> None:
    partly = settings.model_copy(update={"products_database_url": NOWHERE})
    with TestClient(create_app(partly)) as client:
        answer = client.post(
            "/graphql", json={"query": "{ products { nodes { id } } }"}, headers={"x-request-id": "it"}
        )
    assert answer.json()["extensions"] == {"databases": {"products": "unavailable"}, "requestId": "it"}


# --- the page


def test_the_root_leads_to_the_page(client: TestClient) -> None:
    assert client.get("/", follow_redirects=False).headers["location"] == "/graphql"


def test_a_browser_gets_the_page_with_the_first_queries(client: TestClient) -> None:
    response = client.get("/graphql", headers=HTML)
    assert response.headers["content-type"].startswith("text/html")
    assert json.dumps(tour(demo=False)) in response.text
    assert response.text.count('id="without-cdn"') == 1
    assert "<title>storegraph</title>" in response.text
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["vary"] == "Accept"
    assert "/demo/token" not in response.text
    assert json.dumps(tour(demo=True)) not in response.text


def test_the_page_can_be_turned_off(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"graphiql": False}))) as client:
        assert "<html" not in client.get("/graphql", headers=HTML).text


def test_introspection_can_be_turned_off(settings: Settings) -> None:
    query = {"query": "{ __schema { types { name } } }"}
    with TestClient(create_app(settings.model_copy(update={"introspection": False}))) as client:
        response = client.post("/graphql", json=query).json()
        assert "data" not in response
        assert response["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        for wrong in ("{ viewerr { id } }", "{ users(frist: 1) { totalCount } }", "query($x: Usr) { viewer { id } }"):
            [error] = client.post("/graphql", json={"query": wrong}).json()["errors"][:1]
            assert "Did you mean" not in error["message"]
        assert client.get("/schema.graphql").status_code == 404
        assert client.post("/graphql", json={"query": "{ viewer { __typename } }"}).json() == {"data": {"viewer": None}}
    with TestClient(create_app(settings)) as client:
        assert client.post("/graphql", json=query).json()["data"]["__schema"]
        wrong = client.post("/graphql", json={"query": "{ viewerr { id } }"}).json()
        assert "Did you mean 'viewer'" in wrong["errors"][0]["message"]


def test_the_schema_is_served(client: TestClient) -> None:
    response = client.get("/schema.graphql")
    assert response.headers["content-type"].startswith("text/plain")
    assert "type Query {" in response.text


# --- what is not there


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", "/graphql/", 404, "NOT_FOUND"),
        ("POST", "/demo/token", 404, "NOT_FOUND"),
        ("POST", "/healthz", 405, "BAD_USER_INPUT"),
        ("DELETE", "/readyz", 405, "BAD_USER_INPUT"),
    ],
)
def test_other_addresses_are_refused_as_everything_is(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.request(method, path, headers={"host": "evil.example"})
    assert response.status_code == status
    [error] = response.json()["errors"]
    assert error["extensions"] == {"code": code}
    assert error["message"]
    assert ("allow" in response.headers) == (status == 405)


# --- health


def test_health_and_readiness(settings: Settings) -> None:
    draining = Draining()
    with TestClient(create_app(settings, draining=draining)) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        response = client.get("/readyz")
        assert response.status_code == 200
        assert response.json() == {"databases": dict.fromkeys(DATABASE_NAMES, "ok")}
        assert "connection" not in response.headers

        draining.begun = True
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        answer = client.post("/graphql", json={"query": "{ __typename }"})
        assert answer.json() == {"data": {"__typename": "Query"}}
        assert answer.headers["connection"] == "close"


def test_it_starts_and_says_so_while_databases_are_down(
    settings: Settings, lost: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    partly = settings.model_copy(update={"products_database_url": NOWHERE})
    with TestClient(create_app(partly)) as client:
        response = client.get("/readyz")
        assert response.status_code == 200
        assert response.json()["databases"]["products"] == "unavailable"
        assert client.get("/healthz").status_code == 200
    with TestClient(create_app(lost)) as client:
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    assert json.dumps([r.getMessage() for r in caplog.records]).count("does not answer") == 5
    assert "nobody" not in caplog.text


# --- other sites and caches


def test_no_other_sites_page_may_read_answers(client: TestClient) -> None:
    origin = {"origin": "https://shop.example"}
    response = client.post("/graphql", json={"query": "{ __typename }"}, headers=origin)
    assert not [name for name in response.headers if name.startswith("access-control")]
    preflight = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    assert not [n for n in client.options("/graphql", headers=preflight).headers if n.startswith("access-control")]


def test_the_pages_of_sites_that_are_named_may(settings: Settings) -> None:
    named = settings.model_copy(update={"cors_origins": ("https://shop.example",), "max_body": 100})
    query = {"query": "{ __typename }"}
    with TestClient(create_app(named)) as client:
        for origin, allowed in (("https://shop.example", True), ("https://evil.example", False)):
            headers = {"origin": origin}
            for response in (
                client.post("/graphql", json=query, headers=headers),
                client.post("/graphql", json={"query": "x" * 200}, headers=headers),  # refused, and readable
            ):
                assert (response.headers.get("access-control-allow-origin") == origin) == allowed
                assert "access-control-allow-credentials" not in response.headers
            asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
            preflight = client.options("/graphql", headers=headers | asked)
            assert (preflight.status_code == 200) == allowed
            assert (preflight.headers.get("access-control-allow-origin") == origin) == allowed
        assert client.post("/graphql", json={"query": "x" * 200}).status_code == 413


def test_only_public_answers_to_a_get_by_hash_may_be_kept(settings: Settings, tmp_path: Path) -> None:
    public, private = "{ products { totalCount } }", "{ orders { totalCount } }"
    hashes = {text: hashlib.sha256(text.encode()).hexdigest() for text in (public, private)}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({hash_: text for text, hash_ in hashes.items()}))
    trusting = settings.model_copy(update={"trusted_documents": "log", "trusted_documents_manifest": manifest})
    by_hash = {"documentId": f"sha256:{hashes[public]}"}
    apollo = {"extensions": json.dumps({"persistedQuery": {"version": 1, "sha256Hash": hashes[public]}})}
    with TestClient(create_app(trusting)) as client:
        for params in (by_hash, apollo):
            response = client.get("/graphql", params=params)
            assert response.json() == {"data": {"products": {"totalCount": 0}}}
            assert response.headers["cache-control"] == "public, max-age=60"
            assert {"Accept", "Authorization", "Origin"} <= set(response.headers["vary"].split(", "))
        for response in (
            client.get("/graphql", params={"query": public}),
            client.get("/graphql", params={"documentId": f"sha256:{hashes[private]}"}),
            client.get("/graphql", params={"documentId": "sha256:" + "0" * 64}),
            client.post("/graphql", json=by_hash),
        ):
            assert response.headers["cache-control"] == "private, no-store"


# --- ids and faults


@pytest.mark.parametrize("given", ["a", "0190b0c0-0000-7000-8000-000000000000", "Root=1-67891233-abcdef", "x" * 128])
def test_a_request_keeps_the_id_that_it_came_with(client: TestClient, given: str) -> None:
    assert client.get("/healthz", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", " ", "a b", "x" * 129, 'a"b', "ä".encode().decode("latin-1"), "a,b", "<a>"])
def test_an_id_that_is_none_is_replaced(client: TestClient, given: str) -> None:
    answers = [client.get("/healthz", headers=[(b"x-request-id", given.encode("latin-1"))]) for _ in range(2)]
    made = {answer.headers["x-request-id"] for answer in answers}
    assert len(made) == 2
    assert given not in made


def test_a_fault_of_ours_is_masked_and_logged_without_its_text(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("secret 4711")

    monkeypatch.setattr("app.graph.engine.Engine.answer", fail)
    with TestClient(create_app(settings)) as client:
        response = client.post("/graphql", json={"query": "{ __typename }"})
    assert response.status_code == 500
    [error] = response.json()["errors"]
    assert error["message"] == "Something went wrong on our side."
    assert error["extensions"]["code"] == "INTERNAL"
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert vars(record)["error_id"] == error["extensions"]["errorId"]
    assert vars(record)["exception"] == "builtins.RuntimeError"
    assert "graph/http.py" in vars(record)["stack"]
    assert "4711" not in json.dumps([vars(record) for record in caplog.records], default=str) + response.text
