"""Totals are counted up to a cap, at the root and below; one more than it means more. A product count has none."""

import pytest

from tests.factories import Make
from tests.graph.conftest import Gateway

pytestmark = pytest.mark.anyio

CAP = 3
ROOT = """query($top: ID!) {
  users { totalCount }
  categories(first: 1) { totalCount }
  products(last: 1) { totalCount }
  orders { totalCount nodes { uuid } }
  payments { totalCount }
  some: products(where: {name: {startsWith: "tea"}}) { totalCount }
  below: products(where: {category: {id: $top}}) { totalCount }
  found: products(search: "tea", orderBy: [{price: ASC}]) { totalCount }
}"""


@pytest.mark.parametrize(("number", "expected"), [(0, 0), (2, 2), (3, 3), (4, 4), (5, 4), (9, 4)])
async def test_lists_of_the_root(gateway: Gateway, make: Make, number: int, expected: int) -> None:
    gateway = gateway.limited(largest_total=CAP)
    top = await make.category()
    for _ in range(number):
        await make.user()
        category = await make.category(parent_id=top["id"])
        await make.product(name="Tea", category_id=category["id"])
        await make.order()
        await make.payment()
    found = await gateway.ask(ROOT, top=str(top["id"]))
    totals = {name: page["totalCount"] for name, page in found.items()}
    assert totals == dict.fromkeys(totals, expected) | {"categories": min(number + 1, CAP + 1)}


async def test_lists_of_many_parents_at_once(gateway: Gateway, make: Make) -> None:
    """Each parent's own is counted up to the cap, with a filter as well, and whatever page is asked for."""
    gateway = gateway.limited(largest_total=CAP)
    numbers = [0, 2, 3, 4, 7]
    chain = None
    for number in numbers:
        user = await make.user(first_name=str(number))
        chain = await make.category(name=str(number), parent_id=chain and chain["id"])
        product = await make.product(category_id=chain["id"]) if number else None
        for _ in range(number):
            await make.order(user_id=user["id"], status="paid")
            await make.order(user_id=user["id"], status="shipped")
            if product:
                await make.item(product_id=product["id"])
        for _ in range(number - 1):
            await make.product(category_id=chain["id"], status="inactive")
    found = await gateway.ask("""{
      users(orderBy: [{firstName: ASC}]) { nodes {
        orders(last: 1) { totalCount nodes { uuid } } paid: orders(where: {status: {eq: PAID}}) { totalCount }
      } }
      categories { nodes {
        products { totalCount nodes { orderItems { totalCount } } }
        inactive: products(where: {status: {eq: INACTIVE}}) { totalCount }
        all: products(includeDescendants: true) { totalCount }
        forSale: products(includeDescendants: true, where: {status: {eq: ACTIVE}}) { totalCount }
        own: productCount(includeDescendants: false)
        productCount
      } }
    }""")
    users, categories = found["users"]["nodes"], found["categories"]["nodes"]
    below = [sum(numbers[place:]) for place in range(len(numbers))]
    capped = {
        "orders": [2 * number for number in numbers],
        "paid": numbers,
        "products": numbers,
        "inactive": [max(number - 1, 0) for number in numbers],
        "all": below,
        "forSale": [sum(1 for number in numbers[place:] if number) for place in range(len(numbers))],
    }
    for name, expected in capped.items():
        parents = users if name in users[0] else categories
        assert [parent[name]["totalCount"] for parent in parents] == [min(count, CAP + 1) for count in expected], name
    assert [category["own"] for category in categories] == numbers
    assert [category["productCount"] for category in categories] == below
    sold = [[line["orderItems"]["totalCount"] for line in category["products"]["nodes"]] for category in categories]
    assert [max(counts, default=0) for counts in sold] == [min(number, CAP + 1) for number in numbers]
