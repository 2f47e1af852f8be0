"""The GraphQL specification, section 6.4.4 "Handling Execution Errors", as plans have it; section 7.1.2 for their form.

Each test asks both executors, whose answers are compared, and finds the first to be a plan's. What can fail here are
arguments that are checked at a field, fields that are not for everybody, tables that are not there, and values that are
not as the schema has them.
"""

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from app.viewer import NOBODY
from tests.graph.conftest import customer
from tests.graph.plan.executors import Executors, Told
from tests.graph.plan.small_shop import ADA, ASSAM_ID, EMPTY, GREEN, MUGS, NOTHING_ID, PAYMENT_ID, TEA, TEA_ID

CUSTOMER = customer({"id": ADA})
WRONG = "products(first: 0) { totalCount }"
"""A field that fails: of a category it must not be null, of the root it may be."""


def codes(told: Told) -> list[str]:
    return [error["extensions"]["code"] for error in told.errors]


NAMES = {"tea-1": "Assam", "mug-1": "Beaker"}


@contextmanager
def nameless(executors: Executors, sku: str) -> Generator[None]:
    """While a product has no name, which the schema says it has."""
    alter = "ALTER TABLE products ALTER name {0} NOT NULL, ALTER search {0} NOT NULL".format  # search is made of it
    update = f"UPDATE products SET name = {{}} WHERE sku = '{sku}'".format
    change, back = f"{alter('DROP')}; {update('NULL')}", f"{update(repr(NAMES[sku]))}; {alter('SET')}"
    with executors.changed("products", change, back):
        yield


# A field that may be null


def test_a_field_that_may_be_null_is_null_and_its_error_is_told(executors: Executors) -> None:
    told = executors.run(f"{{ a: __typename {WRONG} z: __typename }}")
    assert told.data == {"a": "Query", "products": None, "z": "Query"}
    assert list(told.data) == ["a", "products", "z"]
    assert told.errors == [
        {
            "message": "first must be from 1 to 100.",
            "locations": [{"line": 1, "column": 17}],
            "path": ["products"],
            "extensions": {"code": "BAD_USER_INPUT"},
        }
    ]


def test_the_other_fields_keep_what_they_found(executors: Executors) -> None:
    document = '{ products(first: 0) { nodes { name } } product(sku: "tea-1") { name category { name } } }'
    assert executors.run(document).data == {"products": None, "product": {"name": "Assam", "category": {"name": "Tea"}}}


def test_a_path_has_aliases_and_the_places_in_lists(executors: Executors) -> None:
    page = "p: payments { n: nodes { a: amount staff: provider } e: edges { n: node { staff: provider } } }"
    told = executors.run(f"{{ {page} }}", viewer=CUSTOMER)
    assert told.data == {"p": {"n": [{"a": "11.00", "staff": None}], "e": [{"n": {"staff": None}}]}}
    assert sorted(told.places) == [("p", "e", 0, "n", "staff"), ("p", "n", 0, "staff")]
    assert codes(told) == ["FORBIDDEN"] * 2


def test_each_object_of_a_list_has_its_own_error(executors: Executors) -> None:
    told = executors.run("{ products { nodes { name stats { totalOrders totalRevenue } } } }", viewer=NOBODY)
    assert [node["stats"]["totalRevenue"] for node in told.data["products"]["nodes"]] == [None] * 3
    assert [node["stats"]["totalOrders"] for node in told.data["products"]["nodes"]] == [1, 0, 1]
    assert told.places == [("products", "nodes", number, "stats", "totalRevenue") for number in range(3)]
    assert codes(told) == ["UNAUTHENTICATED"] * 3


def test_the_place_in_a_list_is_that_in_its_own_list(executors: Executors) -> None:
    change = f"INSERT INTO payments (order_id, amount, method) VALUES ('{EMPTY}', 5, 'card'), ('{EMPTY}', 5, 'card')"
    with executors.changed("payments", change, "DELETE FROM payments WHERE amount = 5"):
        told = executors.run("{ orders { nodes { payments { staff: provider amount } } } }", viewer=CUSTOMER)
    paid, empty = told.data["orders"]["nodes"]
    assert paid == {"payments": [{"staff": None, "amount": "11.00"}]}
    assert empty == {"payments": [{"staff": None, "amount": "5.00"}] * 2}
    places = [(0, 0), (1, 0), (1, 1)]
    assert told.places == [("orders", "nodes", order, "payments", payment, "staff") for order, payment in places]


def test_a_field_under_two_aliases_fails_under_both(executors: Executors) -> None:
    told = executors.run(f"{{ a: {WRONG} b: {WRONG} c: products(first: 1) {{ totalCount }} }}")
    assert told.data == {"a": None, "b": None, "c": {"totalCount": 3}}
    assert sorted(told.places) == [("a",), ("b",)]


def test_an_error_names_the_places_of_its_field_in_the_document(executors: Executors) -> None:
    """All of them, where a field stands in several."""
    document = """{
  products(first: 0) { totalCount }
  ...F
}
fragment F on Query {
    products(first: 0) { nodes { name } }
}"""
    [error] = executors.run(document).errors
    assert error["locations"] == [{"line": 2, "column": 3}, {"line": 6, "column": 5}]


def test_a_table_that_cannot_be_read_costs_the_fields_that_read_it(executors: Executors) -> None:
    with executors.without("payments", "payments"):
        told = executors.run("{ orders { nodes { status payments { amount } user { email } } } users { totalCount } }")
    ada = {"email": "ada@example.com"}
    assert told.data["orders"]["nodes"] == [
        {"status": "PAID", "payments": None, "user": ada},
        {"status": "PENDING", "payments": None, "user": ada},
    ]
    assert told.data["users"] == {"totalCount": 2}
    assert told.places == [("orders", "nodes", number, "payments") for number in range(2)]
    assert codes(told) == ["INTERNAL"] * 2


# A field that must not be null


@pytest.mark.parametrize(
    ("document", "data", "place"),
    [
        (f'{{ category(id: "{TEA}") {{ name {WRONG} }} z: __typename }}',
         {"category": None, "z": "Query"}, ("category", "products")),
        (f'{{ category(id: "{GREEN}") {{ name parent {{ a: {WRONG} }} }} }}',
         {"category": {"name": "Green", "parent": None}}, ("category", "parent", "a")),
        (f'{{ product(sku: "tea-1") {{ name category {{ name children {{ {WRONG} }} }} }} }}',
         {"product": {"name": "Assam", "category": None}}, ("product", "category", "children", 0, "products")),
        ("{ product(sku: \"tea-2\") { name category { ancestors { descendants(maxDepth: 0) { name } } } } }",
         {"product": {"name": "Sencha", "category": None}}, ("product", "category", "ancestors", 0, "descendants")),
        (f"{{ z: __typename categories(first: 1) {{ totalCount nodes {{ {WRONG} }} }} }}",
         {"z": "Query", "categories": None}, ("categories", "nodes", 0, "products")),
        (f"{{ categories(first: 1) {{ edges {{ cursor node {{ n: name {WRONG} }} }} }} }}",
         {"categories": None}, ("categories", "edges", 0, "node", "products")),
    ],
)  # fmt: skip
def test_a_null_goes_up_to_the_next_field_that_may_be_null(
    executors: Executors, document: str, data: object, place: tuple[str | int, ...]
) -> None:
    told = executors.run(document)
    assert told.data == data
    assert told.places == [place]
    assert codes(told) == ["BAD_USER_INPUT"]


def test_a_list_that_must_not_be_null_and_fails_costs_what_it_is_of(executors: Executors) -> None:
    with executors.without("payments", "refunds"):
        document = "{ orders { nodes { status payments { amount refunds { amount } } } } users { totalCount } }"
        told = executors.run(document)
    assert told.data["orders"]["nodes"] == [
        {"status": "PAID", "payments": None},
        {"status": "PENDING", "payments": []},
    ]
    assert told.data["users"] == {"totalCount": 2}
    assert told.places == [("orders", "nodes", 0, "payments", 0, "refunds")]


def test_a_null_where_there_must_be_none_is_an_error(executors: Executors) -> None:
    with nameless(executors, "tea-1"):
        told = executors.run("{ orders { nodes { items { productSku quantity product { sku name } } } } }")
    [paid, empty] = told.data["orders"]["nodes"]
    assert [item["product"] for item in paid["items"]] == [None, {"sku": "tea-2", "name": "Sencha"}]
    assert [item["quantity"] for item in paid["items"]] == [2, 1]
    assert empty == {"items": []}
    assert told.places == [("orders", "nodes", 0, "items", 0, "product", "name")]
    assert codes(told) == ["INTERNAL"]


@pytest.mark.parametrize(
    ("column", "field", "value"),
    [
        ("price", "price", "3.50"),
        ("stock_quantity", "stockQuantity", "0"),
        ("status", "status", "'active'"),
        ("created_at", "createdAt", "now()"),
    ],
)
def test_no_type_has_a_null_of_its_own(executors: Executors, column: str, field: str, value: str) -> None:
    """No kind of cell is written as if it never were NULL, though its column is declared so."""
    alter, update = (
        f"ALTER TABLE products ALTER {column} {{}} NOT NULL".format,
        f"UPDATE products SET {column} = {{}} WHERE sku = 'tea-1'".format,
    )
    change, back = f"{alter('DROP')}; {update('NULL')}", f"{update(value)}; {alter('SET')}"
    with executors.changed("products", change, back):
        told = executors.run(f'{{ product(sku: "tea-1") {{ name {field} }} z: product(sku: "mug-1") {{ {field} }} }}')
    assert told.data["product"] is None
    assert told.data["z"][field] is not None
    assert told.places == [("product", field)]


def test_a_null_where_there_must_be_none_costs_the_whole_list(executors: Executors) -> None:
    with nameless(executors, "mug-1"):
        told = executors.run(
            '{ products { nodes { sku name } } product(sku: "tea-1") { name } n: products { nodes { sku } } }'
        )
    assert told.data["products"] is None
    assert told.data["product"] == {"name": "Assam"}
    assert told.data["n"]["nodes"][-1] == {"sku": "mug-1"}
    [(*place, number, name)] = told.places
    assert (place, name) == (["products", "nodes"], "name")
    assert isinstance(number, int)


def test_a_value_that_is_not_of_its_type_is_an_error(executors: Executors) -> None:
    """A sum of more than an Int holds."""
    change = "UPDATE order_items SET quantity = {} WHERE quantity = {}; REFRESH MATERIALIZED VIEW product_stats".format
    with executors.changed("orders", change(2**31 - 1, 2), change(2, 2**31 - 1)):
        more = "INSERT INTO order_items (order_id, order_created_at, product_id, quantity, unit_price, created_at)"
        more += " SELECT order_id, order_created_at, product_id, 5, 1, created_at FROM order_items WHERE quantity > 2"
        clear = "DELETE FROM order_items WHERE quantity = 5; REFRESH MATERIALIZED VIEW product_stats"
        with executors.changed("orders", f"{more}; REFRESH MATERIALIZED VIEW product_stats", clear):
            told = executors.run("{ products { nodes { sku stats { totalOrders totalQuantitySold } } } }")
    stats = {node["sku"]: node["stats"] for node in told.data["products"]["nodes"]}
    nothing = {"totalOrders": 0, "totalQuantitySold": 0}
    assert stats == {"tea-1": None, "mug-1": nothing, "tea-2": {"totalOrders": 1, "totalQuantitySold": 1}}
    assert told.places == [("products", "nodes", 0, "stats", "totalQuantitySold")]
    assert codes(told) == ["INTERNAL"]


# Lists of what may be null


def test_an_object_of_a_list_can_be_null_by_itself(executors: Executors) -> None:
    document = f"query($ids: [ID!]!) {{ nodes(ids: $ids) {{ __typename ... on Category {{ name {WRONG} }} }} }}"
    told = executors.run(document, {"ids": [ASSAM_ID, TEA_ID, NOTHING_ID, "nonsense", PAYMENT_ID]})
    product, payment = {"__typename": "Product"}, {"__typename": "Payment"}
    assert told.data == {"nodes": [product, None, None, None, payment]}
    assert dict(zip(told.places, codes(told), strict=True)) == {
        ("nodes", 1, "products"): "BAD_USER_INPUT",
        ("nodes", 2): "NOT_FOUND",
        ("nodes", 3): "BAD_USER_INPUT",
    }


def test_objects_of_one_type_can_fail_without_the_others(executors: Executors) -> None:
    document = "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Payment { refunds { amount } } } }"
    with executors.without("payments", "refunds"):
        told = executors.run(document, {"ids": [PAYMENT_ID, ASSAM_ID, PAYMENT_ID]})
    assert told.data == {"nodes": [None, {"id": ASSAM_ID}, None]}
    assert sorted(told.places) == [("nodes", 0, "refunds"), ("nodes", 2, "refunds")]


# Up to the root


def test_a_null_that_goes_up_to_the_root_is_all_there_is(executors: Executors) -> None:
    document = "query($ids: [ID!]!) { products { totalCount } nodes(ids: $ids) { id } }"
    told = executors.run(document, {"ids": [ASSAM_ID] * 101})
    assert told.data is None
    assert told.places == [("nodes",)]
    assert codes(told) == ["BAD_USER_INPUT"]


# One error for each place


def test_of_a_place_one_error_is_told(executors: Executors) -> None:
    """Whatever fails below a part that is null by then is told as well, or not; but no place twice."""
    document = f"{{ categories {{ nodes {{ a: {WRONG} b: {WRONG} children {{ {WRONG} }} }} }} users {{ totalCount }} }}"
    told = executors.run(document)
    assert told.data == {"categories": None, "users": {"totalCount": 2}}
    assert told.errors
    assert len(set(told.places)) == len(told.places)
    assert {place[:2] for place in told.places} == {("categories", "nodes")}


def test_a_row_that_several_lead_to_fails_at_each_of_them(executors: Executors) -> None:
    with nameless(executors, "tea-1"):
        told = executors.run(
            '{ a: product(sku: "tea-1") { name } b: product(sku: "tea-1") { name } orders { nodes { status } } }'
        )
    assert told.data == {"a": None, "b": None, "orders": {"nodes": [{"status": "PAID"}, {"status": "PENDING"}]}}
    assert sorted(told.places) == [("a", "name"), ("b", "name")]


def test_an_answer_with_an_error_has_all_else_in_its_order(executors: Executors) -> None:
    """The part that is written object by object is the same as the one that is written at once."""
    document = """{ orders { totalCount nodes { total: totalAmount id items { lineTotal product { price images { url }
        } } } pageInfo { hasNextPage endCursor } edges { cursor node { createdAt user { role orders { totalCount } } }
        } } %s }"""
    whole = executors.ask(document % "")
    told = executors.run(document % WRONG)
    assert told.data == {**whole, "products": None}
    assert str(told.data["orders"]) == str(whole["orders"])


def test_nothing_of_an_error_is_left_for_the_next_run(executors: Executors) -> None:
    document = f'query($n: Int) {{ category(id: "{MUGS}") {{ products(first: $n) {{ totalCount }} }} }}'
    for _ in range(2):
        assert executors.run(document, {"n": 0}).data == {"category": None}
        assert executors.ask(document, {"n": 1}) == {"category": {"products": {"totalCount": 0}}}
