"""Runs Alembic on one database, over asyncpg: its migrations for real, or written out as SQL.

Alembic keeps its state in module globals while it runs, so databases are moved one after the other.
"""

import re
from argparse import Namespace
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from textwrap import dedent
from traceback import extract_tb

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, NullPool, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.domains import revisions
from app.domains.orders import tables as orders
from app.domains.payments import tables as payments
from app.domains.products import tables as products
from app.domains.revisions import Revision
from app.domains.users import tables as users
from app.errors import OperationError
from app.operations.connect import Connection as Driver
from app.operations.connect import connected
from app.operations.migrations_wait import LastWaitError, Patience, Say, Waits, lacked_lock, only_one, patiently
from app.settings import DatabaseName

METADATA: dict[DatabaseName, MetaData] = {
    "users": users.Base.metadata,
    "products": products.Base.metadata,
    "orders": orders.Base.metadata,
    "payments": payments.Base.metadata,
}

# They take no lock behind which readers or writers would queue, and leave an invalid index when they give up.
_BESIDE_TRAFFIC = re.compile(r"\s*(CREATE (UNIQUE )?INDEX|DROP INDEX|REINDEX .*) CONCURRENTLY\b", re.IGNORECASE)
_INDEX = re.compile(r'\s*CREATE (?:UNIQUE )?INDEX CONCURRENTLY (?:IF NOT EXISTS )?("[^"]+"|(?!ON\b)\w+)', re.IGNORECASE)
_INVALID = """
    SELECT indexrelid::regclass::text FROM pg_index WHERE indexrelid = to_regclass('{}') AND NOT indisvalid
"""


@dataclass(frozen=True)
class Statement:
    """What a migration sends: one statement, and whether it runs outside of the migration's transaction."""

    sql: str
    outside: bool


async def revision_of(driver: Driver) -> str | None:
    """The revision that a database is at; None when it has no tables yet."""
    if await driver.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    return await driver.fetchval("SELECT version_num FROM alembic_version")


class Session:
    """One database, which nobody else migrates meanwhile: a connection twice, as asyncpg's and as SQLAlchemy's."""

    def __init__(
        self,
        name: DatabaseName,
        driver: Driver,
        connection: AsyncConnection,
        patience: Patience,
        waits: Waits,
        say: Say,
    ) -> None:
        self.name: DatabaseName = name
        self.driver = driver
        self._connection = connection
        self._patience = patience
        self._waits = waits
        self._say = say

    async def revision(self) -> str | None:
        """The revision that it is at; None when it has no tables yet."""
        return await revision_of(self.driver)

    async def run(self, move: Callable[[Config], None], *, down: bool = False) -> None:
        """Let Alembic do something to it: again where a lock was not to be had, from where it stands by then.

        Args:
            move: what Alembic is to do.
            down: whether that undoes migrations; for what is said of the one that fails.

        Raises:
            OperationError: a migration failed, or got no lock in all that ``Patience`` allows.
        """

        async def which() -> str:
            if self.driver.is_closed():
                return f"{self.name} database: a migration"
            at = await self.revision()
            later = [revision.number for revision in revisions.history(self.name)]
            later = later[later.index(at) + 1 :] if at in later else later
            return f"{self.name} database: migration {at if down else later[0] if later else ''}".rstrip()

        async def work() -> None:
            await self._limit_waits()
            try:
                await self._connection.run_sync(_run, self.name, move)
            except OperationError:
                raise
            except Exception as error:  # whatever a migration does wrong
                raise _failure(await which(), error) from error

        await patiently(self._patience, self._waits, which, work)

    def listen(self) -> None:
        """Before and after each statement of a migration: how long it may wait, and what a stopped one left behind."""
        short, long = (_limit(seconds) for seconds in (self._patience.lock_timeout, self._patience.in_all))

        def before(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
            if index := _INDEX.match(statement):
                for name in connection.exec_driver_sql(_INVALID.format(index[1].replace("'", "''"))).scalars():
                    self._say(f"{self.name} database: index {name} is invalid, as a stopped one leaves it: made anew")
                    connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {name}")
            if _BESIDE_TRAFFIC.match(statement):
                connection.exec_driver_sql(long)

        def after(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
            if _BESIDE_TRAFFIC.match(statement):
                connection.exec_driver_sql(short)

        event.listen(self._connection.sync_engine, "before_cursor_execute", before)
        event.listen(self._connection.sync_engine, "after_cursor_execute", after)

    async def _limit_waits(self) -> None:
        await self.driver.execute(_limit(self._patience.lock_timeout))


def _failure(which: str, error: Exception) -> OperationError:
    statement = error.statement if isinstance(error, DBAPIError) else None
    if statement and _BESIDE_TRAFFIC.match(statement):
        kind = LastWaitError if lacked_lock(error) else OperationError
        return kind(f"{which} failed: {_reason(error)}. What it did outside of a transaction stays; run it again")
    return OperationError(f"{which} failed and was undone: {_reason(error)}")


@asynccontextmanager
async def locked(name: DatabaseName, url: str, patience: Patience, say: Say) -> AsyncGenerator[Session]:
    """A session to migrate one database with, while nobody else does.

    Raises:
        OperationError: no connection; or another one migrates it, and ``patience`` is not to wait.
    """
    async with connected(name, url) as driver:

        async def creator() -> Driver:
            return driver

        with suppress(asyncpg.PostgresError):  # of servers that cannot
            # Or what a killed command was at would go on, and keep others from it.
            await driver.execute("SET client_connection_check_interval TO '1s'")
        # So that asyncpg reads the URL as it does for the pools: SQLAlchemy's own URLs are another dialect.
        engine = create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=NullPool)
        try:
            async with only_one(name, driver, patience, say), engine.connect() as connection:
                session = Session(name, driver, connection, patience, Waits(name, url, driver, patience, say), say)
                session.listen()
                yield session
        except (asyncpg.InterfaceError, asyncpg.PostgresConnectionError):
            raise OperationError(f"the {name} database has ended the connection; run it again") from None


def config(name: DatabaseName) -> Config:
    """Alembic's own, for one database."""
    config = Config(cmd_opts=Namespace(quiet=True))
    for option, value in {
        "script_location": str(revisions.DIRECTORY),
        "version_locations": str(revisions.DIRECTORY / name),
        "path_separator": "newline",  # a folder's name may hold any other
        "file_template": "%(rev)s_%(slug)s",
    }.items():
        config.set_main_option(option, value.replace("%", "%%"))
    return config


def rendered(revision: Revision) -> list[Statement]:
    """What a migration sends, without any database: not the bookkeeping of revisions.

    Raises:
        OperationError: it depends on what is in the database.
    """
    written = _Written()
    own = config(revision.database)
    own.output_buffer = written
    try:
        command.upgrade(own, f"{revision.after or 'base'}:{revision.number}", sql=True)
    except Exception as error:
        raise OperationError(
            f"migration {revision} does not tell its SQL without a database: {_reason(error)}"
        ) from error
    statements: list[Statement] = []
    outside = True
    for text in written.texts:
        sql = dedent(text).strip().removesuffix(";")
        if sql in ("BEGIN", "COMMIT"):
            outside = sql == "COMMIT"
        elif not _BOOKKEEPING.match(sql):
            statements.append(Statement(sql, outside))
    return statements


class _Written(StringIO):
    """What Alembic wrote, a text a statement."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def write(self, text: str, /) -> int:
        self.texts.append(text)
        return len(text)


_BOOKKEEPING = re.compile(r"-- Running |(CREATE TABLE|INSERT INTO|UPDATE|DELETE FROM) alembic_version\b")


def _run(connection: Connection, name: DatabaseName, move: Callable[[Config], None]) -> None:
    own = config(name)
    own.attributes["connection"] = connection
    own.attributes["metadata"] = METADATA[name]
    try:
        move(own)
    except CommandError as error:
        raise OperationError(f"{name} database: {error}") from None
    finally:
        connection.rollback()  # what Alembic only read


def _reason(error: Exception) -> str:
    """What the server says; or, of a fault of the migration's own, where it is."""
    if isinstance(error, DBAPIError):
        return str((error.orig and error.orig.__cause__) or error.orig)
    place = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"


def _limit(seconds: float) -> str:
    return f"SET lock_timeout TO '{max(1, round(seconds * 1000))}ms'"  # to PostgreSQL, 0 means no limit
