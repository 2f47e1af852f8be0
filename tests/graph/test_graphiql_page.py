"""The page: where its files come from, what it may do, and the queries that it begins with."""

import re
from collections.abc import Generator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, parse, validate
from starlette.testclient import TestClient

from app.graph.context import Context
from app.graph.engine import LONGEST_KEPT, Request
from app.graph.graphiql import packages
from app.graph.graphiql_install import install
from app.graph.page import tour
from app.main import create_app
from app.settings import Settings
from app.viewer import NOBODY
from tests.factories import Make
from tests.graph.conftest import SCHEMA, Gateway, plain
from tests.graph.locked import ARCHIVES, CONTENTS, lock_them

HTML = {"accept": "text/html"}


class Tags(HTMLParser):
    """The tags of a page that a policy is about."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [name for name, _ in attrs if name == "style" or name.startswith("on")], attrs
        if tag in ("script", "style", "link"):
            self.found.append((tag, dict(attrs)))

    def addresses(self) -> list[str]:
        return [str(attrs.get("src") or attrs.get("href")) for _, attrs in self.from_files()]

    def from_files(self) -> list[tuple[str, dict[str, str | None]]]:
        return [
            (tag, attrs) for tag, attrs in self.found if "src" in attrs or (tag == "link" and attrs["rel"] != "icon")
        ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """Where small files in GraphiQL's place are installed."""
    (tmp_path / "lock").mkdir()
    lock_them(tmp_path / "lock", monkeypatch)
    for number, content in enumerate(ARCHIVES.values()):
        (tmp_path / f"{number}.tgz").write_bytes(content)
    install(tmp_path / "graphiql", tmp_path)
    yield tmp_path / "graphiql"
    packages.cache_clear()


def client_of(settings: Settings, folder: Path) -> TestClient:
    return TestClient(create_app(settings.model_copy(update={"graphiql_dir": folder})))


def page_of(client: TestClient) -> Tags:
    return Tags(client.get("/graphql", headers=HTML).text)


def test_installed_files_are_served_by_us_for_ever(settings: Settings, folder: Path) -> None:
    with client_of(settings, folder) as client:
        page = page_of(client)
        assert [address.rpartition("/")[2] for address in page.addresses()] == ["b.css", "a.js"]
        for address, (name, type_) in zip(
            page.addresses(), [("dist/b.css", "text/css"), ("a.js", "text/javascript")], strict=True
        ):
            response = client.get(address)
            assert response.content in [files.get(name) for files in CONTENTS.values()]
            assert response.headers["content-type"].partition(";")[0] == type_
            assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert response.headers["x-content-type-options"] == "nosniff"
        assert "unpkg.com" not in client.get("/graphql", headers=HTML).text


@pytest.mark.parametrize(
    "path",
    ["/graphiql/", "/graphiql/0000000000000000/a.js", "/graphiql/LICENSE", "/graphiql/..%2f..%2fsettings.py"],
)
def test_nothing_else_is_served_from_there(settings: Settings, folder: Path, path: str) -> None:
    with client_of(settings, folder) as client:
        response = client.get(path)
        assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (404, "NOT_FOUND")


def test_a_file_that_goes_while_we_run_is_not_found(settings: Settings, folder: Path) -> None:
    with client_of(settings, folder) as client:
        address = page_of(client).addresses()[-1]
        (folder / "small@1.0.0" / "a.js").unlink()
        assert client.get(address).status_code == 404


@pytest.mark.parametrize("how", ["changed", "gone", "nothing"])
def test_without_every_file_as_it_was_the_page_asks_the_cdn_with_hashes(
    settings: Settings, folder: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    if how == "changed":
        (folder / "small@1.0.0" / "a.js").write_bytes(b"steal()")
    elif how == "gone":
        (folder / "small@1.0.0" / "a.js").unlink()
    with client_of(settings, folder if how != "nothing" else folder / "not there") as client:
        page = page_of(client)
        assert page.addresses() == [
            "https://unpkg.com/@scope/other@2.0.0/dist/b.css",
            "https://unpkg.com/small@1.0.0/a.js",
        ]
        for _, attrs in page.from_files():
            assert str(attrs["integrity"]).startswith("sha384-")
            assert "crossorigin" in attrs
        assert client.get("/graphiql/anything").status_code == 404
    [warning] = [record for record in caplog.records if record.name == "app.graph.graphiql"]
    assert f"storegraph graphiql install --dir {folder}" in warning.getMessage()


@pytest.mark.parametrize("explain", ["off", "on"])
def test_nothing_runs_without_the_nonce_which_is_another_each_time(settings: Settings, explain: str) -> None:
    nonces: set[str] = set()
    app = create_app(settings.model_copy(update={"explain": explain}), demo=True)
    with TestClient(app) as client:
        for _ in range(2):
            response = client.get("/graphql", headers=HTML)
            policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
            nonce = re.fullmatch(r"'nonce-([\w-]{24})'", policy["script-src"])
            assert nonce is not None
            assert policy["style-src"] == policy["script-src"]
            assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")
            assert "unsafe" not in str(policy)
            tags = Tags(response.text).found
            assert len(tags) > 10
            assert {attrs.get("nonce") for _, attrs in tags if attrs.get("rel") != "icon"} == {nonce[1]}
            assert not re.search(r"@[a-z_]+@", response.text)
            assert ('id="explain"' in response.text) == (explain == "on")
            nonces.add(nonce[1])
    assert len(nonces) == 2


# --- the tour


NAMES = ["Order", "Account", "CategoryTree", "Search", "Statistics", "PageOfPage"]


@pytest.mark.parametrize("demo", [True, False])
def test_the_tour_has_six_queries_that_are_kept_as_they_were_parsed(demo: bool) -> None:
    text = tour(demo=demo)
    document = parse(text)
    assert validate(core(), document) == []
    names = [of.name.value for of in document.definitions if isinstance(of, OperationDefinitionNode) and of.name]
    assert (names if demo else sorted(names)) == (NAMES if demo else sorted(NAMES))
    assert len(text) < LONGEST_KEPT
    assert re.findall(r"^# (\d)\.", text, re.MULTILINE) == list("123456")


def core() -> GraphQLSchema:
    return SCHEMA._schema  # pyright: ignore[reportPrivateUsage] -- graphql-core's own


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_each_query_of_the_tour_finds_something(gateway: Gateway, make: Make, name: str) -> None:
    parent = await make.category()
    category = await make.category(parent_id=parent["id"])
    product = await make.product(name="Kettle", category_id=category["id"])
    profile = await make.profile()
    order = await make.order(user_id=profile["user_id"], shipping_address_id=profile["id"], status="delivered")
    await make.item(order, product_id=product["id"], product_name="Kettle")
    await make.payment(order_id=order["id"])
    body = await asked(gateway, name)
    assert "errors" not in body
    [nodes] = [of["nodes"] for of in body["data"].values()]
    assert nodes
    if name == "Order":
        [found] = nodes
        assert found["items"][0]["product"]["category"]["ancestors"] == [{"name": parent["name"]}]
        assert found["user"]["email"]
        assert found["payments"][0]["amount"] == "10.00"


@pytest.mark.anyio
@pytest.mark.parametrize("name", re.findall(r"^query (\w+)", tour(demo=False), re.MULTILINE)[:3])
async def test_where_nobody_is_signed_in_what_everybody_may_ask_comes_first(gateway: Gateway, name: str) -> None:
    gateway.viewer = NOBODY
    assert "errors" not in await asked(gateway, name)


async def asked(gateway: Gateway, name: str) -> dict[str, Any]:
    context = Context(gateway.services, gateway.viewer)
    return plain((await gateway.engine.answer(Request(tour(demo=True), name), context)).body)
