"""What is refused before it is executed, what an answer says beside its data, what a cancelled one leaves behind."""

import asyncio
from typing import Any

import pytest

from app.database import Databases
from app.graph.context import Context
from app.graph.engine import DOCUMENTS_KEPT, LONGEST_KEPT, Engine, MutationOverGetError, Request
from app.graph.guard.errors import LONGEST_MESSAGE
from app.settings import DATABASE_NAMES, Settings
from app.viewer import NOBODY
from tests.factories import Make
from tests.graph.conftest import ABANDONED, ADMIN, SCHEMA, Gateway, customer, plain
from tests.proxy import proxied

pytestmark = pytest.mark.anyio

TWO = "query A { viewer { email } } query B { users { totalCount } }"


async def answer(gateway: Gateway, query: str | None, **request: Any) -> dict[str, Any]:
    found = await gateway.engine.answer(Request(query, **request), Context(gateway.services, ADMIN))
    return plain(found.body)


@pytest.mark.parametrize(
    ("query", "name", "message"),
    [
        (TWO, None, "The document has several operations: say in operationName which one to run."),
        (TWO, "C", "The document has no operation of the name in operationName."),
        (TWO, "", "The document has no operation of the name in operationName."),
    ],
)
async def test_one_operation_is_chosen_or_none(gateway: Gateway, query: str, name: str | None, message: str) -> None:
    body = await answer(gateway, query, operation_name=name)
    assert body == {"errors": [{"message": message, "extensions": {"code": "BAD_USER_INPUT"}}]}
    assert gateway.statements == []


async def test_the_operation_that_was_named_runs(gateway: Gateway) -> None:
    assert await answer(gateway, TWO, operation_name="B") == {"data": {"users": {"totalCount": 0}}}
    found = await gateway.engine.answer(Request(TWO, "B"), Context(gateway.services, ADMIN))
    assert (found.operation_name, found.refused, found.codes) == ("B", False, frozenset())


@pytest.mark.parametrize("query", ["", "{", "{ nothing }", "query($x: Int!) { users(first: $x) { totalCount } }"])
async def test_what_is_refused_has_no_data(gateway: Gateway, query: str) -> None:
    found = await gateway.engine.answer(Request(query), Context(gateway.services, ADMIN))
    assert found.refused
    assert found.body.keys() == {"errors"}
    assert gateway.statements == []


async def test_a_mutation_over_get_is_not_run(gateway: Gateway) -> None:
    query = 'mutation { logIn(input: {email: "a@b", password: "x"}) { expiresIn } }'
    with pytest.raises(MutationOverGetError):
        await answer(gateway, query, may_mutate=False)
    assert gateway.statements == []


async def test_an_operation_s_cost_is_told_on_request(gateway: Gateway) -> None:
    query = "{ users(first: 10) { nodes { orders(first: 5) { nodes { id } } } } }"
    assert "extensions" not in await answer(gateway, query)
    assert "extensions" not in await answer(gateway, query, extensions={"cost": "yes"})
    body = await answer(gateway, query, extensions={"cost": True})
    assert body["extensions"] == {"cost": {"cost": 60, "limit": 50_000}}
    [error] = (await answer(gateway.limited(max_cost=59), query))["errors"]
    assert error["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_the_cost_depends_on_variables_also_of_a_document_that_is_known(gateway: Gateway) -> None:
    gateway = gateway.limited(max_cost=50)
    query = "query($n: Int) { users(first: $n) { nodes { id } } }"
    assert "data" in await answer(gateway, query, variables={"n": 50})
    assert "data" not in await answer(gateway, query, variables={"n": 51})
    assert "data" in await answer(gateway, query, variables={"n": 1})


async def test_the_databases_that_are_missing_are_named(settings: Settings, make: Make) -> None:
    await make.order()
    async with proxied(settings.users_database_url) as (proxy, url):
        proxy.refuse()
        async with Databases.opened(settings.model_copy(update={"users_database_url": url})) as databases:
            result = await Gateway(databases, settings).execute("{ orders { nodes { status user { email } } } }")
    assert result.data == {"orders": {"nodes": [{"status": "PENDING", "user": None}]}}
    assert result.extensions == {"databases": {"users": "unavailable"}}


async def test_a_message_does_not_repeat_what_was_sent_at_full_length(gateway: Gateway) -> None:
    for value in ("x" * 100_000, {"x" * 10_000: 1}):
        [error] = (await gateway.execute("query($x: Int) { users(first: $x) { totalCount } }", x=value)).errors
        assert len(error["message"]) <= LONGEST_MESSAGE + 1


async def test_introspection_and_suggestions_can_be_turned_off(gateway: Gateway) -> None:
    gateway = gateway.limited(introspection=False)
    _, errors = await gateway.refuse("{ __schema { types { name } } }")
    assert {code for _, code, _ in errors} == {"BAD_USER_INPUT"}
    for wrong in ("{ viewerr { id } }", "{ users(frist: 1) { totalCount } }", "query($x: Usr) { viewer { id } }"):
        _, errors = await gateway.refuse(wrong)
        assert "Did you mean" not in str(errors)
    assert await gateway.ask("{ viewer { __typename } }") == {"viewer": None}


async def test_documents_are_kept_but_not_without_end(gateway: Gateway) -> None:
    engine = Engine(SCHEMA, gateway.settings)
    context = Context(gateway.services, NOBODY)
    for number in range(DOCUMENTS_KEPT + 10):
        await engine.answer(Request(f"{{ a{number}: __typename }}"), context)
    kept = engine._kept  # pyright: ignore[reportPrivateUsage]
    assert len(kept) == DOCUMENTS_KEPT
    await engine.answer(Request("{ __typename }" + " " * LONGEST_KEPT), context)
    await engine.answer(Request("{ nothing }"), context)
    assert len(kept) == DOCUMENTS_KEPT
    assert "{ a9: __typename }" not in kept
    assert "{ nothing }" not in kept


async def test_a_new_document_that_many_ask_at_once_is_checked_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(SCHEMA, gateway.settings)
    checked: list[str] = []
    check = engine._check  # pyright: ignore[reportPrivateUsage]

    def counted(text: str) -> object:
        checked.append(text)
        return check(text)

    monkeypatch.setattr(engine, "_check", counted)
    request = Request("{ products { nodes { name } } }")
    answers = await asyncio.gather(*(engine.answer(request, Context(gateway.services, NOBODY)) for _ in range(50)))
    assert not any(answer.refused for answer in answers)
    assert len(checked) == 1


async def test_who_asks_is_never_part_of_what_is_kept(gateway: Gateway, make: Make) -> None:
    user = await make.user()
    for viewer, expected in (
        (ADMIN, None),
        (customer(user), user["email"]),
        (NOBODY, None),
        (customer(user), user["email"]),
    ):
        found = await gateway.ask("{ viewer { email } }", viewer=viewer)
        assert found == {"viewer": expected and {"email": expected}}


@pytest.mark.usefixtures("abandons")
@pytest.mark.filterwarnings(ABANDONED)
async def test_three_hundred_cancelled_operations_leave_nothing_behind(settings: Settings, make: Make) -> None:
    # Where it tries TLS first, asyncpg can complain of a connection that ends while it asks the server to cancel.
    unencrypted = {f"{name}_database_url": f"{settings.database_url(name)}?sslmode=disable" for name in DATABASE_NAMES}
    # A busy machine takes its time to clean up after 300.
    async with Databases.opened(settings.model_copy(update=unencrypted | {"pool_wait": 60.0})) as databases:
        await cancel_three_hundred(Gateway(databases, settings), make)


async def cancel_three_hundred(gateway: Gateway, make: Make) -> None:
    user = await make.user()
    await make.order(user_id=user["id"])
    query = "{ users { nodes { email orders { nodes { items { product { name } } payments { amount } } } } } }"
    whole = await gateway.ask(query)
    before = asyncio.all_tasks()
    for number in range(300):
        task = asyncio.create_task(gateway.execute(query))
        for _ in range(number % 40):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if left := asyncio.all_tasks() - before:
        _, pending = await asyncio.wait(left, timeout=5)
        assert not pending
    for answered in await asyncio.gather(*(gateway.ask(query) for _ in range(20))):
        assert answered == whole
    for name in ("users", "orders", "payments"):
        [row] = await gateway.databases[name].fetch(
            "SELECT count(*) FILTER (WHERE state <> 'idle') AS busy FROM pg_stat_activity"
            " WHERE application_name = 'storegraph' AND pid <> pg_backend_pid() AND datname = current_database()"
        )
        assert row["busy"] == 0
