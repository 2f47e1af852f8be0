"""Rows that come beside others in one statement: what cannot be read costs no more than it would by itself."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from app.errors import ErrorCode
from app.graph.context import Context
from app.graph.engine import Request
from app.graph.node import encode_id
from tests.graph.conftest import ADMIN
from tests.graph.plan import small_shop
from tests.graph.plan.executors import Executors

NODES = "{ products { nodes { name category { name parent { name } ancestors { name } } } } }"
EDGES = "{ products { edges { cursor node { category { id } } } nodes { category { parent { __typename } } } } }"


def test_a_table_that_cannot_be_read_costs_its_own_edge(executors: Executors) -> None:
    with executors.without("products", "categories"):
        for document in (NODES, EDGES):
            told = executors.run(document)
            assert all(node["category"] is None for node in told.data["products"]["nodes"])
            assert {error["extensions"]["code"] for error in told.errors} == {"INTERNAL"}
    assert executors.run(NODES).errors == []


def test_what_is_below_a_row_beside_is_loaded(executors: Executors) -> None:
    found = executors.ask(NODES)["products"]["nodes"]
    assert any(node["category"] and node["category"]["ancestors"] for node in found)
    assert any(node["category"] is None for node in found)


@pytest.mark.parametrize(
    "fields",
    [
        "a: category { name } b: category { id parent { name } }",
        "category { products { nodes { category { uuid } } } }",
        "category { parent { parent { parent { parent { parent { name } } } } } }",
        "category { ...C } ... on Product { category { createdAt } } category { __typename }",
        "primaryImage { url } category { name } images { id }",
        "primaryImage { id } id category { id parent { id } } uuid",
    ],
)
def test_rows_beside_answer_as_edges_do(executors: Executors, fields: str) -> None:
    fragment = " fragment C on Category { n: name d: depth children { name } }" if "...C" in fields else ""
    for root in ("products { nodes { %s } }", "products { totalCount edges { node { %s } } }"):
        executors.ask("{ " + root % fields + " }" + fragment)
    [first, *_] = executors.ask("{ products { nodes { id } } }")["products"]["nodes"]
    for root in ("node(id: $id) { ... on Product { %s } }", "nodes(ids: [$id]) { ... on Product { %s } }"):
        executors.ask("query($id: ID!) { " + root % fields + " }" + fragment, {"id": first["id"]})


LISTS = """images { url isPrimary position: id } a: images { uuid createdAt } primaryImage { url }
  category { depth productCount ancestors { id name } b: ancestors { uuid parent { name children { name } } } }"""


@contextmanager
def counted(executors: Executors) -> Generator[list[int]]:
    """How many statements the products database is sent meanwhile: one number, in the end."""
    statements = executors.services.databases["products"].figures.statements
    found: list[int] = []
    *_, (_, before) = statements.cumulative()
    yield found
    *_, (_, after) = statements.cumulative()
    found.append(after - before)


@pytest.fixture(scope="module")
def ids(executors: Executors) -> list[str]:
    """Of the products of the small shop, and of twenty more below Green."""

    async def fill() -> list[str]:
        more = [await executors.make.product(category_id=small_shop.GREEN) for _ in range(20)]
        for product in more[:2]:
            await executors.make.image(product_id=product["id"])
        shop = (small_shop.ASSAM, small_shop.SENCHA, small_shop.BEAKER, small_shop.NOTHING)
        return [*shop, *(str(product["id"]) for product in more)]

    return [encode_id("Product", uuid) for uuid in executors.runner.run(fill())]


@pytest.mark.parametrize(("number", "statements"), [(1, 2), (16, 2), (17, 7)])
def test_lists_come_along_with_few_rows(executors: Executors, ids: list[str], number: int, statements: int) -> None:
    """All but ``productCount``, whose read depends on its argument."""
    document = f"query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Product {{ name {LISTS} }} }} }}"
    asked = Request(document, variables={"ids": ids[:number]})
    with counted(executors) as found:
        executors.runner.run(executors.plans.answer(asked, Context(executors.services, ADMIN)))
    assert found == [statements]
    executors.answer(asked)


def test_lists_of_rows_that_are_looked_up_are_the_same(executors: Executors, ids: list[str]) -> None:
    for id_ in ids[:4]:
        executors.ask(f"query($id: ID!) {{ product(id: $id) {{ {LISTS} }} }}", {"id": id_})
        executors.run(f"query($id: ID!) {{ node(id: $id) {{ id ... on Product {{ {LISTS} }} }} }}", {"id": id_})
    told = executors.ask("query($id: ID!) { product(id: $id) { images { url } } }", {"id": small_shop.ASSAM})
    assert [image["url"][-5:] for image in told["product"]["images"]] == ["a.jpg", "b.jpg"]


def test_a_list_that_cannot_be_read_costs_its_own_field(executors: Executors) -> None:
    document = "query($id: ID!) { product(id: $id) { name category { name ancestors { name } } images { url } } }"
    with executors.without("products", "product_images"):
        told = executors.run(document, {"id": small_shop.SENCHA})
        assert told.data == {"product": None}  # its images are non-null
        assert told.places == [("product", "images")]
    assert executors.ask(document, {"id": small_shop.SENCHA})["product"]["category"]["ancestors"] == [{"name": "Tea"}]


def test_too_many_rows_in_lists_end_an_operation(executors: Executors) -> None:
    document = "query($id: ID!) { product(id: $id) { category { ancestors { children { name } } } } }"
    request = Request(document, variables={"id": small_shop.SENCHA})
    for most, statements in ((1, 1), (100, 2)):
        services = replace(
            executors.services, settings=executors.services.settings.model_copy(update={"max_cost": most})
        )
        with counted(executors) as found:
            answer = executors.runner.run(executors.plans.answer(request, Context(services, ADMIN)))
        assert answer.codes == ({ErrorCode.LIMIT_EXCEEDED} if most == 1 else set())
        assert found == [statements]
