"""``storegraph partitions``: the quarterly partitions of orders and order_items."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.filesize import decimal
from rich.table import Table

from app.cli.output import Json, output, progress
from app.errors import OperationError
from app.settings import load_settings

if TYPE_CHECKING:
    from app.operations.connect import Connection
    from app.operations.partitions_detach import OldQuarter
    from app.operations.partitions_listed import Partition

partitions = typer.Typer(no_args_is_help=True, help="The partitions of orders, one a quarter of a year.")

Result = TypeVar("Result")


@partitions.command("list")
def list_partitions(
    exact: Annotated[bool, typer.Option("--exact", help="Count the rows, which reads all of them.")] = False,
    as_json: Json = False,
) -> None:
    """Show each partition: its days, rows (an estimate), size with indexes, and whether it is attached."""
    from app.operations.partitions_listed import TABLES, listed, months_ahead

    found = _with_orders(lambda connection: listed(connection, exact=exact))
    months = months_ahead(found, _today())
    if as_json:
        print(json.dumps({"partitions": [_as_json(of) for of in found], "months_ahead": months}))
        return
    table = Table(show_edge=False, pad_edge=False)  # or 80 columns are not enough
    for column in ("partition", "from", "to", "rows", "size", "state"):
        table.add_column(column, justify="right" if column in ("rows", "size") else "left", no_wrap=True)
    for of_table in TABLES:
        of_this = [of for of in found if of.table == of_table]
        for of in of_this:
            days = [bound.date().isoformat() if bound else "-" for bound in (of.start, of.end)]
            table.add_row(of.name, *days, f"{of.rows:,}", decimal(of.bytes), of.state)
        rows, size = sum(of.rows for of in of_this), sum(of.bytes for of in of_this)
        table.add_row(of_table, "", "", f"{rows:,}", decimal(size), "", style="bold", end_section=True)
    output.print(table)
    print("" if exact else "Rows are estimates; --exact counts them. ", end="")
    print(f"The partitions reach {months} months ahead of today.")


@partitions.command()
def check(
    months: Annotated[int, typer.Option(min=1, help="How many months after this one must have partitions.")] = 3,
    as_json: Json = False,
) -> None:
    """Say how far the partitions reach ahead; exit code 1 where it is less far than --months. Changes nothing."""
    from app.operations.partitions_listed import listed, months_ahead

    today = _today()
    ahead = months_ahead(_with_orders(lambda connection: listed(connection, exact=False)), today)
    if as_json:
        print(json.dumps({"months_ahead": ahead, "months": months}))
    else:
        print(f"The partitions reach {ahead} months ahead of {today}.")
        if ahead < months:
            print(f"That is less than {months}: run `storegraph partitions ensure --months {months}`.")
    if ahead < months:
        raise typer.Exit(1)


@partitions.command("ensure")
def ensure_partitions(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="By default the first day of this year.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="By default the last day of next year.")
    ] = None,
    months: Annotated[
        int | None, typer.Option(min=0, help="In place of both: from today to the month so many months later.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the quarterly partitions that orders and order_items lack, from one day to another, both included.

    Others go on reading and writing meanwhile. To be run each month, say, so that there always are some ahead.
    """
    from app.operations.partitions import ensure, months_from, this_year_and_next

    if months is not None and (first or last):
        raise OperationError("--months says from when to when: leave --from and --to out")
    start, end = this_year_and_next(_today()) if months is None else months_from(_today(), months)
    made = _with_orders(
        lambda connection: ensure(connection, first.date() if first else start, last.date() if last else end)
    )
    print(json.dumps(made) if as_json else "\n".join(made) or "every partition is there already")


@partitions.command("detach")
def detach_partitions(
    before: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Quarters that end before this day.")],
    export: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Write their rows there first.")
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Drop their tables in the end.")] = False,
    as_json: Json = False,
) -> None:
    """Take old quarters out of orders and order_items: no read finds their rows any more, nor do new statistics.

    The tables stay, for ALTER TABLE … ATTACH PARTITION, unless --drop is given. The export of a quarter is
    DIR/2024_q1/orders/*.csv, and `storegraph db import DIR/2024_q1` brings it back. Payments stay where they are:
    `db audit` then finds them without their orders. Asks first when a person types it; a script is taken at its word.
    After an interruption, the same command goes on where it was.
    """
    from app.operations import partitions_detach as detaching

    old = _with_orders(lambda connection: detaching.old_quarters(connection, before.date(), _today()))
    if export is None and not drop:
        old = [quarter for quarter in old if quarter.is_attached]
    if old and sys.stdin.isatty():
        _confirm(old, export, drop)
    url = load_settings().orders_database_url
    done = asyncio.run(detaching.detach(url, old, export, drop=drop))
    if as_json:
        print(json.dumps([asdict(of) for of in done]))
        return
    for of in done:
        for what, names in (("exported to", of.files), ("detached", of.detached), ("dropped", of.dropped)):
            if names:
                print(f"{of.quarter}: {what} {', '.join(names)}")
    if not done:
        print(f"nothing is left to do before {before.date()}")


def _confirm(old: "list[OldQuarter]", export: Path | None, drop: bool) -> None:
    """Say what is about to go, and stop unless that is meant."""
    for quarter in old:
        for of in quarter.tables:
            progress.print(f"{of.name}: about {of.rows:,} rows, {decimal(of.bytes)}, {of.state}")
    rows = "exported first" if export else "exported nowhere"
    end = "drop them" if drop else "detach them"
    typer.confirm(f"These are {rows}. Then {end}?", abort=True, err=True)


def _today() -> date:
    return datetime.now(UTC).date()


def _with_orders(work: "Callable[[Connection], Awaitable[Result]]") -> Result:
    """Do something with a connection to the orders database."""
    from app.operations.connect import connected

    async def run() -> Result:
        async with connected("orders", load_settings().orders_database_url) as connection:
            return await work(connection)

    return asyncio.run(run())


def _as_json(of: "Partition") -> dict[str, object]:
    start, end = (bound and bound.isoformat() for bound in (of.start, of.end))
    return {**asdict(of), "start": start, "end": end}
