"""Databases beside a database: one to restore into, and the change of names that puts it in the other's place.

A change of names is one transaction of PostgreSQL's: whatever happens to us or to the server in the middle of it, the
names are the old ones or the new ones.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote, unquote, urlsplit

from app.operations.backup_errors import told
from app.operations.connect import Connection, connected
from app.operations.databases import create
from app.settings import DatabaseName

_LONGEST = 63  # bytes; PostgreSQL cuts a longer name off
_AGAIN = 0.1  # seconds until sessions that came in the meantime are ended as well

_SESSIONS = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datid = $1 AND backend_type = 'client backend'
"""

# Not partitions or indexes, which have a table, and nothing of extensions: an empty database can have some.
_HAS_CONTENT = r"""
SELECT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
)
"""


def database_in(url: str) -> str:
    """The name of the database that a URL leads to."""
    return unquote(urlsplit(url).path.removeprefix("/"))


def at(url: str, database: str) -> str:
    """The URL of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{quote(database, safe='')}").geturl()


def name_beside(database: str, suffix: str) -> str:
    """``database_suffix``, cut so that PostgreSQL does not have to."""
    kept = database.encode()[: _LONGEST - len(suffix.encode()) - 1]
    return f"{kept.decode(errors='ignore')}_{suffix}"


def quoted(name: str) -> str:
    """A name as it stands in SQL."""
    return '"' + name.replace('"', '""') + '"'


@asynccontextmanager
async def on_server(name: DatabaseName, url: str) -> AsyncGenerator[Connection]:
    """A connection to the server's ``postgres`` database, where work on databases themselves is done from."""
    async with connected(name, at(url, "postgres")) as connection:
        yield connection


async def is_there(name: DatabaseName, url: str, database: str) -> bool:
    """Whether the server that a URL leads to has a database of that name."""
    async with on_server(name, url) as connection:
        return bool(await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", database))


async def has_content(name: DatabaseName, url: str) -> bool:
    """Whether a database has any table, view or sequence."""
    with told(f"cannot look into the {name} database"):
        async with connected(name, url) as connection:
            return await connection.fetchval(_HAS_CONTENT)


@asynccontextmanager
async def scratch_beside(name: DatabaseName, url: str, purpose: str) -> AsyncGenerator[str]:
    """A new, empty database on the same server for as long as the block runs: its URL.

    Unless it has got another name by then it is dropped afterwards, with whoever is connected to it.
    """
    scratch = name_beside(database_in(url), f"{purpose}_{secrets.token_hex(4)}")
    scratch_url = at(url, scratch)
    try:
        await create(name, scratch_url)
        yield scratch_url
    finally:
        await drop(name, url, scratch)


async def drop(name: DatabaseName, url: str, database: str) -> None:
    """Drop a database of the server that a URL leads to, with its sessions; not there is as good as dropped.

    Raises:
        OperationError: the server refuses; the message names the database that is left.
    """
    async with on_server(name, url) as connection:
        with told(f"the database {database} is left on the server of {name}"):
            await connection.execute(f"DROP DATABASE IF EXISTS {quoted(database)} WITH (FORCE)")


async def rename(name: DatabaseName, url: str, renames: Sequence[tuple[str, str]]) -> int:
    """Give databases of one server other names, all or none; return how many sessions were ended for that.

    Who connects meanwhile waits, and is then told that the name leads to no database, or comes to the new one.

    Raises:
        OperationError: the server refuses, or sessions do not end; all names are the old ones then.
    """
    ended = 0
    async with on_server(name, url) as renamer, on_server(name, url) as ender:
        with told(f"cannot put a database in the place of {database_in(url)}"):
            async with renamer.transaction():
                for old, new in renames:
                    number = await ender.fetchval("SELECT oid FROM pg_database WHERE datname = $1", old)
                    sql = f"ALTER DATABASE {quoted(old)} RENAME TO {quoted(new)}"
                    ended += await _while_ending_sessions(renamer, sql, ender, number)
    return ended


async def _while_ending_sessions(renamer: Connection, sql: str, ender: Connection, number: int | None) -> int:
    """Run a statement that waits for all sessions in a database to end, and end them.

    PostgreSQL waits five seconds. The lock that it has taken before keeps new sessions waiting too, so that a pool
    which connects anew all the time does not stand in the way.
    """
    ended = 0
    renaming = asyncio.create_task(renamer.execute(sql))
    try:
        while not renaming.done():
            ended += await ender.fetchval(_SESSIONS, number)
            await asyncio.wait((renaming,), timeout=_AGAIN)
        await renaming
    finally:
        if not renaming.done():
            renaming.cancel()
            await asyncio.wait((renaming,))
    return ended
