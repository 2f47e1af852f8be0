"""Moves one database through its migrations, and says where it stands; ``migrations_all`` moves several together."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.script import Script

from app.domains import revisions
from app.errors import OperationError
from app.operations import partitions
from app.operations.connect import connected
from app.operations.migrations_run import METADATA, config, locked, revision_of
from app.operations.migrations_wait import Patience, Say
from app.settings import DatabaseName

__all__ = ["METADATA"]  # for those who ask what is migrated

_PATIENCE = Patience()


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


@dataclass(frozen=True)
class Entry:
    """A revision of a history: whether it is applied (None: not known), and whether the database is at it."""

    revision: str
    created: str | None
    message: str
    requires: dict[DatabaseName, str]
    applied: bool | None
    current: bool


@dataclass(frozen=True)
class History:
    """All revisions of a database, oldest first. ``problem`` says why it is not known which are applied."""

    revisions: list[Entry]
    problem: str | None


def quiet(_line: str) -> None:
    """For who wants to hear of no wait."""


async def upgrade(
    name: DatabaseName,
    url: str,
    today: date,
    *,
    to: str = "head",
    patience: Patience = _PATIENCE,
    say: Say = quiet,
) -> Moved:
    """Bring a database to a revision, unless it is past it; at the newest, make the partitions of this year and next.

    Each migration is one transaction, and those that are done stay. What a migration requires of other databases is not
    looked at: ``migrations_all.upgrade`` does.

    Args:
        name: the database.
        url: where it is.
        today: of which partitions are made.
        to: the revision; by default the newest.
        patience: how long to wait for others.
        say: told what is waited for.

    Raises:
        OperationError: no connection, a revision that this version does not know, a migration that failed, or a lock
            that was not to be had.
    """
    async with locked(name, url, patience, say) as session:
        before = await session.revision()
        pending = pending_after(name, before)
        if to == "head" or to in pending:
            await session.run(lambda alembic: command.upgrade(alembic, to))
        after = await session.revision()
        made: list[str] = []
        if name == "orders" and not pending_after(name, after):
            made = await partitions.ensure(session.driver, *partitions.this_year_and_next(today), patience.in_all)
        return Moved(before, after, made)


async def downgrade(
    name: DatabaseName, url: str, revision: str, *, patience: Patience = _PATIENCE, say: Say = quiet
) -> Moved:
    """Take a database back to ``revision``: a number, ``-1`` for one step, ``base`` for no tables at all.

    Raises:
        OperationError: no connection, a revision that is not behind the present one, a migration that failed, or a lock
            that was not to be had.
    """
    async with locked(name, url, patience, say) as session:
        before = await session.revision()
        target = back_to(name, before, revision)
        await session.run(lambda alembic: command.downgrade(alembic, target or "base"), down=True)
        return Moved(before, await session.revision(), [])


def back_to(name: DatabaseName, at: str | None, asked: str) -> str | None:
    """The revision that a downgrade means, None for no tables: ``asked`` is a number, ``-1`` and so on, or ``base``.

    Raises:
        OperationError: there is no such revision, or it is not behind the one that the database is at.
    """
    pending_after(name, at)  # which knows the revision, or says so
    numbers = [revision.number for revision in revisions.history(name)]
    applied = numbers[: numbers.index(at) + 1] if at else []
    if asked == "base":
        return None
    if asked.startswith("-") and asked[1:].isdecimal() and int(asked[1:]):
        steps = int(asked[1:])
        if steps > len(applied):
            there = {0: "no migrations", 1: "one migration"}.get(len(applied), f"{len(applied)} migrations")
            raise OperationError(f"the {name} database has {there} to be undone, and not {steps}")
        return applied[-steps - 1] if steps < len(applied) else None
    if asked not in numbers:
        raise OperationError(
            f"the {name} database has no revision {asked}: name one of {', '.join(numbers)}, -1 for one step, or base"
        )
    if asked not in applied:
        raise OperationError(
            f"the {name} database is at {at or 'no revision'}, and {asked} is not behind it: nothing to take back"
        )
    return asked


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
    return Status(version, revision, revisions.history(name)[-1].number, pending, problem)


async def history(name: DatabaseName, url: str) -> History:
    """Every revision of a database, and which are applied as far as can be told."""
    at = await status(name, url)
    line = revisions.history(name)
    known = at.problem is None
    applied = len(line) - len(at.pending)
    entries = [
        Entry(
            revision.number,
            revision.created,
            revision.message,
            dict(revision.requires),
            number < applied if known else None,
            known and number == applied - 1,
        )
        for number, revision in enumerate(line)
    ]
    return History(entries, at.problem)


def pending_after(name: DatabaseName, revision: str | None) -> list[str]:
    """The revisions yet to be applied to a database that is at ``revision``, oldest first.

    Raises:
        OperationError: this version does not know that revision.
    """
    line = [revision.number for revision in revisions.history(name)]
    if revision is None:
        return line
    if revision not in line:
        raise OperationError(
            f"the {name} database is at revision {revision}, which this version of storegraph does not know: "
            "use the version that made it, or a newer one"
        )
    return line[line.index(revision) + 1 :]


async def new_revision(name: DatabaseName, url: str, message: str, *, autogenerate: bool) -> Path:
    """Write the file of a new migration and return its path.

    With ``autogenerate`` it holds the difference between the models and the database, which must be at its newest
    revision, in tables, columns, keys and indexes; CHECKs, functions, triggers and views are written by hand.

    Raises:
        OperationError: this is no checkout; or, with ``autogenerate``, no connection, or no difference.
    """
    if revisions.DIRECTORY == revisions.INSTALLED:
        raise OperationError("migrations are written in a checkout of storegraph; this is an installed package")
    scripts: list[Script] = []

    def make(alembic: Config) -> None:
        made = command.revision(
            alembic,
            message,
            autogenerate=autogenerate,
            rev_id=f"{len(revisions.history(name)) + 1:04d}",
            process_revision_directives=_drop_empty if autogenerate else None,
        )
        if isinstance(made, Script):
            scripts.append(made)

    if autogenerate:
        async with locked(name, url, _PATIENCE, quiet) as session:
            await session.run(make)
    else:
        make(config(name))
    if not scripts:
        raise OperationError(
            f"nothing to migrate: the {name} database has the tables, columns and indexes of its models"
        )
    return Path(scripts[0].path)


def _drop_empty(_context: MigrationContext, _revision: object, directives: list[MigrationScript]) -> None:
    operations = directives[0].upgrade_ops
    if operations is not None and operations.is_empty():
        directives.clear()
