"""What no estimate foresaw: an answer that grows too large on the way is given up, and nobody else waits for it."""

import asyncio
from time import monotonic
from typing import Any

import pytest
from graphql import get_introspection_query

from app.database import Databases
from app.graph.context import MOST_ERRORS, Context
from app.graph.engine import Engine, Request
from app.settings import Settings
from app.viewer import NOBODY
from tests.factories import Make
from tests.graph.conftest import ABANDONED, SCHEMA, Gateway, plain

pytestmark = pytest.mark.anyio


async def refusal(gateway: Gateway, query: str, *, compiles: bool = True, **variables: Any) -> str:
    """The message of an answer that has nothing but a limit's error."""
    engine = Engine(SCHEMA, gateway.settings, compiles=compiles)
    answer = await engine.answer(Request(query, variables=variables), Context(gateway.services, NOBODY))
    assert answer.is_compiled == compiles
    body = plain(answer.body)
    assert body["data"] is None
    [error] = body["errors"]
    assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
    return error["message"]


@pytest.mark.usefixtures("abandons")
@pytest.mark.filterwarnings(ABANDONED)
@pytest.mark.parametrize("compiles", [True, False])
async def test_lists_in_lists_that_are_longer_than_they_were_guessed(
    gateway: Gateway, make: Make, compiles: bool
) -> None:
    """Two hundred children, whose parent has two hundred children, whose parent …: eight million in a hundred bytes."""
    root = await make.category()
    for _ in range(200):
        await make.category(parent_id=root["id"])
    query = "query($id: ID!) { category(id: $id) { children { parent { children { parent { children { id } } } } } } }"
    started = monotonic()
    message = await refusal(gateway, query, compiles=compiles, id=str(root["id"]))
    assert monotonic() - started < 5  # not minutes
    most = "50,000" if compiles else "5,000"
    assert message.startswith(f"The answer would have more than {most} objects")
    assert len(gateway.statements) <= 6


async def test_a_plan_may_answer_with_as_many_objects_as_max_cost(gateway: Gateway, make: Make) -> None:
    root = await make.category()
    for _ in range(9):
        await make.category(parent_id=root["id"])
    query = "query($id: ID!) { category(id: $id) { children { parent { children { id } } } } }"
    # The root of all, the category, nine children, their nine parents, and nine children of each.
    assert await gateway.limited(max_cost=101).ask(query, id=str(root["id"]))
    await refusal(gateway.limited(max_cost=100), query, id=str(root["id"]))


async def test_rows_are_counted_before_the_next_level_is_read(gateway: Gateway, make: Make) -> None:
    root = await make.category()
    for _ in range(60):
        await make.category(parent_id=root["id"])
    query = "query($id: ID!) { category(id: $id) { descendants { children { id } } } }"
    await refusal(gateway.limited(max_cost=50), query, id=str(root["id"]))
    assert len(gateway.statements) == 2


@pytest.mark.usefixtures("abandons")
@pytest.mark.filterwarnings(ABANDONED)
@pytest.mark.parametrize("compiles", [True, False])
async def test_an_answer_has_so_many_errors_and_no_more(gateway: Gateway, make: Make, compiles: bool) -> None:
    for _ in range(60):
        await make.product()
    await make.execute("orders", "REFRESH MATERIALIZED VIEW product_stats")
    aliases = " ".join(f"a{number}: totalRevenue" for number in range(20))
    query = f"{{ products(first: 60) {{ nodes {{ stats {{ {aliases} }} }} }} }}"
    message = await refusal(gateway, query, compiles=compiles)
    assert message.startswith(f"The answer would have more than {MOST_ERRORS:,} errors")


async def test_one_operation_leaves_connections_to_others(settings: Settings, make: Make) -> None:
    """Thirty reads at once, of one operation: another one's read finds a connection all the same."""
    few = settings.model_copy(update={"pool_size": 10, "operation_connections": 2})
    busiest = 0

    async with Databases.opened(few) as databases:
        gateway = Gateway(databases, few)
        query = " ".join(
            f"a{number}: products(first: {number + 1}) {{ totalCount nodes {{ id }} }}" for number in range(15)
        )
        pool = databases["products"]._pool._pool  # pyright: ignore[reportPrivateUsage]
        running = asyncio.create_task(gateway.ask(f"{{ {query} }}"))
        while not running.done():
            busiest = max(busiest, pool.get_size() - pool.get_idle_size())
            await asyncio.sleep(0)
        await running
    assert 1 < busiest <= 4  # two, and what is being made fit for the next


async def test_a_burst_of_introspection_delays_another_client_by_one_of_them(gateway: Gateway) -> None:
    answered = 0

    async def introspect() -> None:
        nonlocal answered
        await gateway.ask(get_introspection_query())
        answered += 1

    async def ask() -> int:
        await gateway.ask("{ __typename }")
        return answered

    burst = [asyncio.create_task(introspect()) for _ in range(20)]
    assert await asyncio.create_task(ask()) <= 2
    await asyncio.gather(*burst)


@pytest.mark.parametrize(
    "query",
    [
        "{ products { nodes { " + "name " * 150 + "} } }",
        "{ products { nodes { "
        + " ".join(f"...F{number}" for number in range(40))
        + " } } } "
        + " ".join(
            f"fragment F{number} on Product {{ id uuid name price sku status createdAt description }}"
            for number in range(40)
        ),
    ],
)
async def test_what_takes_too_long_to_validate_says_so(gateway: Gateway, query: str) -> None:
    _, errors = await gateway.refuse(query)
    assert [(code, message.partition(":")[0]) for _, code, message in errors] == [
        (
            "LIMIT_EXCEEDED",
            "Too many fields of the document have one name in one place, each to be compared with the others",
        )
    ]
