"""``/schema.graphql``: the text, and what spares a client that has it already from getting it again."""

from collections.abc import Generator

import pytest
import strawberry
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.graph.schema_route import schema_route
from app.graph.schema_text import gateway_sdl
from app.graph.visibility import public
from app.main import create_app
from app.settings import Settings

PATH = "/schema.graphql"


@pytest.fixture
def client(settings: Settings) -> Generator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


def test_it_is_what_is_exported(client: TestClient) -> None:
    response = client.get(PATH)
    assert response.status_code == 200
    assert response.content == gateway_sdl().encode()
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert client.head(PATH).headers["etag"] == response.headers["etag"]
    assert client.head(PATH).content == b""


def test_who_has_it_is_told_so_without_it(client: TestClient) -> None:
    tag = client.get(PATH).headers["etag"]
    assert tag[0] == tag[-1] == '"'
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*", f'"a",W/{tag} , "b"'):
        response = client.get(PATH, headers={"If-None-Match": given})
        assert response.status_code == 304, given
        assert response.content == b""
        assert response.headers["etag"] == tag
        assert response.headers["cache-control"] == "no-cache"
    for given in ('"other"', tag.strip('"'), f'"{tag[1:4]}"', ""):
        response = client.get(PATH, headers={"If-None-Match": given})
        assert response.status_code == 200, given
        assert response.content == gateway_sdl().encode()


def test_another_text_has_another_tag(client: TestClient) -> None:
    @strawberry.type(description="Everything.")
    class Query:
        one: int = public("One.")

    class Described(Query):
        pass

    first = strawberry.Schema(Query)
    second = strawberry.Schema(strawberry.type(Described, name="Query", description="Everything else."))
    tags = [
        TestClient(Starlette(routes=[schema_route(of, shown=True)])).get(PATH).headers["etag"]
        for of in (first, second, first)
    ]
    assert tags[0] == tags[2] != tags[1]
    assert client.get(PATH).headers["etag"] not in tags


def test_it_is_not_shown_where_introspection_is_off(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"introspection": False}))) as client:
        for headers in ({}, {"If-None-Match": "*"}):
            response = client.get(PATH, headers=headers)
            assert response.status_code == 404
            assert "etag" not in response.headers
            assert "INTROSPECTION is off" in response.json()["errors"][0]["message"]
