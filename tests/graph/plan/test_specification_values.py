"""The GraphQL specification, sections 6.4.2 "Value Resolution" and 6.4.3 "Value Completion", as plans have it.

Each test asks both executors, whose answers are compared byte for byte, and finds the first to be a plan's. What comes
of values that are not as the schema has them is in ``test_specification_errors.py``.
"""

import json
from datetime import datetime
from typing import Any

import pytest

from app.graph.engine import Request
from app.viewer import NOBODY
from tests.graph.conftest import customer
from tests.graph.plan.executors import Executors, text_of
from tests.graph.plan.small_shop import (
    ADA,
    ADA_ID,
    ASSAM,
    ASSAM_ID,
    DIFFICULT,
    GREEN,
    MUGS,
    NOTHING,
    PAID,
    PAYMENT,
    PAYMENT_ID,
    SENCHA_ID,
    TEA,
    TEA_ID,
)


def of_assam(executors: Executors, selection: str) -> Any:
    return executors.ask(f'{{ product(sku: "tea-1") {{ {selection} }} }}')["product"]


# CoerceResult: leaves


@pytest.mark.parametrize(
    ("selection", "text"),
    [
        ("name", '"Assam"'),
        ("sku", '"tea-1"'),
        ("price", '"3.50"'),
        ("stockQuantity", "0"),
        ("status", '"ACTIVE"'),
        ("uuid", f'"{ASSAM}"'),
        ("id", f'"{ASSAM_ID}"'),
        ("description", json.dumps(DIFFICULT, ensure_ascii=False)),
    ],
)
def test_a_cell_is_written_as_its_type_has_it(executors: Executors, selection: str, text: str) -> None:
    request = Request(f'{{ product(sku: "tea-1") {{ {selection} }} }}')
    assert text_of(executors.answer(request)) == f'{{"product":{{"{selection}":{text}}}}}'


def test_booleans_numbers_and_sums_are_what_they_are_in_json(executors: Executors) -> None:
    found = of_assam(executors, "images { isPrimary } stats { totalOrders totalQuantitySold totalRevenue }")
    assert found["images"] == [{"isPrimary": True}, {"isPrimary": False}]
    assert found["stats"] == {"totalOrders": 1, "totalQuantitySold": 2, "totalRevenue": "7.00"}


@pytest.mark.parametrize("fraction", ["", ".5", ".000001", ".123456", ".120000"])
def test_a_time_has_its_offset_and_is_exact(executors: Executors, fraction: str) -> None:
    change = f"UPDATE products SET created_at = '2026-01-31 23:59:59{fraction}+01' WHERE sku = 'tea-1'"
    with executors.changed("products", change, "UPDATE products SET created_at = now() WHERE sku = 'tea-1'"):
        written = of_assam(executors, "createdAt")["createdAt"]
    assert datetime.fromisoformat(written) == datetime.fromisoformat(f"2026-01-31T22:59:59{fraction}+00:00")
    assert written.endswith("+00:00")


@pytest.mark.parametrize(
    ("column", "field", "stored", "found"),
    [
        ("price", "price", "0", "0.00"),
        ("price", "price", "12.3", "12.30"),
        ("price", "price", "99999999.99", "99999999.99"),
        ("stock_quantity", "stockQuantity", "1", 1),
        ("stock_quantity", "stockQuantity", "2147483647", 2**31 - 1),
    ],
)
def test_a_number_is_exact(executors: Executors, column: str, field: str, stored: str, found: object) -> None:
    change = "UPDATE products SET {} = {} WHERE sku = 'tea-1'".format
    with executors.changed("products", change(column, stored), change("(price, stock_quantity)", "(3.50, 0)")):
        assert of_assam(executors, field) == {field: found}


def test_the_values_of_an_enum_are_their_names(executors: Executors) -> None:
    document = "{ orders { nodes { status } } products { nodes { status } } users { nodes { role } } }"
    assert executors.ask(document) == {
        "orders": {"nodes": [{"status": "PAID"}, {"status": "PENDING"}]},
        "products": {"nodes": [{"status": "ACTIVE"}, {"status": "INACTIVE"}, {"status": "ACTIVE"}]},
        "users": {"nodes": [{"role": "CUSTOMER"}] * 2},
    }


# Null


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ("{ user(email: \"bob@example.com\") { firstName } }", {"user": {"firstName": None}}),
        ("{ product(sku: \"nothing\") { name } }", {"product": None}),
        (f'{{ category(id: "{NOTHING}") {{ name }} }}', {"category": None}),
        ("{ product(sku: \"mug-1\") { category { name } primaryImage { url } } }",
         {"product": {"category": None, "primaryImage": None}}),
        (f'{{ category(id: "{TEA}") {{ parent {{ name }} description }} }}',
         {"category": {"parent": None, "description": None}}),
        ("{ products(search: \"nothing\") { pageInfo { startCursor endCursor } } }",
         {"products": {"pageInfo": {"startCursor": None, "endCursor": None}}}),
    ],
)  # fmt: skip
def test_what_is_not_there_is_null(executors: Executors, document: str, found: object) -> None:
    assert executors.ask(document) == found


def test_nobody_has_no_account(executors: Executors) -> None:
    assert executors.ask("{ viewer { email } }", viewer=NOBODY) == {"viewer": None}
    assert executors.ask("{ viewer { email } }", viewer=customer({"id": ADA})) == {
        "viewer": {"email": "ada@example.com"}
    }


def test_one_of_several_rows_can_have_no_other(executors: Executors) -> None:
    found = executors.ask("{ products { nodes { category { name } stats { totalOrders } } } }")["products"]["nodes"]
    assert [product["category"] for product in found] == [{"name": "Tea"}, None, {"name": "Green"}]
    assert [product["stats"] for product in found] == [{"totalOrders": 1}, {"totalOrders": 0}, {"totalOrders": 1}]


# Lists


def test_a_list_has_its_objects_in_order(executors: Executors) -> None:
    images = [{"url": f"https://img.example.com/{name}.jpg"} for name in "ab"]
    assert of_assam(executors, "images { url }") == {"images": images}


def test_a_list_of_nothing_is_empty_and_not_null(executors: Executors) -> None:
    document = f"""{{ product(sku: "mug-1") {{ images {{ url }} }} products(search: "nothing") {{ nodes {{ name }}
        edges {{ cursor }} totalCount }} category(id: "{MUGS}") {{ children {{ name }} ancestors {{ name }} }} }}"""
    assert executors.ask(document) == {
        "product": {"images": []},
        "products": {"nodes": [], "edges": [], "totalCount": 0},
        "category": {"children": [], "ancestors": []},
    }


def test_each_row_has_its_own_list(executors: Executors) -> None:
    found = executors.ask("{ orders { nodes { items { quantity productSku lineTotal } payments { amount } } } }")
    paid, empty = found["orders"]["nodes"]
    assert [item["lineTotal"] for item in paid["items"]] == ["7.00", "4.00"]
    assert paid["payments"] == [{"amount": "11.00"}]
    assert empty == {"items": [], "payments": []}


def test_a_row_that_several_lead_to_is_whole_for_each(executors: Executors) -> None:
    found = executors.ask("{ orders { nodes { user { email firstName } items { order { user { email } } } } } }")
    ada = {"email": "ada@example.com", "firstName": "Ada"}
    assert [order["user"] for order in found["orders"]["nodes"]] == [ada, ada]
    items = found["orders"]["nodes"][0]["items"]
    assert items == [{"order": {"user": {"email": "ada@example.com"}}}] * 2


def test_the_parts_of_a_page_are_of_the_same_rows(executors: Executors) -> None:
    page = executors.ask(
        "{ products { nodes { sku } edges { cursor node { sku } } pageInfo { startCursor endCursor } } }"
    )
    nodes, edges, info = (page["products"][name] for name in ("nodes", "edges", "pageInfo"))
    assert [edge["node"] for edge in edges] == nodes
    assert [info["startCursor"], info["endCursor"]] == [edges[0]["cursor"], edges[-1]["cursor"]]


# ResolveAbstractType


@pytest.mark.parametrize(
    ("node_id", "type_", "selection", "found"),
    [
        (ASSAM_ID, "Product", "sku", {"sku": "tea-1"}),
        (TEA_ID, "Category", "name", {"name": "Tea"}),
        (ADA_ID, "User", "email", {"email": "ada@example.com"}),
        (PAYMENT_ID, "Payment", "order { uuid }", {"order": {"uuid": PAID}}),
    ],
)
def test_an_object_is_of_the_type_that_its_id_names(
    executors: Executors, node_id: str, type_: str, selection: str, found: dict[str, object]
) -> None:
    document = f"query($id: ID!) {{ node(id: $id) {{ __typename id ... on {type_} {{ {selection} }} }} }}"
    assert executors.ask(document, {"id": node_id}) == {"node": {"__typename": type_, "id": node_id, **found}}


def test_objects_of_any_types_are_in_the_order_of_their_ids(executors: Executors) -> None:
    ids = [TEA_ID, ASSAM_ID, PAYMENT_ID, SENCHA_ID, ASSAM_ID]
    document = """query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Category { children { uuid } }
        ... on Product { category { uuid } } ... on Payment { uuid } } }"""
    tea, green, money = {"category": {"uuid": TEA}}, {"category": {"uuid": GREEN}}, {"uuid": PAYMENT}
    expected = [{"children": [{"uuid": GREEN}]}, tea, money, green, tea]
    found = executors.ask(document, {"ids": ids})["nodes"]
    assert found == [{"id": node_id, **rest} for node_id, rest in zip(ids, expected, strict=True)]


def test_types_that_no_id_names_are_not_asked(executors: Executors) -> None:
    document = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename ... on Payment { refunds { amount } } } }"
    with executors.without("payments", "payments"):
        assert executors.ask(document, {"ids": [ASSAM_ID]}) == {"nodes": [{"__typename": "Product"}]}
    assert executors.ask(document, {"ids": [PAYMENT_ID]})["nodes"][0]["refunds"] == [{"amount": "1.00"}]
