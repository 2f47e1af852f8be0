"""What this gateway is for in one query, over real data, against an answer worked out from the CSV files alone."""

import csv
from collections import defaultdict
from collections.abc import AsyncGenerator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from app.settings import Settings
from tests.graph.conftest import SHOP, Gateway, gateway_of, needs_shop

pytestmark = [pytest.mark.anyio, needs_shop]

QUERY = """query($n: Int) { orders(first: $n) { nodes { uuid totalAmount createdAt
  user { email orders(first: 2) { nodes { uuid } totalCount } }
  shippingAddress { city country }
  items { quantity unitPrice lineTotal
    product { name sku category { name ancestors { name } } primaryImage { url } stats { totalQuantitySold } } }
  payments { amount status refunds { amount } } } } }"""


@pytest.fixture
async def gateway(shop: Settings) -> AsyncGenerator[Gateway]:
    async for gateway in gateway_of(shop):
        yield gateway


class Files:
    """The shop as plain rows, and the answer that they give."""

    def __init__(self) -> None:
        read = {
            path.stem: list(csv.DictReader(path.read_text(encoding="utf-8").splitlines(keepends=True)))
            for path in SHOP.glob("*/*.csv")
        }
        self.users, self.profiles, self.categories, self.products = (
            {row["id"]: row for row in read[name]} for name in ("users", "user_profiles", "categories", "products")
        )
        newest_first = sorted(read["orders"], key=lambda row: (_time(row), row["id"]), reverse=True)
        self.orders = newest_first
        self.status = {row["id"]: row["status"] for row in newest_first}
        self.items, self.payments, self.images = (
            _grouped(read[name], by)
            for name, by in (("order_items", "order_id"), ("payments", "order_id"), ("product_images", "product_id"))
        )
        self.sold: dict[str, int] = defaultdict(int)
        for row in read["order_items"]:
            if self.status[row["order_id"]] != "cancelled":
                self.sold[row["product_id"]] += int(row["quantity"])

    def order(self, row: dict[str, str]) -> dict[str, Any]:
        mine = [{"uuid": other["id"]} for other in self.orders if other["user_id"] == row["user_id"]]
        address = self.profiles[row["shipping_address_id"]]
        return {
            "uuid": row["id"],
            "totalAmount": row["total_amount"],
            "createdAt": _time(row).isoformat(),
            "user": {
                "email": self.users[row["user_id"]]["email"],
                "orders": {"nodes": mine[:2], "totalCount": len(mine)},
            },
            "shippingAddress": {"city": address["city"] or None, "country": address["country"] or None},
            "items": [self.item(item) for item in sorted(self.items[row["id"]], key=lambda item: item["id"])],
            "payments": [
                {"amount": payment["amount"], "status": payment["status"].upper(), "refunds": []}
                for payment in sorted(self.payments[row["id"]], key=lambda payment: (_time(payment), payment["id"]))
            ],
        }

    def item(self, row: dict[str, str]) -> dict[str, Any]:
        product = self.products[row["product_id"]]
        category = self.categories[product["category_id"]]
        [image] = [image for image in self.images[product["id"]] if image["is_primary"] == "true"]
        return {
            "quantity": int(row["quantity"]),
            "unitPrice": row["unit_price"],
            "lineTotal": str(int(row["quantity"]) * Decimal(row["unit_price"])),
            "product": {
                "name": product["name"],
                "sku": product["sku"],
                "category": {"name": category["name"], "ancestors": self.ancestors(category)},
                "primaryImage": {"url": image["url"]},
                "stats": {"totalQuantitySold": self.sold[product["id"]]},
            },
        }

    def ancestors(self, category: dict[str, str]) -> list[dict[str, str]]:
        if not category["parent_id"]:
            return []
        parent = self.categories[category["parent_id"]]
        return [*self.ancestors(parent), {"name": parent["name"]}]

    def depth(self, category: dict[str, str]) -> int:
        return len(self.ancestors(category))


def _time(row: dict[str, str]) -> datetime:
    return datetime.fromisoformat(row["created_at"])


def _grouped(rows: list[dict[str, str]], by: str) -> dict[str, list[dict[str, str]]]:
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[row[by]].append(row)
    return groups


async def test_every_leaf_of_the_stitched_query(gateway: Gateway) -> None:
    files = Files()
    assert len(files.orders) == 830
    data = await gateway.ask(QUERY, n=100)
    assert data["orders"]["nodes"] == [files.order(row) for row in files.orders[:100]]


@pytest.mark.parametrize("number", [3, 100])
async def test_its_statements(gateway: Gateway, number: int) -> None:
    """Orders: the page, the users' pages and totals, lines, statistics. Users: users, addresses. Products: products,
    images, categories, ancestors. Payments: payments, refunds. In a plan categories and primary images come
    beside products."""
    await gateway.resolvers.ask(QUERY, n=number)
    assert gateway.counts == {"orders": 5, "users": 2, "products": 4, "payments": 2}
    await gateway.ask(QUERY, n=number)
    assert gateway.counts == {"orders": 5, "users": 2, "products": 2, "payments": 2}


async def test_every_page_of_every_order(gateway: Gateway) -> None:
    files, cursor = Files(), None
    found: list[str] = []
    query = (
        "query($after: String) { orders(first: 97, after: $after) { nodes { uuid } "
        "pageInfo { endCursor hasNextPage } } }"
    )
    while True:
        page: dict[str, Any] = (await gateway.ask(query, after=cursor))["orders"]
        found += [node["uuid"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        cursor = page["pageInfo"]["endCursor"]
    assert found == [row["id"] for row in files.orders]


async def test_the_category_tree(gateway: Gateway) -> None:
    """Depth, ancestors and everything below, for categories on all of the seven levels."""
    files = Files()
    by_depth = {files.depth(row): row for row in files.categories.values()}
    assert sorted(by_depth) == list(range(7))
    below: dict[str, int] = defaultdict(int)
    for row in files.categories.values():
        while row["parent_id"]:
            row = files.categories[row["parent_id"]]
            below[row["id"]] += 1
    for depth, row in by_depth.items():
        query = "query($id: ID!) { category(id: $id) { depth ancestors { name } descendants { name } } }"
        found = (await gateway.ask(query, id=row["id"]))["category"]
        assert found["depth"] == depth
        assert found["ancestors"] == files.ancestors(row)
        assert len(found["descendants"]) == below[row["id"]]
