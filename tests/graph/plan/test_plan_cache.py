"""What is kept of documents and plans: enough, never too much, by the right key, and nothing of who asked.

Plans are counted from outside, by what the garbage collector finds alive.
"""

import asyncio
import gc
import os
import subprocess
import sys
import weakref
from itertools import permutations, product
from pathlib import Path
from typing import Any

import pytest
from graphql import OperationDefinitionNode
from hypothesis import settings as hypothesis_settings

from app.graph.context import Context
from app.graph.engine import DOCUMENTS_KEPT, LONGEST_KEPT, Engine, Request
from app.graph.plan.plan import Plan
from app.settings import DATABASE_NAMES, Settings
from app.viewer import NOBODY, Viewer
from tests.factories import Make
from tests.graph.conftest import ADMIN, SCHEMA, SESSION, Gateway, customer, plain
from tests.graph.plan.many_documents import STATM

pytestmark = pytest.mark.anyio

SUPPORT = Viewer(ADMIN.user, SESSION, "support")
CONDITIONAL = """query($a: Boolean!, $b: Boolean!, $first: Int, $where: ProductWhere) {
    products(first: $first, where: $where) { totalCount nodes { name sku @include(if: $a) price @skip(if: $b) } } }"""


class Counted:
    """What plans and documents there are that were not there at first."""

    def __init__(self) -> None:
        self._before = {kind: weakref.WeakSet(self._alive(kind)) for kind in (Plan, OperationDefinitionNode)}

    @staticmethod
    def _alive(kind: type) -> list[Any]:
        gc.collect()
        return [found for found in gc.get_objects() if type(found) is kind]

    def found(self, kind: type) -> list[Any]:
        return [found for found in self._alive(kind) if found not in self._before[kind]]

    @property
    def plans(self) -> int:
        return len(self.found(Plan))

    @property
    def documents(self) -> int:
        """Operations of documents, each of which has one here."""
        return len(self.found(OperationDefinitionNode))


@pytest.fixture
def counted(gateway: Gateway) -> Counted:
    return Counted()


async def ask(
    gateway: Gateway, document: str, variables: dict[str, Any] | None = None, name: str | None = None
) -> dict[str, Any]:
    """The data of an answer that a plan made."""
    answer = await gateway.engine.answer(Request(document, name, variables), Context(gateway.services, ADMIN))
    assert answer.is_compiled
    return plain(answer.body)["data"]


async def test_a_document_is_compiled_once(gateway: Gateway, counted: Counted) -> None:
    for _ in range(5):
        await ask(gateway, "{ products { totalCount } }")
        assert (counted.plans, counted.documents) == (1, 1)


async def test_no_more_documents_are_kept_than_may_be(gateway: Gateway, counted: Counted) -> None:
    for number in range(2 * DOCUMENTS_KEPT):
        assert await ask(gateway, f"{{ a{number}: __typename }}") == {f"a{number}": "Query"}
    assert counted.plans <= DOCUMENTS_KEPT
    assert counted.documents <= DOCUMENTS_KEPT
    assert counted.plans > DOCUMENTS_KEPT // 2


async def test_what_is_asked_again_and_again_is_kept(gateway: Gateway, counted: Counted) -> None:
    """However many others come between, each of them once."""
    popular = "{ popular: __typename }"
    await ask(gateway, popular)
    [kept] = map(weakref.ref, counted.found(Plan))
    for number in range(2 * DOCUMENTS_KEPT):
        await ask(gateway, f"{{ a{number}: __typename }}")
        await ask(gateway, popular)
    gc.collect()
    assert kept() is not None


async def test_a_long_document_is_not_kept(gateway: Gateway, counted: Counted) -> None:
    for _ in range(3):
        await ask(gateway, "{ products { totalCount } }" + " " * LONGEST_KEPT)
    assert (counted.plans, counted.documents) == (0, 0)


async def test_a_document_that_is_refused_is_not_kept(gateway: Gateway, counted: Counted) -> None:
    for number in range(20):
        answer = await gateway.engine.answer(Request(f"{{ a{number}: nothing }}"), Context(gateway.services))
        assert answer.refused
    assert (counted.plans, counted.documents) == (0, 0)


async def test_no_more_plans_of_a_document_are_kept_than_may_be(gateway: Gateway, counted: Counted) -> None:
    names = "abcdefg"
    declared = ", ".join(f"${name}: Boolean!" for name in names)
    fields = " ".join(f"{name}: __typename @include(if: ${name})" for name in names)
    for values in product((True, False), repeat=len(names)):
        given = dict(zip(names, values, strict=True))
        expected = {name: "Query" for name in names if given[name]}
        assert await ask(gateway, f"query({declared}) {{ {fields} }}", given) == expected
    assert 0 < counted.plans <= 2 ** len(names) / 4


async def test_each_operation_has_a_plan(gateway: Gateway, counted: Counted) -> None:
    document = "query A { a: __typename } query B { b: __typename } query C { c: __typename }"
    for name in "ABCCBAB":
        assert await ask(gateway, document, name=name) == {name.lower(): "Query"}
    assert counted.plans == 3


async def test_each_value_of_a_condition_has_a_plan(gateway: Gateway, make: Make, counted: Counted) -> None:
    await make.product(name="Assam", sku="tea-1", price="3.50")
    for a, b in [*product((True, False), repeat=2)] * 2:
        [found] = (await ask(gateway, CONDITIONAL, {"a": a, "b": b}))["products"]["nodes"]
        expected = {"name": "Assam"} | ({"sku": "tea-1"} if a else {}) | ({} if b else {"price": "3.50"})
        assert found == expected
    assert counted.plans == 4


async def test_other_values_have_no_plan_of_their_own(gateway: Gateway, make: Make, counted: Counted) -> None:
    """Nor has who asks."""
    for number in range(5):
        await make.product(name=f"Product {number}", price=number + 1)
    conditions = {"a": True, "b": False}
    for first in (1, 2, 3, None):
        found = await ask(gateway, CONDITIONAL, {"first": first, **conditions})
        assert len(found["products"]["nodes"]) == (first or 5)
    for number in range(5):
        where = {"price": {"lte": number + 1}}
        assert (await ask(gateway, CONDITIONAL, {"where": where, **conditions}))["products"]["totalCount"] == number + 1
    for viewer in (ADMIN, SUPPORT, NOBODY):
        await gateway.ask(CONDITIONAL, viewer=viewer, **conditions)
    assert counted.plans == 1


async def test_an_introspection_has_no_plan(gateway: Gateway, counted: Counted) -> None:
    for _ in range(2):
        await gateway.ask("{ __schema { queryType { name } } products { totalCount } }")
    assert (counted.plans, counted.documents) == (0, 1)


async def test_what_is_kept_says_nothing_of_who_asked(gateway: Gateway, make: Make) -> None:
    """Whoever comes first, each gets the answer that an engine gives that has answered nobody before."""
    users = [await make.user(), await make.user()]
    for user in users:
        await make.payment(order_id=(await make.order(user_id=user["id"]))["id"], provider="bank")
    document = "{ viewer { email } orders { nodes { user { email } } } payments { nodes { amount provider } } }"
    viewers = [ADMIN, NOBODY, *map(customer, users)]

    async def asked(engine: Engine, viewer: Viewer) -> dict[str, Any]:
        return plain((await engine.answer(Request(document), Context(gateway.services, viewer))).body)

    alone = {viewer: await asked(Engine(SCHEMA, gateway.settings), viewer) for viewer in viewers}
    assert len({str(answer) for answer in alone.values()}) == len(viewers)
    for order in permutations(viewers):
        engine = Engine(SCHEMA, gateway.settings)
        for viewer in order:
            assert await asked(engine, viewer) == alone[viewer]
    together = await asyncio.gather(*(asked(gateway.engine, viewer) for viewer in viewers * 5))
    assert together == [alone[viewer] for viewer in viewers * 5]


async def test_nothing_of_a_request_outlives_it(gateway: Gateway, make: Make) -> None:
    """Neither its context, with what was read for whom, nor its variables."""
    await make.product()
    context = Context(gateway.services, customer(await make.user()))
    request = Request(CONDITIONAL, None, {"a": True, "b": True, "first": 1, "where": {}})
    left = weakref.ref(context), weakref.ref(context.viewer), weakref.ref(request)
    assert (await gateway.engine.answer(request, context)).is_compiled
    del context, request
    gc.collect()
    assert [reference() for reference in left] == [None] * 3


@pytest.mark.timeout(600)
@pytest.mark.skipif(not STATM.exists(), reason=f"how much memory a process has is asked of {STATM}")
def test_distinct_documents_do_not_fill_the_memory(settings: Settings) -> None:
    """10,000 take less than 64 MB; of a fifth of them, less than a fifth is looked for unless it is nightly."""
    count = 10_000 if hypothesis_settings.get_current_profile_name() == "nightly" else 2_000
    urls = {f"{name}_DATABASE_URL".upper(): settings.database_url(name) for name in DATABASE_NAMES}
    command = [sys.executable, "-m", "tests.graph.plan.many_documents", str(count)]
    root = Path(__file__).parents[3]
    run = subprocess.run(command, env=os.environ | urls, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 64 * 2**20 * count // 10_000
