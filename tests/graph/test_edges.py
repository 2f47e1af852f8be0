"""Each edge finds the right rows, in the right order, with one statement however many parents ask."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from app.graph import context
from app.viewer import NOBODY
from tests.factories import TODAY, Make
from tests.graph.conftest import Gateway, customer

pytestmark = pytest.mark.anyio

EARLIER, LATER = TODAY - timedelta(minutes=1), TODAY + timedelta(minutes=1)


async def test_user_profiles_are_the_oldest_first(gateway: Gateway, make: Make) -> None:
    user, other = await make.user(created_at=LATER), await make.user(created_at=EARLIER)
    await make.profile(user_id=user["id"], city="Second", created_at=LATER)
    await make.profile(user_id=user["id"], city="First", created_at=EARLIER)
    data = await gateway.ask("{ users { nodes { uuid profiles { city user { uuid } } } } }")
    me = {"uuid": str(user["id"])}
    assert data["users"]["nodes"] == [
        {**me, "profiles": [{"city": "First", "user": me}, {"city": "Second", "user": me}]},
        {"uuid": str(other["id"]), "profiles": []},
    ]
    assert gateway.counts == {"users": 3}


async def test_user_orders_and_their_sums(gateway: Gateway, make: Make) -> None:
    buyer = await make.user(created_at=LATER)
    await make.user(created_at=EARLIER)
    for minute, (status, amount) in enumerate(
        [("paid", "10.00"), ("cancelled", "99.00"), ("delivered", "2.50"), ("refunded", "7.00")]
    ):
        await make.order(
            user_id=buyer["id"], status=status, total_amount=amount, created_at=TODAY + timedelta(minutes=minute)
        )
    data = await gateway.ask(
        "{ users { nodes { orders(first: 3) { totalCount nodes { status user { uuid } } } "
        "orderStats { orderCount totalSpent firstOrderAt lastOrderAt } } } }"
    )
    me = {"uuid": str(buyer["id"])}
    assert data["users"]["nodes"] == [
        {
            "orders": {
                "totalCount": 4,
                "nodes": [
                    {"status": "REFUNDED", "user": me},
                    {"status": "DELIVERED", "user": me},
                    {"status": "CANCELLED", "user": me},
                ],
            },
            "orderStats": {
                "orderCount": 2,
                "totalSpent": "12.50",
                "firstOrderAt": TODAY.isoformat(),
                "lastOrderAt": (TODAY + timedelta(minutes=2)).isoformat(),
            },
        },
        {
            "orders": {"totalCount": 0, "nodes": []},
            "orderStats": {"orderCount": 0, "totalSpent": "0.00", "firstOrderAt": None, "lastOrderAt": None},
        },
    ]
    assert gateway.counts == {"users": 2, "orders": 3}


async def test_product_edges(gateway: Gateway, make: Make) -> None:
    category = await make.category(name="Tea")
    product = await make.product(category_id=category["id"], name="Assam", price="12.5", sku="A-1")
    await make.product(name="Bare")
    await make.image(product_id=product["id"], url="old", created_at=EARLIER)
    await make.image(product_id=product["id"], url="primary", is_primary=True, created_at=LATER)
    data = await gateway.ask(
        "{ products { nodes { name sku price category { name } images { url isPrimary } primaryImage { url } } } }"
    )
    assert data["products"]["nodes"] == [
        {
            "name": "Assam",
            "sku": "A-1",
            "price": "12.50",
            "category": {"name": "Tea"},
            "images": [{"url": "primary", "isPrimary": True}, {"url": "old", "isPrimary": False}],
            "primaryImage": {"url": "primary"},
        },
        {"name": "Bare", "sku": None, "price": "1.00", "category": None, "images": [], "primaryImage": None},
    ]
    assert gateway.counts == {"products": 2}


async def test_product_sales(gateway: Gateway, make: Make) -> None:
    sold = await make.product(name="A")
    await make.product(name="B")
    for status, quantity in [("paid", 2), ("paid", 3), ("cancelled", 100)]:
        order = await make.order(status=status)
        await make.item(order, product_id=sold["id"], quantity=quantity, unit_price="2.10")
    await make.execute("orders", "REFRESH MATERIALIZED VIEW product_stats")
    await make.execute("orders", "UPDATE product_stats_refresh SET refreshed_at = $1", TODAY)
    data = await gateway.ask(
        "{ products { nodes { stats { totalOrders totalQuantitySold totalRevenue lastOrderedAt refreshedAt } "
        "orderItems(first: 1) { totalCount nodes { lineTotal product { name } order { status } } } } } }"
    )
    [first, second] = data["products"]["nodes"]
    now = TODAY.isoformat()
    assert first["stats"] == {
        "totalOrders": 2,
        "totalQuantitySold": 5,
        "totalRevenue": "10.50",
        "lastOrderedAt": now,
        "refreshedAt": now,
    }
    assert first["orderItems"]["totalCount"] == 3
    assert len(first["orderItems"]["nodes"]) == 1
    assert first["orderItems"]["nodes"][0]["product"] == {"name": "A"}
    assert second == {
        "stats": {
            "totalOrders": 0,
            "totalQuantitySold": 0,
            "totalRevenue": "0.00",
            "lastOrderedAt": None,
            "refreshedAt": now,
        },
        "orderItems": {"totalCount": 0, "nodes": []},
    }
    assert gateway.counts == {"products": 2, "orders": 4}


async def test_order_edges(gateway: Gateway, make: Make) -> None:
    address = await make.profile(city="Lyon")
    product = await make.product(name="Assam")
    order = await make.order(user_id=address["user_id"], shipping_address_id=address["id"], total_amount="6.30")
    lines = [
        await make.item(order, product_id=product["id"], quantity=3, unit_price="2.10", product_name="Assam tea"),
        await make.item(order, product_sku="GONE"),
    ]
    await make.payment(order_id=order["id"], amount="6.30", created_at=LATER, currency="EUR")
    await make.payment(order_id=order["id"], amount="6.31", created_at=EARLIER)
    await make.order(created_at=EARLIER)
    data = await gateway.ask(
        "{ orders { nodes { user { uuid } shippingAddress { city } payments { amount currency order { totalAmount } } "
        "items { uuid productName productSku lineTotal product { name } order { uuid } } } } }"
    )
    [full, empty] = data["orders"]["nodes"]
    me = {"uuid": str(order["id"])}
    assert full == {
        "user": {"uuid": str(address["user_id"])},
        "shippingAddress": {"city": "Lyon"},
        "payments": [
            {"amount": "6.31", "currency": "USD", "order": {"totalAmount": "6.30"}},
            {"amount": "6.30", "currency": "EUR", "order": {"totalAmount": "6.30"}},
        ],
        "items": sorted(
            [
                {
                    "uuid": str(lines[0]["id"]),
                    "productName": "Assam tea",
                    "productSku": None,
                    "lineTotal": "6.30",
                    "product": {"name": "Assam"},
                    "order": me,
                },
                {
                    "uuid": str(lines[1]["id"]),
                    "productName": None,
                    "productSku": "GONE",
                    "lineTotal": "1.00",
                    "product": None,
                    "order": me,
                },
            ],
            key=lambda line: str(line["uuid"]),
        ),
    }
    assert empty == {"user": None, "shippingAddress": None, "payments": [], "items": []}
    assert gateway.counts == {"orders": 4, "users": 2, "products": 1, "payments": 1}


async def test_payment_edges(gateway: Gateway, make: Make) -> None:
    payment = await make.payment(created_at=LATER)
    await make.refund(payment_id=payment["id"], amount="1.25", status="succeeded", created_at=LATER)
    await make.refund(payment_id=payment["id"], amount="2.00", status="succeeded", created_at=EARLIER)
    await make.refund(payment_id=payment["id"], amount="4.00", status="pending", created_at=TODAY)
    await make.payment(created_at=EARLIER)
    data = await gateway.ask(
        "{ payments { nodes { amountRefunded order { uuid } refunds { amount payment { uuid } } } } }"
    )
    me = {"uuid": str(payment["id"])}
    assert data["payments"]["nodes"] == [
        {
            "amountRefunded": "3.25",
            "order": None,
            "refunds": [{"amount": amount, "payment": me} for amount in ("2.00", "4.00", "1.25")],
        },
        {"amountRefunded": "0.00", "order": None, "refunds": []},
    ]
    assert gateway.counts == {"payments": 4, "orders": 1}


async def test_deleted_rows_vanish_and_the_order_still_says_what_it_sold(gateway: Gateway, make: Make) -> None:
    user = await make.user(deleted_at=TODAY)
    category = await make.category(deleted_at=TODAY)
    product = await make.product(deleted_at=TODAY)
    kept = await make.product(name="Kept", category_id=category["id"])
    order = await make.order(user_id=user["id"])
    await make.item(order, product_id=product["id"], product_name="Assam")
    data = await gateway.ask(
        "query($user: ID!, $email: String!, $category: ID!, $product: ID!) { "
        "user(id: $user) { uuid } byEmail: user(email: $email) { uuid } users { totalCount nodes { uuid } } "
        "category(id: $category) { uuid } categories { totalCount } product(id: $product) { uuid } "
        "products { totalCount nodes { uuid category { uuid } } } "
        "orders { nodes { user { uuid } items { productName product { uuid } } } } }",
        user=str(user["id"]),
        email=user["email"],
        category=str(category["id"]),
        product=str(product["id"]),
    )
    assert data == {
        "user": None,
        "byEmail": None,
        "users": {"totalCount": 0, "nodes": []},
        "category": None,
        "categories": {"totalCount": 0},
        "product": None,
        "products": {"totalCount": 1, "nodes": [{"uuid": str(kept["id"]), "category": None}]},
        "orders": {"nodes": [{"user": None, "items": [{"productName": "Assam", "product": None}]}]},
    }


async def test_each_edge_takes_one_statement_for_many_parents(gateway: Gateway, make: Make) -> None:
    """The statements of a query with every edge in it do not depend on how many rows there are."""

    async def grow(number: int) -> None:
        parent = await make.category()
        for _ in range(number):
            address = await make.profile()
            category = await make.category(parent_id=parent["id"])
            product = await make.product(category_id=category["id"])
            await make.image(product_id=product["id"], is_primary=True)
            order = await make.order(user_id=address["user_id"], shipping_address_id=address["id"])
            await make.item(order, product_id=product["id"])
            payment = await make.payment(order_id=order["id"])
            await make.refund(payment_id=payment["id"])

    query = """{
      orders(first: 100) { totalCount nodes {
        user { profiles { uuid } orders { nodes { uuid } totalCount } orderStats { orderCount } }
        shippingAddress { uuid }
        items { order { uuid } product {
          images { uuid } primaryImage { uuid } stats { totalOrders } orderItems { nodes { uuid } totalCount }
          category { parent { uuid } children { uuid } ancestors { uuid } descendants { uuid } depth productCount
            products(includeDescendants: true) { nodes { uuid } totalCount } }
        } }
        payments { order { uuid } amountRefunded refunds { payment { uuid } } }
      } }
    }"""
    # A product's category and primary picture, and the category's parent, come beside the product in a plan; with few
    # products come their pictures, and the ancestors, depths and counts of their categories.
    for parents, few in ((1, True), (7, True), (9, False)):
        await grow(parents)
        await gateway.resolvers.ask(query)
        assert gateway.counts == {"orders": 11, "users": 3, "products": 12, "payments": 4}
        await gateway.ask(query)
        assert gateway.counts == {"orders": 11, "users": 3, "products": 6 if few else 9, "payments": 4}


async def test_an_edge_without_keys_asks_nothing(gateway: Gateway, make: Make) -> None:
    await make.category()
    await gateway.ask("{ categories { nodes { parent { name } } } }")
    assert gateway.counts == {"products": 1}


async def test_each_place_has_a_statement_of_its_own(gateway: Gateway, make: Make) -> None:
    user = await make.user()
    for minute in range(3):
        await make.order(user_id=user["id"], created_at=TODAY + timedelta(minutes=minute))
    data = await gateway.ask(
        "{ users { nodes { a: orders(first: 1) { nodes { createdAt } } b: orders(first: 2) { nodes { createdAt } } "
        "c: orders(first: 1) { nodes { createdAt } } } } }"
    )
    [node] = data["users"]["nodes"]
    assert [len(node[alias]["nodes"]) for alias in "abc"] == [1, 2, 1]
    assert gateway.counts == {"users": 1, "orders": 3}


async def test_what_one_place_has_loaded_does_not_split_another(gateway: Gateway, make: Make) -> None:
    """Some of the rows that a level needs have been read elsewhere already, others have not: still one statement."""
    users = [await make.user() for _ in range(4)]
    for user in users:
        await make.profile(user_id=user["id"])
    orders = [await make.order(user_id=user["id"]) for user in users]
    for order in orders[:2]:
        await make.payment(order_id=order["id"])
    await gateway.ask(
        "{ payments { nodes { order { user { profiles { city } } } } } "
        "orders { nodes { user { profiles { city } } } } }"
    )
    assert gateway.counts == {"payments": 1, "orders": 2, "users": 4}


@pytest.mark.parametrize("number", [1, 2, 3, 5, 9])
async def test_a_walk_up_takes_one_statement_a_level(gateway: Gateway, make: Make, number: int) -> None:
    parent = None
    for _ in range(9):
        parent = (await make.category(parent_id=parent))["id"]
    query = f"{{ categories(first: {number}) {{ nodes {{ parent {{ parent {{ parent {{ name }} }} }} }} }} }}"
    await gateway.resolvers.ask(query)
    assert gateway.counts["products"] <= 4
    await gateway.resolvers.ask(query.replace(f"first: {number}", "first: 9"))
    assert gateway.counts == {"products": 4}


@pytest.mark.parametrize(("levels", "statements"), [(1, 1), (4, 1), (5, 2), (9, 2), (10, 3)])
async def test_no_more_than_four_rows_come_beside_another(
    gateway: Gateway, make: Make, monkeypatch: pytest.MonkeyPatch, levels: int, statements: int
) -> None:
    monkeypatch.setattr(context, "MOST_WITH_LISTS", 0)
    parent = None
    for number in range(12):
        parent = (await make.category(parent_id=parent, name=str(number)))["id"]
    above = "name " + "parent { name " * levels + "}" * levels
    found = await gateway.ask(f"query($id: ID!) {{ category(id: $id) {{ {above} }} }}", id=str(parent))
    expected: dict[str, Any] = {"name": str(11 - levels)}
    for number in range(12 - levels, 12):
        expected = {"name": str(number), "parent": expected}
    assert found == {"category": expected}
    assert gateway.counts == {"products": statements}


async def test_a_search_has_rows_beside_its_own(gateway: Gateway, make: Make) -> None:
    tea = await make.category(name="Tea")
    await make.product(name="Assam", category_id=tea["id"])
    await make.product(name="Assam pot", category_id=None)
    found = await gateway.ask(
        '{ products(search: "assam") { totalCount nodes { name category { name parent { name } } } } }'
    )
    assert sorted(node["name"] for node in found["products"]["nodes"]) == ["Assam", "Assam pot"]
    assert {node["name"]: node["category"] for node in found["products"]["nodes"]} == {
        "Assam": {"name": "Tea", "parent": None},
        "Assam pot": None,
    }
    assert gateway.counts == {"products": 2}


async def test_money_is_exact(gateway: Gateway, make: Make) -> None:
    order = await make.order(total_amount="99999999.99")
    await make.item(order, quantity=2147483647, unit_price="99999999.99")
    data = await gateway.ask("{ orders { nodes { totalAmount items { lineTotal } } } }")
    total = Decimal(2147483647) * Decimal("99999999.99")
    assert data["orders"]["nodes"] == [{"totalAmount": "99999999.99", "items": [{"lineTotal": f"{total}"}]}]


async def test_viewer(gateway: Gateway, make: Make) -> None:
    user: dict[str, Any] = await make.user()
    assert await gateway.ask("{ viewer { uuid } }", viewer=NOBODY) == {"viewer": None}
    me = {"viewer": {"uuid": str(user["id"])}}
    assert await gateway.ask("{ viewer { uuid } }", viewer=customer(user)) == me
    assert await gateway.ask("{ viewer { uuid } }", viewer=customer({"id": uuid4()})) == {"viewer": None}
