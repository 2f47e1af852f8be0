"""Sets of backups as they lie in a folder: one folder a set, with a dump of each database and a manifest.

A set that is being made has another name until it is whole. ``SHA256SUMS`` holds the checksum of every file, in the
form that ``sha256sum --check`` reads; it shows accidents, not forgery: who may write here may write that as well.
"""

import fcntl
import hashlib
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from app.errors import OperationError
from app.operations.backup_contents import Contents
from app.settings import DatabaseName

FORMAT = 1
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
UNFINISHED = ".unfinished"
REMOVED = ".removed"
NAME_OF_TIME = "%Y%m%dT%H%M%SZ"

State = Literal["whole", "damaged", "being made", "unfinished"]
_NAME = re.compile(r"\d{8}T\d{6}Z(-\d+)?")


@checked_dataclass(frozen=True)
class DumpFile:
    """A file of a set. ``sha256`` is in hexadecimal digits."""

    name: str
    bytes: int
    sha256: str


@checked_dataclass(frozen=True)
class DatabaseBackup:
    """One database of a set: what it was called, what it held, and the file that holds it now.

    ``roles`` are those that own something in it or have rights to something. ``settings`` are statements that make the
    database itself what it was, with ``{database}`` in the place of its name: its owner, its settings, who may connect.
    """

    database: str
    server_version: str
    pg_dump_version: str
    contents: Contents
    roles: list[str]
    settings: list[str]
    file: DumpFile

    @property
    def rows(self) -> int:
        """How many rows there are in all tables."""
        return sum(table.rows for table in self.contents.tables.values())


@checked_dataclass(frozen=True)
class Manifest:
    """What a set holds. All databases are as they were at some moment between the two times of ``snapshots``.

    ``span`` is the seconds between these two, and so the most by which one database can be ahead of another.
    """

    format: int
    created_at: AwareDatetime
    snapshots: tuple[AwareDatetime, AwareDatetime]
    span: float
    plain: bool
    databases: dict[DatabaseName, DatabaseBackup]


_MANIFEST = TypeAdapter(Manifest)


@dataclass(frozen=True)
class Found:
    """A folder that looks like a set, and how it stands. ``manifest`` is None where it cannot be read."""

    path: Path
    state: State
    manifest: Manifest | None
    bytes: int
    problem: str | None


def values_of(manifest: Manifest) -> dict[str, object]:
    """A manifest as it is written, in values that JSON has."""
    return _MANIFEST.dump_python(manifest, mode="json")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a set's manifest and checksums, and see to it that they are on the disk."""
    text = _MANIFEST.dump_json(manifest, indent=2) + b"\n"
    for name, content in ((MANIFEST, text), (SUMS, _sums(manifest, text).encode())):
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    sync(folder)


def _sums(manifest: Manifest, text: bytes) -> str:
    """What ``SHA256SUMS`` says of a set: its dumps, and the text of its manifest."""
    sums = {backup.file.name: backup.file.sha256 for backup in manifest.databases.values()}
    sums[MANIFEST] = hashlib.sha256(text).hexdigest()
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items())


def sync(folder: Path) -> None:
    """See to it that the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a set, if it is as it was written.

    Raises:
        OperationError: there is none, it was changed, or a newer version of storegraph made it.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
        sums = (folder / SUMS).read_bytes().decode(errors="replace")
    except FileNotFoundError as error:
        hint = "it has sets of backups in it: name one of them" if _sets_in(folder) else "it is no set of backups"
        raise OperationError(f"{folder} has no {Path(error.filename).name}: {hint}") from None
    except OSError as error:
        raise OperationError(f"cannot read {error.filename}: {error.strerror}") from None
    if f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}" not in sums.splitlines():
        raise OperationError(f"{folder / MANIFEST} has changed since it was written (see {SUMS})")
    version = re.search(rb'"format": (\d+)', text)  # before the rest, which another format has otherwise
    if version and int(version[1]) > FORMAT:
        raise OperationError(
            f"{folder / MANIFEST} has format {int(version[1])}, and this version of storegraph reads {FORMAT}: "
            "use a newer one"
        )
    try:
        manifest = _MANIFEST.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise OperationError(f"{folder / MANIFEST}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if sums != _sums(manifest, text):
        raise OperationError(f"{folder / SUMS} has changed since it was written")
    return manifest


def missing_or_resized(folder: Path, manifest: Manifest, names: list[DatabaseName]) -> list[str]:
    """What is seen to be wrong with the files of some databases without reading them, one line each."""
    lines: list[str] = []
    for name in names:
        file = manifest.databases[name].file
        path = folder / file.name
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            lines.append(f"{path} is missing")
        elif size != file.bytes:
            lines.append(f"{path} has {size:,} bytes, not {file.bytes:,}")
    return lines


def changed_files(folder: Path, manifest: Manifest, names: list[DatabaseName]) -> list[str]:
    """What is wrong with the files of some databases, one line each. Reads them from end to end."""
    lines = missing_or_resized(folder, manifest, names)
    if not lines:
        for name in names:
            file = manifest.databases[name].file
            if digest_of(folder / file.name) != file.sha256:
                lines.append(f"{folder / file.name} has changed since it was written (its SHA-256 is another)")
    return lines


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OperationError(f"cannot read {path}: {error.strerror}") from None


def databases_of(folder: Path, manifest: Manifest, only: DatabaseName | None) -> list[DatabaseName]:
    """The databases to take from a set: the one that is asked for, or all there are.

    Raises:
        OperationError: the set does not have it.
    """
    if only is None:
        return list(manifest.databases)
    if only not in manifest.databases:
        raise OperationError(f"{folder} has no {only} database; it has {', '.join(manifest.databases)}")
    return [only]


def list_sets(folder: Path) -> list[Found]:
    """The sets in a folder, newest first, and what is left of those that never became one. Reads no dump.

    Raises:
        OperationError: there is no such folder, or we may not read it.
    """
    return [_look_at(path) for path in _sets_in(folder)]


def others_in(folder: Path) -> list[Path]:
    """What lies in a folder of sets and is none of ours."""
    known = set(_sets_in(folder))
    return sorted(path for path in folder.iterdir() if path not in known)


def _sets_in(folder: Path) -> list[Path]:
    try:
        paths = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError as error:
        raise OperationError(f"cannot read {folder}: {error.strerror}") from None
    return sorted((path for path in paths if _NAME.fullmatch(_base(path.name))), key=_order, reverse=True)


def _base(name: str) -> str:
    return name.removesuffix(UNFINISHED).removesuffix(REMOVED)


def _order(path: Path) -> tuple[str, int]:
    time, _, number = _base(path.name).partition("-")
    return time, int(number or 0)


def _look_at(path: Path) -> Found:
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    if _base(path.name) != path.name:
        return Found(path, "being made" if is_in_use(path) else "unfinished", None, size, None)
    manifest = None
    try:
        manifest = read_manifest(path)
        problems = missing_or_resized(path, manifest, list(manifest.databases))
    except OperationError as error:
        problems = [str(error)]
    return Found(path, "damaged" if problems else "whole", manifest, size, "\n".join(problems) or None)


def lock(folder: Path) -> int:
    """Mark a folder as in use until the descriptor that this returns is closed, if only by the end of the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def is_in_use(folder: Path) -> bool:
    """Whether a living process has it locked."""
    try:
        os.close(lock(folder))
    except BlockingIOError:
        return True
    return False


def name_for(folder: Path, moment: datetime) -> str:
    """A name for a set that no other in the folder has."""
    name = moment.strftime(NAME_OF_TIME)
    taken = {_base(path.name) for path in _sets_in(folder)}
    number = 1
    candidate = name
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
