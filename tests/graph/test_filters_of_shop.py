"""Filters, operator by operator and field by field, over real data: against the same tests done on the CSV files."""

import asyncio
import csv
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from graphql import GraphQLInputObjectType
from strawberry.utils.str_converters import to_snake_case

from app.graph.node import encode_id
from app.settings import Settings
from tests.factories import Row
from tests.graph.conftest import SCHEMA, SHOP, gateway_of, needs_shop
from tests.graph.test_filters import OPERATORS
from tests.graph.test_page_properties import LISTS, in_order

pytestmark = needs_shop
BY_NAME = LISTS["categories"].default

TABLES = {
    "users": ("users/users.csv", "User"),
    "categories": ("products/categories.csv", "Category"),
    "products": ("products/products.csv", "Product"),
    "orders": ("orders/orders.csv", "Order"),
    "payments": ("payments/payments.csv", "Payment"),
}
IDS = {"id": None, "parentId": "Category", "userId": "User", "orderId": "Order"}
PARSED = {"IntFilter": int, "DecimalFilter": Decimal, "DateTimeFilter": datetime.fromisoformat}


def fields_of(name: str) -> dict[str, str]:
    """The fields of an input type, each with the name of its own type."""
    type_ = SCHEMA._schema.type_map[name]  # pyright: ignore[reportPrivateUsage]
    assert isinstance(type_, GraphQLInputObjectType)
    return {field: str(definition.type).strip("[]!") for field, definition in type_.fields.items()}


def rows_of(name: str) -> list[Row]:
    """The rows of a CSV file, with each cell as the type that its filter compares by; an empty one is None."""
    kinds = {to_snake_case(field): kind for field, kind in fields_of(f"{TABLES[name][1]}Where").items()}
    with (SHOP / TABLES[name][0]).open(encoding="utf-8", newline="") as file:
        return [
            {key: PARSED.get(kinds.get(key, ""), str)(cell) if cell else None for key, cell in row.items()}
            for row in csv.DictReader(file)
        ]


def values_of(operator: str, cells: list[Any]) -> list[Any]:
    """The least, the middle and the largest of what there is, and what a search box might send."""
    there = sorted({cell for cell in cells if cell is not None}) or ["there is none"]
    picked = [there[0], there[len(there) // 2], there[-1]]
    if operator == "isNull":
        return [True, False]
    if operator in ("in", "notIn"):
        return [[], picked[:1], picked]
    if operator in ("contains", "startsWith", "endsWith"):
        pieces = [piece for text in picked for piece in (text[:3].upper(), text[-4:], text[2:6].lower())]
        return ["", "%", "_", "\\", "ä", "Ü", "'", *pieces]
    return picked


def shown(field: str, kind: str, type_name: str, value: Any) -> Any:
    """A value as the variable of a query."""
    if isinstance(value, list):
        return [shown(field, kind, type_name, item) for item in cast("list[Any]", value)]
    if kind == "IDFilter":
        return encode_id(IDS[field] or type_name, value) if value[0] in "01234567" and len(value) == 36 else value
    if kind == "DateTimeFilter" and isinstance(value, datetime):
        return value.isoformat()
    if kind.endswith(("RoleFilter", "StatusFilter")):
        return value.upper()
    return str(value) if isinstance(value, Decimal) else value


def cases(name: str, rows: list[Row]) -> Iterator[tuple[dict[str, Any], list[Row]]]:
    """Every field with every operator of its filter, and the rows for which it holds."""
    type_name = TABLES[name][1]
    for field, kind in fields_of(f"{type_name}Where").items():
        if not kind.endswith("Filter"):
            assert field in {"and", "or", "not", "isRoot", "category"}
            continue
        cells = [row[to_snake_case(field)] for row in rows]
        for operator in fields_of(kind):
            for value in values_of(operator, cells):
                if kind == "IDFilter" and value == "there is none":
                    continue
                given = shown(field, kind, type_name, value)
                found = [row for row, cell in zip(rows, cells, strict=True) if OPERATORS[operator](cell, value)]
                yield {field: {operator: given}}, found


@pytest.mark.parametrize("name", TABLES)
def test_every_operator_of_every_field_over_the_shop(shop: Settings, name: str) -> None:
    type_name = TABLES[name][1]
    query = f"query($where: {type_name}Where) {{ {name}(first: 100, where: $where) {{ totalCount nodes {{ uuid }} }} }}"
    rows = rows_of(name)

    async def work() -> None:
        async for gateway in gateway_of(shop):
            tried: set[tuple[str, str]] = set()
            for where, expected in cases(name, rows):
                found = (await gateway.ask(query, where=where))[name]
                uuids = [node["uuid"] for node in found["nodes"]]
                assert found["totalCount"] == len(expected), where
                assert uuids == in_order(expected, [], LISTS[name].default)[:100], where
                tried |= {(field, operator) for field, test in where.items() for operator in test}
            assert len(tried) >= 30

    asyncio.run(work())


def test_products_of_a_category_and_of_those_below(shop: Settings) -> None:
    categories, products = rows_of("categories"), rows_of("products")
    below: dict[str | None, list[str]] = {}
    for row in categories:
        below.setdefault(row["parent_id"], []).append(row["id"])

    def branch(category: str) -> set[str]:
        return {category}.union(*(branch(child) for child in below.get(category, [])))

    held = {row["category_id"] for row in products}
    root = next(row["id"] for row in categories if row["parent_id"] is None and held & branch(row["id"]))
    query = """query($where: ProductWhere, $by: [ProductOrderBy!]) {
      products(where: $where, orderBy: $by, first: 100) { totalCount nodes { uuid } } }"""

    async def work() -> None:
        async for gateway in gateway_of(shop):
            for category in (root, next(iter(held)), categories[1]["id"], "0190b0c0-0000-7000-8000-000000000000"):
                for deep, keys in ((None, branch(category)), (True, branch(category)), (False, {category})):
                    scope = {"id": category} | ({} if deep is None else {"includeDescendants": deep})
                    inside = [row for row in products if row["category_id"] in keys]
                    dear = [row for row in inside if row["price"] > 20]
                    outside = [row for row in products if row["category_id"] not in keys]
                    for where, expected in (
                        ({"category": scope}, inside),
                        ({"category": scope, "price": {"gt": 20}}, dear),
                        ({"and": [{"category": scope}, {"price": {"gt": 20}}]}, dear),
                        ({"not": {"category": scope}}, outside),
                        ({"or": [{"category": scope}, {"not": {"category": scope}}]}, products),
                    ):
                        for order in ([], [("price", True)]):
                            by = [{column: "DESC"} for column, _ in order]
                            found = (await gateway.ask(query, where=where, by=by))["products"]
                            uuids = [node["uuid"] for node in found["nodes"]]
                            assert uuids == in_order(expected, order, LISTS["products"].default)
                            assert found["totalCount"] == len(expected)

    asyncio.run(work())


def test_roots(shop: Settings) -> None:
    rows = rows_of("categories")
    query = "query($root: Boolean!) { categories(where: {isRoot: $root}, first: 100) { totalCount nodes { uuid } } }"

    async def work() -> None:
        async for gateway in gateway_of(shop):
            for root in (True, False):
                found = (await gateway.ask(query, root=root))["categories"]
                expected = in_order([row for row in rows if (row["parent_id"] is None) == root], [], BY_NAME)
                assert [node["uuid"] for node in found["nodes"]] == expected[:100]
                assert found["totalCount"] == len(expected)

    asyncio.run(work())
