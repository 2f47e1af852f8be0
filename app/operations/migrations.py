"""Moves a database through its migrations: one Alembic history per database, run over asyncpg.

Alembic keeps its state in module globals while it runs, so databases are moved one after the other.
"""

from argparse import Namespace
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.domains.orders import tables as orders
from app.domains.payments import tables as payments
from app.domains.products import tables as products
from app.domains.users import tables as users
from app.errors import OperationError
from app.operations import partitions
from app.operations.connect import Connection as Driver
from app.operations.connect import connected
from app.settings import DatabaseName

METADATA: dict[DatabaseName, MetaData] = {
    "users": users.Base.metadata,
    "products": products.Base.metadata,
    "orders": orders.Base.metadata,
    "payments": payments.Base.metadata,
}

# Any number that no one else takes. Held by the session, since each migration is a transaction of its own.
_LOCK = 7220512036118447

_PACKAGE = Path(__file__).parents[1]
_INSTALLED = _PACKAGE / "_migrations"  # where a wheel carries them
_DIRECTORY = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "migrations"


@dataclass(frozen=True)
class Moved:
    """What an upgrade or downgrade did: the revision before and after (None: no tables), and the partitions made."""

    before: str | None
    after: str | None
    partitions: list[str]


@dataclass(frozen=True)
class Status:
    """Where a database stands: its revision (None: no tables), the newest there is, and those yet to be applied.

    ``problem`` says why something is not known: ``server_version`` is None when there is no connection.
    """

    server_version: str | None
    revision: str | None
    head: str
    pending: list[str]
    problem: str | None


async def upgrade(name: DatabaseName, url: str, today: date) -> Moved:
    """Bring a database to its newest revision; then make the partitions of this year and the next.

    Each migration is one transaction. Two upgrades at the same time wait for each other.

    Raises:
        OperationError: no connection, a revision that this version does not know, or a migration that failed.
    """
    async with _locked(name, url) as (driver, connection):
        before = await revision_of(driver)
        pending_after(name, before)
        await connection.run_sync(_run, name, lambda config: command.upgrade(config, "head"))
        made: list[str] = []
        if name == "orders":
            made = await partitions.ensure(driver, *partitions.this_year_and_next(today))
        return Moved(before, await revision_of(driver), made)


async def downgrade(name: DatabaseName, url: str, revision: str) -> Moved:
    """Take a database back to ``revision``: a number, ``-1`` for one step, ``base`` for no tables at all.

    Raises:
        OperationError: no connection, a revision that is not behind the present one, or a migration that failed.
    """
    async with _locked(name, url) as (driver, connection):
        before = await revision_of(driver)
        pending_after(name, before)
        await connection.run_sync(_run, name, lambda config: command.downgrade(config, revision))
        return Moved(before, await revision_of(driver), [])


async def status(name: DatabaseName, url: str) -> Status:
    """Where a database stands, as far as can be told."""
    version: str | None = None
    revision: str | None = None
    pending: list[str] = []
    problem: str | None = None
    try:
        async with connected(name, url) as driver:
            version = await driver.fetchval("SELECT current_setting('server_version')")
            revision = await revision_of(driver)
            pending = pending_after(name, revision)
    except OperationError as error:
        problem = str(error)
    return Status(version, revision, _history(name)[-1], pending, problem)


async def revision_of(driver: Driver) -> str | None:
    """The revision that a database is at; None when it has no tables yet."""
    if await driver.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    return await driver.fetchval("SELECT version_num FROM alembic_version")


def pending_after(name: DatabaseName, revision: str | None) -> list[str]:
    """The revisions yet to be applied to a database that is at ``revision``, oldest first.

    Raises:
        OperationError: this version does not know that revision.
    """
    history = _history(name)
    if revision is None:
        return history
    if revision not in history:
        raise OperationError(
            f"the {name} database is at revision {revision}, which this version of storegraph does not know: "
            "use the version that made it, or a newer one"
        )
    return history[history.index(revision) + 1 :]


async def new_revision(name: DatabaseName, url: str, message: str, *, autogenerate: bool) -> Path:
    """Write the file of a new migration and return its path.

    With ``autogenerate`` it holds the difference between the models and the database, which must be at its newest
    revision, in tables, columns, keys and indexes; CHECKs, functions, triggers and views are written by hand.

    Raises:
        OperationError: this is no checkout; or, with ``autogenerate``, no connection, or no difference.
    """
    if _DIRECTORY == _INSTALLED:
        raise OperationError("migrations are written in a checkout of storegraph; this is an installed package")
    scripts: list[Script] = []

    def make(config: Config) -> None:
        made = command.revision(
            config,
            message,
            autogenerate=autogenerate,
            rev_id=f"{len(_history(name)) + 1:04d}",
            process_revision_directives=_drop_empty if autogenerate else None,
        )
        if isinstance(made, Script):
            scripts.append(made)

    if autogenerate:
        async with _locked(name, url) as (_, connection):
            await connection.run_sync(_run, name, make)
    else:
        make(_config(name))
    if not scripts:
        raise OperationError(
            f"nothing to migrate: the {name} database has the tables, columns and indexes of its models"
        )
    return Path(scripts[0].path)


@asynccontextmanager
async def _locked(name: DatabaseName, url: str) -> AsyncGenerator[tuple[Driver, AsyncConnection]]:
    """One connection twice, as asyncpg's and as SQLAlchemy's, while no one else migrates this database."""
    async with connected(name, url) as driver:

        async def creator() -> Driver:
            return driver

        # So that asyncpg reads the URL as it does for the pools: SQLAlchemy's own URLs are another dialect.
        engine = create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=NullPool)
        await driver.execute(f"SELECT pg_advisory_lock({_LOCK})")
        async with engine.connect() as connection:
            yield driver, connection


def _run(connection: Connection, name: DatabaseName, move: Callable[[Config], None]) -> None:
    config = _config(name)
    config.attributes["connection"] = connection
    config.attributes["metadata"] = METADATA[name]
    try:
        move(config)
    except CommandError as error:
        raise OperationError(f"{name} database: {error}") from None
    except DBAPIError as error:
        reason = (error.orig and error.orig.__cause__) or error.orig
        raise OperationError(f"{name} database: a migration failed and was undone: {reason}") from error
    finally:
        connection.rollback()  # what Alembic only read


def _config(name: DatabaseName) -> Config:
    config = Config(cmd_opts=Namespace(quiet=True))
    for option, value in {
        "script_location": str(_DIRECTORY),
        "version_locations": str(_DIRECTORY / name),
        "path_separator": "newline",  # a folder's name may hold any other
        "file_template": "%(rev)s_%(slug)s",
    }.items():
        config.set_main_option(option, value.replace("%", "%%"))
    return config


def _history(name: DatabaseName) -> list[str]:
    """Every revision of a database, oldest first."""
    scripts = ScriptDirectory.from_config(_config(name)).walk_revisions()
    return [script.revision for script in scripts][::-1]


def _drop_empty(_context: MigrationContext, _revision: object, directives: list[MigrationScript]) -> None:
    operations = directives[0].upgrade_ops
    if operations is not None and operations.is_empty():
        directives.clear()
