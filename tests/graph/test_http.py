"""GraphQL over HTTP: who is answered what, and what is refused before the engine sees it."""

import json
from collections.abc import Generator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.graph.engine import Request
from app.graph.payload import DEEPEST_JSON, GRAPHQL, HTML, JSON, RefusedError, preferred, request_of_body
from app.main import create_app
from app.settings import Settings

TYPENAME = {"query": "{ __typename }"}
MUTATION = 'mutation { logOut(input: {refreshToken: "x"}) { __typename } }'


@pytest.fixture(scope="module")
def client(settings: Settings) -> Generator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


def refused(response: Any, status: int, code: str = "BAD_USER_INPUT") -> str:
    """The message of an answer that is nothing but one error."""
    assert response.status_code == status, response.text
    assert "json" in response.headers["content-type"]
    body = response.json()
    assert "data" not in body
    [error] = body["errors"]
    assert error["extensions"] == {"code": code}
    assert body["extensions"] == {"requestId": response.headers["x-request-id"]}
    return error["message"]


# --- which type of answer


@pytest.mark.parametrize(
    ("accept", "type_"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("application/graphql-response+json", GRAPHQL),
        ("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8", GRAPHQL),
        ("application/json, application/graphql-response+json", GRAPHQL),
        ("application/json, application/graphql-response+json;q=0.9", JSON),
        ("application/graphql-response+json;q=0.4, */*;q=0.5", JSON),
        ("application/graphql-response+json, */*;q=0.1", GRAPHQL),
        ("APPLICATION/GraphQL-Response+JSON ; Q=0.5", GRAPHQL),
        ("application/graphql-response+json, application/graphql+json, application/json, text/event-stream", GRAPHQL),
        ("application/json;q=0, */*", GRAPHQL),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", JSON),
    ],
)
def test_the_answer_is_of_the_type_that_the_client_prefers(client: TestClient, accept: str | None, type_: str) -> None:
    request = client.build_request("POST", "/graphql", json=TYPENAME)
    del request.headers["accept"]
    if accept is not None:
        request.headers["accept"] = accept
    response = client.send(request)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{type_}; charset=utf-8"
    assert response.headers["vary"] == "Accept"
    assert response.headers["x-executor"] == "plan"
    assert response.headers["cache-control"] == "private, no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0", "*/*;q=0.0", "json", ";;,=,"])
def test_who_takes_no_answer_of_ours_is_told_what_there_is(client: TestClient, accept: str) -> None:
    message = refused(client.post("/graphql", json=TYPENAME, headers={"accept": accept}), 406)
    assert JSON in message
    assert GRAPHQL in message


RANGES = [JSON, GRAPHQL, HTML, "application/*", "text/*", "*/*", "image/png"]


@given(st.dictionaries(st.sampled_from(RANGES), st.integers(0, 10)), st.permutations(RANGES))
def test_no_offer_is_liked_better_than_the_one_that_is_taken(likings: dict[str, int], order: list[str]) -> None:
    accept = ", ".join(f"{name};q={likings[name] / 10}" for name in order if name in likings)

    def liking(offer: str) -> int:
        fitting = [name for name in (offer, offer.split("/")[0] + "/*", "*/*") if name in likings]
        return likings[fitting[0]] if fitting else 0

    offers = (GRAPHQL, JSON, HTML)
    taken = preferred(accept or None, offers)
    most = max(map(liking, offers))
    if not accept:
        assert taken == JSON
    elif most == 0:
        assert taken is None
    else:
        assert taken is not None
        assert liking(taken) == most


# --- which status


@pytest.mark.parametrize(
    "body",
    [
        {"query": "{"},
        {"query": ""},
        {"query": "{ nothingOfThisName }"},
        {"query": "query($x: Int!) { products(first: $x) { totalCount } }"},
        {"query": "query($x: Int!) { products(first: $x) { totalCount } }", "variables": {"x": "one"}},
        {"query": "query A { __typename } query B { __typename }"},
        {"query": "query A { __typename }", "operationName": "B"},
        {"query": "{" + "".join(f"a{number}: __typename " for number in range(100)) + "}"},
    ],
    ids=lambda body: str(body)[:60],
)
def test_what_is_not_executed_is_400_only_for_clients_that_know_it(client: TestClient, body: dict[str, Any]) -> None:
    old = client.post("/graphql", json=body, headers={"accept": JSON})
    new = client.post("/graphql", json=body, headers={"accept": GRAPHQL})
    assert old.status_code == 200
    assert new.status_code == 400
    for response in (old, new):
        answer = response.json()
        assert "data" not in answer
        assert answer["errors"][0]["extensions"]["code"] in ("BAD_USER_INPUT", "LIMIT_EXCEEDED")
        assert answer["extensions"]["requestId"] == response.headers["x-request-id"]


def test_an_error_while_it_is_executed_is_200(client: TestClient) -> None:
    response = client.post(
        "/graphql", json={"query": "{ products(first: 0) { totalCount } }"}, headers={"accept": GRAPHQL}
    )
    assert response.status_code == 200
    assert response.json()["data"] == {"products": None}


def test_a_bad_token_is_401_with_a_challenge(client: TestClient) -> None:
    for value in ("Bearer x", "Basic eDp5", "Bearer", ""):
        response = client.post("/graphql", json=TYPENAME, headers={"authorization": value})
        refused(response, 401, "UNAUTHENTICATED")
        assert response.headers["www-authenticate"].startswith("Bearer")
    two = client.build_request("POST", "/graphql", json=TYPENAME, headers=[("authorization", "Bearer x")] * 2)
    refused(client.send(two), 401, "UNAUTHENTICATED")


def test_a_token_in_the_address_is_none(client: TestClient) -> None:
    response = client.get("/graphql", params={"query": "{ __typename }", "access_token": "x", "authorization": "x"})
    assert response.json() == {"data": {"__typename": "Query"}}


# --- what is no request


@pytest.mark.parametrize(
    "type_",
    [
        None,
        "text/plain",
        "text/json",
        "application/graphql",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/json, text/plain",
        "application/jsonx",
    ],
)
def test_only_json_in_utf_8_is_taken(client: TestClient, type_: str | None) -> None:
    headers = {} if type_ is None else {"content-type": type_}
    assert "application/json" in refused(client.post("/graphql", content=json.dumps(TYPENAME), headers=headers), 415)


@pytest.mark.parametrize(
    "type_", ["application/json", "Application/JSON;charset=UTF-8", 'application/json; charset="utf-8"']
)
def test_json_in_utf_8_is_taken_however_it_is_written(client: TestClient, type_: str) -> None:
    response = client.post("/graphql", content=json.dumps(TYPENAME), headers={"content-type": type_})
    assert response.json() == {"data": {"__typename": "Query"}}


def test_a_compressed_body_is_refused(client: TestClient) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert "Content-Encoding" in refused(client.post("/graphql", content=b"\x1f\x8b", headers=headers), 415)


@pytest.mark.parametrize(
    "body",
    [
        *[
            b"",
            b"3",
            b"null",
            b'"x"',
            b"true",
            b"{}",
            b"{",
            b"[]",
            b'{"query": 3}',
            b'{"query": null}',
            b'{"query": ["x"]}',
        ],
        *[
            b'{"query": "\xff"}',
            b'\xef\xbb\xbf{"query": "{ __typename }"}',
            '{"query": "{ __typename }"}'.encode("utf-16"),
        ],
        b'{"query": "{ __typename }", "variables": []}',
        b'{"query": "{ __typename }", "variables": "{}"}',
        b'{"query": "{ __typename }", "operationName": 0}',
        b'{"query": "{ __typename }", "extensions": false}',
        b'{"query": "{ __typename }", "documentId": 7}',
        b'{"query": "{ __typename }", "variables": {"x": NaN}}',
        b'{"query": "{ __typename }", "variables": {"x": -Infinity}}',
        b'{"query": "{ __typename }", "variables": {"x": 1e999}}',
        b'{"query": "{ __typename }", "variables": {"x": ' + b"9" * 5000 + b"}}",
        b'{"query": "{ __typename }", "variables": {"x": "\x00"}}',
        b'{"query": "{ __typename }", "variables": {"x": "\\u0000"}}',
        b'{"query": "{ __typename }", "variables": {"x": ["\\ud83d"]}}',
        b'{"query": "{ __typename }", "variables": {"\\udc00": 1}}',
        b'{"query": "{ __typename }", "nobody looks at": {"this": "\\u0000"}}',
        b'{"query": "{ __typename } # \\u0000"}',
        b'{"query": "{ __typename }", "variables": {"x": ' + b"[" * 200 + b"]" * 200 + b"}}",
        b"[" * 100_000,
        b'{"x":' * 40_000,
    ],
    ids=lambda body: ascii(body)[:60],
)
def test_a_body_that_is_no_request_is_refused(client: TestClient, body: bytes) -> None:
    refused(client.post("/graphql", content=body, headers={"content-type": "application/json"}), 400)


def test_a_batch_is_refused_in_words_of_its_own(client: TestClient) -> None:
    assert "each operation" in refused(client.post("/graphql", json=[TYPENAME, TYPENAME]), 400)


def test_null_parameters_are_absent_and_unknown_ones_are_passed_over(client: TestClient) -> None:
    body = {**TYPENAME, "variables": None, "operationName": None, "extensions": None, "documentId": None, "id": 7}
    assert client.post("/graphql", json=body).json() == {"data": {"__typename": "Query"}}


TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=30,
)


def is_fit(value: object) -> bool:
    """Whether a value can be stored and written back: what the module should say, said plainly."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, float):
        return value - value == 0
    if isinstance(value, dict):
        return all(is_fit(key) and is_fit(inner) for key, inner in cast("dict[str, object]", value).items())
    return all(map(is_fit, cast("list[object]", value))) if isinstance(value, list) else True


def taken(body: bytes) -> Request | None:
    """The request, or None if it was refused as malformed."""
    try:
        return request_of_body(body)
    except RefusedError as error:
        if error.status != 400:
            raise
        return None


@given(VALUES, st.booleans())
def test_a_request_is_taken_if_and_only_if_all_that_is_in_it_is_text_and_numbers(value: object, escaped: bool) -> None:
    text = json.dumps({"query": "{ __typename }", "variables": {"x": value}}, ensure_ascii=escaped)
    expected = json.loads(text) if escaped else None  # two halves of a character become one
    try:
        body = text.encode()
    except UnicodeEncodeError:
        body = text.encode("utf-8", "surrogatepass")
    fit = is_fit(expected["variables"] if expected else value)
    request = taken(body)
    assert (request is not None) == fit
    if request is not None:
        assert request.variables == json.loads(text)["variables"]


@given(st.integers(DEEPEST_JSON - 10, DEEPEST_JSON + 10), st.sampled_from(['{"x":%s}', "[%s]"]))
def test_json_is_as_deep_as_is_said(depth: int, form: str) -> None:
    value = "1"
    for _ in range(depth):
        value = form % value
    body = ('{"query": "", "variables": {"y": ' + value + "}}").encode()
    assert (taken(body) is not None) == (depth + 2 <= DEEPEST_JSON)


# --- GET and the other methods


def test_a_get_reads(client: TestClient) -> None:
    params = {
        "query": "query A($x: String!) { __type(name: $x) { name } } query B { __typename }",
        "variables": '{"x": "Query"}',
        "operationName": "A",
        "extensions": "{}",
    }
    response = client.get("/graphql", params=params)
    assert response.json() == {"data": {"__type": {"name": "Query"}}}
    assert response.headers["cache-control"] == "private, no-store"
    head = client.head("/graphql", params=params)
    assert head.status_code == 200
    assert head.headers["content-length"] == str(len(response.content))


def test_empty_parameters_of_a_get_are_absent(client: TestClient) -> None:
    address = "/graphql?query=%7B__typename%7D&operationName=&variables=&extensions="
    assert client.get(address).json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("media_type", [JSON, GRAPHQL])
def test_a_get_changes_nothing(client: TestClient, media_type: str) -> None:
    response = client.get("/graphql", params={"query": MUTATION}, headers={"accept": media_type})
    refused(response, 405)
    assert response.headers["allow"] == "POST"
    both = "query A { __typename } " + MUTATION.replace("mutation", "mutation B")
    refused(client.get("/graphql", params={"query": both, "operationName": "B"}), 405)
    assert client.get("/graphql", params={"query": both, "operationName": "A"}).status_code == 200


@pytest.mark.parametrize(
    "query_string",
    [
        "",
        "quer=x",
        "query=%7B__typename%7D&variables=%7B",
        "query=%7B__typename%7D&variables=[]",
        "query=%7B__typename%7D&variables=null%00",
        "query=%7B__typename%7D&variables=%7B%22x%22:NaN%7D",
        "query=%7B__typename%7D&variables=%7B%22x%22:%22%5Cu0000%22%7D",
        "query=%7B__typename%7D&variables=" + "%5B" * 2000,
        "query=%00",
        "query=%7B__typename%7D&operationName=%00",
        "query=%FF",
        "query=%ED%A0%80",
        "query=%7B__typename%7D%",
        "query=%7B__typename%7D%2",
        "query=%7B__typename%7D%zz",
        "query=x" + "&x=1" * 30,
    ],
)
def test_a_malformed_query_string_is_refused(client: TestClient, query_string: str) -> None:
    refused(client.get(f"/graphql?{query_string}"), 400)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "QUERY", "NONSENSE"])
def test_other_methods_are_refused_with_those_that_there_are(client: TestClient, method: str) -> None:
    response = client.request(method, "/graphql", json=TYPENAME)
    refused(response, 405)
    assert {"GET", "POST"} <= set(response.headers["allow"].split(", "))


def test_options_tells_the_methods(client: TestClient) -> None:
    response = client.options("/graphql")
    assert response.status_code == 204
    assert {"GET", "POST"} <= set(response.headers["allow"].split(", "))


@given(st.binary(max_size=300))
def test_whatever_arrives_is_a_request_or_refused(noise: bytes) -> None:
    assert taken(noise) is None or b"query" in noise
