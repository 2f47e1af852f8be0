"""Long work waits for short work, and nobody's work is lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.graph.guard.turns import Turns
from tests.graph.conftest import Gateway

pytestmark = pytest.mark.anyio


def hostile(number: int) -> str:
    """A document that takes a while to refuse, and that nobody has sent before."""
    return "{ " + " ".join(f"orders {{ totalCount nodes {{ wrong{number}x{field} }} }}" for field in range(150)) + " }"


@given(lengths=st.lists(st.integers(0, 5), max_size=12), cancelled=st.sets(st.integers(0, 11)))
def test_one_at_a_time_the_shortest_first_whoever_gives_up(lengths: list[int], cancelled: set[int]) -> None:
    async def run() -> None:
        turns, done = Turns(), list[int]()
        working = 0

        async def work(number: int, length: int) -> None:
            nonlocal working
            async with turns.taken(length):
                working += 1
                assert working == 1
                done.append(number)
                await asyncio.sleep(0)
                working -= 1

        async with turns.taken(0):
            tasks = [asyncio.create_task(work(number, length)) for number, length in enumerate(lengths)]
            await asyncio.sleep(0)  # all of them wait now
            for number in cancelled & set(range(len(lengths))):
                tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        kept = [number for number in range(len(lengths)) if number not in cancelled]
        assert done == sorted(kept, key=lambda number: (lengths[number], number))
        async with asyncio.timeout(1), turns.taken(0):
            pass  # nothing is left taken

    asyncio.run(run())


def test_who_is_cancelled_just_when_the_turn_comes_passes_it_on() -> None:
    async def run() -> None:
        turns = Turns()

        async def work() -> None:
            async with turns.taken(1):
                pass

        async with turns.taken(0):
            tasks = [asyncio.create_task(work()) for _ in range(2)]
            await asyncio.sleep(0)
        tasks[0].cancel()  # its turn was given to it, and it has not run yet
        async with asyncio.timeout(1):
            await asyncio.gather(*tasks, return_exceptions=True)
            async with turns.taken(0):
                pass
        assert tasks[0].cancelled()
        assert not tasks[1].cancelled()

    asyncio.run(run())


async def test_a_burst_of_hostile_documents_delays_another_client_by_one_of_them(gateway: Gateway) -> None:
    """How long one takes is bounded: tests/graph/guard/test_hostile.py."""
    refused = 0

    async def attack(number: int) -> None:
        nonlocal refused
        result = await gateway.execute(hostile(number))
        assert result.data is None
        refused += 1

    async def ask() -> int:
        assert await gateway.ask("{ __typename }") == {"__typename": "Query"}
        return refused

    attacks = [asyncio.create_task(attack(number)) for number in range(50)]
    asking = asyncio.create_task(ask())
    assert await asking <= 2
    await asyncio.gather(*attacks)
    assert refused == 50
