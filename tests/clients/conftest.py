"""What the tests of clients share: a copy of the checkout to build in, and a small shop."""

import asyncio
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from app.graph.schema_text import gateway_sdl
from app.identity.access_tokens import AccessTokens
from app.settings import Settings
from app.viewer import Role, Viewer
from tests.factories import Make, Row

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TYPESCRIPT = Path("examples", "typescript")

needs_npm = pytest.mark.skipif(
    shutil.which("npm") is None
    or not all((ROOT / TYPESCRIPT / "node_modules" / name).is_dir() for name in ("@graphql-codegen", "typescript")),
    reason="THE TYPESCRIPT EXAMPLE IS NOT TRIED: no npm, or no packages (make client-packages installs them)",
)
needs_generators = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node_modules" / "relay-compiler").is_dir(),
    reason="CLIENT GENERATORS ARE NOT TRIED: no Node.js, or no packages (make client-packages installs them)",
)


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command, whatever its exit code, with variables of the environment. By default an example is nobody's."""
    told = os.environ | {"TOKEN": "", "DOCUMENTS": ""} | environment
    return subprocess.run(command, cwd=cwd, env=told, capture_output=True, text=True, check=False)


def output(*command: str | Path, cwd: Path) -> str:
    """What a command prints; it must succeed."""
    ended = run(*command, cwd=cwd)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What clients take from a checkout, nothing built yet; a copy, since each worker writes into its own."""
    root = tmp_path_factory.mktemp("checkout")
    built = shutil.ignore_patterns("node_modules", "generated", "dist", ".venv")
    shutil.copytree(ROOT / "examples", root / "examples", ignore=built)
    (root / TYPESCRIPT / "node_modules").symlink_to(ROOT / TYPESCRIPT / "node_modules")
    shutil.copy(ROOT / ".graphqlrc.yml", root)
    (root / "app" / "graph").mkdir(parents=True)
    (root / "app" / "graph" / "schema.graphql").write_text(gateway_sdl(), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def built(checkout: Path) -> Path:
    """The folder of the TypeScript example, once graphql-codegen and tsc have been there."""
    output("npm", "run", "build", cwd=checkout / TYPESCRIPT)
    return checkout / TYPESCRIPT


@dataclass(frozen=True)
class Shop:
    """Rows, and what the examples print about them."""

    user: Row
    kettles: Row
    public: str
    order: str


@pytest.fixture
def shop(settings: Settings, clean: None) -> Shop:
    return asyncio.run(furnish(settings))


async def furnish(settings: Settings) -> Shop:
    """Four kettles, of which a page has three, and an order of one of them and of a product that is gone."""
    async with Make(settings) as make:
        kitchen = await make.category(name="Kitchen")
        kettles = await make.category(name="Kettles", parent_id=kitchen["id"])
        names = ["Kettle", "Kettle II", "Kettle III", "Kettle XVIII"]  # the shorter ones are found first
        [first, *_] = [
            await make.product(name=name, price=f"{number}.50", category_id=kettles["id"])
            for number, name in enumerate(names)
        ]
        user = await make.user(email="ada@example.com", first_name="Ada", last_name="Lovelace")
        address = await make.profile(user_id=user["id"], city="London", country="England")
        order = await make.order(
            user_id=user["id"], shipping_address_id=address["id"], total_amount="4.00", status="paid"
        )
        await make.item(order, id=UUID(int=1), product_id=first["id"], quantity=2, unit_price="0.50")
        await make.item(order, id=UUID(int=2), product_name="Teapot", unit_price="3.00")
        payment = await make.payment(order_id=order["id"], amount="4.00", provider="stripe", status="captured")
        await make.refund(payment_id=payment["id"], amount="1.00", status="succeeded")
        await make.execute("orders", "REFRESH MATERIALIZED VIEW product_stats")
    public = """\
4 products match "kettle"
  Kettle, 0.50 (Kitchen > Kettles; 2 sold)
  Kettle II, 1.50 (Kitchen > Kettles; 0 sold)
  Kettle III, 2.50 (Kitchen > Kettles; 0 sold)
the next page
  Kettle XVIII, 3.50 (Kitchen > Kettles; 0 sold)
categories
  Kitchen: 4 products
    Kettles: 4
"""
    of_order = f"""\
order {order["id"]}: PAID, 4.00, placed {order["created_at"].isoformat()}
  by Ada Lovelace <ada@example.com>
  to London, England
  2 for 1.00: Kettle, 0.50 (Kitchen > Kettles; 2 sold)
  1 for 3.00: Teapot, no longer sold
  4.00 {payment["currency"]} by card (stripe): CAPTURED, refund of 1.00 SUCCEEDED
"""
    return Shop(user, kettles, public, of_order)


def token(settings: Settings, role: Role, user: Row) -> str:
    """An access token, as logging in gives one."""
    assert settings.jwt_secret is not None
    return AccessTokens(settings.jwt_secret.get_secret_value(), 60).issue(
        Viewer(str(user["id"]), str(UUID(int=2)), role)
    )
