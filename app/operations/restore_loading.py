"""Loads a dump into a new database and compares what is then in it with the manifest; and verifies sets by that."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.errors import OperationError
from app.operations.backup import together
from app.operations.backup_contents import contents_of, differences
from app.operations.backup_errors import told
from app.operations.backup_sets import DatabaseBackup, changed_files, databases_of, read_manifest
from app.operations.client_programs import (
    PART,
    connection_string,
    feed,
    find_client_programs,
    major_of,
    printed_by,
    run,
)
from app.operations.connect import connected
from app.operations.progress import Bar, progress_bar
from app.operations.restore_names import scratch_beside
from app.settings import DatabaseName, Settings

_TRANSACTION_TIMEOUT_SINCE = 17


@dataclass(frozen=True)
class Loading:
    """How dumps of a set are loaded.

    ``owners`` is whether everything gets the owners and rights that it had, ``jobs`` how many processes load one dump
    (a plain one takes one), ``source`` where the client programs are from.
    """

    folder: Path
    plain: bool
    owners: bool
    jobs: int
    source: Literal["embedded", "path"]


@dataclass(frozen=True)
class Verified:
    """What a backup of one database holds, and what is wrong with it, one line each."""

    tables: int
    rows: int
    findings: list[str]


async def verify(
    settings: Settings, folder: Path, only: DatabaseName | None, *, jobs: int, source: Literal["embedded", "path"]
) -> dict[DatabaseName, Verified]:
    """See whether a set is good: restore it into new databases on the same servers, compare, and drop them again.

    Raises:
        OperationError: it is no set, or it could not be tried: no connection, no right to make a database.
    """
    manifest = read_manifest(folder)
    names = databases_of(folder, manifest, only)
    loading = Loading(folder, manifest.plain, owners=False, jobs=jobs, source=source)

    async def verify_one(name: DatabaseName, bar: Bar) -> Verified:
        backup = manifest.databases[name]
        findings = await asyncio.to_thread(changed_files, folder, manifest, [name])
        if not findings:
            async with scratch_beside(name, settings.database_url(name), "verify") as url:
                try:
                    await load(name, url, backup, loading)
                except OperationError as error:
                    findings = [str(error)]
                else:
                    findings = await compare(name, url, backup, bar)
        return Verified(len(backup.contents.tables), backup.rows, findings)

    with progress_bar(sum(len(manifest.databases[name].contents.tables) for name in names)) as bar:
        bar.say("verifying")
        verified = await together(verify_one(name, bar) for name in names)
    return dict(zip(names, verified, strict=True))


async def load(name: DatabaseName, url: str, backup: DatabaseBackup, loading: Loading) -> None:
    """Load a dump into an empty database.

    Raises:
        OperationError: no programs that fit, or a statement failed; the database then holds a part of it.
    """
    async with connected(name, url) as connection:
        server = connection.get_server_version().major
    programs = find_client_programs(loading.source, max(server, major_of(backup.pg_dump_version)))
    path = loading.folder / backup.file.name
    doing = f"cannot restore the {name} database from {path}"
    # From 17 on, the programs set a limit on time that older servers do not know, and for them this is an error.
    is_foreign = programs.major >= _TRANSACTION_TIMEOUT_SINCE > server
    without_owners = [] if loading.owners else ["--no-owner", "--no-privileges"]
    with connection_string(url) as given:
        into = (f"--dbname={given}", "--no-password")
        if not loading.plain and not is_foreign:
            how = ("--exit-on-error", f"--jobs={loading.jobs}", *without_owners)
            await run(programs.pg_restore, *into, *how, str(path), doing=doing)
            return
        if loading.plain:
            text = _parts_of(path)
        else:
            text = printed_by(programs.pg_restore, "--file=-", *without_owners, str(path), doing=doing)
        how = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--file=-")
        text = _without_transaction_timeout(text) if is_foreign else text
        await feed(programs.psql, *into, *how, text=text, doing=doing)


async def _parts_of(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART):
            yield part


async def _without_transaction_timeout(text: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    is_first = True  # the part with the dump's head, where the line stands among other settings
    async for part in text:
        yield part.replace(b"\nSET transaction_timeout = 0;\n", b"\n", 1) if is_first else part
        is_first = False


async def compare(name: DatabaseName, url: str, backup: DatabaseBackup, bar: Bar) -> list[str]:
    """What a database has otherwise than a backup says, one line each.

    Raises:
        OperationError: it cannot be read.
    """
    with told(f"cannot read what was restored of the {name} database"):
        async with connected(name, url) as connection, connection.transaction(isolation="repeatable_read"):
            return differences(backup.contents, await contents_of(connection, bar))
