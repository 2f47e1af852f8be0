"""Walks through the category tree, against a tree kept in Python."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.factories import TODAY, Make
from tests.graph.conftest import Gateway

pytestmark = pytest.mark.anyio

EVERYTHING = """query($depth: Int) { categories(first: 100) { nodes {
  uuid depth parent { uuid } children { uuid } ancestors { uuid } descendants(maxDepth: $depth) { uuid }
  direct: productCount(includeDescendants: false) all: productCount
  own: products { totalCount nodes { name } } below: products(includeDescendants: true) { totalCount nodes { name } }
} } }"""


class Tree:
    """The categories of a test, and what the API should say of them."""

    def __init__(self, parents: list[int | None], names: list[str], deleted: set[int], ids: list[UUID]) -> None:
        self.names, self.ids = names, ids
        self.alive = [i for i in range(len(parents)) if i not in deleted]
        # What is below a deleted category has lost its parent.
        self.parent = {i: p if (p := parents[i]) is not None and p not in deleted else None for i in self.alive}

    def children(self, node: int) -> list[int]:
        below = [i for i in self.alive if self.parent[i] == node]
        return sorted(below, key=lambda i: (self.names[i], str(self.ids[i])))

    def ancestors(self, node: int) -> list[int]:
        parent = self.parent[node]
        return [] if parent is None else [*self.ancestors(parent), parent]

    def descendants(self, node: int, depth: int | None) -> list[int]:
        if depth == 0:
            return []
        deeper = None if depth is None else depth - 1
        return [found for child in self.children(node) for found in (child, *self.descendants(child, deeper))]


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[int | None], list[str], set[int], list[int]]:
    size = draw(st.integers(1, 12))
    parents = [None, *(draw(st.none() | st.integers(0, i - 1)) for i in range(1, size))]
    names = draw(
        st.lists(
            st.sampled_from(["a", "B", "é", "Z", "zz", "a b", "ab", "a\x01", "\U0001f600", "\uffee"]),
            min_size=size,
            max_size=size,
        )
    )
    deleted = draw(st.sets(st.integers(0, size - 1), max_size=2))
    homes = draw(st.lists(st.integers(0, size - 1), max_size=8))
    return parents, names, deleted, homes


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees(), depth=st.none() | st.integers(1, 4))
@example(tree=([None, 0, 0, 1, 2], ["root", "twin", "twin", "a", "b"], set[int](), list[int]()), depth=None)
async def test_every_walk(
    gateway: Gateway, make: Make, tree: tuple[list[int | None], list[str], set[int], list[int]], depth: int | None
) -> None:
    parents, names, deleted, homes = tree
    await make.execute("products", "DELETE FROM products")
    await make.execute("products", "DELETE FROM categories")
    ids: list[UUID] = []
    for parent, name in zip(parents, names, strict=True):
        row = await make.category(name=name, parent_id=None if parent is None else ids[parent])
        ids.append(row["id"])
    for number in deleted:
        await make.execute("products", "UPDATE categories SET deleted_at = now() WHERE id = $1", ids[number])
    for number, home in enumerate(homes):
        await make.product(name=f"P{number}", category_id=ids[home])
    await make.product(name="deleted", category_id=ids[0], deleted_at=TODAY)

    data = await gateway.ask(EVERYTHING, depth=depth)

    expected = Tree(parents, names, deleted, ids)
    found = {node["uuid"]: node for node in data["categories"]["nodes"]}
    assert set(found) == {str(ids[i]) for i in expected.alive}
    for i in expected.alive:
        assert found[str(ids[i])] == _expected_node(expected, i, depth, homes)


def _expected_node(tree: Tree, node: int, depth: int | None, homes: list[int]) -> dict[str, Any]:
    def refs(nodes: list[int]) -> list[dict[str, str]]:
        return [{"uuid": str(tree.ids[i])} for i in nodes]

    def products(categories: list[int]) -> dict[str, Any]:
        names = sorted(f"P{number}" for number, home in enumerate(homes) if home in categories)
        return {"totalCount": len(names), "nodes": [{"name": name} for name in names]}

    parent = tree.parent[node]
    subtree = [node, *tree.descendants(node, None)]
    return {
        "uuid": str(tree.ids[node]),
        "depth": len(tree.ancestors(node)),
        "parent": None if parent is None else refs([parent])[0],
        "children": refs(tree.children(node)),
        "ancestors": refs(tree.ancestors(node)),
        "descendants": refs(tree.descendants(node, depth)),
        "direct": products([node])["totalCount"],
        "all": products(subtree)["totalCount"],
        "own": products([node]),
        "below": products(subtree),
    }


async def test_each_walk_is_one_statement_at_any_depth(gateway: Gateway, make: Make) -> None:
    parent = None
    for _ in range(12):
        parent = (await make.category(parent_id=parent))["id"]
    await gateway.ask(
        "{ categories(first: 100) { nodes { ancestors { name } descendants { name } depth productCount } } }"
    )
    assert gateway.counts == {"products": 5}


async def test_the_depth_of_descendants_is_at_least_one(gateway: Gateway, make: Make) -> None:
    await make.category()
    query = "{ categories { nodes { descendants(maxDepth: 0) { name } } } }"
    data, errors = await gateway.refuse(query)
    path = ["categories", "nodes", 0, "descendants"]
    assert (data, errors) == ({"categories": None}, [(path, "BAD_USER_INPUT", "maxDepth must be at least 1.")])
