"""``storegraph monitor explain``: each statement of a query once more, as PostgreSQL goes about it."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from app.database import Databases
from app.errors import OperationError
from app.graph import explain_plans
from app.graph.explain import Sent
from app.graph.explain_plans import Planned, explain, run
from app.settings import Settings
from tests.factories import TODAY, Make
from tests.operations.rows import rows, storegraph

QUERY = """query Mine($least: Decimal!) { orders(where: {totalAmount: {gte: $least}}) { totalCount nodes {
  user { email } items { product { category { name ancestors { name } } } } payments { amount } } } }"""
VARIABLES = {"least": "5.00"}


async def shop(make: Make) -> None:
    await make.user(role="admin")
    category = await make.category(parent_id=(await make.category())["id"])
    product = await make.product(category_id=category["id"], name='it\'s {a} "name", with \\ and ,')
    for amount in ("4.00", "6.00", "7.00"):
        user = await make.user()
        order = await make.order(user_id=user["id"], total_amount=amount)
        await make.item(order, product_id=product["id"])
        await make.payment(order_id=order["id"])


def by_read(planned: tuple[Planned, ...]) -> dict[tuple[str, str], Planned]:
    return {(of.sent.database, of.sent.read): of for of in planned}


@pytest.mark.anyio
async def test_every_statement_is_run_again_with_its_own_arguments(settings: Settings, make: Make) -> None:
    await shop(make)
    found = await explain(settings, QUERY, variables=VARIABLES, role="admin")
    assert (found.operation, found.viewer, found.executor, found.errors) == ("Mine", "admin", "plan", ())
    statements = by_read(found.statements)
    assert len(statements) == len(found.statements) == 6
    for of in found.statements:
        assert of.plan["Actual Rows"] == of.sent.rows, of.sent.sql
        assert of.execution_milliseconds > 0
    assert statements["orders", "orders"].sent.rows == 2
    assert statements["orders", "items_by_order"].sent.keys == 2
    assert (
        statements["products", "product_by_id"].buffers_hit + statements["products", "product_by_id"].buffers_read > 0
    )
    assert statements["users", "user_by_id"].partitions == ()


@pytest.mark.anyio
async def test_the_partitions_that_were_come_to_are_told(settings: Settings, make: Make) -> None:
    await shop(make)
    found = by_read((await explain(settings, QUERY, variables=VARIABLES, role="admin")).statements)
    quarter = f"{TODAY.year}_q{(TODAY.month + 2) // 3}"
    [items] = found["orders", "items_by_order"].partitions
    assert (items.table, items.touched) == ("order_items", (f"order_items_{quarter}",))
    [counted] = found["orders", "total"].partitions
    assert counted.there_are == len(counted.touched) == items.there_are >= 4


@pytest.mark.anyio
async def test_it_is_the_generic_plan_that_the_gateway_has(settings: Settings, make: Make) -> None:
    """Its conditions name parameters, and not what they are."""
    await shop(make)
    found = by_read((await explain(settings, QUERY, variables=VARIABLES, role="admin")).statements)
    text = json.dumps(found["orders", "total"].plan)
    assert "$1" in text
    assert "5.00" not in text


@pytest.mark.anyio
@pytest.mark.parametrize(
    "query",
    [
        '{ products(search: "it\'s") { nodes { name } } }',
        '{ products(where: {name: {contains: "{a} \\"name\\""}}) { nodes { name } } }',
        '{ products(where: {name: {in: ["a,b", "\\\\", "NULL", "", "ž"]}}) { nodes { name } } }',
        '{ user(email: "o\'brien@example.com") { id } }',
    ],
)
async def test_whatever_arguments_hold_they_are_passed_on_as_they_are(
    settings: Settings, make: Make, query: str
) -> None:
    await shop(make)
    found = await explain(settings, query, role="admin")
    assert found.statements
    assert all(of.plan["Actual Rows"] == of.sent.rows for of in found.statements)


@pytest.mark.anyio
async def test_what_is_run_again_can_change_nothing(settings: Settings, make: Make) -> None:
    user = await make.user(email="a@example.com")
    sql = "UPDATE users SET first_name = 'x' WHERE id = $1 RETURNING id"
    sent = Sent("users", "rows", ("users",), 1, 1, 0.0, 0.0, sql, (user["id"],))
    async with Databases.opened(settings) as databases:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await explain_plans._planned(databases, sent, 0)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.anyio
async def test_what_is_not_run_is_told(settings: Settings, make: Make) -> None:
    with pytest.raises(OperationError, match=r"^a mutation is not run here"):
        await explain(settings, "mutation { logOut(input: {}) { loggedOut } }")
    with pytest.raises(OperationError, match=r"^Cannot query field 'nothing'"):
        await explain(settings, "{ nothing }")
    with pytest.raises(OperationError, match=r"^no active user has the role admin$"):
        await explain(settings, "{ viewer { id } }", role="admin")
    assert (await explain(settings, "{ orders { totalCount } }")).errors == ("orders: Sign in to see this.",)


def test_only_what_was_run_is_among_the_nodes_that_were() -> None:
    leaf: dict[str, Any] = {"Actual Loops": 1}
    plan = {"Actual Loops": 1, "Plans": [leaf, {"Actual Loops": 0, "Plans": [{"Actual Loops": 0}]}]}
    assert list(run(plan)) == [plan, leaf]


# --- the command


def filled(settings: Settings) -> None:
    async def fill() -> None:
        async with Make(settings) as make:
            await shop(make)

    asyncio.run(fill())


def test_the_command_draws_plans(
    settings: Settings, clean: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(settings)
    arguments = ("--variables", json.dumps(VARIABLES), "--role", "admin")
    assert storegraph(settings, monkeypatch, "monitor", "explain", QUERY, *arguments) == 0
    drawn = capsys.readouterr().out
    assert "orders: items_by_order (order_items)\n" in drawn
    assert "2 keys → 2 rows in " in drawn
    assert f"1 of {quarters(settings)} partitions of order_items" in " ".join(drawn.split())
    assert " never executed\n" in drawn
    assert "Mine, as admin, by plan: 6 statements (orders 3, " in " ".join(drawn.split())


def quarters(settings: Settings) -> int:
    """As many as the fixture's upgrade made: of this year and the next, or more."""
    [(count,)] = rows(settings, "orders", "SELECT count(*) FROM pg_inherits WHERE inhparent = 'order_items'::regclass")
    assert count >= 5 - (datetime.now(UTC).month + 2) // 3
    return count


def test_the_command_writes_json_and_ends_with_what_the_answer_calls_for(
    settings: Settings, clean: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(settings)
    explain = ("monitor", "explain", "--json")
    assert storegraph(settings, monkeypatch, *explain, QUERY, "--variables", '{"least": 0}', "--role", "admin") == 0
    body = json.loads(capsys.readouterr().out)
    assert {of["sent"]["database"] for of in body["statements"]} == {"users", "products", "orders", "payments"}
    assert storegraph(settings, monkeypatch, *explain, "{ orders { totalCount } }") == 1
    assert json.loads(capsys.readouterr().out)["statements"] == []
    for wrong in ("{", "[1]", "NaN"):
        assert storegraph(settings, monkeypatch, *explain, QUERY, "--variables", wrong) == 2
        assert capsys.readouterr().err.startswith("storegraph: --variables ")
