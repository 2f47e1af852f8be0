"""Other makers and checkers of typed clients, on the exported schema: what they make works against a live gateway."""

import json
import shutil
from ast import literal_eval
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.graph.schema_text import gateway_introspection, gateway_sdl
from app.main import create_app
from app.settings import Settings
from tests.clients.conftest import HERE, ROOT, TYPESCRIPT, Shop, needs_generators, needs_npm, output, run, token
from tests.http_server import COMMAND, served

OPERATIONS = Path("examples", "operations")
ARIADNE = ROOT / ".venv" / "ariadne" / "bin"

needs_ariadne = pytest.mark.skipif(
    not (ARIADNE / "ariadne-codegen").exists(),
    reason="ariadne-codegen IS NOT TRIED: make client-packages installs it",
)


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """The schema with a field renamed that an example reads."""
    sdl = gateway_sdl()
    assert sdl.count("  lineTotal: Decimal!") == 1
    (tmp_path / "planted.graphql").write_text(sdl.replace("  lineTotal: Decimal!", "  total: Decimal!"), "utf-8")
    return tmp_path / "planted.graphql"


def copied(name: str, checkout: Path) -> Path:
    """A copy of a folder with documents of its own, to write into."""
    folder = checkout / name
    shutil.copytree(HERE / name, folder)
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    return folder


@needs_generators
def test_relay_pages_through_a_connection_by_its_persisted_queries(
    checkout: Path, settings: Settings, shop: Shop
) -> None:
    """relay-compiler accepts our connections and ``node(id:)``, and the gateway the manifest that it writes."""
    folder = copied("relay", checkout)
    (folder / "generated").mkdir()
    manifest = folder / "persisted.json"
    manifest.write_text("{}")
    output("node_modules/.bin/relay-compiler", cwd=folder)
    ids = {text.split("(")[0]: id_ for id_, text in json.loads(manifest.read_text()).items()}
    limited = settings.model_copy(update={"trusted_documents": "enforce", "trusted_documents_manifest": manifest})

    with served(create_app(limited), limited) as port:

        def ask(operation: str, **variables: object) -> dict[str, Any]:  # Any: the answer's shape is the operation's
            asked = {"documentId": ids[f"query {operation}"], "variables": variables}
            answer: dict[str, Any] = httpx2.post(f"http://127.0.0.1:{port}/graphql", json=asked).json()
            assert "errors" not in answer
            return answer["data"]

        first = ask("categoryPageQuery", id=str(shop.kettles["id"]))["category"]
        after = first["products"]["pageInfo"]["endCursor"]
        second = ask("categoryProductsQuery", id=first["id"], first=3, after=after)["node"]
    names = [[edge["node"]["name"] for edge in page["products"]["edges"]] for page in (first, second)]
    assert names == [["Kettle", "Kettle II", "Kettle III"], ["Kettle XVIII"]]
    assert not second["products"]["pageInfo"]["hasNextPage"]


@needs_npm
@needs_generators
def test_gql_tada_infers_the_types_that_answers_have(checkout: Path) -> None:
    """What the types must be stands in the source. It checks documents with TypeScript 6; types are the same with 7."""
    folder = copied("tada", checkout)
    (folder / "schema.json").write_text(gateway_introspection(), encoding="utf-8")
    output("node_modules/.bin/gql.tada", "generate-output", cwd=folder)
    output("node_modules/.bin/gql.tada", "check", cwd=folder)
    output(ROOT / TYPESCRIPT / "node_modules" / ".bin" / "tsc", cwd=folder)


@needs_generators
def test_graphql_inspector_validates_the_examples(checkout: Path, planted: Path) -> None:
    files = sorted((checkout / OPERATIONS).glob("*.graphql"))
    inspect = ("node", HERE / "inspect.mjs")
    assert json.loads(output(*inspect, checkout / "app" / "graph" / "schema.graphql", *files, cwd=checkout)) == []
    found = json.loads(output(*inspect, planted, *files, cwd=checkout))
    assert found == [["order.graphql", ['Cannot query field "lineTotal" on type "OrderItem". Did you mean "total"?']]]


READ = """
import sys
from shop_client import Client
client = Client(url=sys.argv[1], headers={"Authorization": f"Bearer {sys.argv[2]}"})
order = client.latest_order().orders.nodes[0]
products = client.search(text="kettle", first=3).products
next_page = client.search(text="kettle", first=3, after=products.page_info.end_cursor).products
print([str(order.uuid), order.status.value, type(order.total_amount).__name__, order.created_at.isoformat(),
       order.items[1].product, products.total_count, [str(of.price) for of in products.nodes + next_page.nodes]])
"""


@needs_ariadne
def test_what_ariadne_codegen_makes_reads_the_gateway(checkout: Path, settings: Settings, shop: Shop) -> None:
    """It pins an older graphql-core than ours, so it has an environment of its own."""
    output(ARIADNE / "ariadne-codegen", "--config", HERE / "ariadne.toml", cwd=checkout)
    with served(create_app(settings), settings) as port:
        url, access = f"http://127.0.0.1:{port}/graphql", token(settings, "admin", shop.user)
        printed = output(ARIADNE / "python", "-c", READ, url, access, cwd=checkout)
    uuid, placed = shop.order.split()[1].rstrip(":"), shop.order.splitlines()[0].split()[-1]
    prices = ["0.50", "1.50", "2.50", "3.50"]
    assert literal_eval(printed) == [uuid, "PAID", "Decimal", placed, None, 4, prices]


def test_a_breaking_change_is_told_with_the_example_that_it_breaks(planted: Path) -> None:
    diff = run(COMMAND, "schema", "diff", "this", planted, "--operations", "examples", cwd=ROOT)
    assert diff.returncode == 1, diff.stderr
    assert diff.stdout.startswith("breaking (1)\n  Field OrderItem.lineTotal was removed.  [FIELD_REMOVED]\n")
    assert "of 3 operations, and fragments in none of them: 1 to mend\n" in diff.stdout
    broken = diff.stdout.partition("to mend\n")[2].splitlines()
    text = (ROOT / OPERATIONS / "order.graphql").read_text(encoding="utf-8")
    line = text[: text.index("lineTotal")].count("\n") + 1
    assert broken == [
        f"  operations/order.graphql:{line}  query LatestOrder",
        "      refused: Cannot query field 'lineTotal' on type 'OrderItem'. Did you mean 'total'?",
    ]
