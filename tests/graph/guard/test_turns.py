"""Long work waits for short work, but not for ever, and nobody's work is lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.graph.guard.turns import LENGTH_PER_SECOND, Turns
from tests.graph.conftest import Gateway

pytestmark = pytest.mark.anyio


def hostile(number: int) -> str:
    """A document that takes a while to refuse, and that nobody has sent before."""
    return "{ " + " ".join(f"orders {{ totalCount nodes {{ wrong{number}x{field} }} }}" for field in range(150)) + " }"


@given(
    arrivals=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=12),
    cancelled=st.sets(st.integers(0, 11)),
)
def test_one_at_a_time_the_shortest_first_and_the_older_before_the_shorter_by_so_much(
    arrivals: list[tuple[int, int]], cancelled: set[int]
) -> None:
    """Each is of so many seconds' worth, and arrives so many seconds after the one before; some give up."""

    async def run() -> None:
        now, working = 0, 0
        turns, done = Turns(lambda: now), list[int]()
        due = dict[int, int]()

        async def work(number: int, worth: int) -> None:
            nonlocal working
            async with turns.taken(worth * LENGTH_PER_SECOND):
                working += 1
                assert working == 1
                done.append(number)
                await asyncio.sleep(0)
                working -= 1

        async with turns.taken(0):
            tasks = list[asyncio.Task[None]]()
            for number, (worth, pause) in enumerate(arrivals):
                now += pause
                due[number] = now + worth
                tasks.append(asyncio.create_task(work(number, worth)))
                await asyncio.sleep(0)  # it waits now
            for number in cancelled & due.keys():
                tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert done == sorted(due.keys() - cancelled, key=lambda number: (due[number], number))
        async with asyncio.timeout(1), turns.taken(0):
            pass  # nothing is left taken

    asyncio.run(run())


@given(worth=st.integers(0, 16), flood=st.integers(1, 3), takes=st.sampled_from([0.25, 0.5, 1.0]))
def test_long_work_waits_only_for_what_came_before_its_length_was_waited_off(
    worth: int, flood: int, takes: float
) -> None:
    async def run() -> None:
        now = 0.0
        turns, is_done = Turns(lambda: now), False
        came, tasks = list[float](), list[asyncio.Task[None]]()

        async def work_long() -> None:
            nonlocal is_done
            async with turns.taken(worth * LENGTH_PER_SECOND):
                is_done = True

        async def work_short(arrival: float) -> None:
            nonlocal now
            async with turns.taken(0):
                if is_done:
                    return
                came.append(arrival)
                now += takes
                if now < worth + 5:  # as much comes as can be done, or more
                    tasks.extend(asyncio.create_task(work_short(now)) for _ in range(flood))
                await asyncio.sleep(0)

        async with turns.taken(0):
            waiting = asyncio.create_task(work_long())
            await asyncio.sleep(0)
            tasks.append(asyncio.create_task(work_short(now)))
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await waiting
            await asyncio.gather(*tasks)
        assert all(arrival <= worth for arrival in came)
        assert len(came) >= worth / takes  # nor does it push in before what is shorter

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
