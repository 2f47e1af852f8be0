"""``storegraph db``: make, migrate, fill and check the four databases."""

import asyncio
import json
import sys
from collections.abc import Mapping
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
    from app.operations.migrations import Moved

db = typer.Typer(no_args_is_help=True, help="The four databases: make, migrate, fill and check them.")


@db.command()
def create(database: OneDatabase = None) -> None:
    """Make the databases that are not there yet; leave the others as they are."""
    from app.operations import databases

    made = each(database, databases.create)
    print_table(made, ("result",), lambda done: ("made" if done else "was there already",))


@db.command()
def upgrade(database: OneDatabase = None, as_json: Json = False) -> None:
    """Bring the databases to their newest revision, and make the orders' partitions of this year and the next."""
    from app.operations import migrations

    today = datetime.now(UTC).date()
    _print_moved(each(database, lambda name, url: migrations.upgrade(name, url, today)), as_json)


@db.command(context_settings={"ignore_unknown_options": True})  # or -1 would be an option
def downgrade(
    revision: Annotated[str, typer.Argument(help="A revision's number, -1 for one step, base for no tables at all.")],
    database: OneDatabase = None,
    as_json: Json = False,
) -> None:
    """Take the databases back to an older revision. What newer ones added is lost, with the data in it.

    Asks first when a person types it; a script is taken at its word.
    """
    from app.operations import migrations

    if sys.stdin.isatty():
        which = f"the {database} database" if database else "all four databases"
        typer.confirm(f"Take {which} back to {revision}, and lose what was added since?", abort=True, err=True)

    _print_moved(each(database, lambda name, url: migrations.downgrade(name, url, revision)), as_json)


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
    problems = [at.problem for at in results.values() if not isinstance(at, OperationError) and at.problem]
    if problems:
        raise OperationError("\n".join(problems))


@db.command()
def check(database: OneDatabase = None, as_json: Json = False) -> None:
    """Say whether databases, migrations and models agree; exit code 1 where they do not.

    Compares columns, constraints, indexes, triggers, functions and views, and looks at the partitions.
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


def _print_moved(results: "Mapping[DatabaseName, Moved | OperationError]", as_json: bool) -> None:
    if as_json:
        print_json(results)
        return
    columns = ("before", "after", "partitions made")
    print_table(results, columns, lambda to: (to.before or "-", to.after or "-", str(len(to.partitions))))


def _print_summary(summary: "Summary", as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary))
        return
    table = Table("database", "table", "rows added")
    for database, tables in summary.items():
        for name, rows in tables.items():
            table.add_row(database, name, f"{rows:,}")
    output.print(table)
