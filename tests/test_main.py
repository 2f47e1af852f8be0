"""The application's routes, over its real lifespan and pools."""

import json
from collections.abc import Generator

import pytest
from starlette.testclient import TestClient

from app.graph.view import FIRST_QUERY
from app.main import create_app
from app.settings import Settings

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def client(settings: Settings) -> Generator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def lost(settings: Settings) -> Settings:
    """The settings of a gateway whose databases are all gone."""
    return settings.model_copy(
        update={f"{name}_database_url": NOWHERE for name in ("users", "products", "orders", "payments")}
    )


def test_a_query(client: TestClient, clean: None) -> None:
    response = client.post("/graphql", json={"query": FIRST_QUERY})
    assert response.status_code == 200
    assert response.json() == {"data": {"orders": {"totalCount": 0, "nodes": []}}}


def test_errors_are_json_with_a_code_and_nothing_internal(client: TestClient) -> None:
    response = client.post("/graphql", json={"query": "{ orders(first: 0) { nodes { id } } }"})
    assert response.json() == {
        "data": {"orders": None},
        "errors": [
            {
                "message": "first must be from 1 to 100.",
                "locations": [{"line": 1, "column": 3}],
                "path": ["orders"],
                "extensions": {"code": "BAD_USER_INPUT"},
            }
        ],
    }


@pytest.mark.parametrize(
    "body", [b"3", b"null", b'"x"', b"[]", b"{}", b"{", b'{"query": "\xff"}', b'{"query": 3}', b""]
)
def test_a_body_that_is_no_request_is_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/graphql", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert "Internal" not in response.text


def test_answers_are_utf_8_even_about_what_is_not(client: TestClient) -> None:
    query = "query($x: Int) { users(first: $x) { totalCount } }"
    for sent, shown in (("Ž", "Ž".encode()), ("\ud800", rb"\ud800")):
        response = client.post(
            "/graphql",
            content=json.dumps({"query": query, "variables": {"x": sent}}),
            headers={"content-type": "application/json"},
        )
        assert shown in response.content
        assert response.json()["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


def test_the_root_leads_to_the_page(client: TestClient) -> None:
    assert client.get("/", follow_redirects=False).headers["location"] == "/graphql"


def test_a_browser_gets_the_page_with_the_first_query(client: TestClient) -> None:
    response = client.get("/graphql", headers={"accept": "text/html"})
    assert response.headers["content-type"].startswith("text/html")
    assert FIRST_QUERY in response.text
    assert response.text.count('id="without-cdn"') == 1
    assert "<title>storegraph</title>" in response.text


def test_the_page_can_be_turned_off(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"graphiql": False}))) as client:
        assert "<html" not in client.get("/graphql", headers={"accept": "text/html"}).text


def test_introspection_can_be_turned_off(settings: Settings) -> None:
    query = {"query": "{ __schema { types { name } } }"}
    with TestClient(create_app(settings.model_copy(update={"introspection": False}))) as client:
        response = client.post("/graphql", json=query).json()
        assert "data" not in response or response["data"] is None
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


def test_health_and_readiness(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"databases": dict.fromkeys(("users", "products", "orders", "payments"), "ok")}


def test_it_starts_and_says_so_while_databases_are_down(
    settings: Settings, lost: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    partly = settings.model_copy(update={"orders_database_url": NOWHERE})
    with TestClient(create_app(partly)) as client:
        response = client.get("/readyz")
        assert response.status_code == 200
        assert response.json()["databases"]["orders"] == "unavailable"
        assert client.get("/healthz").status_code == 200
        answer = client.post("/graphql", json={"query": "{ users { nodes { id } } orders { nodes { id } } }"}).json()
        assert answer["data"] == {"users": {"nodes": []}, "orders": None}
    with TestClient(create_app(lost)) as client:
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    assert json.dumps([r.getMessage() for r in caplog.records]).count("does not answer") == 5
    assert "nobody" not in caplog.text
