"""Filters, operator by operator and field by field, over real data: against the same tests done on the CSV files."""

import asyncio
import csv
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, get_named_type
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


STEPS = {"IntFilter": 1, "DecimalFilter": Decimal("0.01"), "DateTimeFilter": timedelta(microseconds=1)}
NOBODY = "0190b0c0-0000-7000-8000-00000000000a"


def values_of(kind: str, operator: str, cells: list[Any]) -> list[Any]:
    """The least, the middle and the largest of what there is, what lies right beside it, and what a search box might
    send."""
    there: list[Any] = sorted({cell for cell in cells if cell is not None})
    picked = [there[0], there[len(there) // 2], there[-1]] if there else []
    if operator == "isNull":
        return [True, False]
    if operator in ("contains", "startsWith", "endsWith"):
        pieces = [piece for text in picked for piece in (text[:3].upper(), text[-4:], text[2:6].lower(), text + "x")]
        return ["", "%", "_", "\\", "ä", "Ü", "'", "é", "É", *pieces]
    if kind in STEPS:
        beside = [picked[0] - STEPS[kind], *picked, picked[-1] + STEPS[kind]]
    elif kind == "IDFilter":
        beside = [*picked, NOBODY]
    elif kind == "StringFilter":
        beside = [*picked, *(text.swapcase() for text in picked), *(text + " " for text in picked), "", "x" * 300]
    else:
        beside = [value.lower() for value in names_of(kind)]
    return [[], *([value] for value in beside), beside, beside[:2] * 2] if operator in ("in", "notIn") else beside


def names_of(kind: str) -> list[str]:
    """The values of the enum that a filter tests."""
    type_ = SCHEMA._schema.type_map[kind]  # pyright: ignore[reportPrivateUsage]
    assert isinstance(type_, GraphQLInputObjectType)
    enum = get_named_type(type_.fields["eq"].type)
    assert isinstance(enum, GraphQLEnumType)
    return list(enum.values)


def shown(field: str, kind: str, type_name: str, value: Any) -> Any:
    """A value as the variable of a query. Of the ids, every second one goes as it is, the others as global ids."""
    if isinstance(value, list):
        return [shown(field, kind, type_name, item) for item in cast("list[Any]", value)]
    if kind == "IDFilter":
        return value if int(value[-1], 16) % 2 else encode_id(IDS[field] or type_name, value)
    if isinstance(value, datetime):
        return value.isoformat()
    if kind.endswith(("RoleFilter", "StatusFilter")):
        return value.upper()
    return str(value) if isinstance(value, Decimal) else value


def literal(kind: str, value: Any) -> str:
    """The same in the text of a query."""
    if isinstance(value, list):
        return f"[{', '.join(literal(kind, item) for item in cast('list[Any]', value))}]"
    is_enum = kind.endswith(("RoleFilter", "StatusFilter"))
    return value if is_enum else json.dumps(value, ensure_ascii=False)


def cases(name: str, rows: list[Row]) -> Iterator[tuple[str, str, str, Any, list[Row]]]:
    """Every field with every operator of its filter: the field, its filter, the operator, a value, and the rows for
    which it holds."""
    type_name = TABLES[name][1]
    for field, kind in fields_of(f"{type_name}Where").items():
        if not kind.endswith("Filter"):
            assert field in {"and", "or", "not", "isRoot", "category"}
            continue
        cells = [row[to_snake_case(field)] for row in rows]
        for operator in fields_of(kind):
            for value in values_of(kind, operator, cells):
                found = [row for row, cell in zip(rows, cells, strict=True) if OPERATORS[operator](cell, value)]
                yield field, kind, operator, shown(field, kind, type_name, value), found


PAGE = "totalCount nodes { uuid }"


@pytest.mark.parametrize("name", TABLES)
def test_every_operator_of_every_field_over_the_shop(shop: Settings, name: str) -> None:
    """Through a variable, and as a literal: all those of one field and operator in one query."""
    type_name = TABLES[name][1]
    query = f"query($where: {type_name}Where) {{ {name}(first: 100, where: $where) {{ {PAGE} }} }}"
    rows = rows_of(name)

    async def work() -> None:
        async for gateway in gateway_of(shop):
            literals: dict[tuple[str, str], list[tuple[str, Any]]] = {}
            for field, kind, operator, value, expected in cases(name, rows):
                found = (await gateway.ask(query, where={field: {operator: value}}))[name]
                uuids = in_order(expected, [], LISTS[name].default)[:100]
                assert found == {"totalCount": len(expected), "nodes": [{"uuid": uuid} for uuid in uuids]}, (
                    field,
                    operator,
                    value,
                )
                where = f"{{{field}: {{{operator}: {literal(kind, value)}}}}}"
                literals.setdefault((field, operator), []).append((where, found))
            for answers in literals.values():
                pages = (
                    f"n{n}: {name}(first: 100, where: {where}) {{ {PAGE} }}" for n, (where, _) in enumerate(answers)
                )
                found = await gateway.ask(f"{{ {' '.join(pages)} }}")
                assert found == {f"n{n}": answer for n, (_, answer) in enumerate(answers)}

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
