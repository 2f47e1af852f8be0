"""Two sorted streams side by side: how rows of two databases are compared, of which neither fits into memory."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Protocol, TypeVar


class Row(Protocol):
    """Columns by position, of whatever types they are. The first is the key."""

    def __getitem__(self, column: int, /) -> Any: ...


Left = TypeVar("Left", bound=Row)
Right = TypeVar("Right", bound=Row)


async def matched(
    left: AsyncIterator[Sequence[Left]], right: AsyncIterator[Sequence[Right]]
) -> AsyncGenerator[tuple[Left, Right | None]]:
    """Each row of ``left``, in its order, with the first row of ``right`` that has the same key, or None.

    Both come in batches and in ascending order of their keys, which are the rows' first columns and can repeat. Nothing
    is held but a batch of each.

    Raises:
        ValueError: a stream is not in order. Everything after that would pass for unmatched.
    """
    candidates = _in_order(right)
    candidate = await anext(candidates, None)
    async for row in _in_order(left):
        while candidate is not None and candidate[0] < row[0]:
            candidate = await anext(candidates, None)
        yield row, candidate if candidate is not None and candidate[0] == row[0] else None


async def _in_order(batches: AsyncIterator[Sequence[Left]]) -> AsyncGenerator[Left]:
    previous: Row | None = None
    async for batch in batches:
        for row in batch:
            if previous is not None and row[0] < previous[0]:
                raise ValueError(f"not in order: {row[0]} after {previous[0]}")
            previous = row
            yield row
