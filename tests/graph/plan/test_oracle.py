"""Plans and resolvers answer alike: documents made at random over real rows, as everybody, and with a database down.

Data are compared byte for byte, errors by place, code and message. Inside a part that is null anyway, the two may
differ in which of several errors they tell (GraphQL specification, section 6.4.4).
"""

import asyncio
import json
from collections.abc import Generator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.database import Databases
from app.graph.context import Context, Services
from app.graph.engine import Answer, Engine, Request
from app.graph.node import encode_id
from app.graph.plan.plan import Json
from app.identity.sessions import Identity
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from app.viewer import NOBODY, Viewer
from tests.factories import Make, Row, empty
from tests.graph.conftest import ADMIN, SCHEMA, customer
from tests.graph.plan.documents import VARIABLES, Documents
from tests.proxy import proxied

PATIENT = {"read_timeout": 60.0, "statement_timeout": 60.0, "pool_wait": 60.0}  # a busy machine is no difference
WIDE = {"max_depth": 100, "max_cost": 10**9, "max_fields": 10_000, "max_aliases": 10_000, "max_fragments": 1000}


@dataclass(frozen=True)
class World:
    """Rows in the four databases, and both executors over them."""

    runner: asyncio.Runner
    services: Services
    plans: Engine
    resolvers: Engine
    viewers: list[Viewer]
    ids: list[str]


async def fill(make: Make) -> tuple[list[Row], list[str]]:
    """Some rows of every table, and the ids of some of them."""
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
    for number, user in enumerate([*users, users[0], users[0]]):
        profile = await make.profile(user_id=user["id"])
        orders.append(
            await make.order(user_id=user["id"], shipping_address_id=profile["id"], total_amount=f"{number}.50")
        )
        for product in products[: number + 1]:
            await make.item(orders[-1], product_id=product["id"])
        payment = await make.payment(order_id=orders[-1]["id"], provider="bank")
        await make.refund(payment_id=payment["id"], status="succeeded")
    await make.order()  # of nobody
    await make.item()  # of no product that there is
    await make.payment()  # of no order
    await make.execute("orders", "REFRESH MATERIALIZED VIEW product_stats")
    named = {"Category": [root, leaf], "Product": products[:2], "User": users[:2], "Order": orders[:2]}
    ids = [encode_id(name, str(row["id"])) for name, rows in named.items() for row in rows]
    return users, [*ids, *(str(row["id"]) for rows in named.values() for row in rows)]


@pytest.fixture(scope="module", params=[None, *DATABASE_NAMES])
def world(request: pytest.FixtureRequest, settings: Settings) -> Generator[World]:
    """With every database there, and with each of them down."""
    down: DatabaseName | None = request.param
    stack = AsyncExitStack()

    async def entered(runner: asyncio.Runner) -> World:
        async with Make(settings) as make:
            users, ids = await fill(make)
        wide = settings.model_copy(update=WIDE | PATIENT)
        if down is not None:
            proxy, url = await stack.enter_async_context(proxied(settings.database_url(down)))
            proxy.refuse()
            wide = wide.model_copy(update={f"{down}_database_url": url})
        databases = await stack.enter_async_context(Databases.opened(wide))
        services = Services(databases, wide, Identity(databases, wide))
        viewers = [ADMIN, ADMIN, NOBODY, customer(users[0]), customer(users[1])]
        return World(runner, services, Engine(SCHEMA, wide), Engine(SCHEMA, wide, compiles=False), viewers, ids)

    with asyncio.Runner() as runner:
        try:
            yield runner.run(entered(runner))
        finally:
            runner.run(stack.aclose())
            asyncio.run(empty(settings))


def text_of(answer: Answer) -> str | None:
    data = answer.body.get("data")
    return str(data) if isinstance(data, Json) else json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def inside(value: Any, step: Any) -> Any:
    """What stands in an answer at a step of a path."""
    return value[step]


def errors_of(answer: Answer) -> set[tuple[Any, ...]]:
    """Each error by its place, code and message; one inside a part that is null anyway, by the place of that null."""
    body: Any = answer.body
    data = json.loads(text_of(answer) or "null")
    found: set[tuple[Any, ...]] = set()
    for error in body.get("errors", []):
        path: tuple[Any, ...] = tuple(error.get("path", ()))
        value: Any = data
        for length, step in enumerate(path):
            value = inside(value, step)
            if value is None and length + 1 < len(path):
                found.add(path[: length + 1])
                break
        else:
            locations = tuple(tuple(of.values()) for of in error.get("locations", ()))
            found.add((path, locations, error["extensions"]["code"], error["message"]))
    return found


def test_plans_and_resolvers_answer_alike(world: World) -> None:
    compiled = refused = 0

    async def both(document: str, viewer: Viewer) -> tuple[Answer, Answer]:
        request = Request(document, variables=VARIABLES)
        plan = await world.plans.answer(request, Context(world.services, viewer))
        return plan, await world.resolvers.answer(request, Context(world.services, viewer))

    @hypothesis_settings(deadline=None, print_blob=False)
    @given(seed=st.integers(0, 2**63), viewer=st.sampled_from(world.viewers))
    def examples(seed: int, viewer: Viewer) -> None:
        nonlocal compiled, refused
        document = Documents(Random(seed), world.ids).document()
        plan, resolvers = world.runner.run(both(document, viewer))
        assert plan.refused == resolvers.refused
        assert not resolvers.is_compiled
        compiled += plan.is_compiled
        refused += plan.refused
        assert text_of(plan) == text_of(resolvers), document
        assert errors_of(plan) == errors_of(resolvers), document

    examples()
    assert compiled > 3 * refused, (compiled, refused)
