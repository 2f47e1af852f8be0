"""A process that is asked many distinct documents, and says by how much it grew.

It is run by ``test_plan_cache.py``, as a process of its own: what is left of other tests is not in it.
"""

import asyncio
import resource
import sys
from pathlib import Path

from app.settings import load_settings
from tests.graph.conftest import Gateway, gateway_of

STATM = Path("/proc/self/statm")
WARMING = 500
"""Documents that are not counted: they fill what is kept, and the allocator's own reserve."""


def resident() -> int:
    """How many bytes of memory the process has (proc(5), ``/proc/pid/statm``)."""
    return int(STATM.read_text(encoding="ascii").split()[1]) * resource.getpagesize()


async def ask(gateway: Gateway, number: int) -> None:
    document = f"{{ a{number}: products(first: 1) {{ b{number}: nodes {{ c{number}: name category {{ name }} }} }} }}"
    data = await gateway.ask(document)
    assert data == {f"a{number}": {f"b{number}": []}}


async def run(count: int) -> None:
    async for gateway in gateway_of(load_settings()):
        for number in range(WARMING):
            await ask(gateway, number)
        before = resident()
        for number in range(WARMING, WARMING + count):
            await ask(gateway, number)
        print(resident() - before)


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
