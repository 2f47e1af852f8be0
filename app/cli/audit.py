"""``storegraph db audit``: look through the four databases together for what contradicts itself."""

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.cli.output import Json, output
from app.settings import load_settings

if TYPE_CHECKING:
    from app.operations.audit import Audited


def audit(
    only: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="This check; can be given more than once. By default all.")
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="How many of the rows found to show, of each check.")] = 5,
    names: Annotated[bool, typer.Option("--list", help="Only list the checks.")] = False,
    as_json: Json = False,
) -> None:
    """Look through the four databases for rows that contradict each other; exit code 1 where there are any.

    References from one database into another, totals against lines, payments and refunds, ids that are there twice,
    circles of categories; and what constraints keep out, in case one was dropped. Rows that are only marked as deleted
    are there. It reads snapshots and locks nobody out, but while it runs, VACUUM removes nothing that was deleted since
    it began.
    """
    from app.operations import audit as auditing

    checks = auditing.named(only or [])
    if names:
        if as_json:
            print(json.dumps({check.name: {"fault": check.fault, "kept_by": check.kept_by} for check in checks}))
            return
        table = Table()
        table.add_column("check", no_wrap=True)
        table.add_column("finds", overflow="fold")
        for check in checks:
            table.add_row(check.name, check.fault + (f", which {check.kept_by} refuses" if check.kept_by else ""))
        output.print(table)
        return
    results = asyncio.run(auditing.audit(load_settings(), checks, samples))
    if as_json:
        print(json.dumps({name: asdict(result) for name, result in results.items()}))
    else:
        _print_results(results)
    if any(result.count for result in results.values()):
        raise typer.Exit(1)


def _print_results(results: "dict[str, Audited]") -> None:
    table = Table("check")
    table.add_column("found", justify="right")
    table.add_column("seconds", justify="right")
    for name, result in results.items():
        table.add_row(name, f"{result.count:,}", f"{result.seconds:.1f}")
    output.print(table)
    for name, result in results.items():
        if result.count:
            _print_find(name, result)
    if not any(result.count for result in results.values()):
        print("nothing is wrong")


def _print_find(name: str, result: "Audited") -> None:
    print(f"\n{name}: {result.count:,} {result.fault}")
    for sample in result.samples:
        print("    " + " ".join(f"{column}={'NULL' if value is None else value}" for column, value in sample.items()))
    if more := result.count - len(result.samples):
        print(f"    and {more:,} more" if result.samples else "    (--samples shows some)")
    print("\n".join(f"  {line}" for line in result.repair.splitlines()))
