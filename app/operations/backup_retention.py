"""Which sets of backups are kept and which may go. Only whole sets of ours go, unless the rest is asked for as well."""

import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from app.errors import OperationError
from app.operations.backup_sets import REMOVED, Found, list_sets, others_in, sync


@dataclass(frozen=True)
class Fate:
    """What becomes of something in a folder of sets, and why."""

    path: Path
    removed: bool
    reason: str
    bytes: int


def prune(
    folder: Path, now: datetime, *, keep: int | None, keep_days: int | None, broken: bool, dry: bool
) -> list[Fate]:
    """Remove old sets from a folder; return what became of everything in it, newest first.

    A set is kept where either rule keeps it, and the newest whole one always. Sets are counted apart from those of
    other databases: ``keep=7`` keeps seven of all four, and seven of users alone. What is not whole does not count.

    Args:
        folder: where the sets lie.
        now: from when days are counted back.
        keep: how many sets to keep of the same databases.
        keep_days: for how many days to keep a set.
        broken: remove damaged sets as well, and what is left of those that were never finished.
        dry: remove nothing; only say what would be removed.

    Raises:
        OperationError: the folder cannot be read, or a set cannot be removed.
    """
    before = Counter[frozenset[str]]()
    fates: list[Fate] = []
    for found in list_sets(folder):
        fate = _fate(found, before, now, keep, keep_days, broken=broken)
        if fate.removed and not dry:
            _remove(found.path)
        fates.append(fate)
    return fates + [Fate(path, removed=False, reason="not a set of backups", bytes=0) for path in others_in(folder)]


def _fate(
    found: Found,
    before: Counter[frozenset[str]],
    now: datetime,
    keep: int | None,
    keep_days: int | None,
    *,
    broken: bool,
) -> Fate:
    if found.state == "being made":
        return Fate(found.path, removed=False, reason="being made", bytes=found.bytes)
    if found.state != "whole" or found.manifest is None:
        return Fate(found.path, removed=broken, reason=found.state, bytes=found.bytes)
    number = before[frozenset(found.manifest.databases)]
    before[frozenset(found.manifest.databases)] += 1
    age = now - found.manifest.created_at
    if number == 0:
        return Fate(found.path, removed=False, reason="the newest", bytes=found.bytes)
    if keep is not None and number < keep:
        return Fate(found.path, removed=False, reason=f"one of the {keep} newest", bytes=found.bytes)
    if keep_days is not None and age < timedelta(days=keep_days):
        return Fate(found.path, removed=False, reason=f"younger than {keep_days} days", bytes=found.bytes)
    return Fate(found.path, removed=True, reason=f"{age.days} days old", bytes=found.bytes)


def _remove(path: Path) -> None:
    """Remove a set. It is none from the first moment on, also where we do not come to the end."""
    going = path if path.name.endswith(REMOVED) else path.with_name(path.name + REMOVED)
    try:
        path.rename(going)
        sync(path.parent)
        shutil.rmtree(going)
    except OSError as error:
        raise OperationError(f"cannot remove {path}: {error.strerror}") from None
