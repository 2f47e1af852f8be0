"""Moves several databases together: in an order that satisfies what their migrations require of each other.

It stops at the first failure, and says where each database stands, also those that were not tried. What is done stays;
run again, it goes on from there.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from app.domains import revisions
from app.domains.revisions import Revision
from app.errors import OperationError
from app.operations import migrations
from app.operations.migrations_order import Histories, histories, ordered, undone, unmet
from app.operations.migrations_wait import Patience, Say
from app.settings import DatabaseName, Settings


@dataclass
class Standing:
    """Where a database stands, and what was done to it.

    Args:
        before: its revision before; None for no tables, or where it is not known.
        after: its revision now.
        head: the newest revision there is.
        outcome: what became of it.
        applied: the revisions that were applied; or undone, the newest first.
        partitions: the names of those that were made.
        problem: why it failed, or why it is not known where it stands.
    """

    before: str | None
    after: str | None
    head: str
    outcome: Literal["moved", "unchanged", "failed", "not tried"] = "not tried"
    applied: list[str] = field(default_factory=list[str])
    partitions: list[str] = field(default_factory=list[str])
    problem: str | None = None


Standings = dict[DatabaseName, Standing]
_Leg = tuple[DatabaseName, list[Revision]]
"""Migrations of one database that run one after the other, with none of another between them."""


async def upgrade(
    settings: Settings, names: Sequence[DatabaseName], today: date, patience: Patience, say: Say
) -> Standings:
    """Bring databases to their newest revisions, and make the orders' partitions of this year and the next.

    Raises:
        OperationError: nothing was done, since what the migrations require is not there, or they require each other.
    """
    of = histories()
    standings = await standings_of(settings, names)
    if any(standing.problem for standing in standings.values()):
        return standings
    order = await pending(settings, of, standings)
    legs = _legs(order)
    if "orders" in names and all(name != "orders" for name, _ in legs):
        legs.append(("orders", []))  # for the partitions

    async def move(name: DatabaseName, leg: list[Revision]) -> list[str]:
        for revision in leg:
            await _check_required(settings, of, revision)
        to = leg[-1].number if leg else of[name][-1].number
        url = settings.database_url(name)
        return (await migrations.upgrade(name, url, today, to=to, patience=patience, say=say)).partitions

    return await _move_each(settings, standings, legs, move)


async def downgrade(
    settings: Settings, names: Sequence[DatabaseName], revision: str, patience: Patience, say: Say
) -> Standings:
    """Take databases back to ``revision``: a number, ``-1`` for one step, ``base`` for no tables at all.

    Raises:
        OperationError: nothing was done, since one of them has no such revision behind it, or a migration that stays
            requires what would go.
    """
    of = histories()
    standings = await standings_of(settings, names)
    if any(standing.problem for standing in standings.values()):
        return standings
    targets: dict[DatabaseName, str | None] = {}
    problems: list[str] = []
    for name, standing in standings.items():
        try:
            targets[name] = migrations.back_to(name, standing.after, revision)
        except OperationError as error:
            problems.append(str(error))
    if problems:
        raise OperationError("\n".join(problems))
    requiring: set[DatabaseName] = {name for name in of for other in of[name] if other.requires.keys() & set(names)}
    order = undone(of, await _positions(settings, standings, requiring), targets)

    async def move(name: DatabaseName, leg: list[Revision]) -> list[str]:
        url, to = settings.database_url(name), leg[-1].after or "base"
        await migrations.downgrade(name, url, to, patience=patience, say=say)
        return []

    legs = _legs(order)
    return await _move_each(settings, standings, legs, move)


async def pending(settings: Settings, of: Histories, standings: Standings) -> list[Revision]:
    """The migrations that databases lack, in the order in which they would run.

    Raises:
        OperationError: what one requires is neither there nor among them.
    """
    lacking = [revision for name, at in standings.items() for revision in of[name][len(applied(name, at.after)) :]]
    required: set[DatabaseName] = {name for revision in lacking for name in revision.requires}
    return ordered(of, await _positions(settings, standings, required), list(standings))


def applied(name: DatabaseName, at: str | None) -> list[str]:
    """The revisions that are applied to a database that is at one of its history."""
    numbers = [revision.number for revision in revisions.history(name)]
    return numbers[: numbers.index(at) + 1] if at else []


def _legs(order: Sequence[Revision]) -> list[_Leg]:
    legs: list[_Leg] = []
    for revision in order:
        if not legs or legs[-1][0] != revision.database:
            legs.append((revision.database, []))
        legs[-1][1].append(revision)
    return legs


async def _move_each(
    settings: Settings,
    standings: Standings,
    legs: Sequence[_Leg],
    move: Callable[[DatabaseName, list[Revision]], Awaitable[list[str]]],
) -> Standings:
    for name, leg in legs:
        standing = standings[name]
        try:
            standing.partitions += await move(name, leg)
        except OperationError as error:
            standing.outcome, standing.problem = "failed", str(error)
        now = await migrations.status(name, settings.database_url(name))
        standing.after = now.revision
        if now.problem and not standing.problem:
            standing.outcome, standing.problem = "failed", now.problem
        if not now.problem:
            before, after = applied(name, standing.before), applied(name, standing.after)
            standing.applied = after[len(before) :] or before[len(after) :][::-1]
        if standing.problem:
            break
    done = all(standing.problem is None for standing in standings.values())
    for standing in standings.values():
        if standing.outcome == "not tried" and (standing.applied or done):
            standing.outcome = "moved" if standing.applied or standing.partitions else "unchanged"
    return standings


async def _check_required(settings: Settings, of: Histories, revision: Revision) -> None:
    """Whether what a migration requires is there at this moment, whatever it was when the order was made."""
    at = await _positions(settings, {}, revision.requires)
    reached: dict[DatabaseName, int] = {name: len(applied(name, number)) for name, number in at.items()}
    if lacking := unmet(of, reached, revision):
        raise OperationError(
            f"migration {revision} requires {', '.join(' '.join(item) for item in lacking.items())}, "
            "and somebody has taken that back meanwhile"
        )


async def standings_of(settings: Settings, names: Sequence[DatabaseName]) -> Standings:
    """Where databases stand, as far as can be told; those that do not say have failed."""
    standings: Standings = {}
    for name in names:
        at = await migrations.status(name, settings.database_url(name))
        outcome = "failed" if at.problem else "not tried"
        standings[name] = Standing(at.revision, at.revision, at.head, outcome, problem=at.problem)
    return standings


async def _positions(
    settings: Settings, standings: Standings, others: Collection[DatabaseName]
) -> dict[DatabaseName, str | None]:
    """Where databases stand: those that are known, and others.

    Raises:
        OperationError: one of the others does not say.
    """
    at: dict[DatabaseName, str | None] = {name: standing.after for name, standing in standings.items()}
    for name in others:
        if name not in at:
            found = await migrations.status(name, settings.database_url(name))
            if found.problem:
                raise OperationError(found.problem)
            at[name] = found.revision
    return at
