"""What is malformed is refused before any statement, with a code, a place, and words that a client understands."""

import base64
import json
import re
from typing import Any

import pytest

from app.graph.node import encode_id
from tests.factories import TODAY, Make
from tests.graph.conftest import Gateway

pytestmark = pytest.mark.anyio

SOME_ID = "0190b0c0-0000-7000-8000-000000000000"
OURS = re.compile(r"Maybe\[|dict|<class|Strawberry|UNSET|NoneType|Traceback|sqlalchemy|asyncpg", re.IGNORECASE)


async def refused(gateway: Gateway, query: str, **variables: Any) -> str:
    """The messages of an answer that has nothing but errors of the client's."""
    result = await gateway.execute(query, **variables)
    assert gateway.statements == []
    assert result.errors, query
    for error in result.errors:
        assert error["extensions"]["code"] == "BAD_USER_INPUT", error
        assert error.get("path") or error["locations"], error
        assert error["message"]
        assert not OURS.search(error["message"]), error["message"]
        assert len(error["message"]) < 1000
    return " ".join(error["message"] for error in result.errors)


DECIMALS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e5",
    "",
    " 1",
    "1.",
    ".5",
    "+1",
    "100000000",
    "1.005",
    "0x1",
    "\u0661",
    "1\0",
    "1,5",
]
TIMES = [
    "",
    "today",
    "2026-01-01",
    "2026-01-01T00:00:00",
    "2026-01-01 00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-01-01T24:00:01Z",
    "2026-01-01T23:59:60Z",
    "2026-01-01T00:00:00.1234567Z",
    "1969-12-31T23:59:59Z",
    "2201-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",
]


@pytest.mark.parametrize("value", [*DECIMALS, 1.5, True, [], {}, 10**9, -(10**90)], ids=repr)
async def test_decimals(gateway: Gateway, value: object) -> None:
    query = "query($x: Decimal!) { orders(where: {totalAmount: {gt: $x}}) { totalCount } }"
    await refused(gateway, query, x=value)
    literal = json.dumps(value, ensure_ascii=False).replace("\\u0000", "\\\\u0000")
    message = await refused(gateway, f"{{ orders(where: {{totalAmount: {{in: [{literal}, 1]}}}}) {{ totalCount }} }}")
    assert "Decimal" in message


@pytest.mark.parametrize("value", [*TIMES, 0, 1.5, True, {}], ids=repr)
async def test_times(gateway: Gateway, value: object) -> None:
    query = "query($w: OrderWhere!) { orders(where: $w) { totalCount } }"
    await refused(gateway, query, w={"createdAt": {"lt": value}})
    literal = json.dumps(value, ensure_ascii=False)
    message = await refused(gateway, f"{{ orders(where: {{createdAt: {{lt: {literal}}}}}) {{ totalCount }} }}")
    assert "DateTime" in message


@pytest.mark.parametrize(
    "where",
    [
        '{id: {eq: "x"}}',
        '{id: {in: ["0190b0c0-0000-7000-8000-000000000000", ""]}}',
        f'{{userId: {{ne: "{encode_id("Order", SOME_ID)}"}}}}',
        '{userId: {notIn: ["\\u0000"]}}',
        "{status: {eq: LOST}}",
        '{status: {eq: "PAID"}}',
        "{status: {in: [PAID, null]}}",
        "{status: {eq: null}}",
        "{status: null}",
        "{and: null}",
        "{and: [null]}",
        "{or: [{not: null}]}",
        "{not: {totalAmount: {lt: null}}}",
        "{nothing: {eq: 1}}",
        "{status: {like: PAID}}",
        "{totalAmount: 5}",
        "5",
        '"x"',
    ],
)
async def test_filters(gateway: Gateway, where: str) -> None:
    await refused(gateway, f"{{ orders(where: {where}) {{ nodes {{ uuid }} totalCount }} }}")


@pytest.mark.parametrize(
    "where",
    [
        {"name": {"eq": "a\0b"}},
        {"name": {"in": ["a", "\ud800"]}},
        {"name": {"contains": "\0"}},
        {"sku": {"startsWith": None}},
        {"stockQuantity": {"gt": 2**31}},
        {"stockQuantity": {"gt": -(2**31) - 1}},
        {"stockQuantity": {"gt": "1"}},
        {"stockQuantity": {"gt": 1.5}},
        {"category": {}},
        {"category": {"id": None}},
        {"category": {"id": "x"}},
        {"category": {"id": SOME_ID, "includeDescendants": None}},
        {"category": {"id": encode_id("Product", SOME_ID)}},
        {"not": {"or": [{"and": [{"price": {"eq": None}}]}]}},
        {"price": {"eq": "1.00", "isNull": None}},
    ],
    ids=repr,
)
async def test_filters_in_variables(gateway: Gateway, where: dict[str, Any]) -> None:
    gateway = gateway.limited(max_list=1000)
    query = "query($w: ProductWhere) { products(where: $w) { nodes { uuid } totalCount } }"
    await refused(gateway, query, w=where)


async def test_a_null_that_would_choose_between_a_category_and_its_branch_is_refused(gateway: Gateway) -> None:
    where = f'{{category: {{id: "{SOME_ID}", includeDescendants: $all}}}}'
    query = f"query($all: Boolean) {{ products(where: {where}) {{ totalCount }} }}"
    message = await refused(gateway, query, all=None)
    assert message == "where.category.includeDescendants must not be null: leave it out, or use isNull."
    await gateway.ask(query)
    for given in (True, False):
        await gateway.ask(query, all=given)


@pytest.mark.parametrize("escape", [r"\u0000", r"\u{0}"])
async def test_a_text_that_no_column_can_hold_is_refused_before_anything_is_executed(
    gateway: Gateway, escape: str
) -> None:
    result = await gateway.execute(f'{{ a: user(email: "a{escape}b") {{ id }} viewer {{ id }} }}')
    assert gateway.statements == []
    assert result.data is None
    [error] = result.errors
    assert error["message"] == "The document has a character that no text can have."
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["locations"] == [{"line": 1, "column": 18}]


async def test_a_message_names_the_place_in_the_filter(gateway: Gateway) -> None:
    query = "query($w: UserWhere) { users(where: $w) { totalCount } }"
    where = {"or": [{"email": {"eq": "a"}}, {"not": {"firstName": {"ne": None}}}]}
    message = await refused(gateway, query, w=where)
    assert message == "where.or[1].not.firstName.ne must not be null: leave it out, or use isNull."


@pytest.mark.parametrize("depth", [21, 100, 1_000, 10_000])
async def test_a_filter_that_is_nested_too_deep(gateway: Gateway, depth: int) -> None:
    gateway = gateway.limited(max_tokens=100_000)
    where: dict[str, Any] = {}
    for number in range(depth):
        where = {"not": where} if number % 2 else {"and": [where]}
    result = await gateway.execute("query($w: UserWhere) { users(where: $w) { totalCount } }", w=where)
    assert gateway.statements == []
    [error] = result.errors
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "nested" in error["message"]


async def test_twenty_levels_are_taken(gateway: Gateway) -> None:
    where: dict[str, Any] = {"email": {"eq": "a"}}
    for _ in range(19):
        where = {"not": where}
    await gateway.ask("query($w: UserWhere) { users(where: $w) { totalCount } }", w=where)


@pytest.mark.parametrize(
    "order",
    [
        "[{}]",
        "[null]",
        "[{status: null}]",
        "[{status: UP}]",
        "[{id: ASC}]",
        '["status"]',
        "[{status: ASC, createdAt: ASC}]",
    ],
)
async def test_orders(gateway: Gateway, order: str) -> None:
    await refused(gateway, f"{{ orders(orderBy: {order}) {{ totalCount }} }}")


@pytest.mark.parametrize(
    "order", [[{}], [None], [{"status": None}], [{"status": "UP"}], [{"status": "ASC", "createdAt": "ASC"}], "x", 5]
)
async def test_orders_in_variables(gateway: Gateway, order: object) -> None:
    await refused(gateway, "query($by: [OrderOrderBy!]) { orders(orderBy: $by) { totalCount } }", by=order)


@pytest.mark.parametrize(
    "arguments",
    [
        "first: 0",
        "first: 101",
        "last: 0",
        "last: -1",
        "last: 101",
        "first: 1, last: 1",
        'first: "1"',
        "last: 1.5",
        "first: 2147483648",
        'before: ""',
        'before: "x"',
        "after: 5",
        'search: "\\u0000"',
        f'search: "{"x" * 201}"',
    ],
)
async def test_page_arguments(gateway: Gateway, arguments: str) -> None:
    await refused(gateway, f"{{ products({arguments}) {{ nodes {{ uuid }} }} }}")


async def test_a_lone_surrogate_in_a_search(gateway: Gateway) -> None:
    await refused(gateway, "query($x: String) { products(search: $x) { totalCount } }", x="\udc00")


def cursor(*document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("by", "signature", "values"),
    [
        ({"price": "ASC"}, "products.price,products.id", ["NaN", SOME_ID]),
        ({"price": "ASC"}, "products.price,products.id", [1.5, SOME_ID]),
        ({"price": "ASC"}, "products.price,products.id", [None, SOME_ID]),
        ({"price": "ASC"}, "-products.price,-products.id", ["1.00", SOME_ID]),
        ({"price": "ASC"}, "products.name,products.id", ["1.00", SOME_ID]),
        ({"stockQuantity": "DESC"}, "-products.stock_quantity,-products.id", ["1", SOME_ID]),
        ({"stockQuantity": "DESC"}, "-products.stock_quantity,-products.id", [True, SOME_ID]),
        ({"stockQuantity": "DESC"}, "-products.stock_quantity,-products.id", [2**31, SOME_ID]),
        ({"sku": "ASC"}, "products.sku,products.id", [5, SOME_ID]),
        ({"sku": "ASC"}, "products.sku,products.id", ["a\0", SOME_ID]),
        ({"sku": "ASC"}, "products.sku,products.id", [None, None]),
        ({"sku": "ASC"}, "products.sku,products.id", [None, "x"]),
        ({"createdAt": "ASC"}, "products.created_at,products.id", ["soon", SOME_ID]),
        ({"createdAt": "ASC"}, "products.created_at,products.id", [0, SOME_ID]),
    ],
)
@pytest.mark.parametrize("argument", ["after", "before"])
async def test_cursors(
    gateway: Gateway, by: dict[str, str], signature: str, values: list[object], argument: str
) -> None:
    query = f"query($by: [ProductOrderBy!], $c: String) {{ products(orderBy: $by, {argument}: $c) {{ totalCount }} }}"
    message = await refused(gateway, query, by=[by], c=cursor(1, signature, *values))
    assert message == f"{argument} is not a cursor of this list in this order: pass one that it returned."


async def test_a_cursor_with_a_null_where_there_can_be_one(gateway: Gateway) -> None:
    query = "query($c: String) { products(orderBy: [{sku: ASC}], after: $c) { nodes { uuid } } }"
    await gateway.ask(query, c=cursor(1, "products.sku,products.id", None, SOME_ID))


async def test_a_cursor_of_another_search_is_refused(gateway: Gateway, make: Make) -> None:
    await make.product(name="Tea", created_at=TODAY)
    query = "query($s: String, $c: String) { products(search: $s, after: $c) { pageInfo { endCursor } } }"
    found = await gateway.ask(query, s="tea")
    end = found["products"]["pageInfo"]["endCursor"]
    await gateway.ask(query, s=" tea ", c=end)
    await refused(gateway, query, s="teas", c=end)
    await refused(gateway, query, s=None, c=end)


async def test_a_number_in_a_cursor_need_not_fit_the_column(gateway: Gateway) -> None:
    query = "query($c: String) { products(orderBy: [{price: ASC}], after: $c) { nodes { uuid } } }"
    await gateway.ask(query, c=cursor(1, "products.price,products.id", "806353597729.1", SOME_ID))


async def test_a_filter_of_too_many_tests(gateway: Gateway) -> None:
    gateway = gateway.limited(max_list=1000)
    query = "query($w: ProductWhere) { products(where: $w) { nodes { uuid } totalCount } }"
    where = {"or": [{"name": {"eq": str(number)}} for number in range(101)]}
    assert await refused(gateway, query, w=where) == "where has more than 100 tests."
    await gateway.ask(query, w={"or": where["or"][:100]})
    for test in ({"name": {"isNull": False}}, {"category": {"id": SOME_ID}}):
        assert await refused(gateway, query, w={"or": [test] * 101}) == "where has more than 100 tests."
    assert await refused(gateway, query, w={"and": [{}] * 200}) == "where has more than 200 filters in it."
