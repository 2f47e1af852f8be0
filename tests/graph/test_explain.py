"""``extensions.explain``: every statement of a query's reads is told, to whoever asks for it, where that is allowed."""

from dataclasses import replace
from typing import Any

import pytest

from app.database import Databases
from app.graph.context import Context, count_statement
from app.graph.engine import Request
from app.settings import Settings
from app.viewer import NOBODY, Viewer
from tests.factories import Make
from tests.graph.conftest import ADMIN, Gateway, customer, plain
from tests.proxy import proxied

pytestmark = pytest.mark.anyio

QUERY = """{ orders(where: {totalAmount: {gte: "0.00"}}) { totalCount nodes {
  user { email } items { product { category { name ancestors { name } } } } payments { amount } } } }"""
ASKED = {"explain": True}


async def answered(gateway: Gateway, query: str = QUERY, viewer: Viewer = ADMIN, **request: Any) -> dict[str, Any]:
    gateway.statements.clear()
    context = Context(gateway.services, viewer)
    answer = await gateway.engine.answer(replace(Request(query, extensions=ASKED), **request), context)
    return plain(answer.body)


def told(body: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {name: of["statements"] for name, of in body["extensions"]["explain"]["databases"].items()}


async def orders(make: Make) -> None:
    category = await make.category()
    product = await make.product(category_id=category["id"])
    for _ in range(3):
        user = await make.user()
        order = await make.order(user_id=user["id"])
        await make.item(order, product_id=product["id"])
        await make.item(order, product_id=product["id"])
        await make.payment(order_id=order["id"])


@pytest.mark.parametrize("compiles", [True, False])
async def test_what_is_told_is_what_was_sent(gateway: Gateway, make: Make, compiles: bool) -> None:
    await orders(make)
    explained = gateway.limited(explain="on")
    body = await answered(explained if compiles else explained.resolvers)
    statements = [(name, " ".join(sql.split())) for name, sql in gateway.statements]
    assert len(statements) >= 6
    assert sorted((name, of["sql"]) for name, every in told(body).items() for of in every) == sorted(statements)
    counted = {
        (name, of["read"], of["tables"].split(", ")[0]): (of["keys"], of["rows"])
        for name, every in told(body).items()
        for of in every
    }
    assert counted["orders", "orders", "orders"] == (None, 3)
    assert counted["orders", "total", "orders"] == (None, 1)
    assert counted["orders", "items_by_order", "order_items"] == (3, 6)
    assert counted["users", "user_by_id", "users"] == (3, 3)
    assert counted["payments", "payments_by_order", "payments"] == (3, 3)
    [product] = [of for of in told(body)["products"] if of["read"] == "product_by_id"]
    assert (product["keys"], product["rows"]) == (1, 1)
    if compiles:  # they come along with the product
        assert [of["tables"] for of in told(body)["products"]] == ["categories, products"]
    else:
        assert counted["products", "ancestors_by_category", "categories"] == (1, 0)
    everything = body["extensions"]["explain"]["milliseconds"]
    for every in told(body).values():
        assert [of["startedAfter"] for of in every] == sorted(of["startedAfter"] for of in every)
        assert all(0 <= of["startedAfter"] + of["milliseconds"] <= everything + 0.02 for of in every)


async def test_the_answer_is_the_same_and_has_no_value_of_a_statement(gateway: Gateway, make: Make) -> None:
    await orders(make)
    user = await make.user(email="somebody@example.com")
    await make.order(user_id=user["id"])
    query = '{ user(email: "somebody@example.com") { firstName orders { nodes { totalAmount } } } }'
    body = await answered(gateway.limited(explain="on"), query)
    assert body["data"] == await gateway.ask(query)
    assert "somebody@example.com" not in str(body["extensions"])
    assert str(user["id"]) not in str(body["extensions"])


async def test_views_are_told_like_tables(gateway: Gateway, make: Make) -> None:
    await make.product()
    body = await answered(gateway.limited(explain="on"), "{ products { nodes { stats { totalOrders } } } }")
    assert [of["tables"] for of in told(body)["orders"]] == ["product_stats_refresh, product_stats"]


async def test_numbers_alone_have_no_sql(gateway: Gateway, make: Make) -> None:
    await orders(make)
    body = await answered(gateway.limited(explain="numbers"))
    assert [of["rows"] for of in told(body)["users"]] == [3]
    assert "SELECT" not in str(body["extensions"])


@pytest.mark.parametrize("extensions", [None, {}, {"explain": False}, {"explain": "true"}, {"explain": 1}])
async def test_nothing_is_noted_unless_it_is_asked_for(gateway: Gateway, extensions: dict[str, Any] | None) -> None:
    assert "extensions" not in await answered(gateway.limited(explain="on"), extensions=extensions)


async def test_by_default_nothing_is_told_to_whoever_asks(gateway: Gateway) -> None:
    assert gateway.settings.explain == "off"
    assert "extensions" not in await answered(gateway)


async def test_an_answer_that_may_be_kept_has_none(gateway: Gateway) -> None:
    assert "extensions" not in await answered(gateway.limited(explain="on"), may_mutate=False)


async def test_what_is_refused_has_none(gateway: Gateway) -> None:
    assert (await answered(gateway.limited(explain="on"), "{ nothing }")).keys() == {"errors"}


async def test_a_mutations_own_statements_are_counted_and_its_reads_told(settings: Settings, clean: None) -> None:
    """Signing up makes the request another viewer's: that statements are noted stays as it was."""
    query = """mutation { signUp(input: {email: "a@example.com", password: "correct horse"}) {
      user { orders { totalCount } } } }"""
    async with Databases.opened(settings, count_statement) as databases:
        gateway = Gateway(databases, settings).limited(explain="on")
        context = Context(gateway.services, NOBODY)
        body = plain((await gateway.engine.answer(Request(query, extensions=ASKED), context)).body)
    assert "errors" not in body
    assert [of["read"] for of in told(body)["orders"]] == ["total"]
    of_users = body["extensions"]["explain"]["databases"]["users"]
    assert [of["read"] for of in of_users["statements"]] == ["user_by_id"]
    assert of_users["others"] == context.statements["users"] - 1 > 0


async def test_a_customer_s_own_keys_are_told_as_well(gateway: Gateway, make: Make) -> None:
    user = await make.user()
    order = await make.order(user_id=user["id"])
    await make.payment(order_id=order["id"])
    body = await answered(gateway.limited(explain="on"), "{ payments { nodes { amount } } }", customer(user))
    assert [of["read"] for of in told(body)["orders"]] == ["all_of_user"]
    assert [of["rows"] for of in told(body)["payments"]] == [1]


async def test_a_statement_that_fails_has_no_rows(settings: Settings, make: Make) -> None:
    await orders(make)
    async with proxied(settings.users_database_url) as (proxy, url):
        proxy.refuse()
        through = settings.model_copy(update={"users_database_url": url, "explain": "on"})
        async with Databases.opened(through) as databases:
            body = await answered(Gateway(databases, through))
    assert [of["rows"] for of in told(body)["users"]] == [None]
    assert [of["rows"] for of in told(body)["payments"]] == [3]
    assert body["extensions"]["databases"] == {"users": "unavailable"}
