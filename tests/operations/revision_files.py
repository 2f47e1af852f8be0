"""Histories of migrations that a test may add to, and a command that works on them in a process of its own."""

import shutil
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from pathlib import Path

import pytest

from app.domains import revisions
from app.operations.connect import connected
from app.settings import DATABASE_NAMES, DatabaseName

MIGRATIONS = Path(__file__).parents[2] / "migrations"
HEADS = {name: max(path.name[:4] for path in (MIGRATIONS / name).glob("0*.py")) for name in DATABASE_NAMES}

PAUSE = 'op.execute("DO $$ BEGIN WHILE EXISTS (SELECT FROM pause) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$")'
"""Runs for as long as the table ``pause`` has a row."""


def copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, which is the one that counts until the test ends."""
    copy = folder / "a folder: 100%"
    shutil.copytree(MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("app.domains.revisions.DIRECTORY", copy)
    return copy


def add(history: Path, name: DatabaseName, body: str, declared: str = "", *, down: str = "pass") -> str:
    """Write the next migration of a database, and return its number.

    Args:
        history: the folder.
        name: the database.
        body: the one line of its upgrade.
        declared: further lines of the module, as ``requires = …``.
        down: the one line of its downgrade.
    """
    after = max(path.name[:4] for path in (history / name).glob("0*.py"))
    number = f"{int(after) + 1:04}"
    (history / name / f"{number}_added.py").write_text(
        f'"""Added by a test."""\nfrom alembic import op\nrevision = "{number}"\ndown_revision = "{after}"\n'
        f"{declared}\n"
        f"def upgrade():\n    {body}\ndef downgrade():\n    {down}\n"
    )
    return number


def concurrently(index: str, table: str, column: str) -> str:
    """The body of a migration that builds an index while others go on writing."""
    made = f'op.create_index("{index}", "{table}", ["{column}"], postgresql_concurrently=True, if_not_exists=True)'
    return f"with op.get_context().autocommit_block(): {made}"


async def upgrading(name: DatabaseName, url: str) -> Process:
    """A process that upgrades a database with the migrations that count here, and prints from where to where."""
    code = (
        "import asyncio, datetime, pathlib; from app.domains import revisions; from app.operations import migrations;"
        f"revisions.DIRECTORY = pathlib.Path({str(revisions.DIRECTORY)!r});"
        f"moved = asyncio.run(migrations.upgrade({name!r}, {url!r}, datetime.date(2024, 1, 1), say=print));"
        "print(moved.before, moved.after)"
    )
    return await create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)


async def value(url: str, sql: str) -> object:
    """The value that a query has; or run several statements, when there is a semicolon in it."""
    async with connected("users", url) as connection:
        if ";" in sql:
            return await connection.execute(sql)
        return await connection.fetchval(sql)
