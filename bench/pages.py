"""How long pages take in a large shop: the first and the 10,001st in several orders, nested ones, searches, subtrees.

    python -m bench.pages --orders 1000000

seeds databases of its own (two minutes for a million orders) and prints medians; with ``--environment`` it takes the
four databases that the environment names, as they are. Queries run through the schema in this process, over real
connections. The 10,001st page is reached as a client reaches it, by the cursors of those before; of a list that has
fewer, the last.
"""

import argparse
import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from app.operations.seed import seed
from app.settings import Settings, load_settings
from bench.common import Gateway, Query, gateway, print_table, scratch_databases

FAR = 10_001
SIZE = 20
BASE = "orders, page 1"
LISTS: dict[str, tuple[str, str, list[dict[str, str]]]] = {
    "orders": ("orders", "OrderOrderBy", []),
    "orders by updatedAt": ("orders", "OrderOrderBy", [{"updatedAt": "DESC"}]),
    "orders by totalAmount": ("orders", "OrderOrderBy", [{"totalAmount": "DESC"}]),
    "orders by status (no index)": ("orders", "OrderOrderBy", [{"status": "ASC"}]),
    "products": ("products", "ProductOrderBy", []),
    "products by price": ("products", "ProductOrderBy", [{"price": "ASC"}]),
    "users": ("users", "UserOrderBy", []),
}
OTHERS = {
    "50 users' 10 newest orders": "{ users(first: 50) { nodes { orders(first: 10) { nodes { uuid totalAmount } } } } }",
    "50 users' order statistics": "{ users(first: 50) { nodes { orderStats { orderCount totalSpent } } } }",
    "orders, a total beyond the cap": "{ orders { totalCount } }",
    "paid orders above 100": "{ orders(where: {status: {eq: PAID}, totalAmount: {gt: 100}}) { nodes { uuid } } }",
    "a search": '{ products(search: "white feeder") { nodes { uuid name } } }',
    "a search for a common word": '{ products(search: "feeder") { nodes { uuid name } } }',
    "a misspelt search": '{ products(search: "whte feedr") { nodes { uuid name } } }',
}
BRANCH = "query($id: ID!) { category(id: $id) { products(includeDescendants: true) { nodes { uuid name } } } }"
SCOPE = "query($id: ID!) { products(where: {category: {id: $id}}) { nodes { uuid name } } }"


def page(name: str, after: str | None, size: int = SIZE) -> Query:
    """A page of one of the lists."""
    field, type_, order = LISTS[name]
    arguments = "first: $size, after: $after, orderBy: $by"
    selection = "nodes { uuid createdAt } pageInfo { endCursor hasNextPage }"
    text = f"query($size: Int, $after: String, $by: [{type_}!]) {{ {field}({arguments}) {{ {selection} }} }}"
    return Query(text, {"size": size, "after": after, "by": order})


async def far(gateway: Gateway, name: str) -> tuple[int, str | None]:
    """The number of the far page, or of the last one, and the cursor that it starts behind."""
    after, rows = None, 0
    while rows < (FAR - 1) * SIZE:
        [found] = (await gateway.ask(page(name, after, SIZE * 5))).values()
        if not found["pageInfo"]["hasNextPage"]:
            break
        after, rows = found["pageInfo"]["endCursor"], rows + len(found["nodes"])
    return rows // SIZE + 1, after


async def compare(settings: Settings, runs: int) -> None:
    """Run all queries in turn and print how long they took."""
    async with gateway(settings) as at:
        queries: dict[str, Query] = {}
        for name in LISTS:
            queries[f"{name}, page 1"] = page(name, None)
            if "no index" not in name:
                number, after = await far(at, name)
                queries[f"{name}, page {number:,}"] = page(name, after)
        queries |= {name: Query(text, {}) for name, text in OTHERS.items()}
        [root] = (await at.ask(Query("{ categories(where: {isRoot: true}, first: 1) { nodes { id } } }", {}))).values()
        branch: dict[str, Any] = {"id": root["nodes"][0]["id"]}
        queries["a department's products"] = Query(BRANCH, branch)
        queries["the same by where"] = Query(SCOPE, branch)
        print_table("Medians of one run, in turns", await at.measure(queries, runs), BASE)


@contextmanager
def shop(orders: int) -> Generator[Settings]:
    """Databases of a made-up shop."""
    with scratch_databases() as settings:
        asyncio.run(seed(settings, orders=orders, until=datetime.now(UTC).date()))
        yield settings


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--environment", action="store_true", help="take the databases that the environment names")
    given = parser.parse_args()
    if given.environment:
        asyncio.run(compare(load_settings(), given.runs))
    else:
        with shop(given.orders) as settings:
            asyncio.run(compare(settings, given.runs))


if __name__ == "__main__":
    main()
