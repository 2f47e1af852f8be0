"""What PostgreSQL refuses and what becomes of a connection, as an error that an operator can read."""

from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

from app.errors import OperationError


@contextmanager
def told(doing: str) -> Generator[None]:
    """Let what fails in the block be told as ``doing: why``.

    Raises:
        OperationError: PostgreSQL refused something, the connection was lost, or a file could not be read or written.
    """
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        raise OperationError(f"{doing}: {error or type(error).__name__}") from None
