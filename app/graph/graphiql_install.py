"""``storegraph graphiql install``: GraphiQL's files from npm's packages into a folder, each held against the lock."""

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from app.errors import OperationError
from app.graph.graphiql import File, Package, integrity_of, packages

PATIENCE = 300
"""Seconds that npm may take."""
LARGEST = 50_000_000
"""Bytes of a file that is looked at: ten times as many as the largest has."""


def install(folder: Path, archives: Path | None = None) -> list[str]:
    """Put what is missing into a folder. Nothing is written before everything has turned out to be what it should be.

    Args:
        folder: made where it is missing.
        archives: a folder with the packages' ``.tgz`` files, under whatever names; by default npm fetches them, from
            the registry that it is set up for.

    Returns:
        The packages that were put there; none, where all were there already.

    Raises:
        OperationError: a package cannot be had, or is not what the lock says; the folder cannot be written.
    """
    missing = [package for package in packages() if not all(file.is_in(folder) for file in package.files)]
    if not missing:
        return []
    if archives is not None:
        contents = _read(missing, archives)
    else:
        with TemporaryDirectory(prefix="storegraph-") as scratch:
            _fetch(missing, Path(scratch))
            contents = _read(missing, Path(scratch))
    _write(folder, contents)
    return [package.name for package in missing]


def _fetch(wanted: Iterable[Package], folder: Path) -> None:
    """Have npm put packages into a folder. It runs nothing of them."""
    names = [package.name for package in wanted]
    npm = shutil.which("npm")
    if npm is None:
        raise OperationError(
            f"there is no npm; where there is one, run `npm pack {' '.join(names)}`, bring the .tgz files here, and "
            "name their folder with --from"
        )
    # Offline it would try again for a minute.
    options = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=0", "--fetch-timeout=60000"]
    try:
        done = subprocess.run(  # noqa: S603 -- our own arguments
            [npm, "pack", *options, *names], cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise OperationError(f"npm took more than {PATIENCE} seconds to fetch {', '.join(names)}") from None
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if line.strip()), "it does not say why")
        raise OperationError(f"npm could not fetch {', '.join(names)}: {said.removeprefix('npm error ')}")


def _read(wanted: Iterable[Package], folder: Path) -> dict[File, bytes]:
    """The files of packages, from the archives in a folder that are those packages by their hash."""
    try:
        found = {path.name: path.read_bytes() for path in sorted(folder.glob("*.tgz"))}
    except OSError as error:
        raise OperationError(f"cannot read {error.filename}: {error.strerror}") from None
    by_hash = {integrity_of(content, "sha512"): content for content in found.values()}
    contents: dict[File, bytes] = {}
    for package in wanted:
        if (archive := by_hash.get(package.integrity)) is None:
            there = f"of what is there ({', '.join(found)})" if found else "since there is no .tgz file"
            raise OperationError(
                f"{package.name} is not to be had, {there}: no archive has the hash in graphiql.lock.json, "
                f"{package.integrity}"
            )
        contents |= _unpacked(package, archive)
    return contents


def _unpacked(package: Package, archive: bytes) -> dict[File, bytes]:
    """The files of a package, by way of memory: no name in an archive ever becomes the name of a file."""
    contents: dict[File, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for file in package.files:
            try:
                member = tar.extractfile(f"package{file.path.removeprefix(package.name)}")
            except KeyError:
                member = None
            content = member.read(LARGEST) if member else b""
            if not file.holds(content):
                raise OperationError(f"{file.path} is missing in its archive, or is not what graphiql.lock.json says")
            contents[file] = content
    return contents


def _write(folder: Path, contents: Mapping[File, bytes]) -> None:
    try:
        for file, content in contents.items():
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(path.name + ".unfinished")
            unfinished.write_bytes(content)
            unfinished.replace(path)  # whoever serves the folder meanwhile never sees half a file
    except OSError as error:
        raise OperationError(
            f"cannot write {error.filename}: {error.strerror}; choose another folder with --dir, and name it to the "
            "gateway as GRAPHIQL_DIR"
        ) from None
