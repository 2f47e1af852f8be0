"""The statistics of products hold every sale committed before the time that they bear, and that time is told."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from app.errors import OperationError
from app.operations.connect import connected
from app.operations.databases import create
from app.operations.statistics import refresh, refresh_stats
from app.settings import Settings
from tests.factories import Make
from tests.graph.conftest import Gateway, gateway_of
from tests.operations.rows import storegraph

anyio = pytest.mark.anyio


@pytest.fixture
async def gateway(settings: Settings, clean: None) -> AsyncGenerator[Gateway]:
    async for gateway in gateway_of(settings):
        yield gateway


async def stats(gateway: Gateway, product: UUID) -> tuple[int, datetime]:
    """How many orders of a product the API counts, and as of when."""
    query = "query($id: ID!) { product(id: $id) { stats { totalOrders refreshedAt } } }"
    found = (await gateway.ask(query, id=str(product)))["product"]["stats"]
    return found["totalOrders"], datetime.fromisoformat(found["refreshedAt"])


async def now(make: Make) -> datetime:
    return await make.connections["orders"].fetchval("SELECT clock_timestamp()")


def unexpected() -> None:
    raise AssertionError("nothing to wait for")


@anyio
async def test_a_sale_counts_when_it_was_committed_before(gateway: Gateway, make: Make, settings: Settings) -> None:
    url, product = settings.orders_database_url, (await make.product())["id"]

    await make.item(product_id=product)  # committed before the refresh
    before = await now(make)
    async with connected("orders", url) as seller:
        async with seller.transaction():
            await seller.execute(
                "INSERT INTO order_items (order_id, order_created_at, product_id, quantity, unit_price) "
                "SELECT id, created_at, $1, 1, 1 FROM orders",
                product,
            )
            first = await refresh_stats(url, unexpected)
            assert first.products == 1
            assert await stats(gateway, product) == (1, first.refreshed_at)
            during = await now(make)
        # Written before the refresh and committed after it: not in it, as its time says.
        assert before < first.refreshed_at < during
        assert await stats(gateway, product) == (1, first.refreshed_at)

    await make.item(product_id=product)  # committed after it
    assert await stats(gateway, product) == (1, first.refreshed_at)
    second = await refresh_stats(url, unexpected)
    assert second.refreshed_at > during
    assert await stats(gateway, product) == (3, second.refreshed_at)


@anyio
async def test_readers_see_the_old_figures_with_the_old_time(gateway: Gateway, make: Make, settings: Settings) -> None:
    product = (await make.product())["id"]
    first = await refresh_stats(settings.orders_database_url, unexpected)
    await make.item(product_id=product)
    async with connected("orders", settings.orders_database_url) as connection:
        async with connection.transaction():
            refreshed_at = await refresh(connection)
            assert await stats(gateway, product) == (0, first.refreshed_at)
        assert await stats(gateway, product) == (1, refreshed_at)


@anyio
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
async def test_two_at_once_wait_and_the_later_one_counts_more(
    gateway: Gateway, make: Make, settings: Settings, isolation: str
) -> None:
    """Whatever the role's own isolation: a snapshot taken before the wait would miss what its time promises."""
    url, product = settings.orders_database_url, (await make.product())["id"]
    waits = asyncio.Event()
    async with connected("orders", url) as connection, asyncio.timeout(20):
        await connection.execute(f"ALTER ROLE CURRENT_USER SET default_transaction_isolation = '{isolation}'")
        try:
            async with connection.transaction():
                await refresh(connection)
                second = asyncio.create_task(refresh_stats(url, waits.set))
                await waits.wait()
                await make.item(product_id=product)
                sold = await now(make)
            done = await second
        finally:
            await connection.execute("ALTER ROLE CURRENT_USER RESET default_transaction_isolation")
    assert done.refreshed_at > sold
    assert await stats(gateway, product) == (1, done.refreshed_at)


@anyio
async def test_what_fails_is_one_clear_line_and_changes_nothing(
    gateway: Gateway, make: Make, settings: Settings, scratch_url: str
) -> None:
    with pytest.raises(OperationError, match="the orders database does not exist; make it"):
        await refresh_stats(scratch_url, unexpected)
    await create("orders", scratch_url)
    with pytest.raises(OperationError, match="does not exist; run `storegraph db upgrade --database orders` first"):
        await refresh_stats(scratch_url, unexpected)

    url, product = settings.orders_database_url, (await make.product())["id"]
    before = await stats(gateway, product)
    await make.item(product_id=product)
    await make.execute(
        "orders", "CREATE ROLE clerk LOGIN; GRANT SELECT, INSERT, UPDATE ON product_stats_refresh TO clerk"
    )
    try:
        with pytest.raises(OperationError, match=r"^the statistics were not refreshed: [^\n]*product_stats[^\n]*$"):
            await refresh_stats(url.replace("postgres@", "clerk@"), unexpected)
    finally:
        await make.execute("orders", "DROP OWNED BY clerk; DROP ROLE clerk")
    assert await stats(gateway, product) == before


def test_the_command_says_when_and_how_many(
    settings: Settings, clean: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[object, str, str]:
        code = storegraph(settings, monkeypatch, "db", "refresh-stats", *arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    code, out, err = run("--json")
    found: dict[str, Any] = json.loads(out)
    assert (code, found["products"], err) == (0, 0, "")
    assert datetime.fromisoformat(found["refreshed_at"]).tzinfo
    assert found["seconds"] > 0

    code, out, err = run()
    assert (code, out.endswith(": 0 products sold\n"), err) == (0, True, "")

    down = settings.model_copy(update={"orders_database_url": "postgresql://u:secret@127.0.0.1:1/orders"})
    code = storegraph(down, monkeypatch, "db", "refresh-stats")
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("storegraph: cannot connect to the orders database: ")
    assert err.count("\n") == 1
    assert "secret" not in err
