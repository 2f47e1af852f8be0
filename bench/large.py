"""How long another client waits while large answers are made: ``python -m bench.large [--environment]``.

A gateway in a process of its own is asked for answers of some 10,000 objects, one after the other. Beside them a client
asks ``{ __typename }`` and waits for each answer.
"""

import argparse
import asyncio
from contextlib import nullcontext

from app.settings import load_settings
from bench.hostile import PORT, ask, body, gateway, listening, pings, print_delays
from bench.pages import shop

PAGES = (
    "categories(first: 100) { nodes { id name "
    "products(first: 100, includeDescendants: true) { nodes { id name price sku createdAt } } } }"
)
QUERIES = {
    "10,000 objects": f"{{ {PAGES} }}",
    "10,000 objects and an error": f'{{ {PAGES} node(id: "nothing") {{ id }} }}',
}


async def asked(query: str, number: int) -> None:
    """Ask a query so many times, each as soon as the one before is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    for _ in range(number):
        await ask(reader, writer, body(query))
    writer.close()


async def measure(number: int) -> dict[str, list[float]]:
    """The waiting times beside each query, in milliseconds."""
    await listening()
    await pings(asyncio.create_task(asyncio.sleep(0.2)))  # the first ones fill caches
    times = {"nothing": await pings(asyncio.create_task(asyncio.sleep(3)))}
    for name, query in QUERIES.items():
        await asked(query, 1)
        times[f"{number} x {name}"] = await pings(asyncio.create_task(asked(query, number)))
    return times


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=30, help="of answers of each kind")
    parser.add_argument("--environment", action="store_true", help="take the databases that the environment names")
    given = parser.parse_args()
    with nullcontext(load_settings()) if given.environment else shop(100_000) as settings, gateway(settings):
        times = asyncio.run(measure(given.number))
    print_delays("{ __typename }, beside a large answer", times)


if __name__ == "__main__":
    main()
