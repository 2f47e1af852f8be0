"""How long another client waits while hostile documents rain in: ``python -m bench.hostile [--documents N]``.

A gateway in a process of its own takes documents that each nobody has sent before and that are as dear to refuse as the
limits allow, on twenty connections at once. Beside them one client asks ``{ __typename }`` and waits for each answer.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

from graphql import get_introspection_query
from rich.console import Console
from rich.table import Table

from app.settings import DATABASE_NAMES, Settings
from bench.common import scratch_databases

PORT = 8791
ATTACKERS = 20
PAUSE = 0.005  # seconds between two questions of the client


def fragments(number: int) -> str:
    """Fields that overlap in many fragments: what validation compares most."""
    names = [f"F{number}x{at}" for at in range(40)]
    spread = " ".join(f"...{name}" for name in names)
    text = " ".join(f"fragment {name} on Product {{ name price sku id uuid }}" for name in names)
    return f"{{ products {{ nodes {{ {spread} }} }} }} {text}"


def bomb(number: int) -> str:
    """Fragments that double with each line."""
    lines = [
        f"fragment B{number}x{at} on Product {{ ...B{number}x{at + 1} ...B{number}x{at + 1} }}" for at in range(20)
    ]
    return (
        f"{{ products {{ nodes {{ ...B{number}x0 }} }} }} {' '.join(lines)} fragment B{number}x20 on Product {{ name }}"
    )


def mistakes(number: int) -> str:
    """As many fields as a document can have, none of which there is."""
    return "{ products { nodes { " + " ".join(f"nothing{number}x{at}" for at in range(490)) + " } } }"


def introspection(number: int) -> str:
    """What a client generator asks, whose answer is made at once."""
    return f"# {number}\n{get_introspection_query()}"


def body(query: str) -> bytes:
    content = json.dumps({"query": query}).encode()
    head = (
        f"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))


async def pings(until: "asyncio.Future[None] | asyncio.Task[None]") -> list[float]:
    """The milliseconds of each question, until something is done."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    times: list[float] = []
    while not until.done():
        started = perf_counter()
        await ask(reader, writer, body("{ __typename }"))
        times.append((perf_counter() - started) * 1000)
        await asyncio.sleep(PAUSE)
    writer.close()
    return times


async def burst(documents: list[str]) -> None:
    """Send documents on many connections, each as soon as the one before is answered."""

    async def attack() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        while documents:
            await ask(reader, writer, body(documents.pop()))
        writer.close()

    await asyncio.gather(*(attack() for _ in range(ATTACKERS)))


async def listening() -> None:
    """Wait until the gateway takes connections."""
    async with asyncio.timeout(30):
        while True:
            try:
                await asyncio.open_connection("127.0.0.1", PORT)
                break
            except OSError:
                await asyncio.sleep(0.1)


async def measure(number: int) -> dict[str, list[float]]:
    await listening()
    await pings(asyncio.create_task(asyncio.sleep(0.2)))  # the first ones fill caches
    times = {"nothing": await pings(asyncio.create_task(asyncio.sleep(3)))}
    for kind in (fragments, bomb, mistakes, introspection):
        documents = [kind(at) for at in range(number)]
        times[f"{number} {kind.__name__}"] = await pings(asyncio.create_task(burst(documents)))
    return times


@contextmanager
def gateway(settings: Settings) -> Generator[None]:
    """A gateway over these databases, in a process of its own for as long as the block runs."""
    urls = {f"{name.upper()}_DATABASE_URL": settings.database_url(name) for name in DATABASE_NAMES}
    command = [Path(sys.executable).with_name("storegraph"), "serve", "--port", str(PORT)]
    process = subprocess.Popen(command, env=os.environ | urls | {"LOG_LEVEL": "warning"})  # noqa: S603 -- our own command
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=400, help="of each kind")
    number = parser.parse_args().documents

    with scratch_databases() as settings, gateway(settings):
        times = asyncio.run(measure(number))
    print_delays("{ __typename }, beside a burst", times)


def print_delays(title: str, times: Mapping[str, list[float]]) -> None:
    """A table of how long the client had to wait, beside what."""
    table = Table("beside", "asked", "p50 ms", "p99 ms", "longest ms", title=title)
    for name, of in times.items():
        slowest = sorted(of)
        table.add_row(
            name, str(len(of)), f"{median(of):.1f}", f"{slowest[int(len(of) * 0.99)]:.1f}", f"{slowest[-1]:.1f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
