"""How PostgreSQL walks the category tree: by index, and never through the whole table."""

from typing import Any

import pytest

from app.domains.products import reads
from app.domains.products.tables import DEPTH, Category, Product
from app.reads import TOTAL, Columns, Read
from app.settings import Settings
from app.statements import Slice
from tests.factories import Make
from tests.plans import executed

pytestmark = pytest.mark.anyio

SIZE = 4000
WALKS: dict[str, tuple[Read, Columns, Slice | None, dict[str, Any]]] = {
    "ancestors": (reads.ancestors_by_category, (Category.id, Category.name), None, {}),
    "depth": (reads.depth_by_category, (DEPTH,), None, {}),
    "descendants": (reads.descendants_by_category, (Category.id, Category.name), None, {"max_depth": None}),
    "descendants of two levels": (reads.descendants_by_category, (Category.id,), None, {"max_depth": 2}),
    "productCount": (reads.count_by_subtree, (TOTAL,), None, {}),
    "products": (reads.products_by_subtree, (Product.id, Product.price), Slice(21), {}),
}


KEYS = {
    "the root": range(1, 2),
    "a node": range(50, 51),
    "a hundred nodes": range(6, 106),
    "a hundred leaves": range(SIZE - 100, SIZE),
}


async def plant(make: Make) -> None:
    """A tree in which each node has four children, down to the sixth level, and two products."""
    uuid = "lpad(to_hex({}), 32, '0')::uuid"
    await make.execute(
        "products",
        f"""
        INSERT INTO categories (id, name, parent_id)
        SELECT {uuid.format("n")}, 'Category ' || n, CASE WHEN n > 1 THEN {uuid.format("(n + 2) / 4")} END
        FROM generate_series(1, {SIZE}) n;
        INSERT INTO products (name, price, category_id)
        SELECT 'Product ' || n, 1, {uuid.format("n / 2 + 1")} FROM generate_series(0, {SIZE * 2 - 1}) n;
        ANALYZE categories, products
        """,
    )


async def test_walks_go_by_index(settings: Settings, make: Make) -> None:
    await plant(make)
    for name, (read, columns, slice_, parameters) in WALKS.items():
        for place, numbers in KEYS.items():
            keys = [f"{number:032x}" for number in numbers]
            plan = await executed(settings, read, columns, {"k0": keys} | parameters, slice_)
            assert any(node.get("Relation Name") == "categories" for node in plan)
            kinds = {node["Node Type"] for node in plan}
            assert not kinds & {"Seq Scan", "Hash", "Merge Join", "Materialize"}, f"{name} of {place}"
