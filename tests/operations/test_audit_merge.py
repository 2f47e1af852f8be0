"""The comparison of two sorted streams finds what sets would, and holds a batch of each at most."""

import asyncio
import tracemalloc
from collections.abc import AsyncGenerator, Iterable
from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from app.operations.audit_merge import matched
from app.operations.connect import connected
from app.settings import Settings

Pair = tuple[int, int]
MEGABYTE = 2**20

keys = st.lists(st.integers(0, 30), max_size=40).map(sorted)
sizes = st.lists(st.integers(0, 4), min_size=1, max_size=5).filter(any)


async def batches(rows: Iterable[Pair], sizes: list[int]) -> AsyncGenerator[list[Pair]]:
    """The rows in batches of these sizes, over and over; empty ones as well."""
    rest, turn = iter(rows), 0
    while True:
        size = sizes[turn % len(sizes)]
        batch = list(islice(rest, size))
        if size and not batch:
            return
        yield batch
        turn += 1


def compare(left: Iterable[Pair], right: Iterable[Pair], *size: list[int]) -> list[tuple[Pair, Pair | None]]:
    async def run() -> list[tuple[Pair, Pair | None]]:
        return [pair async for pair in matched(batches(left, size[0]), batches(right, size[1]))]

    return asyncio.run(run())


@given(keys, keys, sizes, sizes)
def test_finds_what_a_dict_finds(left: list[int], right: list[int], here: list[int], there: list[int]) -> None:
    rows, others = [(key, number) for number, key in enumerate(left)], [(key, -n) for n, key in enumerate(right)]
    first = {key: (key, value) for key, value in reversed(others)}
    found = compare(rows, others, here, there)
    assert found == [(row, first.get(row[0])) for row in rows]
    assert {row[0] for row, match in found if match is None} == set(left) - set(right)


@given(st.lists(st.integers(0, 9), min_size=2), st.booleans())
def test_a_stream_out_of_order_is_refused(keys: list[int], is_left: bool) -> None:
    ordered, given = [(key, 0) for key in range(11)], [(key, 0) for key in keys]
    left, right = (given, ordered) if is_left else (ordered, given)
    if keys == sorted(keys):
        compare(left, right, [3], [3])
    else:
        with pytest.raises(ValueError, match="not in order"):
            compare(left, right, [3], [3])


def test_holds_no_more_than_a_batch_of_a_million() -> None:
    async def rows(step: int) -> AsyncGenerator[list[Pair]]:
        for start in range(0, 1_000_000, 1000):
            yield list(zip(range(start, start + 1000, step), range(1000)))  # noqa: B905 -- the shorter one says

    async def run() -> int:
        pairs = matched(rows(1), rows(100))
        count = 0
        async for _, match in pairs:
            count += match is None
        return count

    tracemalloc.start()
    try:
        assert asyncio.run(run()) == 990_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * MEGABYTE


@example_settings(max_examples=25)
@given(st.lists(st.uuids() | st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number)), max_size=30))
def test_the_server_sorts_ids_as_we_do(settings: Settings, ids: list[UUID]) -> None:
    async def run() -> list[UUID]:
        async with connected("users", settings.users_database_url) as connection:
            rows = await connection.fetch("SELECT id FROM unnest($1::uuid[]) AS t (id) ORDER BY 1", ids)
            return [row["id"] for row in rows]

    assert asyncio.run(run()) == sorted(ids)
