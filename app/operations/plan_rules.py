"""What is dangerous about a migration: its statements, and how they stand to each other."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.domains.revisions import Revision
from app.operations.migrations_run import Statement
from app.operations.plan_locks import Danger, Effect, Facts, Relation, effect_of
from app.operations.plan_sql import plain
from app.operations.plan_squawk import SAME


@dataclass(frozen=True)
class Lock:
    """A table-level lock on a table that is in use, held until the migration's end.

    ``blocks`` is what of the traffic waits for it: nothing (empty), ``writes``, or ``reads and writes``. ``rows`` is
    the server's estimate, and ``size`` is in bytes; both are None for what is not there yet.
    """

    table: str
    mode: str
    blocks: str
    rows: int | None
    size: int | None
    partitions: int


@dataclass(frozen=True)
class Finding:
    """A danger, by a rule of ours or of squawk's. It does not count where the migration says why it accepts it."""

    source: str
    rule: str
    message: str
    accepted: str | None


@dataclass(frozen=True)
class Planned:
    """A statement: its SQL, whether it runs outside of the migration's transaction, its locks and dangers."""

    sql: str
    outside: bool
    locks: list[Lock]
    findings: list[Finding]


@dataclass
class Judge:
    """Goes through the pending migrations of one database, in the order in which they would run."""

    facts: Facts
    _unvalidated: dict[str, tuple[list[Finding], Revision]] = field(
        default_factory=dict[str, tuple[list[Finding], Revision]]
    )

    def judge(
        self, revision: Revision, statements: Sequence[Statement], squawk: Sequence[Sequence[Danger]]
    ) -> list[Planned]:
        """The next migration: what each statement locks, and what is dangerous about it.

        Args:
            revision: the migration.
            statements: what it sends.
            squawk: what squawk says of each of them; empty where it was not asked.
        """
        planned: list[Planned] = []
        held: dict[str, str] = {}
        for number, statement in enumerate(statements):
            line = plain(statement.sql)
            effect = effect_of(statement.sql, self.facts)
            dangers = list(effect.dangers)
            if effect.locks:
                dangers += _of_transaction(line, statements, number)
            if not statement.outside:
                if effect.works and held and not dangers:  # or it has been said already
                    dangers.append(_of_held(held))
                held |= {table: str(mode) for table, mode in effect.locks.items() if mode.blocks}
            findings = [_finding(revision, "storegraph", danger) for danger in dangers]
            if squawk and effect.locks:  # what is not in use may be done to as one likes
                findings += [_finding(revision, "squawk", danger) for danger in squawk[number]]
            self._note_constraints(line, effect, findings, revision)
            planned.append(Planned(statement.sql, statement.outside, _locks(effect, self.facts), findings))
        return planned

    def finish(self) -> None:
        """After the last migration: add what is wrong with all of them together."""
        for name, (findings, revision) in self._unvalidated.items():
            told = f"{name} is added NOT VALID, and no migration here VALIDATEs it: write that one as well"
            findings.append(_finding(revision, "storegraph", Danger("not-validated", told)))

    def _note_constraints(self, line: str, effect: Effect, findings: list[Finding], revision: Revision) -> None:
        for name in _NOT_VALID.findall(line) if effect.locks else ():
            self._unvalidated[name] = findings, revision
        for name in _VALIDATE.findall(line):
            self._unvalidated.pop(name, None)


_NOT_VALID = re.compile(r"ADD CONSTRAINT (\S+) (?:(?!ADD CONSTRAINT).)*? NOT VALID", re.IGNORECASE)
_VALIDATE = re.compile(r"VALIDATE CONSTRAINT (\S+)", re.IGNORECASE)
_CONCURRENTLY = re.compile(
    r"(CREATE (UNIQUE )?INDEX|DROP INDEX|REINDEX .*|ALTER TABLE .* DETACH .*) CONCURRENTLY\b", re.IGNORECASE
)
_OUTSIDE = "with op.get_context().autocommit_block(): …"


def _of_transaction(line: str, statements: Sequence[Statement], number: int) -> list[Danger]:
    """What is wrong with where a statement runs: in the migration's transaction, or outside of it."""
    if not statements[number].outside:
        told = f"cannot run in a transaction: {_OUTSIDE}"
        return [Danger("concurrently", told)] if _CONCURRENTLY.match(line) else []
    dangers: list[Danger] = []
    first = next(index for index, statement in enumerate(statements) if statement.outside)
    if len(statements) > 1 and number == first:
        told = "is not undone when another statement of the migration fails: give it a migration of its own"
        dangers.append(Danger("mixed", told))
    if re.match(r"(CREATE|DROP)\b", line, re.IGNORECASE) and not re.search(
        r"\bIF (NOT )?EXISTS\b", line, re.IGNORECASE
    ):
        option = "if_not_exists=True" if line.upper().startswith("CREATE") else "if_exists=True"
        dangers.append(Danger("not-resumable", f"cannot run again when it is killed right after it: say {option}"))
    return dangers


def _of_held(held: dict[str, str]) -> Danger:
    locks = " and ".join(f"{table} ({mode})" for table, mode in held.items())
    told = f"takes its time while locks taken before it are held, on {locks}: give it a migration of its own"
    return Danger("lock-held", told)


def _finding(revision: Revision, source: str, danger: Danger) -> Finding:
    names = (danger.rule, *SAME.get(danger.rule, ()))
    accepted = next((revision.accepts[name] for name in names if name in revision.accepts), None)
    return Finding(source, danger.rule, danger.message, accepted)


def _locks(effect: Effect, facts: Facts) -> list[Lock]:
    unknown = Relation(None, None, 0)
    of = {table: facts.relations.get(table, unknown) for table in effect.locks}
    return [
        Lock(table, str(mode), mode.blocks, of[table].rows, of[table].size, of[table].partitions)
        for table, mode in sorted(effect.locks.items())
    ]
