"""``storegraph backup``: back the four databases up, see that the backups are good, and put them back."""

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.filesize import decimal
from rich.table import Table

from app.cli.output import Json, OneDatabase, output
from app.errors import OperationError
from app.settings import DATABASE_NAMES, DatabaseName, Settings, load_local_settings, load_settings

if TYPE_CHECKING:
    from app.operations.backup_sets import Found
    from app.operations.restore import Restored

Result = TypeVar("Result")

backup = typer.Typer(no_args_is_help=True, help="Backups of the four databases: make, verify, restore, prune.")

SetOfBackups = Annotated[Path, typer.Argument(metavar="SET", exists=True, file_okay=False, help="One set's folder.")]
FolderOfSets = Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Where sets lie.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes that load one dump; all databases are loaded at once.")]


@backup.command("run")
def run_backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Where sets lie; made if missing.")],
    database: OneDatabase = None,
    plain: Annotated[bool, typer.Option("--plain", help="SQL as text, not pg_dump's compressed format.")] = False,
    as_json: Json = False,
) -> None:
    """Back the databases up into DIR/<time>: a set, with a dump of each and a manifest of what they hold.

    The moments that the databases are saved of lie milliseconds apart. Reading and writing go on meanwhile, only
    migrations wait. A set appears under its name once it is whole.
    """
    from app.operations.backup import back_up
    from app.operations.backup_sets import values_of

    names = (database,) if database else DATABASE_NAMES
    source = load_local_settings().postgres
    made = _finish(back_up(load_settings(), folder, names, plain=plain, source=source))
    if as_json:
        print(json.dumps({"path": str(made.path), "manifest": values_of(made.manifest)}))
        return
    table = Table("database", "revision", "tables")
    for column in ("rows", "size"):
        table.add_column(column, justify="right")
    for name, saved in made.manifest.databases.items():
        contents = saved.contents
        size = decimal(saved.file.bytes)
        table.add_row(name, contents.revision or "-", str(len(contents.tables)), f"{saved.rows:,}", size)
    output.print(table)
    print(
        f"{made.path}, of {made.manifest.created_at:%Y-%m-%d %H:%M:%S} UTC, within {made.manifest.span * 1000:.0f} ms"
    )


@backup.command("list")
def list_backups(folder: FolderOfSets, as_json: Json = False) -> None:
    """List the sets in DIR, newest first; exit code 1 where one is damaged. Dumps are not read: `verify` does that."""
    from app.operations.backup_sets import list_sets

    found = list_sets(folder)
    if as_json:
        print(json.dumps([_summary(one) for one in found]))
    else:
        _print_sets(found, folder)
    if any(one.state == "damaged" for one in found):
        raise typer.Exit(1)


@backup.command()
def verify(folder: SetOfBackups, database: OneDatabase = None, jobs: Jobs = 1, as_json: Json = False) -> None:
    """See that a set is good, by restoring it into new databases beside those in use; exit code 1 where it is not.

    The files' checksums are compared, then the number of rows in each table and a checksum of them, the revision, and
    how many objects there are of each kind. The new databases are dropped again.
    """
    from app.operations.restore_loading import verify

    source = load_local_settings().postgres
    verified = _finish(verify(load_settings(), folder, database, jobs=jobs, source=source))
    if as_json:
        print(json.dumps({name: asdict(result) for name, result in verified.items()}))
    else:
        table = Table("database")
        for column in ("tables", "rows"):
            table.add_column(column, justify="right")
        table.add_column("backup")
        for name, result in verified.items():
            table.add_row(name, str(result.tables), f"{result.rows:,}", "not good" if result.findings else "good")
        output.print(table)
        for name, result in verified.items():
            for line in result.findings:
                print(f"{name}: {line}")
    if any(result.findings for result in verified.values()):
        raise typer.Exit(1)


@backup.command()
def restore(
    folder: SetOfBackups,
    database: OneDatabase = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of databases that have something in them.")
    ] = False,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Leave those there, under another name.")] = False,
    no_owner: Annotated[
        bool, typer.Option("--no-owner", help="Leave owners, rights and databases' settings out: all is yours.")
    ] = False,
    jobs: Jobs = 1,
    as_json: Json = False,
) -> None:
    """Put the databases of a set where the four URLs lead: all of them, or none where something fails.

    They are restored beside what is there and compared with the set's manifest; then they get the names, and whoever
    is connected to the old ones is disconnected. Asks before it replaces anything when a person types it; a script is
    taken at its word. Where all four were restored they are audited together: exit code 1 where they contradict each
    other.
    """
    from app.operations.restore import restore

    if replace and sys.stdin.isatty():
        which = f"the {database} database" if database else "all databases of the set"
        then = "stays under another name" if keep_old else "is lost"
        typer.confirm(f"Replace {which} by {folder}? What is there now {then}.", abort=True, err=True)
    settings, source = load_settings(), load_local_settings().postgres
    restored = _finish(
        restore(
            settings,
            folder,
            database,
            replace=replace,
            keep_old=keep_old,
            owners=not no_owner,
            jobs=jobs,
            source=source,
        )
    )
    audited = _audit(settings) if set(restored) == set(DATABASE_NAMES) else {}
    if as_json:
        result = {"databases": {name: asdict(one) for name, one in restored.items()}, "audit": audited}
        print(json.dumps(result))
    else:
        _print_restored(restored, audited)
    problems = [one.problem for one in restored.values() if one.problem]
    for line in problems:
        print(f"storegraph: {line}", file=sys.stderr)
    if problems or any(audited.values()):
        raise typer.Exit(1)


def _print_restored(restored: "Mapping[DatabaseName, Restored]", audited: Mapping[str, int]) -> None:
    table = Table("database", "revision")
    for column in ("tables", "rows", "sessions ended"):
        table.add_column(column, justify="right")
    table.add_column("the old one")
    for name, one in restored.items():
        before = "kept" if one.old else "dropped" if one.replaced else "-"
        table.add_row(name, one.revision or "-", str(one.tables), f"{one.rows:,}", str(one.ended), before)
    output.print(table)
    for name, one in restored.items():
        if one.old:
            print(f"the old {name} database is {one.old}")
    if found := [name for name, count in audited.items() if count]:
        print(f"the databases contradict each other: {', '.join(found)}; see `storegraph db audit`")
    elif audited:
        print("audited: the databases do not contradict each other")


def _audit(settings: Settings) -> dict[str, int]:
    """How much of each kind contradicts itself across the databases: each is of its own snapshot."""
    from app.operations import audit

    try:
        results = asyncio.run(audit.audit(settings, audit.named([]), samples=0))
    except OperationError as error:  # they may be of a revision before what it looks at
        print(f"storegraph: restored, and not audited: {error}", file=sys.stderr)
        return {}
    return {name: result.count for name, result in results.items()}


@backup.command()
def prune(
    folder: FolderOfSets,
    keep: Annotated[int | None, typer.Option(min=1, help="Keep this many sets of the same databases.")] = None,
    keep_days: Annotated[int | None, typer.Option(min=1, help="Keep sets that are younger than so many days.")] = None,
    broken: Annotated[
        bool, typer.Option("--broken", help="Remove damaged sets too, and what is left of unfinished ones.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove old sets from DIR. What --keep or --keep-days keeps is kept, and the newest whole set always.

    Damaged and unfinished sets are told and left, unless --broken is given. What is no set stays as it is.
    """
    from app.operations.backup_retention import prune

    if keep is None and keep_days is None:
        raise typer.BadParameter("say with --keep or --keep-days which sets to keep")
    now = datetime.now(UTC)
    fates = prune(folder, now, keep=keep, keep_days=keep_days, broken=broken, dry=dry_run)
    if as_json:
        print(json.dumps([asdict(fate) | {"path": str(fate.path)} for fate in fates]))
        return
    table = Table("set", "", "why")
    table.add_column("size", justify="right")
    removed = "would be removed" if dry_run else "removed"
    for fate in fates:
        size = decimal(fate.bytes) if fate.bytes else "-"
        table.add_row(fate.path.name, removed if fate.removed else "kept", fate.reason, size)
    if fates:
        output.print(table)
    freed = sum(fate.bytes for fate in fates if fate.removed)
    print(f"{sum(fate.removed for fate in fates)} {removed}, {decimal(freed)}")
    if left := [fate.path.name for fate in fates if fate.reason in ("damaged", "unfinished") and not fate.removed]:
        print(f"not whole, and kept: {', '.join(left)}; --broken removes them")


def _finish(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end. A signal breaks the work off, which then takes away what it had made: exit code 128 and more."""
    ended_by: list[int] = []

    async def run() -> Result:
        task = asyncio.ensure_future(work)

        def end(number: int) -> None:
            if not ended_by:  # a second one would break off the taking away
                task.cancel()
            ended_by.append(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, end, number)
        return await task

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        print("storegraph: broken off; everything is as it was", file=sys.stderr)
        raise typer.Exit(128 + ended_by[0]) from None


def _ago(age: timedelta) -> str:
    """A time span in the largest unit that it has two of, or nearly."""
    for unit, seconds in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if age.total_seconds() >= 2 * seconds:
            return f"{age.total_seconds() / seconds:.0f} {unit} ago"
    return "just now"


def _print_sets(sets: "list[Found]", folder: Path) -> None:
    if not sets:
        print(f"no sets in {folder}")
        return
    table = Table("set", "made")
    table.add_column("size", justify="right")
    table.add_column("databases")
    table.add_column("state")
    for found in sets:
        made, databases = "-", "-"
        if found.manifest is not None:
            made = _ago(datetime.now(UTC) - found.manifest.created_at)
            is_whole = set(found.manifest.databases) == set(DATABASE_NAMES)
            databases = "all four" if is_whole else ", ".join(found.manifest.databases)
        table.add_row(found.path.name, made, decimal(found.bytes), databases, found.state)
    output.print(table)
    for found in sets:
        if found.problem:
            print(found.problem)


def _summary(found: "Found") -> dict[str, object]:
    manifest = found.manifest
    return {
        "path": str(found.path),
        "state": found.state,
        "problem": found.problem,
        "bytes": found.bytes,
        "created_at": manifest.created_at.isoformat() if manifest else None,
        "plain": manifest.plain if manifest else None,
        "rows": {name: saved.rows for name, saved in manifest.databases.items()} if manifest else {},
    }
