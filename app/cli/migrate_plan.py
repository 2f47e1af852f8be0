"""How ``storegraph db plan`` shows a plan to a person, in 80 columns."""

from collections.abc import Iterator, Mapping
from inspect import cleandoc

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from app.operations.plan import Migration, Plan
from app.operations.plan_rules import Finding, Lock, Planned
from app.settings import DatabaseName

_LONGEST = 40  # lines of a statement that are shown


def print_plan(plans: Mapping[DatabaseName, Plan], console: Console) -> None:
    """Print the pending migrations of all databases in the order in which they would run, and a line for each database.

    Args:
        plans: what each database lacks.
        console: where to.
    """
    migrations = sorted(
        ((name, migration) for name, plan in plans.items() for migration in plan.migrations),
        key=lambda of: of[1].place,
    )
    for name, migration in migrations:
        _print_migration(name, migration, len(migrations), console)
    for name, plan in plans.items():
        console.print(Text(f"{name}: {_summary(plan)}", style="bold red" if plan.flagged else ""), soft_wrap=True)


def _summary(plan: Plan) -> str:
    if plan.problem:
        return "not known"
    if not plan.migrations:
        return f"nothing is pending; it is at {plan.revision}"
    number = len(plan.migrations)
    pending = f"{number} migration{'s' if number > 1 else ''} from {plan.revision or 'no tables'} to {plan.head}"
    dangers = f"{plan.flagged} danger{'s' if plan.flagged > 1 else ''}" if plan.flagged else "no danger"
    return f"{pending}, {dangers}"


def _print_migration(name: str, migration: Migration, number: int, console: Console) -> None:
    place = Text(f"{migration.place} of {number}: {name} {migration.revision}", style="bold")
    console.print(Rule(place, align="left"))
    requires = "".join(f"; requires {other} {revision}" for other, revision in migration.requires.items())
    console.print(Text(migration.message + requires))
    if migration.problem:
        console.print(Text(f"! {migration.problem}: look at it yourself", style="bold red"))
    for statement in migration.statements:
        console.print(Padding(_sql(statement), (1, 0, 0, 2)))
        for line in _told(statement):
            console.print(Padding(line, (0, 0, 0, 4)))
    console.print()


def _sql(statement: Planned) -> RenderableType:
    lines = f"{cleandoc(statement.sql)};".splitlines()
    if len(lines) > _LONGEST:
        lines = [*lines[:_LONGEST], f"-- … and {len(lines) - _LONGEST} more lines; --json has them all"]
    return Syntax("\n".join(lines), "postgresql", theme="ansi_dark", background_color="default", word_wrap=True)


def _told(statement: Planned) -> Iterator[Text]:
    if statement.outside:
        yield Text("runs outside of the migration's transaction", style="dim")
    for lock in statement.locks:
        yield Text(_lock(lock), style="yellow" if lock.blocks else "dim")
    for finding in statement.findings:
        yield Text(_finding(finding), style="dim" if finding.accepted else "bold red")


def _lock(lock: Lock) -> str:
    blocks = f"blocks {lock.blocks}" if lock.blocks else "blocks neither reads nor writes"
    return f"locks {lock.table}{_extent(lock)}: {lock.mode}, {blocks}"


def _extent(lock: Lock) -> str:
    if lock.size is None:
        return ""
    of = [] if lock.rows is None else [f"about {lock.rows:,} rows"]
    of += [_size(lock.size)]
    of += [f"{lock.partitions} partitions"] if lock.partitions else []
    return f" ({', '.join(of)})"


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1024:
            return f"{size:.1f} {unit}" if size < 10 and unit != "bytes" else f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:,.1f} TB"


def _finding(finding: Finding) -> str:
    rule = finding.rule if finding.source == "storegraph" else f"{finding.source} {finding.rule}"
    if finding.accepted is not None:
        return f"accepted {rule}: {finding.accepted}"
    return f"! {rule}: {finding.message}"
