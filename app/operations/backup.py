"""Backs the databases up: a dump of each by pg_dump, and in the manifest what the same snapshot holds."""

import asyncio
import os
import shutil
from collections.abc import Coroutine, Generator, Iterable, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TypeVar

import asyncpg

from app.errors import OperationError
from app.operations import backup_sets, client_programs
from app.operations.backup_contents import contents_of, tables_in
from app.operations.backup_errors import told
from app.operations.backup_sets import DatabaseBackup, DumpFile, Manifest
from app.operations.client_programs import ClientPrograms, connection_string, find_client_programs
from app.operations.connect import Connection, connected
from app.operations.progress import Bar, progress_bar
from app.settings import DatabaseName, Settings

Result = TypeVar("Result")

_LOCK_WAIT = 60  # seconds; who changes a table is to be waited for, but not for ever

# Of what the server's first superuser owns, pg_shdepend knows nothing.
_ROLES = r"""
WITH this AS (SELECT * FROM pg_database WHERE datname = current_database()),
namespace AS (SELECT * FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'),
extension_object AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\_%' AND oid IN (
    SELECT datdba FROM this UNION SELECT nspowner FROM namespace
    UNION SELECT relowner FROM pg_class c JOIN namespace n ON n.oid = relnamespace
    WHERE ('pg_class'::regclass, c.oid) NOT IN (TABLE extension_object)
    UNION SELECT proowner FROM pg_proc p JOIN namespace n ON n.oid = pronamespace
    WHERE ('pg_proc'::regclass, p.oid) NOT IN (TABLE extension_object)
    UNION SELECT refobjid FROM pg_shdepend JOIN this ON this.oid = dbid
    WHERE refclassid = 'pg_authid'::regclass AND (classid, objid) NOT IN (TABLE extension_object)
) ORDER BY 1
"""

# What pg_dump leaves out unless it makes the database: a list of names is stored with its quotes.
_SETTINGS = """
WITH this AS (SELECT * FROM pg_database WHERE datname = current_database()),
setting AS (
    SELECT setrole, split_part(line, '=', 1) AS name, substr(line, strpos(line, '=') + 1) AS value
    FROM this JOIN pg_db_role_setting ON setdatabase = this.oid, unnest(setconfig) AS line
),
granted AS (SELECT (aclexplode(datacl)).* FROM this)
SELECT 'ALTER DATABASE {database} OWNER TO ' || quote_ident(pg_get_userbyid(datdba)) FROM this
UNION ALL SELECT 'ALTER DATABASE {database} CONNECTION LIMIT ' || datconnlimit FROM this WHERE datconnlimit <> -1
UNION ALL SELECT
    CASE setrole WHEN 0 THEN 'ALTER' ELSE format('ALTER ROLE %I IN', pg_get_userbyid(setrole)) END
    || format(' DATABASE {database} SET %s TO ', (SELECT string_agg(quote_ident(part), '.')
        FROM unnest(string_to_array(name, '.')) AS part))
    || CASE WHEN name IN ('search_path', 'local_preload_libraries', 'session_preload_libraries', 'temp_tablespaces')
        THEN value ELSE quote_literal(value) END
FROM setting
UNION ALL SELECT 'REVOKE ALL ON DATABASE {database} FROM PUBLIC' FROM this WHERE datacl IS NOT NULL
UNION ALL SELECT format('GRANT %s ON DATABASE {database} TO %s', privilege_type,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
    || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM granted
"""


@dataclass(frozen=True)
class Made:
    """A set that was made: where it lies, and what is in it."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True)
class _Source:
    """A database to back up, the connection that holds its snapshot, and the programs that fit its server."""

    name: DatabaseName
    url: str
    connection: Connection
    programs: ClientPrograms
    tables: list[str]


async def back_up(
    settings: Settings,
    folder: Path,
    names: Sequence[DatabaseName],
    *,
    plain: bool,
    source: Literal["embedded", "path"],
) -> Made:
    """Back databases up into a new folder of ``folder``, which is made where it is missing.

    The snapshots of all are taken first, close together; then all are dumped at the same time. Nobody is kept from
    reading or writing meanwhile, only from changing tables themselves.

    Args:
        settings: of the databases.
        folder: where sets lie.
        names: the databases.
        plain: SQL to be read, instead of pg_dump's own compressed format.
        source: where the client programs are from.

    Raises:
        OperationError: no connection, no programs that fit, no right to read or write, or a dump that failed. Nothing
            is left of the set then.
    """
    _make_folder(folder)
    created = datetime.now(UTC).replace(microsecond=0)
    async with AsyncExitStack() as stack:
        sources = await together(_open(stack, name, settings.database_url(name), source) for name in names)
        with _unfinished(folder, created) as unfinished, progress_bar(sum(len(one.tables) for one in sources)) as bar:
            bar.say("backing up")
            first, start = datetime.now(UTC), monotonic()
            snapshots = await together(_take_snapshot(one) for one in sources)
            last, span = datetime.now(UTC), monotonic() - start
            backups = await together(
                _dump(one, snapshot, unfinished, bar, plain=plain)
                for one, snapshot in zip(sources, snapshots, strict=True)
            )
            manifest = Manifest(
                format=backup_sets.FORMAT,
                created_at=created,
                snapshots=(first, last),
                span=round(span, 6),
                plain=plain,
                databases=dict(zip(names, backups, strict=True)),
            )
            backup_sets.write_manifest(unfinished, manifest)
            whole = unfinished.with_name(unfinished.name.removesuffix(backup_sets.UNFINISHED))
            unfinished.rename(whole)
            backup_sets.sync(folder)
    return Made(whole, manifest)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise OperationError(f"cannot make the folder {folder}: {error.strerror}") from None


@contextmanager
def _unfinished(folder: Path, created: datetime) -> Generator[Path]:
    """A new folder for a set that is not whole yet, for us alone to read; it goes where the block fails."""
    try:
        path = folder / (backup_sets.name_for(folder, created) + backup_sets.UNFINISHED)
        path.mkdir(mode=0o700)
        in_use = backup_sets.lock(path)
    except OSError as error:
        raise OperationError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        yield path
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        raise OperationError(f"cannot write to {folder}: {error.strerror}") from None
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    finally:
        os.close(in_use)


async def _open(stack: AsyncExitStack, name: DatabaseName, url: str, source: Literal["embedded", "path"]) -> _Source:
    connection = await stack.enter_async_context(connected(name, url))
    programs = find_client_programs(source, connection.get_server_version().major)
    with told(f"cannot back the {name} database up"):
        return _Source(name, url, connection, programs, await tables_in(connection))


async def _take_snapshot(source: _Source) -> str:
    """Begin a transaction that sees the database as it is now, and return what others see the same by."""
    connection = source.connection
    with told(f"cannot back the {source.name} database up"):
        await connection.execute(
            f"""
            SET lock_timeout = '{_LOCK_WAIT}s'; SET idle_in_transaction_session_timeout = 0;
            BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY
            """
        )
        try:
            # Before there is a snapshot: TRUNCATE and the like, which no snapshot is proof against, wait from now on.
            if source.tables:
                await connection.execute(f"LOCK TABLE {', '.join(source.tables)} IN ACCESS SHARE MODE")
        except asyncpg.LockNotAvailableError:
            raise OperationError(
                f"the {source.name} database: somebody has been changing its tables for {_LOCK_WAIT} seconds; "
                "back it up once that is done"
            ) from None
        return await connection.fetchval("SELECT pg_export_snapshot()")


async def _dump(source: _Source, snapshot: str, folder: Path, bar: Bar, *, plain: bool) -> DatabaseBackup:
    """Write one database's file; meanwhile count on the snapshot's own connection what must come to be in it."""
    connection = source.connection
    path = folder / f"{source.name}.{'sql' if plain else 'dump'}"
    doing = f"cannot back the {source.name} database up"
    with told(doing):
        database = await connection.fetchval("SELECT current_database()")
        version = await connection.fetchval("SELECT current_setting('server_version')")
        roles = [row[0] for row in await connection.fetch(_ROLES)]
        settings = [row[0] for row in await connection.fetch(_SETTINGS)]
        with connection_string(source.url) as given:
            dumping = client_programs.run(
                source.programs.pg_dump,
                f"--dbname={given}",
                "--no-password",
                f"--snapshot={snapshot}",
                f"--format={'plain' if plain else 'custom'}",
                f"--lock-wait-timeout={_LOCK_WAIT * 1000}",
                f"--file={path}",
                doing=doing,
            )
            results = await together((contents_of(connection, bar), dumping))
    [contents] = [result for result in results if result is not None]
    digest = await asyncio.to_thread(backup_sets.digest_of, path)
    file = DumpFile(path.name, path.stat().st_size, digest)
    return DatabaseBackup(database, version, source.programs.version, contents, roles, settings, file)


async def together(works: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Do several things at the same time. Where one fails, the others are ended before its error is raised.

    Raises:
        OperationError: with the lines of all that failed so.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as failed:
        errors = failed.exceptions
        if other := next((error for error in errors if not isinstance(error, OperationError)), None):
            raise other from None
        raise OperationError("\n".join(dict.fromkeys(map(str, errors)))) from None
    return [task.result() for task in tasks]
