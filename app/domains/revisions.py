"""The history of each database: its migrations as their files declare them, and who is behind.

Read from the files' text alone: nothing of a migration runs, and Alembic, which runs them, is not needed here. So the
gateway as well can tell which revision its tables are of.
"""

import ast
import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from app.database import Database, Databases
from app.errors import DatabaseTimeoutError, DatabaseUnavailableError, OperationError
from app.settings import DATABASE_NAMES, DatabaseName

_PACKAGE = Path(__file__).parents[1]
INSTALLED = _PACKAGE / "_migrations"  # where a wheel carries them
DIRECTORY = INSTALLED if INSTALLED.is_dir() else _PACKAGE.parent / "migrations"


@dataclass(frozen=True)
class Revision:
    """A migration, as its file declares it.

    ``created`` is the day that it was written. ``requires`` names the revisions that other databases must be at, or
    past, before it runs; ``accepts`` the rules of ``storegraph db plan`` that it breaks knowingly, and why.
    """

    database: DatabaseName
    number: str
    after: str | None
    message: str
    created: str | None = None
    requires: Mapping[DatabaseName, str] = field(default_factory=dict[DatabaseName, str])
    accepts: Mapping[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        return f"{self.database} {self.number}"


def history(name: DatabaseName) -> list[Revision]:
    """Every revision of a database, oldest first.

    Raises:
        OperationError: a file declares something else than it should, or the files are no single line.
    """
    following: dict[str | None, Revision] = {}
    for path in sorted((DIRECTORY / name).glob("[!_.]*.py")):
        revision = _read(name, path)
        other = following.setdefault(revision.after, revision)
        if other is not revision:
            raise OperationError(
                f"two migrations of the {name} database follow {revision.after or 'nothing'}: {other.number} and "
                f"{revision.number}. Write the down_revision of one anew, so that one follows the other"
            )
    line: list[Revision] = []
    while (revision := following.pop(line[-1].number if line else None, None)) is not None:
        line.append(revision)
    if following:
        strays = ", ".join(f"{revision.number} follows {before}" for before, revision in following.items())
        raise OperationError(f"migrations of the {name} database hang on none that there is: {strays}")
    return line


def histories() -> dict[DatabaseName, list[Revision]]:
    """The history of each database. Raises what ``history`` does."""
    return {name: history(name) for name in DATABASE_NAMES}


@dataclass(frozen=True)
class Behind:
    """A database that lacks migrations: the revision that it is at, None where it has no tables or does not tell."""

    revision: str | None
    head: str


async def behind(databases: Databases, histories: Mapping[DatabaseName, list[Revision]]) -> dict[DatabaseName, Behind]:
    """Which of the databases that answer are at an older revision than the newest of their histories.

    One whose revision is not in its history is ahead: a newer version has migrated it, beside which this one runs on
    until it is replaced.
    """
    found = await asyncio.gather(*(_behind(databases[name], histories[name]) for name in histories))
    return {name: of_name for name, of_name in zip(histories, found, strict=True) if of_name}


async def _behind(database: Database, history: list[Revision]) -> Behind | None:
    numbers = [revision.number for revision in history]
    at = None
    try:
        [[there]] = await database.fetch("SELECT to_regclass('alembic_version') IS NOT NULL")
        rows = await database.fetch("SELECT version_num FROM alembic_version") if there else []
        at = rows[0][0] if rows else None
    except DatabaseUnavailableError:
        return None
    except (DatabaseTimeoutError, asyncpg.InsufficientPrivilegeError):
        pass  # it does not tell
    return Behind(at, numbers[-1]) if at is None or at in numbers[:-1] else None


def _read(name: DatabaseName, path: Path) -> Revision:
    module = ast.parse(path.read_text(encoding="utf-8"), str(path))
    declared: dict[str, object] = {}
    for statement in module.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id in _DECLARED:
                    declared[target.id] = _literal(statement.value, path, target.id)
    number, after, created = (declared.get(key) for key in ("revision", "down_revision", "created"))
    if not isinstance(number, str) or not isinstance(after, str | None) or not isinstance(created, str | None):
        raise OperationError(f"{path.name}: revision, down_revision and created must be texts")
    return Revision(
        name,
        number,
        after,
        (ast.get_docstring(module) or path.stem).partition("\n")[0].removesuffix("."),
        created,
        _databases(_texts(declared.get("requires", {}), path, "requires"), path),
        _texts(declared.get("accepts", {}), path, "accepts"),
    )


_DECLARED = frozenset({"revision", "down_revision", "created", "requires", "accepts"})


def _literal(value: ast.expr, path: Path, name: str) -> object:
    try:
        return ast.literal_eval(value)
    except ValueError:
        raise OperationError(f"{path.name}: {name} must be written out, and not worked out") from None


def _texts(value: object, path: Path, name: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for key, text in value.items() if isinstance(value, dict) else ((None, None),):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- of whatever types the file has
        if not isinstance(key, str) or not isinstance(text, str):
            raise OperationError(f'{path.name}: {name} must be texts by texts, as in {name} = {{"users": "0003"}}')
        texts[key] = text
    return texts


def _databases(requires: dict[str, str], path: Path) -> dict[DatabaseName, str]:
    for name in requires:
        if name not in DATABASE_NAMES:
            raise OperationError(f"{path.name} requires a database {name}; there are {', '.join(DATABASE_NAMES)}")
    return {name: requires[name] for name in DATABASE_NAMES if name in requires}
