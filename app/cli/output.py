"""What the commands share: their common options, work on one database or all, and how results are printed."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from app.errors import OperationError
from app.settings import DATABASE_NAMES, DatabaseName, load_settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Result = TypeVar("Result")

output = Console()
progress = Console(stderr=True)

OneDatabase = Annotated[DatabaseName | None, typer.Option("--database", help="One database; all four by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]


def each(
    database: DatabaseName | None, work: Callable[[DatabaseName, str], Awaitable[Result]]
) -> dict[DatabaseName, Result | OperationError]:
    """Do the same to one database or to all four, one after the other, whether or not those before it failed."""
    settings = load_settings()
    names: tuple[DatabaseName, ...] = (database,) if database else DATABASE_NAMES

    async def run() -> dict[DatabaseName, Result | OperationError]:
        results: dict[DatabaseName, Result | OperationError] = {}
        for name in names:
            try:
                results[name] = await work(name, settings.database_url(name))
            except OperationError as error:
                results[name] = error
        return results

    return asyncio.run(run())


def print_json(results: Mapping[DatabaseName, "DataclassInstance | OperationError"]) -> None:
    print(
        json.dumps(
            {
                name: {"error": str(result)} if isinstance(result, OperationError) else asdict(result)
                for name, result in results.items()
            }
        )
    )
    stop_if_failed(results)


def print_table(
    results: Mapping[DatabaseName, Result | OperationError],
    columns: tuple[str, ...],
    cells: Callable[[Result], tuple[str, ...]],
) -> None:
    table = Table("database", *columns)
    for name, result in results.items():
        if isinstance(result, OperationError):
            table.add_row(name, *["-"] * len(columns))
        else:
            table.add_row(name, *cells(result))
    output.print(table)
    stop_if_failed(results)


def stop_if_failed(results: Mapping[DatabaseName, object]) -> None:
    errors = [str(result) for result in results.values() if isinstance(result, OperationError)]
    if errors:
        raise OperationError("\n".join(errors))
