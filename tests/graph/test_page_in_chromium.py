"""The page in a real browser that reaches nothing but this machine: what a person sees there, and does."""

import asyncio
import json
import shutil
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.graph.graphiql import FOLDER, packages
from app.main import create_app
from app.settings import Settings
from tests.chromium import ISOLATED, Browser, browser, needs_chromium
from tests.factories import Make
from tests.http_server import served

pytestmark = needs_chromium
needs_files = pytest.mark.skipif(
    not all(file.is_in(FOLDER) for package in packages() for file in package.files),
    reason="GraphiQL IS NOT TRIED: its files are not there (make graphiql installs them)",
)

RUN = "document.querySelector('.graphiql-execute-button')"
OFFERED = "document.querySelectorAll('[role=menuitem]')"
ANSWER = "document.querySelector('.result-window .CodeMirror').CodeMirror.getValue()"
HEADERS = "document.querySelectorAll('.graphiql-editor-tool .CodeMirror')[1].CodeMirror"
NAMES = ["Order", "Account", "CategoryTree", "Search", "Statistics", "PageOfPage"]


@pytest.fixture
def shop(settings: Settings, clean: None) -> Settings:
    """A shop with an administrator and an order."""

    async def fill() -> None:
        async with Make(settings) as make:
            await make.user(role="admin", email="admin@example.com")
            profile = await make.profile()
            category = await make.category(parent_id=(await make.category())["id"])
            product = await make.product(name="Kettle", category_id=category["id"])
            order = await make.order(
                user_id=profile["user_id"], shipping_address_id=profile["id"], status="delivered", total_amount="7.50"
            )
            await make.item(order, product_id=product["id"])
            await make.payment(order_id=order["id"])

    asyncio.run(fill())
    return settings


@contextmanager
def opened(shop: Settings, folder: Path, names: str = ISOLATED) -> Generator[Browser]:
    """The demo's page, with GraphiQL's files in a folder or not."""
    settings = shop.model_copy(update={"graphiql_dir": folder, "explain": "on"})
    with served(create_app(settings, demo=True), settings) as port, browser(names) as page:
        page.open(f"http://127.0.0.1:{port}/graphql")
        yield page


def run(page: Browser, name: str) -> dict[str, Any]:
    """Have the run button offer the operations, and choose one; what stands in the other pane then."""
    page.value("document.querySelector('.result-window .CodeMirror')?.CodeMirror.setValue('')")
    page.click(RUN)
    page.until(f"{OFFERED}.length === {len(NAMES)}")
    assert page.value(f"[...{OFFERED}].map((item) => item.innerText)") == NAMES
    page.click(f"{OFFERED}[{NAMES.index(name)}]")
    page.until(f"!{OFFERED}.length && getComputedStyle(document.body).pointerEvents !== 'none'")  # closed again
    page.until(f"{ANSWER}.startsWith('{{')")
    return json.loads(page.value(ANSWER))


def ready(page: Browser) -> None:
    """Wait until GraphiQL is there, and has read the schema."""
    page.until("document.querySelector('.graphiql-query-editor .CodeMirror')")
    page.until("document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.options.lint.schema")


@needs_files
def test_six_queries_run_as_administrator_and_no_other_host_is_asked(shop: Settings, tmp_path: Path) -> None:
    with opened(shop, FOLDER) as page:
        ready(page)
        for name in NAMES:
            answer = run(page, name)
            assert answer.keys() == {"data"}, name
            [found] = answer["data"].values()
            assert found["nodes"], name
        page.click("document.querySelector('#explain input')")
        explained = run(page, "Order")["extensions"]["explain"]["databases"]
        assert explained.keys() == {"users", "products", "orders", "payments"}
        page.screenshot(tmp_path / "page.png")
        assert page.complaints == []
        assert page.hosts == {"127.0.0.1"}


@needs_files
def test_who_asks_can_be_chosen(shop: Settings) -> None:
    with opened(shop, FOLDER) as page:
        ready(page)
        page.click("document.querySelector('#viewer [data-role=\"\"]')")
        page.until("document.querySelector('#viewer [data-role=\"\"][aria-pressed=true]')")
        [error] = run(page, "Order")["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"


@needs_files
def test_dialogs_and_panels_open_under_the_policy(shop: Settings) -> None:
    """They set styles, for which nothing is allowed but what has the nonce."""
    with opened(shop, FOLDER) as page:
        ready(page)
        for button in ("settings", "short keys"):
            page.click(f"document.querySelector('[aria-label=\"Open {button} dialog\"]')")
            page.until("document.querySelector('.graphiql-dialog')")
            for type_ in ("keyDown", "keyUp"):
                page.call("Input.dispatchKeyEvent", type=type_, key="Escape", windowsVirtualKeyCode=27)
            page.until("!document.querySelector('.graphiql-dialog')")
        for number in range(3):
            page.click(f"document.querySelectorAll('.graphiql-sidebar button')[{number}]")
            page.until("document.querySelector('.graphiql-plugin').innerText")
        assert page.complaints == []
        assert page.value("getComputedStyle(document.querySelector('.graphiql-container')).display") == "flex"


@needs_files
def test_no_header_stays_behind(shop: Settings) -> None:
    with opened(shop, FOLDER) as page:
        ready(page)
        page.value(f'{HEADERS}.setValue(\'{{"Authorization": "Bearer my-secret-token"}}\')')
        [error] = run(page, "Order")["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"  # so it was sent
        page.until("localStorage.getItem('storegraph:graphiql:queries')")  # the history
        page.until("localStorage.getItem('storegraph:graphiql:tabState')")
        kept = page.value("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
        assert "query Order" in kept
        assert "my-secret-token" not in kept


@needs_files
def test_an_address_brings_a_query_and_never_tells_a_mutation(shop: Settings) -> None:
    """A mutation, or its variables, may hold a password."""
    editor = "document.querySelectorAll('.graphiql-editors .CodeMirror')[{}].CodeMirror"
    query, variables = editor.format(0), editor.format(1)
    with opened(shop, FOLDER) as page:
        page.open(page.value("location.href") + "?query=query+Q($a:Int){products(first:$a){totalCount}}&variables={}")
        page.until("location.search.startsWith('?query=') && window.GraphiQL")
        ready(page)
        assert page.value(f"[{query}.getValue(), {variables}.getValue()]") == [
            "query Q($a:Int){products(first:$a){totalCount}}",
            "{}",
        ]
        page.value(f"{variables}.setValue('{{\"a\": 1}}')")
        page.until("new URLSearchParams(location.search).get('variables') === '{\"a\": 1}'")
        assert page.value("new URLSearchParams(location.search).get('q')").startswith("query Q(")
        page.value(f'{variables}.setValue(\'{{"input": {{"password": "correct horse"}}}}\')')
        page.value(f"{query}.setValue('mutation M($input: LogInInput!) {{ logIn(input: $input) {{ accessToken }} }}')")
        page.until("!location.search")


@needs_files
def test_in_a_narrow_window_the_bar_is_higher_and_whole(shop: Settings) -> None:
    with opened(shop, FOLDER) as page:
        page.call("Emulation.setDeviceMetricsOverride", width=320, height=600, deviceScaleFactor=1, mobile=False)
        ready(page)
        boxes = "[...document.querySelectorAll('#bar, #bar button, #explain')].map((of) => of.getBoundingClientRect())"
        bar, *parts = page.value(f"{boxes}.map((of) => of.toJSON())")
        assert len(parts) == 4
        for part in parts:
            assert part["right"] <= bar["right"] == 320
            assert part["bottom"] <= bar["bottom"]


# --- without the files


def test_without_cdn_a_plain_page_asks_the_same(shop: Settings, tmp_path: Path) -> None:
    with opened(shop, tmp_path) as page:
        page.until("document.getElementById('plain')")
        assert "storegraph graphiql install" in page.value("document.getElementById('plain').innerText")
        page.until("document.getElementById('answer').innerText.includes('7.50')")
        assert page.value("[...document.getElementById('operation').options].map((of) => of.value)") == NAMES
        page.value("document.getElementById('operation').value = 'Search'")
        page.click("document.getElementById('run')")
        page.until("document.getElementById('answer').innerText.includes('Kettle')")
        page.value("document.getElementById('query').setSelectionRange(1e6, 1e6)")
        page.value("document.getElementById('query').focus()")
        page.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", windowsVirtualKeyCode=13, modifiers=2)
        page.until("document.getElementById('answer').innerText.includes('endCursor')")
        page.value("document.getElementById('variables').value = '{\"after\": \"x\"}'")
        page.click("document.getElementById('run')")
        page.until("document.getElementById('answer').innerText.includes('BAD_USER_INPUT')")
        page.value("document.getElementById('variables').value = '{after'")
        page.click("document.getElementById('run')")
        page.until("document.getElementById('answer').innerText.startsWith('No answer: the variables are no JSON')")
        assert page.hosts == {"127.0.0.1", "unpkg.com"}
        assert [of for of in page.complaints if "unpkg.com" not in of and "GraphiQL does not start" not in of] == []


def test_a_cdn_that_never_answers_is_told_and_can_be_done_without(shop: Settings, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        opened(shop, tmp_path, f"MAP unpkg.com:443 127.0.0.1:{silent.getsockname()[1]}, {ISOLATED}") as page,
    ):
        page.until("document.getElementById('loading')")
        assert "Loading GraphiQL from unpkg.com" in page.value("document.getElementById('loading').innerText")
        page.until("!document.getElementById('slow').hidden")
        page.click("document.querySelector('#slow button')")
        page.until("document.getElementById('answer').innerText.includes('7.50')")


@needs_files
def test_a_file_that_was_changed_while_the_gateway_runs_is_not_run(shop: Settings, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "graphiql")
    with opened(shop, tmp_path / "graphiql") as page:
        ready(page)
        [script] = (tmp_path / "graphiql").rglob("graphiql.min.js")
        script.write_bytes(script.read_bytes() + b"\nwindow.stolen = true;")
        page.call("Network.setCacheDisabled", cacheDisabled=True)
        page.call("Page.reload")
        page.until("document.getElementById('plain')")
        assert page.value("window.stolen") is None
        assert any("integrity" in of for of in page.complaints)
