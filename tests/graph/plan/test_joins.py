"""Rows that come beside others in one statement: what cannot be read costs no more than it would by itself."""

import pytest

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
