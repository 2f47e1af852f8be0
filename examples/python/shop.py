"""A shop's client: shows what everybody sees, and with a token in TOKEN the newest of one's orders."""

import os
import sys
from pathlib import Path
from typing import Any

from answers import Categories, Order, Orders, Product, Products
from gql import Client, GraphQLRequest
from gql.client import SyncClientSession
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.httpx import HTTPXTransport

OPERATIONS = Path(__file__).parent.parent / "operations"
URL = os.environ.get("GATEWAY_URL", "http://127.0.0.1:8000/graphql")
TOKEN = os.environ.get("TOKEN")

ADVICE = {
    "UNAUTHENTICATED": "sign in",
    "FORBIDDEN": "not for you",
    "NOT_FOUND": "there is none",
    "LIMIT_EXCEEDED": "ask for less",
    "RATE_LIMITED": "too many requests, come again later",
    "DATABASE_UNAVAILABLE": "not to be had now, come again later",
    "TIMEOUT": "took too long, come again later",
}
"""What is left to a user to do about an error. The codes are a closed list: the README's part "Errors"."""


def read(*names: str) -> str:
    """An operation with the fragments that it spreads, from their files."""
    return "\n".join((OPERATIONS / f"{name}.graphql").read_text(encoding="utf-8") for name in names)


# Any: an answer's shape is its operation's.
def ask(session: SyncClientSession, document: str, /, **variables: object) -> dict[str, Any]:
    """The data of an answer, in part if need be: what could not be had is null, and told on standard error.

    Raises:
        TransportError: there are none; the gateway was not reached, or refused the request as a whole.
    """
    try:
        return session.execute(GraphQLRequest(document, variable_values=variables))
    except TransportQueryError as error:
        if error.data is None:
            raise
        for of in error.errors or []:
            path, code = ".".join(map(str, of.get("path", []))), of["extensions"]["code"]
            print(f"! {path}: {ADVICE.get(code, of['message'])} ({code})", file=sys.stderr)
        return error.data


def product_line(product: Product) -> str:
    category, stats = product["category"], product["stats"]
    path = " > ".join(of["name"] for of in [*category["ancestors"], category]) if category else "no category"
    sold = f"{stats['totalQuantitySold']} sold" if stats else "sales unknown"
    return f"{product['name']}, {product['price']} ({path}; {sold})"


def show_search(session: SyncClientSession, text: str) -> None:
    search = read("search", "product_line")
    products: Products | None = ask(session, search, text=text, first=3)["products"]
    print(f'{products["totalCount"] if products else "unknown"} products match "{text}"')
    if products is None:
        return
    for product in products["nodes"]:
        print(f"  {product_line(product)}")
    if products["pageInfo"]["hasNextPage"]:
        after = products["pageInfo"]["endCursor"]
        products = ask(session, search, text=text, first=3, after=after)["products"]
        print("the next page")
        for product in products["nodes"] if products else []:
            print(f"  {product_line(product)}")


def show_categories(session: SyncClientSession) -> None:
    categories: Categories | None = ask(session, read("categories"), first=3)["categories"]
    print("categories")
    for category in categories["nodes"] if categories else []:
        print(f"  {category['name']}: {category['productCount']} products")
        for child in category["children"]:
            print(f"    {child['name']}: {child['productCount']}")


def show_latest_order(session: SyncClientSession) -> None:
    orders: Orders | None = ask(session, read("order", "product_line"))["orders"]
    if not orders or not orders["nodes"]:
        print("no order")
        return
    order = orders["nodes"][0]
    user, address = order["user"], order["shippingAddress"]
    print(f"order {order['uuid']}: {order['status']}, {order['totalAmount']}, placed {order['createdAt']}")
    print(f"  by {user['firstName']} {user['lastName']} <{user['email']}>" if user else "  by unknown")
    print(f"  to {address['city']}, {address['country']}" if address else "  to unknown")
    for item in order["items"]:
        product = item["product"]
        sold = product_line(product) if product else f"{item['productName']}, no longer sold"
        print(f"  {item['quantity']} for {item['lineTotal']}: {sold}")
    show_payments(order)


def show_payments(order: Order) -> None:
    for payment in order["payments"] or []:
        provider = f" ({payment['provider']})" if payment["provider"] else ""
        given = "".join(f", refund of {refund['amount']} {refund['status']}" for refund in payment["refunds"])
        print(
            f"  {payment['amount']} {payment['currency']} by {payment['method']}{provider}: {payment['status']}{given}"
        )


def main() -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    try:
        with Client(transport=HTTPXTransport(URL, headers=headers, timeout=10)) as session:
            show_search(session, sys.argv[1] if len(sys.argv) > 1 else "kettle")
            show_categories(session)
            if TOKEN:
                show_latest_order(session)
            else:
                print("no order: set TOKEN to sign in")
    except TransportQueryError as error:
        sys.exit("refused: " + " ".join(f"{of['message']} ({of['extensions']['code']})" for of in error.errors or []))
    except TransportError as error:
        sys.exit(f"no answer from {URL}: {error}")


if __name__ == "__main__":
    main()
