"""Replicas seen from outside: X-Read-After, readiness, and what is written and read over HTTP."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from httpx2 import Response
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app import replicas
from app.errors import BadUserInputError
from app.graph.context import Context, Services
from app.graph.engine import Engine, Request
from app.graph.schema import build_schema
from app.main import create_app
from app.operations.connect import connected
from app.replicas import Positions, printed, read_positions
from app.settings import DATABASE_NAMES, Settings
from app.viewer import Viewer
from tests.replicas.standby import Standby, eventually

pytestmark = pytest.mark.anyio

ADA = {"email": "ada@example.com", "password": "correct horse"}
SIGN_UP = "mutation($i: SignUpInput!) { signUp(input: $i) { accessToken user { email } } }"
ME = "{ viewer { email } }"
HEADER = "x-read-after"


@pytest.fixture(autouse=True)
def looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "INTERVAL", 0.01)


@contextmanager
def gateway(settings: Settings, standby: Standby, **changes: object) -> Generator[TestClient]:
    """A gateway of its own over the same databases; users have a standby, which is read from."""
    urls = {"users_replica_url": (standby.url("ecommerce_users"),)}
    with TestClient(create_app(settings.model_copy(update=urls | changes))) as client:
        yield client


async def used(*clients: TestClient) -> None:
    """Wait until the gateways read from the standby."""

    async def are_used() -> bool:
        return all(replica.is_used for client in clients for replica in client.app_state["services"].replicas)

    await eventually(are_used)


def asked(client: TestClient, query: str, token: str | None = None, after: str | None = None, **given: Any) -> Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    headers |= {HEADER: after} if after else {}
    return client.post("/graphql", json={"query": query, "variables": given}, headers=headers)


def email(response: Response) -> str | None:
    assert "errors" not in response.json()
    viewer = response.json()["data"]["viewer"]
    return viewer and viewer["email"]


async def test_a_session_sees_what_it_wrote_in_one_process_and_by_the_header_in_all(
    settings: Settings, standby: Standby
) -> None:
    with gateway(settings, standby) as one, gateway(settings, standby) as other:
        await used(one, other)
        await standby.pause()
        response = asked(one, SIGN_UP, i=ADA)
        begun = response.json()["data"]["signUp"]
        assert begun["user"] == {"email": "ada@example.com"}  # of the primary
        token, after = begun["accessToken"], response.headers[HEADER]
        assert after.startswith("users=")
        assert email(asked(one, ME, token)) == "ada@example.com"
        assert email(asked(other, ME, token)) is None
        read = asked(other, ME, token, after)
        assert email(read) == "ada@example.com"
        assert HEADER not in read.headers  # it has written nothing
        assert email(asked(other, ME, token)) is None  # what a client sends holds for that request
        assert email(asked(other, ME, token, "users=FFFFFFFF/FFFFFFFF")) == "ada@example.com"
        assert email(asked(other, ME, token, "users=0/1, reviews=0/1")) is None

        async def is_there() -> bool:
            return email(asked(other, ME, token)) == "ada@example.com"

        await standby.resume()
        await eventually(is_there)
        await standby.pause()
        async with connected("users", settings.users_database_url) as connection:
            await connection.execute("UPDATE users SET email = 'grace@example.com'")
        assert email(asked(other, ME, token, after)) == "ada@example.com"  # of the standby, which has that by now


async def test_positions_that_a_client_knows_of_are_kept_with_new_ones(settings: Settings, standby: Standby) -> None:
    with gateway(settings, standby) as client:
        response = asked(client, SIGN_UP, after="orders=1/A, users=0/1", i=ADA)
        found = dict(part.split("=") for part in response.headers[HEADER].split(", "))
        assert found["orders"] == "1/A"
        assert found["users"] != "0/1"


async def test_a_header_that_no_answer_has_had_is_refused(settings: Settings, standby: Standby) -> None:
    with gateway(settings, standby) as client:
        response = asked(client, "{ __typename }", after="users=12")
        assert response.status_code == 400
        assert response.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    with TestClient(create_app(settings)) as client:  # where nothing depends on it
        assert asked(client, "{ __typename }", after="users=12").status_code == 200
        assert HEADER not in asked(client, SIGN_UP, i=ADA).headers


async def test_a_mutation_reads_nothing_from_a_standby(settings: Settings, standby: Standby) -> None:
    with gateway(settings, standby) as client:
        await used(client)
        services: Services = client.app_state["services"]
        engine = Engine(build_schema(), settings)
        log_in = 'mutation { logIn(input: {email: "nobody@example.com", password: "-"}) { user { email } } }'
        for query, reads_there in ((ME, True), ("{ __typename }", True), (log_in, False)):
            context = Context(services)
            assert client.portal is not None
            client.portal.call(engine.answer, Request(query), context)
            assert (context.loaders.sources is not services.databases) == reads_there


async def test_a_session_follows_what_it_commits_itself(settings: Settings, standby: Standby) -> None:
    viewer = Viewer(str(UUID(int=1)), str(UUID(int=2)), "customer")
    with gateway(settings, standby) as client:
        await used(client)
        services: Services = client.app_state["services"]
        assert services.replicas is not None
        for commits in (False, True):
            if commits:
                Context(services, viewer).has_committed("users", 2**63)
            source = services.replicas.reading(viewer.session, {})["users"]
            assert (source is services.databases["users"]) == commits


async def test_while_the_primary_is_down_it_is_ready_and_reads_go_on(settings: Settings, standby: Standby) -> None:
    with TestClient(create_app(settings)) as client:
        token = asked(client, SIGN_UP, i=ADA).json()["data"]["signUp"]["accessToken"]
    await standby.catch_up()
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    with gateway(settings, standby, users_database_url=nowhere) as client:
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json() == {"databases": dict.fromkeys(DATABASE_NAMES, "ok") | {"users": "read-only"}}
        assert email(asked(client, ME, token)) == "ada@example.com"
        for response in (asked(client, SIGN_UP, i=ADA), asked(client, ME, token, "users=FFFFFFFF/FFFFFFFF")):
            [error] = response.json()["errors"]
            assert error["extensions"]["code"] == "DATABASE_UNAVAILABLE"


def test_pages_of_other_sites_may_send_and_read_it(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"cors_origins": ("https://shop.example",)}))) as client:
        origin = {"origin": "https://shop.example"}
        asks = {"access-control-request-method": "POST", "access-control-request-headers": HEADER}
        assert client.options("/graphql", headers=origin | asks).status_code == 200
        answer = client.post("/graphql", json={"query": "{ __typename }"}, headers=origin)
        assert "X-Read-After" in answer.headers["access-control-expose-headers"]


# --- the header


POSITIONS = st.dictionaries(st.sampled_from(DATABASE_NAMES), st.integers(0, 2**64 - 1))


@given(POSITIONS, POSITIONS)
def test_a_header_is_read_as_it_was_printed_and_of_two_the_furthest(one: Positions, two: Positions) -> None:
    assert read_positions(printed(one)) == one
    both = {name: max(one.get(name, 0), two.get(name, 0)) for name in one.keys() | two.keys()}
    assert read_positions(f"{printed(one)}, {printed(two)}") == both


def test_a_position_is_printed_as_postgresql_does() -> None:
    assert printed({"users": 0x16_B374D848, "orders": 0x3000060}) == "orders=0/3000060, users=16/B374D848"
    assert read_positions("reviews=0/1, users=0/A,,") == {"users": 10}  # a later version's database


@pytest.mark.parametrize(
    "header",
    [
        *("x", "users", "users=", "users=1", "users=0/", "users=0/g", "users=0/1;", "users=123456789/0", "users=-1/0"),
        *("USERS=0/1", "users=0/٣", "users=0/1 orders=0/1", "users=0/1," * 200),
    ],
)
def test_what_no_answer_has_had_is_refused(header: str) -> None:
    with pytest.raises(BadUserInputError, match=r"^X-Read-After is not"):
        read_positions(header)
