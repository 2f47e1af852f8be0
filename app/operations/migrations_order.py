"""In which order the migrations of several databases run, so that each finds what it requires of others."""

from collections.abc import Mapping, Sequence

from app.domains import revisions
from app.domains.revisions import Revision
from app.errors import OperationError
from app.settings import DATABASE_NAMES, DatabaseName

Histories = Mapping[DatabaseName, Sequence[Revision]]
Positions = Mapping[DatabaseName, str | None]
"""The revision that each database is at; None for one without tables."""


def histories() -> dict[DatabaseName, list[Revision]]:
    """The history of each database, as ``validate`` lets it pass."""
    of = revisions.histories()
    validate(of)
    return of


def validate(of: Histories) -> None:
    """Refuse histories that no order can satisfy.

    Raises:
        OperationError: a migration requires one that there is not, or they require each other.
    """
    nothing: Positions = dict.fromkeys(of)
    for revision in (revision for history in of.values() for revision in history):
        for name, number in revision.requires.items():
            if number not in {other.number for other in of[name]}:
                raise OperationError(f"migration {revision} requires {name} {number}, which there is not")
            if name == revision.database:
                raise OperationError(f"migration {revision} requires {name} {number}: it is of the same database")
    ordered(of, nothing, list(of))


def ordered(of: Histories, at: Positions, names: Sequence[DatabaseName]) -> list[Revision]:
    """The migrations that databases lack, each after those that it requires; else a database's stay together.

    Args:
        of: the history of each database.
        at: where each database stands that is to be moved, or that a migration may require something of.
        names: the databases to be moved.

    Raises:
        OperationError: what one requires is neither there nor among them, or they require each other.
    """
    reached: dict[DatabaseName, int] = {name: _index(of[name], at.get(name)) for name in of}
    order: list[Revision] = []
    moved = True
    while moved:
        moved = False
        for name in names:
            while reached[name] < len(of[name]) and not unmet(of, reached, of[name][reached[name]]):
                order.append(of[name][reached[name]])
                reached[name] += 1
                moved = True
    stuck: dict[DatabaseName, Revision] = {
        name: of[name][reached[name]] for name in names if reached[name] < len(of[name])
    }
    if stuck:
        raise OperationError(_why_stuck(of, reached, stuck))
    return order


def undone(of: Histories, at: Positions, targets: Mapping[DatabaseName, str | None]) -> list[Revision]:
    """The migrations to be undone to take databases back, each before those that it requires.

    Args:
        of: the history of each database.
        at: where each database stands that is to be taken back, or whose migrations may require one that is undone.
        targets: the revision that each is to be taken back to; None for no tables.

    Raises:
        OperationError: a migration that stays requires one that is to go.
    """
    reached: dict[DatabaseName, int] = {name: _index(of[name], at.get(name)) for name in of}
    ends: dict[DatabaseName, int] = {name: _index(of[name], target) for name, target in targets.items()}
    order: list[Revision] = []
    moved = True
    while moved:
        moved = False
        for name in sorted(targets, key=DATABASE_NAMES.index, reverse=True):
            while reached[name] > ends[name] and not _needing(of, reached, of[name][reached[name] - 1]):
                reached[name] -= 1
                order.append(of[name][reached[name]])
                moved = True
    for name, end in ends.items():
        if reached[name] > end:
            last = of[name][reached[name] - 1]
            needing = ", ".join(str(revision) for revision in _needing(of, reached, last))
            raise OperationError(f"migration {last} cannot be undone: {needing} requires it. Take that back first")
    return order


def unmet(of: Histories, reached: Mapping[DatabaseName, int], revision: Revision) -> dict[DatabaseName, str]:
    """What a migration requires of databases that are not that far; ``reached`` counts the migrations of each."""
    return {name: number for name, number in revision.requires.items() if _index(of[name], number) > reached[name]}


def _needing(of: Histories, reached: Mapping[DatabaseName, int], revision: Revision) -> list[Revision]:
    """The applied migrations of others that require one, of those that are applied."""
    place = _index(of[revision.database], revision.number)
    return [
        other
        for name, history in of.items()
        for other in history[: reached[name]]
        if revision.database in other.requires
        and _index(of[revision.database], other.requires[revision.database]) >= place
    ]


def _why_stuck(of: Histories, reached: Mapping[DatabaseName, int], stuck: Mapping[DatabaseName, Revision]) -> str:
    """From one that is stuck to what it waits for, until that is none to be moved, or met for the second time."""
    path: list[Revision] = []
    revision = next(iter(stuck.values()))
    while revision not in path:
        path.append(revision)
        name, number = next(iter(unmet(of, reached, revision).items()))
        if name not in stuck:
            there = of[name][reached[name] - 1].number if reached[name] else "no revision"
            return (
                f"migration {revision} requires {name} {number}, and the {name} database is at {there}: "
                f"run `storegraph db upgrade` for all, or for {name} first"
            )
        revision = stuck[name]
    cycle = " → ".join(str(of_cycle) for of_cycle in [*path[path.index(revision) :], revision])
    return f"migrations require each other, so that none can be the first: {cycle}"


def _index(history: Sequence[Revision], number: str | None) -> int:
    """How many migrations of a history are applied at a revision."""
    numbers = [revision.number for revision in history]
    return 0 if number is None else numbers.index(number) + 1
