"""Makes the databases that are not there yet, on the servers that their URLs name."""

from urllib.parse import unquote, urlsplit

import asyncpg

from app.errors import OperationError
from app.operations.connect import Connection, connected
from app.settings import DatabaseName

_BUILTIN_LOCALES_SINCE = 17


async def create(name: DatabaseName, url: str) -> bool:
    """Make the database that the URL names, in UTF-8; False when it is there already, which is then left as it is.

    It connects to the server's ``postgres`` database to do so. Text sorts by code point, and the upper and lower case
    of all of Unicode are known.

    Raises:
        OperationError: no connection, or the server refuses: no right to make databases, no UTF-8 locale.
    """
    parts = urlsplit(url)
    database = unquote(parts.path.removeprefix("/"))
    async with connected(name, parts._replace(path="/postgres").geturl()) as connection:
        if await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", database):
            return False
        quoted = await connection.fetchval("SELECT quote_ident($1)", database)
        locale = await _locale(connection)
        try:
            await connection.execute(f"CREATE DATABASE {quoted} TEMPLATE template0 ENCODING 'UTF8' {locale}")
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            return False  # made by someone else in the meantime
        except asyncpg.PostgresError as error:
            raise OperationError(f"cannot make the {name} database {quoted}: {error}") from None
    return True


async def _locale(connection: Connection) -> str:
    """The clauses for a locale that sorts by code point and knows all letters: the best that the server has.

    Below version 17, which brought a C.UTF-8 of its own, that takes an operating system's locale (manual: 23.1).
    """
    if connection.get_server_version().major >= _BUILTIN_LOCALES_SINCE:
        return "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
    listed = await connection.fetchval(
        """
        SELECT collctype FROM pg_collation WHERE collprovider = 'c' AND pg_encoding_to_char(collencoding) = 'UTF8'
        ORDER BY collctype NOT ILIKE 'C.UTF%', collctype NOT ILIKE 'en_US.UTF%', collctype LIMIT 1
        """
    )
    # Some systems (musl) list no locales, and know this one.
    return f"LC_COLLATE 'C' LC_CTYPE '{listed or 'C.UTF-8'}'"
