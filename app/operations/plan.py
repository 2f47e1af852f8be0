"""What ``db upgrade`` would do: each pending migration's SQL, the locks that it takes, and what is dangerous."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domains.revisions import Revision
from app.errors import OperationError
from app.operations import migrations_all, migrations_order, plan_facts, plan_squawk
from app.operations.connect import connected
from app.operations.migrations_run import Statement, rendered
from app.operations.plan_rules import Finding, Judge, Planned
from app.settings import DatabaseName, Settings


@dataclass(frozen=True)
class Migration:
    """A pending migration. ``place`` is where it stands among those of all databases that would run, from 1 on.

    ``problem`` says why its statements are not known; who plans it looks at it themselves.
    """

    revision: str
    message: str
    place: int
    requires: dict[DatabaseName, str]
    statements: list[Planned]
    problem: str | None


@dataclass(frozen=True)
class Plan:
    """What a database lacks. ``problem`` says why it is not known where it stands."""

    revision: str | None
    head: str
    migrations: list[Migration]
    problem: str | None

    @property
    def flagged(self) -> int:
        """How many findings nobody has accepted, and migrations whose statements are not known."""
        findings: list[Finding] = [
            finding
            for migration in self.migrations
            for statement in migration.statements
            for finding in statement.findings
        ]
        unknown = sum(migration.problem is not None for migration in self.migrations)
        return sum(finding.accepted is None for finding in findings) + unknown


async def plan(settings: Settings, names: Sequence[DatabaseName], squawk: str | None) -> dict[DatabaseName, Plan]:
    """What an upgrade of these databases would do. Changes nothing, and takes no lock that anybody waits for.

    Args:
        settings: the process's.
        names: the databases.
        squawk: where squawk is; None to do without.

    Raises:
        OperationError: no order satisfies what the migrations require; or squawk failed.
    """
    of = migrations_order.histories()
    standings = await migrations_all.standings_of(settings, names)
    plans: dict[DatabaseName, Plan] = {name: Plan(at.after, at.head, [], at.problem) for name, at in standings.items()}
    known: migrations_all.Standings = {name: at for name, at in standings.items() if at.problem is None}
    judges: dict[DatabaseName, Judge] = {}
    versions: dict[DatabaseName, int] = {}
    for name in known:
        async with connected(name, settings.database_url(name)) as connection:
            judges[name] = Judge(await plan_facts.read(connection))
            versions[name] = connection.get_server_version().major
    for place, revision in enumerate(await migrations_all.pending(settings, of, known), 1):
        statements, problem = _rendered(revision)
        found = plan_squawk.findings(squawk, statements, versions[revision.database]) if squawk else []
        judged = judges[revision.database].judge(revision, statements, found)
        migration = Migration(revision.number, revision.message, place, dict(revision.requires), judged, problem)
        plans[revision.database].migrations.append(migration)
    for judge in judges.values():
        judge.finish()
    return plans


def _rendered(revision: Revision) -> tuple[list[Statement], str | None]:
    try:
        return rendered(revision), None
    except OperationError as error:
        return [], str(error)
