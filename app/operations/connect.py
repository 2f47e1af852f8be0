"""A single connection for the command line: no pool, no limits on time, and errors that an operator can act on."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

from app.database import SESSION
from app.errors import OperationError
from app.settings import DatabaseName

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"  # quoted: only the type checker knows its parameter

# Long work may take its time, whatever a role's own limit is.
_SETTINGS = SESSION | {"application_name": "storegraph", "statement_timeout": "0"}


@asynccontextmanager
async def connected(name: DatabaseName, url: str) -> AsyncGenerator[Connection]:
    """A connection to one database for as long as the block runs.

    Raises:
        OperationError: the server cannot be reached, refuses us, or has no such database.
    """
    try:
        connection = await asyncpg.connect(url, timeout=10, server_settings=_SETTINGS)
    except asyncpg.InvalidCatalogNameError:
        raise OperationError(f"the {name} database does not exist; make it with `storegraph db create`") from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise OperationError(f"cannot connect to the {name} database: {str(error) or type(error).__name__}") from None
    try:
        yield connection
    finally:
        await connection.close()
