"""Made-up orders with their lines, payments and refunds, a chunk of orders at a time.

A chunk depends on the shop and its own number alone. The amounts agree: an order's total is the sum of its lines, what
was captured or refunded of its payments is that total, and a refunded payment's refunds sum to it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

from app.operations import seed_words as words
from app.operations.seed_data import DAY, STAFF, Product, Shop, decimal, pick, row, timestamp

CHUNK = 5_000
"""Orders in a chunk. To change it changes what a seed makes."""

COLUMNS = {
    "orders": "id user_id status total_amount shipping_address_id created_at updated_at",
    "order_items": "id order_id order_created_at product_id product_name product_sku quantity unit_price created_at",
    "payments": "id order_id amount currency method status provider provider_reference failure_reason created_at "
    "updated_at",
    "refunds": "id payment_id amount reason status created_at updated_at",
}

_MINUTE = 60_000
_MOST_LINES = 8
_MOST_PAYMENTS = 2
_MOST_REFUNDS = 2


@dataclass
class Sales:
    """The rows of one chunk."""

    orders: list[str] = field(default_factory=list[str])
    order_items: list[str] = field(default_factory=list[str])
    payments: list[str] = field(default_factory=list[str])
    refunds: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class _Order:
    number: int
    id: str
    created: int
    cents: int
    status: str
    updated: int


def sales_of(shop: Shop) -> Callable[[int], Sales]:
    """The function that makes the chunk of a number, from 0 on. It remembers the products that sell best."""
    product = lru_cache(maxsize=100_000)(shop.product)

    def chunk(number: int) -> Sales:
        random, sales = shop.random("orders", number), Sales()
        for order in range(number * CHUNK, min((number + 1) * CHUNK, shop.orders)):
            _sell(shop, order, random, product, sales)
        return sales

    return chunk


def _sell(shop: Shop, number: int, random: Random, product: Callable[[int], Product], sales: Sales) -> None:
    span = shop.end - shop.opening
    created = shop.opening + (number * span + int(random.random() * span)) // shop.orders
    key = shop.id_of("order", number, created)
    since = timestamp(created)
    # Squares and cubes of a number below 1 favour small ones: early customers and the first products.
    user = shop.user(STAFF + int((shop.users_at(created) - STAFF) * random.random() ** 2))
    bought = {
        int(shop.products * random.random() ** 3): 1 + int(random.random() ** 4 * 5)
        for _ in range(1 + int(random.random() ** 2 * _MOST_LINES))
    }
    cents = 0
    for line, (which, quantity) in enumerate(bought.items()):
        sold = product(which)
        cents += sold.cents * quantity
        line_id = shop.id_of("line", number * _MOST_LINES + line, created)
        sales.order_items.append(
            row(line_id, key, since, sold.id, sold.name, sold.sku, str(quantity), decimal(sold.cents), since)
        )
    status, updated = _status(random, created, shop.end)
    address = user.addresses[int(random.random() ** 2 * len(user.addresses))]
    sales.orders.append(row(key, user.id, status, decimal(cents), address, since, timestamp(updated)))
    _pay(shop, _Order(number, key, created, cents, status, updated), random, sales)


def _status(random: Random, created: int, end: int) -> tuple[str, int]:
    """The state of an order, and since when it has that."""
    chance, days = random.random(), random.random()
    age = end - created
    if chance < 0.04:
        status, after = "cancelled", 1 + days
    elif chance < 0.07 and age > 21 * DAY:
        status, after = "refunded", 10 + 10 * days
    elif chance < 0.09:
        status, after = "pending", 0.0
    elif chance < 0.12 or age < 2 * DAY:
        status, after = "paid", 0.01 + 0.1 * days
    elif chance < 0.17 or age < 7 * DAY:
        status, after = "shipped", 0.5 + days
    else:
        status, after = "delivered", 2 + 4 * days
    return status, min(created + int(after * DAY), end - 1)


def _pay(shop: Shop, order: _Order, random: Random, sales: Sales) -> None:
    """The payments of an order: often one, sometimes after an attempt that failed; none for some of those not paid."""
    method, provider = pick(random, words.METHODS)
    chance = random.random()
    if order.status == "pending":
        outcomes = ["pending"] if chance < 0.5 else ["failed"] if chance < 0.75 else []
    elif order.status == "cancelled":
        outcomes = ["voided"] if chance < 0.6 else ["failed"] if chance < 0.8 else []
    else:
        outcome = "refunded" if order.status == "refunded" else "captured"
        outcomes = ["failed", outcome] if chance < 0.07 else [outcome]
    for attempt, outcome in enumerate(outcomes):
        created = min(order.created + int((attempt * 3 + random.random()) * _MINUTE), shop.end - 1)
        updated = max(created, order.updated) if outcome in ("voided", "refunded") else created
        key = shop.id_of("payment", order.number * _MOST_PAYMENTS + attempt, created)
        reference = f"{provider}_{key[14:].replace('-', '')}" if provider else None
        why = pick(random, words.DECLINES) if outcome == "failed" else None
        sales.payments.append(
            row(
                *(key, order.id, decimal(order.cents), "USD", method, outcome, provider, reference, why),
                *(timestamp(created), timestamp(updated)),
            )
        )
        if outcome == "refunded":
            _refund(shop, order, key, random, sales)


def _refund(shop: Shop, order: _Order, payment: str, random: Random, sales: Sales) -> None:
    """Give back the whole of a payment: at once, at the second try, or in two parts."""
    chance = random.random()
    if chance < 0.1:
        parts = [(order.cents, "failed"), (order.cents, "succeeded")]
    elif chance < 0.3:
        parts = [(order.cents // 3, "succeeded"), (order.cents - order.cents // 3, "succeeded")]
    else:
        parts = [(order.cents, "succeeded")]
    for part, (cents, outcome) in enumerate(parts):
        created = order.updated - (len(parts) - 1 - part) * 60 * _MINUTE
        key = shop.id_of("refund", order.number * _MOST_REFUNDS + part, created)
        since = timestamp(created)
        sales.refunds.append(row(key, payment, decimal(cents), pick(random, words.RETURNS), outcome, since, since))
