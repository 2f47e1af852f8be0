"""``storegraph monitor``: what the four databases do, and what is wrong with them."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import RenderableType
from rich.text import Text

from app.cli import monitor_views as views
from app.cli.output import Json, OneDatabase, output, progress
from app.errors import OperationError
from app.operations.monitoring.options import CROWDED, LONG_TRANSACTION, LONG_WAIT, Level, Order
from app.settings import DATABASE_NAMES, DatabaseName, load_settings

if TYPE_CHECKING:
    from app.operations.monitoring.servers import Report, Urls

Row = TypeVar("Row")

monitor = typer.Typer(
    no_args_is_help=True,
    help="What the four databases do, and what is wrong. Changes nothing, but for kill and --reset.",
)

Partitions = Annotated[bool, typer.Option("--partitions", help="Each partition, not all together under their table.")]
Crowded = Annotated[
    float, typer.Option(min=0, max=100, metavar="PERCENT", help="Exit code 1 above so many % of max_connections.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@monitor.command()
def status(crowded: Crowded = CROWDED, database: OneDatabase = None, as_json: Json = False) -> None:
    """Show whether each database answers: server, uptime, connections, recovery, size."""
    from app.operations.monitoring import status

    _show(partial(status.look, crowded_above=crowded), views.status, database, as_json)


@monitor.command()
def activity(
    everything: Annotated[bool, typer.Option("--all", help="Idle sessions and background processes, too.")] = False,
    transaction: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Exit code 1 where a transaction is open for longer.")
    ] = LONG_TRANSACTION,
    database: OneDatabase = None,
    as_json: Json = False,
) -> None:
    """Show who runs what, since when, what it waits for and who blocks it; the longest transaction first."""
    from app.operations.monitoring import activity

    look = partial(activity.look, transaction_limit=transaction, everything=everything)
    _show(look, views.activity, database, as_json)


@monitor.command()
def pools(crowded: Crowded = CROWDED, database: OneDatabase = None, as_json: Json = False) -> None:
    """Show who holds how many connections: by database, application, user and state."""
    from app.operations.monitoring import pools

    _show(partial(pools.look, crowded_above=crowded), views.pools, database, as_json)


@monitor.command()
def locks(
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Exit code 1 where a lock is waited for longer.")
    ] = LONG_WAIT,
    database: OneDatabase = None,
    as_json: Json = False,
) -> None:
    """Show who blocks whom: a tree for each session that others wait for."""
    from app.operations.monitoring import locks

    _show(partial(locks.look, wait_limit=wait), views.locks, database, as_json)


@monitor.command()
def tables(partitions: Partitions = False, database: OneDatabase = None, as_json: Json = False) -> None:
    """Show rows, dead rows, when they were vacuumed and analyzed, and how they are read."""
    from app.operations.monitoring import tables

    _show(partial(tables.look, each_partition=partitions), views.tables, database, as_json)


@monitor.command()
def indexes(partitions: Partitions = False, database: OneDatabase = None, as_json: Json = False) -> None:
    """Show indexes, the unused, duplicate and invalid ones first, and where one may be missing.

    Exit code 1 where one is invalid.
    """
    from app.operations.monitoring import indexes

    _show(partial(indexes.look, each_partition=partitions), views.indexes, database, as_json)


@monitor.command()
def slow(
    by: Annotated[
        Order, typer.Option(help="Their time in all, their mean time, or how often they were run.")
    ] = "total",
    limit: Annotated[int, typer.Option(min=1, help="How many of each database.")] = 10,
    reset: Annotated[bool, typer.Option("--reset", help="Count anew from now on; shows nothing.")] = False,
    yes: Yes = False,
    database: OneDatabase = None,
    as_json: Json = False,
) -> None:
    """Show the statements that take the most time, as pg_stat_statements counts them.

    --reset asks first when a person types it; a script is taken at its word.
    """
    from app.operations.monitoring import slow

    if not reset:
        _show(partial(slow.look, order=by, limit=limit), views.slow, database, as_json)
        return
    if sys.stdin.isatty() and not yes:
        which = f"the {database} database" if database else "all four databases"
        typer.confirm(f"Forget what was counted of the statements of {which}?", abort=True, err=True)
    done = asyncio.run(slow.reset(urls_of(database)))
    print(json.dumps({"reset": done}) if as_json else f"counts anew: {', '.join(done)}")


@monitor.command()
def cache(
    limit: Annotated[int, typer.Option(min=0, help="How many tables of each database.")] = 5,
    database: OneDatabase = None,
    as_json: Json = False,
) -> None:
    """Show how much of what is read was in the server's memory, and the tables where most was not."""
    from app.operations.monitoring import cache

    _show(partial(cache.look, limit=limit), views.cache, database, as_json)


@monitor.command()
def sizes(partitions: Partitions = False, database: OneDatabase = None, as_json: Json = False) -> None:
    """Show what takes the room: databases, and in them tables, indexes and TOAST."""
    from app.operations.monitoring import sizes

    _show(partial(sizes.look, each_partition=partitions), views.sizes, database, as_json)


@monitor.command()
def bloat(
    limit: Annotated[int, typer.Option(min=1, help="How many in the table; JSON has all.")] = 20,
    database: OneDatabase = None,
    as_json: Json = False,
) -> None:
    """Estimate the room that tables and btree indexes take in vain, from what ANALYZE last saw."""
    from app.operations.monitoring import bloat

    _show(bloat.look, partial(views.bloat, limit=limit), database, as_json)


@monitor.command()
def logs(
    lines: Annotated[int, typer.Option(min=1, max=10_000, help="How many entries of each server.")] = 20,
    level: Annotated[Level, typer.Option(help="Only what is at least so grave.")] = "debug",
    database: OneDatabase = None,
    as_json: Json = False,
) -> None:
    """Show the end of the servers' logs, where they let us read them. All databases of a server share its log."""
    from app.operations.monitoring import logs

    _show(partial(logs.look, lines=lines, level=level), views.logs, database, as_json)


@monitor.command()
def kill(
    pid: Annotated[int, typer.Argument(min=1, help="As activity and locks show it.")],
    terminate: Annotated[bool, typer.Option("--terminate", help="End the session, not just its query.")] = False,
    yes: Yes = False,
    database: OneDatabase = None,
    as_json: Json = False,
) -> None:
    """Cancel the query of a session, or end the session. Shows what it is, and finds the server that it is on.

    Asks first when a person types it; a script is taken at its word.
    """
    from app.operations.monitoring import kill

    urls = urls_of(database)
    victim = asyncio.run(kill.find(urls, pid, terminate=terminate))
    progress.print(views.victim(victim), markup=False, highlight=False, soft_wrap=True)
    if sys.stdin.isatty() and not yes:
        question = "End this session, and roll its transaction back?" if terminate else "Cancel what it does?"
        typer.confirm(question, abort=True, err=True)
    asyncio.run(kill.end(urls, victim, terminate=terminate))
    done = "terminated" if terminate else "cancelled"
    print(json.dumps(asdict(victim) | {"done": done}, default=_plain) if as_json else f"pid {pid}: {done}")


def urls_of(database: DatabaseName | None) -> dict[DatabaseName, str]:
    """The URL of one database, or those of all four."""
    settings = load_settings()
    return {name: settings.database_url(name) for name in ((database,) if database else DATABASE_NAMES)}


def as_json_text(report: "Report[object]") -> str:
    """A report as one line of JSON: rows, findings, notes and errors. Times are ISO 8601, lengths of time seconds."""
    return json.dumps(asdict(report), default=_plain)


def lines_below(report: "Report[object]") -> list[Text]:
    """What is printed below a table: what to know when reading it, and what is wrong."""
    notes = [Text(f"note: {line}", style="dim") for line in report.notes]
    return notes + [Text(line, style="bold red") for line in report.findings]


def stop_if_wrong(report: "Report[object]") -> None:
    """End with exit code 2 where a database could not be asked, and with 1 where something was found."""
    if report.errors:
        raise OperationError("\n".join(dict.fromkeys(report.errors.values())))
    if report.findings:
        raise typer.Exit(1)


def _show(
    look: "Callable[[Urls], Coroutine[Any, Any, Report[Row]]]",  # what a coroutine yields and is sent is asyncio's
    view: "Callable[[Report[Row]], RenderableType]",
    database: DatabaseName | None,
    as_json: bool,
) -> None:
    """Print what a topic reports of one database or of all, and end with the exit code that it calls for."""
    report = asyncio.run(look(urls_of(database)))
    if as_json:
        print(as_json_text(report))
    else:
        if report.rows or not report.errors:
            picture = view(report)
            output.print(picture, highlight=False, soft_wrap=isinstance(picture, Text))  # a log is for grep, too
        for line in lines_below(report):
            output.print(line, soft_wrap=True)
    stop_if_wrong(report)


def _plain(value: object) -> str:
    """What JSON has no word for."""
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)
