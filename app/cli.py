"""``storegraph``: the command line, thin. Each command reads its arguments, calls one operation and prints the result.

Tables and ``--json`` go to standard output, progress and errors to standard error. Exit codes: 0 done; 1 done, and
something was found wrong (``db check``); 2 not done.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from app.errors import AppError, DatabaseUnavailableError, OperationError
from app.settings import DATABASE_NAMES, DatabaseName, SettingsError, load_settings
from app.viewer import Role

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from app.operations.contents import Summary
    from app.operations.migrations import Moved

Result = TypeVar("Result")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Four databases, one GraphQL gateway.")
db = typer.Typer(no_args_is_help=True, help="The four databases: make, migrate, fill and check them.")
partitions = typer.Typer(no_args_is_help=True, help="The partitions of orders, one a quarter of a year.")
schema = typer.Typer(no_args_is_help=True, help="The GraphQL schema.")
app.add_typer(db, name="db")
app.add_typer(schema, name="schema")
app.add_typer(partitions, name="partitions")

output = Console()
progress = Console(stderr=True)

OneDatabase = Annotated[DatabaseName | None, typer.Option("--database", help="One database; all four by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; by default HOST, or else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; by default PORT, or else 8000.")] = None,
) -> None:
    """Serve the gateway over the four databases that the environment names."""
    from app import serving

    given = {"host": host, "port": port}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    with serving.listen(settings.host, settings.port) as listener:
        serving.serve(settings, listener)


@app.command()
def demo(
    port: Annotated[int | None, typer.Option(help="Port to serve on; by default PORT, or else 8000.")] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where the data are kept; by default STOREGRAPH_DATA, or else the user's folder."),
    ] = None,
    scale: Annotated[
        float, typer.Option(min=0.0001, help="How much data to make when there are none: 1 is 10,000 orders.")
    ] = 1,
    reset: Annotated[bool, typer.Option("--reset", help="Throw the demo's data away and make them anew.")] = False,
) -> None:
    """Try it: a PostgreSQL server of its own, four databases full of made-up data, and GraphiQL."""
    from app.demo import demo

    demo(port=port, data_dir=data_dir, scale=scale, reset=reset)


@app.command()
def token(
    email: Annotated[str | None, typer.Option(help="Of the user with this address.")] = None,
    role: Annotated[Role | None, typer.Option(help="Of the oldest active user with this role.")] = None,
) -> None:
    """Print an access token alone, to try things with. It needs the JWT_SECRET of the server that is to accept it.

    curl -H "Authorization: Bearer $(storegraph token --role admin)" …
    """
    from app.identity.development import access_token
    from app.operations.connect import connected

    settings = load_settings()

    async def run() -> str:
        try:
            return await access_token(settings, email=email, role=role)
        except DatabaseUnavailableError:
            async with connected("users", settings.users_database_url):  # whose error says why
                raise

    print(asyncio.run(run()))


@db.command()
def create(database: OneDatabase = None) -> None:
    """Make the databases that are not there yet; leave the others as they are."""
    from app.operations import databases

    made = _each(database, databases.create)
    _print_table(made, ("result",), lambda done: ("made" if done else "was there already",))


@db.command()
def upgrade(database: OneDatabase = None, as_json: Json = False) -> None:
    """Bring the databases to their newest revision, and make the orders' partitions of this year and the next."""
    from app.operations import migrations

    today = datetime.now(UTC).date()
    _print_moved(_each(database, lambda name, url: migrations.upgrade(name, url, today)), as_json)


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

    _print_moved(_each(database, lambda name, url: migrations.downgrade(name, url, revision)), as_json)


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

    results = _each(database, migrations.status)
    if as_json:
        _print_json(results)
    else:
        _print_table(
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
    reports = _each(database, lambda name, url: check(name, url, today))
    if as_json:
        _print_json(reports)
    else:
        for name, report in reports.items():
            if not isinstance(report, OperationError):
                lines = report.findings + [f"warning: {line}" for line in report.warnings]
                print("\n".join(f"{name}: {line}" for line in lines or ["agrees with its models"]))
        _stop_if_failed(reports)
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


@partitions.command("ensure")
def ensure_partitions(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="By default the first day of this year.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="By default the last day of next year.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the quarterly partitions that orders and order_items lack, from one day to another, both included."""
    from app.operations.connect import connected
    from app.operations.partitions import ensure, this_year_and_next

    start, end = this_year_and_next(datetime.now(UTC).date())

    async def run() -> list[str]:
        async with connected("orders", load_settings().orders_database_url) as connection:
            return await ensure(connection, first.date() if first else start, last.date() if last else end)

    made = asyncio.run(run())
    print(json.dumps(made) if as_json else "\n".join(made) or "every partition is there already")


@schema.command("export")
def export_schema() -> None:
    """Print the GraphQL schema, for client generators and for app/graph/schema.graphql."""
    from app.graph.schema import build_schema

    print(build_schema().as_str())


def main() -> None:
    """Run the command line; what a user can mend ends in one line on standard error and exit code 2."""
    logging.basicConfig(handlers=[logging.NullHandler()])  # what is logged on the way there is not for this user
    try:
        app()
    except (AppError, SettingsError) as error:
        for line in str(error).splitlines():
            print(f"storegraph: {line}", file=sys.stderr)
        sys.exit(2)


def _each(
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


def _print_json(results: Mapping[DatabaseName, "DataclassInstance | OperationError"]) -> None:
    print(
        json.dumps(
            {
                name: {"error": str(result)} if isinstance(result, OperationError) else asdict(result)
                for name, result in results.items()
            }
        )
    )
    _stop_if_failed(results)


def _print_table(
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
    _stop_if_failed(results)


def _print_moved(results: "Mapping[DatabaseName, Moved | OperationError]", as_json: bool) -> None:
    if as_json:
        _print_json(results)
        return
    columns = ("before", "after", "partitions made")
    _print_table(results, columns, lambda to: (to.before or "-", to.after or "-", str(len(to.partitions))))


def _print_summary(summary: "Summary", as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary))
        return
    table = Table("database", "table", "rows added")
    for database, tables in summary.items():
        for name, rows in tables.items():
            table.add_row(database, name, f"{rows:,}")
    output.print(table)


def _stop_if_failed(results: Mapping[DatabaseName, object]) -> None:
    errors = [str(result) for result in results.values() if isinstance(result, OperationError)]
    if errors:
        raise OperationError("\n".join(errors))
