"""Puts the databases of a backup in the place of what there is.

They are restored beside it, and what is there is not touched until they are known to be right.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from app.errors import OperationError
from app.operations.backup import together
from app.operations.backup_errors import told
from app.operations.backup_sets import NAME_OF_TIME, DatabaseBackup, changed_files, databases_of, read_manifest
from app.operations.connect import connected
from app.operations.progress import Bar, progress_bar
from app.operations.restore_loading import Loading, compare, load
from app.operations.restore_names import (
    at,
    database_in,
    drop,
    has_content,
    is_there,
    name_beside,
    on_server,
    quoted,
    rename,
    scratch_beside,
)
from app.settings import DatabaseName, Settings


@dataclass(frozen=True)
class Restored:
    """A database that a backup was put in the place of.

    ``replaced`` is whether there was one, ``ended`` how many sessions of others it had, ``old`` its name where it is
    still there, and ``problem`` why, where that was not asked for.
    """

    database: str
    tables: int
    rows: int
    revision: str | None
    replaced: bool
    ended: int
    old: str | None
    problem: str | None


@dataclass(frozen=True)
class _Swap:
    """A new database, ``scratch``, that is to have the name of the one that the URL leads to.

    ``old`` is the name that the one there gets; None where there is none.
    """

    name: DatabaseName
    url: str
    scratch: str
    old: str | None

    async def do(self) -> int:
        """Change the names; return how many sessions of the old database were ended."""
        away = [(database_in(self.url), self.old)] if self.old else []
        return await rename(self.name, self.url, [*away, (self.scratch, database_in(self.url))])

    async def undo(self) -> None:
        """Change them back, if they were changed: what is cancelled does not know how far it came."""
        if not await is_there(self.name, self.url, self.scratch):
            back = [(self.old, database_in(self.url))] if self.old else []
            await rename(self.name, self.url, [(database_in(self.url), self.scratch), *back])

    async def drop_old(self) -> str | None:
        """Drop what the new one took the place of; return why it is still there, where it is."""
        try:
            if self.old:
                await drop(self.name, self.url, self.old)
        except OperationError as error:
            return str(error)
        return None


async def restore(
    settings: Settings,
    folder: Path,
    only: DatabaseName | None,
    *,
    replace: bool,
    keep_old: bool,
    owners: bool,
    jobs: int,
    source: Literal["embedded", "path"],
) -> dict[DatabaseName, Restored]:
    """Put the databases of a set, or one of them, where the URLs of the settings lead.

    All are restored beside what is there, and compared with the manifest, before the first changes its name. Where one
    cannot have its name then, those before it are changed back. So an error, or being cancelled, leaves everything as
    it was.

    Args:
        settings: of the databases.
        folder: the set.
        only: one database of it.
        replace: take the place also of databases that have something in them. Sessions in these are ended.
        keep_old: leave those databases there, under another name.
        owners: give everything the owners and rights that it had, and the databases their settings.
        jobs: how many processes load one dump; a plain one takes one.
        source: where the client programs are from.

    Raises:
        OperationError: a file has changed, something is in the way, or it failed; nothing has changed then.
    """
    manifest = read_manifest(folder)
    names = databases_of(folder, manifest, only)
    if changed := await asyncio.to_thread(changed_files, folder, manifest, names):
        raise OperationError("\n".join(changed))
    if manifest.plain and not owners:
        raise OperationError(f"{folder} is plain SQL, which says who owns what: it is restored with its owners only")
    backups: dict[DatabaseName, DatabaseBackup] = {name: manifest.databases[name] for name in names}
    loading = Loading(folder, manifest.plain, owners=owners, jobs=jobs, source=source)
    there: dict[DatabaseName, bool] = {}
    in_the_way: list[str] = []
    for name in names:
        try:
            roles = backups[name].roles if owners else []
            there[name] = await _look_at(name, settings.database_url(name), roles, replace=replace)
        except OperationError as error:
            in_the_way.append(str(error))
    if in_the_way:
        raise OperationError("\n".join(in_the_way))
    return await _restore(settings, backups, loading, there, keep_old=keep_old)


async def _look_at(name: DatabaseName, url: str, roles: Sequence[str], *, replace: bool) -> bool:
    """Whether there is a database already.

    Raises:
        OperationError: it has something in it, and is not to be replaced; or the server has not all of the roles.
    """
    async with on_server(name, url) as connection:
        known = {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
    if missing := [role for role in roles if role not in known]:
        raise OperationError(
            f"the server of the {name} database has no role {', '.join(missing)}, which owns or may use something in "
            "the backup: make it there, or leave owners and rights out with --no-owner"
        )
    if not await is_there(name, url, database_in(url)):
        return False
    if not replace and await has_content(name, url):
        raise OperationError(
            f"the {name} database {database_in(url)} has tables in it: --replace puts the backup in its place"
        )
    return True


async def _restore(
    settings: Settings,
    backups: Mapping[DatabaseName, DatabaseBackup],
    loading: Loading,
    there: Mapping[DatabaseName, bool],
    *,
    keep_old: bool,
) -> dict[DatabaseName, Restored]:
    suffix = f"before_{datetime.now(UTC).strftime(NAME_OF_TIME)}"
    with progress_bar(sum(len(backup.contents.tables) for backup in backups.values())) as bar:
        bar.say("restoring")
        async with AsyncExitStack() as stack:
            swaps: list[_Swap] = []
            for name in backups:
                url = settings.database_url(name)
                scratch = database_in(await stack.enter_async_context(scratch_beside(name, url, "restore")))
                swaps.append(_Swap(name, url, scratch, name_beside(database_in(url), suffix) if there[name] else None))
            await together(_prepare(swap, backups[swap.name], loading, bar) for swap in swaps)
            ended = await _put_in_place(swaps)
            scratches = stack.pop_all()
    # Nothing can be taken back any more, so that the rest is not broken off either.
    finishing = asyncio.create_task(_finish(scratches, swaps, keep_old=keep_old))
    while not finishing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(finishing)
    return {
        swap.name: Restored(
            database_in(swap.url),
            len(backups[swap.name].contents.tables),
            backups[swap.name].rows,
            backups[swap.name].contents.revision,
            swap.old is not None,
            sessions,
            swap.old if keep_old or problem else None,
            problem,
        )
        for swap, sessions, problem in zip(swaps, ended, finishing.result(), strict=True)
    }


async def _prepare(swap: _Swap, backup: DatabaseBackup, loading: Loading, bar: Bar) -> None:
    """Make the new database what the old one was when it was backed up."""
    url = at(swap.url, swap.scratch)
    await load(swap.name, url, backup, loading)
    if found := await compare(swap.name, url, backup, bar):
        lines = "\n".join(f"  {line}" for line in found)
        raise OperationError(f"the {swap.name} database was not restored as it was backed up:\n{lines}")
    statements = ["ANALYZE"]  # or the first plans would be made in the dark
    if loading.owners:
        statements += [statement.replace("{database}", quoted(swap.scratch)) for statement in backup.settings]
    async with connected(swap.name, url) as connection:
        for statement in statements:
            # Only these need more rights than the load itself; --no-owner does without them.
            with told(f"cannot restore the {swap.name} database, in {statement} (see --no-owner)"):
                await connection.execute(statement)


async def _finish(scratches: AsyncExitStack, swaps: Sequence[_Swap], *, keep_old: bool) -> list[str | None]:
    """Leave nothing behind that was not asked for; return why an old database is still there, for each."""
    await scratches.aclose()
    return [None if keep_old else await swap.drop_old() for swap in swaps]


async def _put_in_place(swaps: Sequence[_Swap]) -> list[int]:
    """Give all new databases their names, or none; return how many sessions were ended for each."""
    ended: list[int] = []
    begun: list[_Swap] = []
    try:
        for swap in swaps:
            begun.append(swap)
            ended.append(await swap.do())
    except BaseException as error:
        left: list[str] = []
        for swap in reversed(begun):
            try:
                await swap.undo()
            except OperationError as refused:
                left.append(f"the {swap.name} database is the restored one, and the old one is {swap.old}: {refused}")
        if left:
            raise OperationError("\n".join([str(error) or type(error).__name__, *left])) from error
        raise
    return ended
