"""How long the walks through a large category tree take, from its root, from its middle and from its leaves.

    python -m bench.trees --nodes 100000 --levels 12

makes databases of its own with a tree that grows by the same factor from level to level, each node below one chosen at
random, and one and a half products a node. Queries run through the schema in this process, over real connections.
"""

import argparse
import asyncio

from app.operations.connect import Connection, connected
from app.settings import Settings
from bench.common import Query, gateway, print_table, scratch_databases

BASE = "one category"
FIELDS = {
    "depth": "depth",
    "ancestors": "ancestors { uuid name }",
    "two levels below": "descendants(maxDepth: 2) { uuid name }",
    "descendants": "descendants { uuid name }",
    "productCount": "productCount",
    "products below": "products(includeDescendants: true) { nodes { uuid name } }",
}
QUERY = (
    "query($ids: [ID!], $first: Int) {{ categories(where: {{id: {{in: $ids}}}}, first: $first) {{ nodes {{ {} }} }} }}"
)


def sizes(nodes: int, levels: int) -> list[int]:
    """How many nodes each level has, so that they grow by one factor to ``nodes`` in all."""
    low, high = 1.0, float(nodes)
    for _ in range(100):
        factor = (low + high) / 2
        low, high = (factor, high) if sum(factor**level for level in range(levels)) < nodes else (low, factor)
    upper = [round(low**level) for level in range(levels - 1)]
    return [*upper, nodes - sum(upper)]


async def plant(connection: Connection, levels: list[int]) -> None:
    """Fill the products database. The rows lie in no order, as in a tree that has grown."""
    await connection.execute(
        """
        SET session_replication_role = replica; -- no cycle to look for
        SET synchronous_commit = on; -- or VACUUM would come before it can tell that all rows are committed
        SELECT setseed(0.5);
        CREATE TABLE planted (number int PRIMARY KEY, level int, parent int, id uuid DEFAULT gen_random_uuid());
        """
    )
    first, above = 0, 0
    for level, size in enumerate(levels):
        await connection.execute(
            "INSERT INTO planted SELECT $1::int + n, $2, CASE WHEN $2 > 0 THEN $3 + floor(random() * $4)::int END "
            "FROM generate_series(0, $5 - 1) n",
            first,
            level,
            first - above,
            above,
            size,
        )
        first, above = first + size, size
    await connection.execute(
        """
        INSERT INTO categories (id, name, parent_id)
        SELECT p.id, 'Category ' || p.number, above.id
        FROM planted p LEFT JOIN planted above ON above.number = p.parent ORDER BY random();
        INSERT INTO products (name, price, category_id)
        SELECT 'Product ' || p.number, 1, p.id FROM planted p, generate_series(0, p.number % 2) ORDER BY random();
        """
    )
    await connection.execute("VACUUM ANALYZE categories, products")


async def compare(settings: Settings, nodes: int, levels: int, runs: int) -> None:
    """Plant a tree, ask for each field of 1, 20 and 100 categories, and print how long it took."""
    async with connected("products", settings.products_database_url) as connection:
        await plant(connection, sizes(nodes, levels))
        rows = await connection.fetch("SELECT level, array_agg(id::text) AS ids FROM planted GROUP BY 1 ORDER BY 1")
    ids: list[list[str]] = [row["ids"] for row in rows]
    places = {"the root": ids[0], "a leaf": ids[-1][:1]}
    for number in (1, 20, 100):
        places[f"{number} in the middle"] = ids[(levels - 1) // 2][:number]
    places["100 leaves"] = ids[-1][:100]
    queries = {BASE: Query(QUERY.format("uuid name"), {"ids": ids[-1][:1], "first": 1})}
    for place, keys in places.items():
        for name, field in FIELDS.items():
            queries[f"{name} of {place}"] = Query(QUERY.format(field), {"ids": keys, "first": len(keys)})
    async with gateway(settings) as at:
        print_table(f"{nodes:,} categories, {levels} levels", await at.measure(queries, runs), BASE)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--levels", type=int, default=12)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with scratch_databases() as settings:
        asyncio.run(compare(settings, given.nodes, given.levels, given.runs))


if __name__ == "__main__":
    main()
