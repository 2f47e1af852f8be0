"""Sets of backups as files: what has changed is refused, and retention removes what it says and nothing else."""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.errors import OperationError
from app.operations import backup_sets
from app.operations.backup_contents import Contents, TableContents
from app.operations.backup_retention import Fate, prune
from app.operations.backup_sets import (
    DatabaseBackup,
    DumpFile,
    Manifest,
    changed_files,
    digest_of,
    list_sets,
    name_for,
    read_manifest,
    write_manifest,
)
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from tests.operations.rows import storegraph

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


def made_set(path: Path, created: datetime = NOW, names: Iterable[DatabaseName] = ("users", "orders")) -> Path:
    """A set whose dumps are no dumps: nothing here looks into them."""
    path.mkdir(parents=True)
    saved: dict[DatabaseName, DatabaseBackup] = {}
    for name in names:
        file = path / f"{name}.dump"
        file.write_bytes(b"the dump of " + name.encode() * 20)
        contents = Contents("0001", {"tables": 1}, {"public.some": TableContents(3, "00112233aabbccdd")}, [])
        dump = DumpFile(file.name, file.stat().st_size, digest_of(file))
        saved[name] = DatabaseBackup(name, "18.1", "18.2", contents, ["postgres"], [], dump)
    write_manifest(path, Manifest(backup_sets.FORMAT, created, (created, created), 0.01, False, saved))
    return path


def problems(path: Path) -> list[str]:
    """What is said of a set before anything is restored from it."""
    try:
        manifest = read_manifest(path)
    except OperationError as error:
        return [str(error)]
    return changed_files(path, manifest, list(manifest.databases))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_set(tmp_path_factory.mktemp("sets") / "20260331T120000Z")


def test_a_set_reads_as_it_was_written(whole: Path) -> None:
    assert problems(whole) == []
    manifest = read_manifest(whole)
    assert manifest.databases["orders"].contents.tables == {"public.some": TableContents(3, "00112233aabbccdd")}
    assert manifest.created_at == NOW


FILES = ("users.dump", "orders.dump", backup_sets.MANIFEST, backup_sets.SUMS)


@example(name=backup_sets.MANIFEST, place=1.0, bit=0)
@given(name=st.sampled_from(FILES), place=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_wherever_it_is(whole: Path, name: str, place: float, bit: int) -> None:
    path = whole / name
    before = path.read_bytes()
    at = round(place * (len(before) - 1))
    try:
        path.write_bytes(before[:at] + bytes([before[at] ^ (1 << bit)]) + before[at + 1 :])
        [problem] = problems(whole)
    finally:
        path.write_bytes(before)
    assert "has changed since it was written" in problem


@example(name=backup_sets.SUMS, kept=0.0)
@given(name=st.sampled_from(FILES), kept=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_found(whole: Path, name: str, kept: float) -> None:
    path = whole / name
    before = path.read_bytes()
    try:
        path.write_bytes(before[: int(kept * len(before))])
        [problem] = problems(whole)
    finally:
        path.write_bytes(before)
    assert "has changed since it was written" in problem or f"bytes, not {len(before)}" in problem


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(whole: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(whole, tmp_path / "20260331T120000Z"))
    (copy / name).unlink()
    [problem] = problems(copy)
    assert name in problem
    [found] = list_sets(tmp_path)
    assert (found.state, found.problem) == ("damaged", problem)


def test_a_set_of_a_newer_version_is_not_guessed_at(tmp_path: Path) -> None:
    path = made_set(tmp_path / "20260331T120000Z")
    write_manifest(path, replace(read_manifest(path), format=backup_sets.FORMAT + 1))
    assert problems(path) == [
        f"{path / 'manifest.json'} has format 2, and this version of storegraph reads 1: use a newer one"
    ]


def test_two_sets_of_the_same_second_have_two_names(tmp_path: Path) -> None:
    names: list[str] = []
    for _ in range(3):
        names.append(name_for(tmp_path, NOW))
        made_set(tmp_path / names[-1])
    assert names == ["20260331T120000Z", "20260331T120000Z-2", "20260331T120000Z-3"]
    assert [found.path.name for found in list_sets(tmp_path)] == names[::-1]


def days_ago(folder: Path, days: int, names: Iterable[DatabaseName] = DATABASE_NAMES) -> str:
    created = NOW - timedelta(days=days)
    return made_set(folder / name_for(folder, created), created, names).name


def run_prune(
    folder: Path, *, keep: int | None = None, days: int | None = None, broken: bool = False, dry: bool = False
) -> list[Fate]:
    return prune(folder, NOW, keep=keep, keep_days=days, broken=broken, dry=dry)


def test_what_is_not_whole_or_not_ours_stays_and_is_told(tmp_path: Path) -> None:
    whole, older, oldest = (days_ago(tmp_path, days) for days in (0, 2, 4))
    damaged = days_ago(tmp_path, 1)
    (tmp_path / damaged / "orders.dump").unlink()
    left = tmp_path / "20260301T000000Z.unfinished"
    left.mkdir()
    running = tmp_path / "20260331T115959Z.unfinished"
    running.mkdir()
    for foreign in ("notes.txt", "20260101T000000Z.tar"):
        (tmp_path / foreign).touch()
    (tmp_path / "20260102T000000Z").symlink_to(tmp_path / whole)  # not ours: what it leads to is elsewhere
    in_use = backup_sets.lock(running)
    try:
        fates = {fate.path.name: (fate.removed, fate.reason) for fate in run_prune(tmp_path, keep=2)}
        assert fates == {
            whole: (False, "the newest"),
            running.name: (False, "being made"),
            damaged: (False, "damaged"),
            older: (False, "one of the 2 newest"),
            oldest: (True, "4 days old"),
            left.name: (False, "unfinished"),
            **dict.fromkeys(("notes.txt", "20260101T000000Z.tar", "20260102T000000Z"), (False, "not a set of backups")),
        }
        assert {path.name for path in tmp_path.iterdir()} == fates.keys() - {oldest}
        removed = {fate.path.name for fate in run_prune(tmp_path, keep=2, broken=True) if fate.removed}
        assert removed == {damaged, left.name}
        assert {path.name for path in tmp_path.iterdir()} == fates.keys() - {oldest, damaged, left.name}
    finally:
        os.close(in_use)


ages = st.lists(st.tuples(st.integers(0, 30), st.sampled_from((DATABASE_NAMES, ("users",)))), max_size=8)


@example(sets=[(9, DATABASE_NAMES), (9, DATABASE_NAMES)], keep=None, days=5, dry=False)
@given(sets=ages, keep=st.none() | st.integers(1, 5), days=st.none() | st.integers(1, 20), dry=st.booleans())
@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_set_goes_if_and_only_if_no_rule_keeps_it(
    tmp_path_factory: pytest.TempPathFactory,
    sets: list[tuple[int, tuple[DatabaseName, ...]]],
    keep: int | None,
    days: int | None,
    dry: bool,
) -> None:
    folder = tmp_path_factory.mktemp("sets")
    kept: set[str] = set()
    newest_first = sorted(sets, key=lambda one: one[0])
    made = [(age, names, days_ago(folder, age, names)) for age, names in reversed(newest_first)][::-1]
    for names in (DATABASE_NAMES, ("users",)):
        alike = [(age, name) for age, of, name in made if of == names]
        kept |= {name for number, (age, name) in enumerate(alike) if number < (keep or 1) or age < (days or 0)}
    fates = run_prune(folder, keep=keep, days=days, dry=dry)
    assert {fate.path.name for fate in fates if not fate.removed} == kept
    assert {path.name for path in folder.iterdir()} == ({name for *_, name in made} if dry else kept)
    shutil.rmtree(folder)


def test_a_set_that_is_half_removed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest, old = days_ago(tmp_path, 0), days_ago(tmp_path, 9)

    def broken_off(path: Path) -> None:
        raise KeyboardInterrupt(str(path))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", broken_off)
        with pytest.raises(KeyboardInterrupt):
            run_prune(tmp_path, keep=1)
    states = [(found.path.name, found.state) for found in list_sets(tmp_path)]
    assert states == [(newest, "whole"), (f"{old}.removed", "unfinished")]
    run_prune(tmp_path, keep=1, broken=True)
    assert [path.name for path in tmp_path.iterdir()] == [newest]


def test_the_command_says_what_it_removed_and_what_it_left(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, old, damaged = (days_ago(tmp_path, days) for days in (3, 4, 5))
    (tmp_path / damaged / "manifest.json").unlink()
    assert storegraph(settings, monkeypatch, "backup", "prune", str(tmp_path)) == 2
    assert "--keep" in capsys.readouterr().err
    assert storegraph(settings, monkeypatch, "backup", "prune", str(tmp_path), "--keep", "1", "--dry-run") == 0
    assert "1 would be removed" in capsys.readouterr().out
    assert (tmp_path / old).is_dir()
    assert storegraph(settings, monkeypatch, "backup", "prune", str(tmp_path), "--keep", "1") == 0
    printed = capsys.readouterr().out
    assert f"not whole, and kept: {damaged}; --broken removes them" in printed
    assert not (tmp_path / old).exists()
    assert storegraph(settings, monkeypatch, "backup", "list", str(tmp_path)) == 1
    assert "damaged" in capsys.readouterr().out
    assert storegraph(settings, monkeypatch, "backup", "prune", str(tmp_path), "--keep", "1", "--broken", "--json") == 0
    fates = json.loads(capsys.readouterr().out)
    assert [(fate["path"], fate["removed"]) for fate in fates] == [
        (str(tmp_path / kept), False),
        (str(tmp_path / damaged), True),
    ]
