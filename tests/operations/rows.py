"""The databases and the command line as a user meets them, for tests that look at them from outside."""

import asyncio
import sys
from typing import Any

import pytest

from app.cli import main
from app.operations.connect import connected
from app.settings import DATABASE_NAMES, DatabaseName, Settings


def rows(settings: Settings, name: DatabaseName, sql: str, *args: object) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own. A row's values are what its columns are: ``Any``."""

    async def fetch() -> list[tuple[Any, ...]]:
        async with connected(name, settings.database_url(name)) as connection:
            return [tuple(row) for row in await connection.fetch(sql, *args)]

    return asyncio.run(fetch())


def indexes_and_constraints(settings: Settings) -> list[tuple[Any, ...]]:
    """Every index and constraint of the four databases, partitions included, with its definition."""
    return [
        row
        for name in DATABASE_NAMES
        for row in rows(
            settings,
            name,
            """
            SELECT tablename::text, indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) || convalidated
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2, 3
            """,
        )
    ]


def storegraph(settings: Settings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run the command line in this process, on the databases of ``settings``, and return its exit code."""
    for name in DATABASE_NAMES:
        monkeypatch.setenv(f"{name.upper()}_DATABASE_URL", settings.database_url(name))
    monkeypatch.setattr(sys, "argv", ["storegraph", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code
