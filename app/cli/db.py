"""``storegraph db``: make, migrate, fill and check the four databases."""

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.cli.output import Json, OneDatabase, each, output, print_json, print_table, progress, stop_if_failed
from app.errors import OperationError
from app.settings import DATABASE_NAMES, DatabaseName, load_settings

if TYPE_CHECKING:
    from app.operations.contents import Summary
    from app.operations.migrations_all import Standings

db = typer.Typer(no_args_is_help=True, help="The four databases: make, migrate, fill and check them.")

NoWait = Annotated[bool, typer.Option("--no-wait", help="Where another migration runs, say so and end.")]
LockTimeout = Annotated[
    float,
    typer.Option(min=0.01, max=3600, help="Seconds to wait for a lock, which is as long as others queue behind it."),
]
LockAttempts = Annotated[int, typer.Option(min=1, max=1000, help="How often to try, with growing pauses between.")]


@db.command()
def create(database: OneDatabase = None) -> None:
    """Make the databases that are not there yet; leave the others as they are."""
    from app.operations import databases

    made = each(database, databases.create)
    print_table(made, ("result",), lambda done: ("made" if done else "was there already",))


@db.command()
def plan(database: OneDatabase = None, as_json: Json = False) -> None:
    """Show what an upgrade would do: the SQL of what is pending, the locks it takes, and what is dangerous about it.

    Exit code 1 where something is, unless its migration accepts it: accepts = {"rule": "why"}. It changes nothing.
    """
    from app.cli.migrate_plan import print_plan
    from app.operations import plan_squawk
    from app.operations.plan import plan

    squawk = plan_squawk.find()
    if squawk is None:
        progress.print(plan_squawk.MISSING, style="bold yellow")
    plans = asyncio.run(plan(load_settings(), _names(database), squawk))
    if as_json:
        print(json.dumps({name: asdict(planned) | {"flagged": planned.flagged} for name, planned in plans.items()}))
    else:
        print_plan(plans, output)
    _stop_if_troubled(planned.problem for planned in plans.values())
    if any(planned.flagged for planned in plans.values()):
        raise typer.Exit(1)


@db.command()
def upgrade(
    database: OneDatabase = None,
    no_wait: NoWait = False,
    lock_timeout: LockTimeout = 0.5,
    lock_attempts: LockAttempts = 10,
    as_json: Json = False,
) -> None:
    """Bring the databases to their newest revision, and make the orders' partitions of this year and the next.

    It stops at the first failure, and says where each database stands; run again, it goes on from there.
    """
    from app.operations import migrations_all
    from app.operations.migrations_wait import Patience

    patience = Patience(not no_wait, lock_timeout, lock_attempts)
    today = datetime.now(UTC).date()
    _print_standings(
        asyncio.run(migrations_all.upgrade(load_settings(), _names(database), today, patience, _say)), as_json
    )


@db.command(context_settings={"ignore_unknown_options": True})  # or -1 would be an option
def downgrade(
    revision: Annotated[str, typer.Argument(help="A revision's number, -1 for one step, base for no tables at all.")],
    database: OneDatabase = None,
    no_wait: NoWait = False,
    lock_timeout: LockTimeout = 0.5,
    lock_attempts: LockAttempts = 10,
    as_json: Json = False,
) -> None:
    """Take the databases back to an older revision. What newer ones added is lost, with the data in it.

    Asks first when a person types it; a script is taken at its word.
    """
    from app.operations import migrations_all
    from app.operations.migrations_wait import Patience

    if sys.stdin.isatty():
        which = f"the {database} database" if database else "all four databases"
        typer.confirm(f"Take {which} back to {revision}, and lose what was added since?", abort=True, err=True)

    patience = Patience(not no_wait, lock_timeout, lock_attempts)
    _print_standings(
        asyncio.run(migrations_all.downgrade(load_settings(), _names(database), revision, patience, _say)), as_json
    )


@db.command()
def history(database: OneDatabase = None, as_json: Json = False) -> None:
    """List every revision of each database, oldest first: when it was written, what it does, whether it is applied."""
    from app.operations import migrations

    results = each(database, migrations.history)
    if as_json:
        print_json(results)
    else:
        table = Table("database", "revision", "written", "applied", "what it does")
        for name, found in results.items():
            for entry in [] if isinstance(found, OperationError) else found.revisions:
                applied = {None: "?", True: "yes", False: "no"}[entry.applied]
                needs = "".join(f" (requires {other} {number})" for other, number in entry.requires.items())
                table.add_row(
                    *(name, entry.revision, entry.created or "-"),
                    *(f"{applied}, current" if entry.current else applied, entry.message + needs),
                )
            table.add_section()
        output.print(table)
    _stop_if_troubled(found.problem for found in results.values() if not isinstance(found, OperationError))


@db.command("revision")
def new_revision(
    message: Annotated[str, typer.Option("--message", "-m", help="What it does; names the file.")],
    database: Annotated[DatabaseName, typer.Option(help="The database that it is for.")],
    autogenerate: Annotated[
        bool,
        typer.Option("--autogenerate", help="Compare the database with its models: tables, columns, keys and indexes."),
    ] = False,
) -> None:
    """Write a new migration. CHECKs, functions, triggers and views are always yours to write: db check finds them."""
    from app.operations import migrations

    url = load_settings().database_url(database)
    print(asyncio.run(migrations.new_revision(database, url, message, autogenerate=autogenerate)))


@db.command()
def status(database: OneDatabase = None, as_json: Json = False) -> None:
    """Show where each database stands: server, revision, and migrations yet to be applied."""
    from app.operations import migrations

    results = each(database, migrations.status)
    if as_json:
        print_json(results)
    else:
        print_table(
            results,
            ("reachable", "server", "revision", "head", "pending"),
            lambda at: (
                "yes" if at.server_version else "no",
                at.server_version or "-",
                at.revision or "-",
                at.head,
                ", ".join(at.pending) or "-",
            ),
        )
    _stop_if_troubled(at.problem for at in results.values() if not isinstance(at, OperationError))


@db.command()
def check(database: OneDatabase = None, as_json: Json = False) -> None:
    """Say whether databases, migrations and models agree; exit code 1 where they do not.

    Compares columns, constraints, indexes, triggers, functions, views, policies and rules, finds indexes that are not
    valid and triggers that are off, and looks at the partitions.
    """
    from app.operations.check import check

    today = datetime.now(UTC).date()
    reports = each(database, lambda name, url: check(name, url, today))
    if as_json:
        print_json(reports)
    else:
        for name, report in reports.items():
            if not isinstance(report, OperationError):
                lines = report.findings + [f"warning: {line}" for line in report.warnings]
                print("\n".join(f"{name}: {line}" for line in lines or ["agrees with its models"]))
        stop_if_failed(reports)
    if any(not isinstance(report, OperationError) and report.findings for report in reports.values()):
        raise typer.Exit(1)


@db.command("import")
def import_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="The folder.")],
    database: OneDatabase = None,
    as_json: Json = False,
) -> None:
    """Add the rows of DIR/<database>/<table>.csv to the databases; each is loaded as a whole or not at all.

    CSV in UTF-8; the first line names the columns; an empty field is NULL, quotes make it an empty text. A missing
    file is an empty table, a missing column takes its default. Rows that are there stay, and a row with the key of one
    of them is an error. Lines of orders take their order's time, and their products' names from products.csv.
    """
    from app.operations import importing

    databases = (database,) if database else DATABASE_NAMES
    _print_summary(asyncio.run(importing.import_folder(load_settings(), folder, databases)), as_json)


@db.command()
def seed(
    orders: Annotated[int, typer.Option(min=1, help="How many orders; everything else is in proportion.")],
    seed: Annotated[int, typer.Option(help="The same seed, --orders and --until make the same rows.")] = 1,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The rows are of the three years before this day; by default today."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fill the four databases with a made-up shop. They must be empty; it is done as a whole or not at all."""
    from app.operations import seed as seeding

    last = (until or datetime.now(UTC)).date()
    _print_summary(asyncio.run(seeding.seed(load_settings(), orders=orders, seed=seed, until=last)), as_json)


@db.command("refresh-stats")
def refresh_stats(as_json: Json = False) -> None:
    """Count the sales of products anew. Readers go on meanwhile; a refresh that is running is waited for."""
    from app.operations import statistics

    url = load_settings().orders_database_url
    done = asyncio.run(
        statistics.refresh_stats(url, lambda: progress.print("another refresh is running; waiting for its end"))
    )
    if as_json:
        print(json.dumps(asdict(done) | {"refreshed_at": done.refreshed_at.isoformat()}))
    else:
        print(
            f"refreshed at {done.refreshed_at.isoformat(timespec='seconds')} in {done.seconds:.1f} s: "
            f"{done.products:,} products sold"
        )


def _names(database: DatabaseName | None) -> tuple[DatabaseName, ...]:
    return (database,) if database else DATABASE_NAMES


def _say(line: str) -> None:
    progress.print(line, markup=False, highlight=False)


def _print_standings(standings: "Standings", as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: asdict(standing) for name, standing in standings.items()}))
    else:
        table = Table("database", "before", "after", "head", "migrations", "partitions made", "outcome")
        for name, at in standings.items():
            now = at.after or ("?" if at.problem else "-")
            then = at.before or ("?" if at.problem else "-")
            table.add_row(name, then, now, at.head, str(len(at.applied)), str(len(at.partitions)), at.outcome)
        output.print(table)
    _stop_if_troubled(standing.problem for standing in standings.values())


def _stop_if_troubled(problems: Iterable[str | None]) -> None:
    told = [problem for problem in problems if problem]
    if told:
        raise OperationError("\n".join(told))


def _print_summary(summary: "Summary", as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary))
        return
    table = Table("database", "table", "rows added")
    for database, tables in summary.items():
        for name, rows in tables.items():
            table.add_row(database, name, f"{rows:,}")
    output.print(table)
