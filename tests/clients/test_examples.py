"""The examples, run as the README says against a live gateway: what they print is what the databases hold."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import httpx2
import pytest

from app.main import create_app
from app.settings import Settings
from tests.clients.conftest import ROOT, TYPESCRIPT, Shop, needs_npm, output, run, token
from tests.http_server import free_port, served

Example = Callable[..., CompletedProcess[str]]
NOBODY = "no order: set TOKEN to sign in\n"
MANIFEST = Path("src", "generated", "persisted-documents.json")


@pytest.fixture(params=[pytest.param("typescript", marks=needs_npm), "python"])
def example(request: pytest.FixtureRequest, checkout: Path) -> Example:
    """Run an example, with variables of the environment."""
    if request.param == "python":
        return partial(run, sys.executable, "shop.py", cwd=checkout / "examples" / "python")
    return partial(run, "node", "dist/main.js", cwd=request.getfixturevalue("built"))


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}/graphql"


def test_an_example_shows_what_the_databases_hold(example: Example, settings: Settings, shop: Shop) -> None:
    with served(create_app(settings), settings) as port:
        nobody = example(GATEWAY_URL=address(port))
        staff = example(GATEWAY_URL=address(port), TOKEN=token(settings, "admin", shop.user))
    assert (nobody.returncode, nobody.stdout, nobody.stderr) == (0, shop.public + NOBODY, "")
    assert (staff.returncode, staff.stdout, staff.stderr) == (0, shop.public + shop.order, "")


def test_what_cannot_be_had_is_told_and_the_rest_is_shown(example: Example, settings: Settings, shop: Shop) -> None:
    """The provider of a payment is for staff; and then a whole database is down."""
    down = settings.model_copy(update={"orders_database_url": "postgresql://nobody@127.0.0.1:1/nothing"})
    with served(create_app(settings), settings) as port:
        owner = example(GATEWAY_URL=address(port), TOKEN=token(settings, "customer", shop.user))
    with served(create_app(down), down) as port:
        nobody = example(GATEWAY_URL=address(port))
    assert (owner.returncode, owner.stdout) == (0, shop.public + shop.order.replace(" (stripe)", ""))
    assert owner.stderr == "! orders.nodes.0.payments.0.provider: not for you (FORBIDDEN)\n"
    unknown = shop.public.replace("2 sold", "sales unknown").replace("0 sold", "sales unknown")
    assert (nobody.returncode, nobody.stdout) == (0, unknown + NOBODY)
    later = "not to be had now, come again later (DATABASE_UNAVAILABLE)"
    assert nobody.stderr.splitlines() == [f"! products.nodes.{number}.stats: {later}" for number in (0, 1, 2, 0)]


def test_a_refusal_is_told(example: Example, settings: Settings) -> None:
    with served(create_app(settings), settings) as port:
        refused = example(GATEWAY_URL=address(port), TOKEN="x")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "This access token is not valid" in refused.stderr
    assert refused.stderr.endswith("(UNAUTHENTICATED)\n")
    nowhere = address(free_port())
    unreached = example(GATEWAY_URL=nowhere)
    assert (unreached.returncode, unreached.stdout) == (1, "")
    assert f"no answer from {nowhere}: " in unreached.stderr


@needs_npm
def test_the_build_s_manifest_is_all_that_a_gateway_has_to_execute(built: Path, settings: Settings, shop: Shop) -> None:
    limited = settings.model_copy(
        update={"trusted_documents": "enforce", "trusted_documents_manifest": built / MANIFEST}
    )
    with served(create_app(limited), limited) as port:
        example = partial(run, "node", "dist/main.js", cwd=built, GATEWAY_URL=address(port))
        nobody = example(DOCUMENTS="ids")
        staff = example(DOCUMENTS="ids", TOKEN=token(settings, "admin", shop.user))
        by_text = example()
        other = httpx2.post(address(port), json={"query": "{ categories { totalCount } }"})
    assert (nobody.returncode, nobody.stdout) == (0, shop.public + NOBODY)
    assert nobody.stderr == "GET 200, Cache-Control: public, max-age=60\n" * 3
    assert (staff.returncode, staff.stdout) == (0, shop.public + shop.order)
    assert staff.stderr == "GET 200, Cache-Control: private, no-store\n" * 4
    refusal = "Only the documents that this server knows are executed."
    assert (by_text.returncode, by_text.stdout, by_text.stderr) == (1, "", f"Error: {refusal} (FORBIDDEN)\n")
    assert other.json()["errors"][0]["message"] == refusal


@needs_npm
def test_plain_types_do_without_the_preset_and_without_a_client(built: Path, settings: Settings, shop: Shop) -> None:
    with served(create_app(settings), settings) as port:
        plain = run("node", "dist/plain.js", cwd=built, GATEWAY_URL=address(port))
    assert (plain.returncode, plain.stdout, plain.stderr) == (0, "Kitchen: 1\n", "")


@needs_npm
def test_graphql_codegen_writes_the_same_when_it_runs_at_the_root(built: Path, checkout: Path) -> None:
    generated = sorted((built / "src" / "generated").iterdir())
    before = {path: path.read_bytes() for path in generated}
    assert len(before) == 6
    for path in generated:
        path.unlink()
    output("npx", "--prefix", TYPESCRIPT, "graphql-codegen", cwd=checkout)
    assert {path: path.read_bytes() for path in generated} == before


def test_every_scalar_has_a_type(checkout: Path) -> None:
    schema = (checkout / "app" / "graph" / "schema.graphql").read_text(encoding="utf-8")
    scalars = [line.split()[1] for line in schema.splitlines() if line.startswith("scalar ")]
    config = (ROOT / ".graphqlrc.yml").read_text(encoding="utf-8")
    assert [name for name in scalars if f"        {name}: string" not in config] == []
    assert len(scalars) >= 3
