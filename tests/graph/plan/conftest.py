"""Rows in the four databases, and both executors over them, for the tests of one module."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from app.graph.node import encode_id
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from app.viewer import NOBODY, Viewer
from tests.factories import Make, Row, empty
from tests.graph.conftest import ADMIN, SESSION, customer
from tests.graph.plan import small_shop
from tests.graph.plan.executors import Executors, executors_of

SUPPORT = Viewer(ADMIN.user, SESSION, "support")


@dataclass(frozen=True)
class World:
    """Rows of every table, of some of which ``ids`` are, and who can ask for them: of each role, and nobody."""

    executors: Executors
    viewers: list[Viewer]
    ids: list[str]


@contextmanager
def emptied(settings: Settings) -> Generator[None]:
    """Empties every table in the end."""
    try:
        yield
    finally:
        asyncio.run(empty(settings))


async def fill(make: Make) -> tuple[list[Row], list[str]]:
    """Some rows of every table: the users, and the ids of some of them all."""
    root = await make.category(name="Root")
    below = [await make.category(parent_id=root["id"]) for _ in range(2)]
    leaf = await make.category(parent_id=below[0]["id"], description='quoted "text"\n\u2028𝄞')
    products = [
        await make.product(category_id=category and category["id"], sku=f"sku-{number}")
        for number, category in enumerate([root, below[0], leaf, leaf, None])
    ]
    await make.image(product_id=products[0]["id"], is_primary=True)
    await make.image(product_id=products[0]["id"])
    users = [await make.user(first_name=name) for name in ("Ada", None, "Žofie")]
    orders: list[Row] = []
    others: dict[str, list[Row]] = {"UserProfile": [], "OrderItem": [], "Payment": [], "Refund": []}
    for number, user in enumerate([*users, users[0], users[0]]):
        profile = await make.profile(user_id=user["id"])
        order = await make.order(user_id=user["id"], shipping_address_id=profile["id"], total_amount=f"{number}.50")
        items = [await make.item(order, product_id=product["id"]) for product in products[: number + 1]]
        payment = await make.payment(order_id=order["id"], provider="bank")
        refund = await make.refund(payment_id=payment["id"], status="succeeded")
        orders.append(order)
        for kind, row in zip(others, (profile, items[0], payment, refund), strict=True):
            others[kind].append(row)
    await make.order()  # of nobody
    await make.item()  # of no product that there is
    await make.payment()  # of no order
    await make.execute("orders", "REFRESH MATERIALIZED VIEW product_stats")
    named = {"Category": [root, leaf], "Product": products, "User": users, "Order": orders} | others
    ids = [encode_id(name, str(row["id"])) for name, rows in named.items() for row in rows[:2]]
    return users, [*ids, *(str(row["id"]) for rows in named.values() for row in rows[:2])]


@pytest.fixture(scope="module", params=[None, *DATABASE_NAMES])
def world(request: pytest.FixtureRequest, settings: Settings) -> Generator[World]:
    """With every database there, and with each of them down."""
    down: DatabaseName | None = request.param
    with emptied(settings), executors_of(settings, down) as executors:
        users, ids = executors.runner.run(fill(executors.make))
        viewers = [ADMIN, SUPPORT, NOBODY, customer(users[0]), customer(users[1])]
        yield World(executors, viewers, ids)


@pytest.fixture(scope="module")
def executors(settings: Settings) -> Generator[Executors]:
    """Over the small shop. What a test changes there, it changes back."""
    with emptied(settings), executors_of(settings) as executors:
        executors.runner.run(small_shop.fill(executors.make))
        yield executors
