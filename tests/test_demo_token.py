"""The demo's tokens: one click for who sits at the machine, nothing for anybody else."""

import json
import secrets
from collections.abc import Generator

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from app.graph.page import tour
from app.main import create_app
from app.settings import Settings
from tests.factories import Make
from tests.http_server import exchange, post, served, until

HERE = "http://127.0.0.1:8000"
PATH = "/demo/token"
ADMIN = {"role": "admin"}


@pytest.fixture
def demo_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"jwt_secret": SecretStr(secrets.token_urlsafe(48))})


@pytest.fixture
def client(demo_settings: Settings) -> Generator[TestClient]:
    app = create_app(demo_settings, demo=True)
    with TestClient(app, base_url=HERE, client=("127.0.0.1", 40000)) as client:
        yield client


@pytest.mark.anyio
async def test_a_token_makes_its_bearer_the_oldest_active_user_of_the_role(make: Make, client: TestClient) -> None:
    await make.user(email="suspended@example.com", role="admin", status="suspended")
    for role in ("admin", "customer"):
        await make.user(email=f"{role}@example.com", role=role)
        response = client.post(PATH, json={"role": role}, headers={"origin": HERE})
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        answer = response.json()
        assert answer["expiresIn"] == 900
        viewer = client.post(
            "/graphql",
            json={"query": "{ viewer { email } }"},
            headers={"authorization": f"Bearer {answer['accessToken']}"},
        )
        assert viewer.json() == {"data": {"viewer": {"email": f"{role}@example.com"}}}


def test_a_role_that_nobody_has_is_told(client: TestClient, clean: None) -> None:
    response = client.post(PATH, json=ADMIN)
    assert response.status_code == 404
    assert response.json()["errors"][0]["extensions"] == {"code": "NOT_FOUND"}


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "127.8.9.1"])
def test_the_machines_own_names_are_taken(client: TestClient, host: str, clean: None) -> None:
    assert client.post(PATH, json=ADMIN, headers={"host": host, "origin": f"http://{host}"}).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:8000"},  # a name that was made to lead here
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example", "origin": "http://localhost.evil.example"},
        {"host": ""},
        {"host": "["},
        {"host": "0.0.0.0:8000"},
        {"host": "evil.example@127.0.0.1", "origin": "https://evil.example"},
        {"host": "127.0.0.1:8000@127.0.0.1:8000"},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "http://localhost:8000"},
        {"origin": "null"},
        {"origin": ""},
    ],
)
def test_pages_of_other_sites_get_none(client: TestClient, headers: dict[str, str]) -> None:
    response = client.post(PATH, json=ADMIN, headers=headers)
    assert response.status_code == 403
    assert response.json()["errors"][0]["extensions"] == {"code": "FORBIDDEN"}


def test_other_machines_get_none(demo_settings: Settings) -> None:
    with TestClient(create_app(demo_settings, demo=True), base_url=HERE, client=("192.0.2.7", 40000)) as client:
        assert client.post(PATH, json=ADMIN).status_code == 403


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        (json.dumps(ADMIN), "text/plain"),
        ("role=admin", "application/x-www-form-urlencoded"),
        ('{"role": "root"}', "application/json"),
        ('{"role": ["admin"]}', "application/json"),
        ('["admin"]', "application/json"),
        ("{", "application/json"),
        ("[" * 900, "application/json"),
        (json.dumps({**ADMIN, "x": "x" * 5000}), "application/json"),
        (b"\xff", "application/json"),
        ("", "application/json"),
    ],
)
def test_what_names_no_role_is_refused(client: TestClient, body: str | bytes, type_: str) -> None:
    response = client.post(PATH, content=body, headers={"content-type": type_})
    assert response.status_code == 400
    assert "admin" in response.json()["errors"][0]["message"]


def test_the_page_has_the_switch_and_is_served_nowhere_else(client: TestClient, demo_settings: Settings) -> None:
    html = {"accept": "text/html"}
    page = client.get("/graphql", headers=html).text
    assert page.count('id="viewer"') == 1
    assert page.count("/demo/token") == 1
    assert json.dumps(tour(demo=True)) in page
    with TestClient(create_app(demo_settings), base_url=HERE, client=("127.0.0.1", 40000)) as serving:
        assert serving.post(PATH, json=ADMIN).status_code == 404
        assert "/demo/token" not in serving.get("/graphql", headers=html).text


# --- on a real socket


@pytest.fixture
def port(demo_settings: Settings) -> Generator[int]:
    hasty = demo_settings.model_copy(update={"body_timeout": 0.3})
    with served(create_app(hasty, demo=True), hasty) as port:
        yield port


@pytest.mark.parametrize("second", ["Host: evil.example", "Host: 127.0.0.1"])
def test_a_request_with_two_hosts_gets_none(port: int, second: str) -> None:
    assert exchange(port, post(b'{"role": "admin"}', second, path=PATH)).startswith(b"HTTP/1.1 403 ")


def test_a_body_that_does_not_arrive_in_time_is_refused(port: int) -> None:
    answer = exchange(port, post(b'{"role"', "Content-Length: 100", path=PATH))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"TIMEOUT"' in answer


def test_a_client_that_goes_away_is_no_error(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    exchange(port, post(b'{"role"', "Content-Length: 100", path=PATH), then_close=True)
    until(lambda: any(getattr(record, "status", None) == 499 for record in caplog.records))
    assert [record for record in caplog.records if record.levelname != "INFO"] == []
