"""The servers that our databases are on, and one look at each of them: what every topic of monitoring goes through."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import asyncpg

from app.errors import OperationError
from app.operations.connect import Connection, connected
from app.settings import DatabaseName

Row = TypeVar("Row")
Row_co = TypeVar("Row_co", covariant=True)
Result = TypeVar("Result")
Place = TypeVar("Place")
Urls = Mapping[DatabaseName, str]

APPLICATION = "storegraph monitor"
"""What our connections are called in pg_stat_activity, to tell them from the gateway's."""

_PATIENCE = 20.0  # seconds; the server itself gives a statement up after fifteen

# A look must end, most of all while the server is in trouble. The moment of its start, to the microsecond, and its port
# are this server's alone, by whatever name it is reached.
_IDENTIFY = f"""
SELECT set_config('application_name', '{APPLICATION}', false), set_config('statement_timeout', '15s', false),
    set_config('lock_timeout', '2s', false), set_config('jit', 'off', false),
    pg_postmaster_start_time() AS started_at, current_setting('port') AS port,
    current_setting('server_version_num')::int AS version_num, current_setting('server_version') AS version,
    oid, datname, pg_backend_pid() AS pid, current_user::text AS role,
    pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all, pg_stat_get_db_stat_reset_time(oid) AS counted_since
FROM pg_database WHERE datname = current_database()
"""


@dataclass(frozen=True)
class Report(Generic[Row_co]):
    """What one topic has to say: its rows, what is wrong, what to know when reading it, and who was not asked.

    ``errors`` has a line for each database that could not be asked; the rows are then those of the others.
    """

    rows: tuple[Row_co, ...] = ()
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    errors: Mapping[DatabaseName, str] = field(default_factory=dict[DatabaseName, str])


@dataclass(frozen=True)
class Session:
    """A connection to one of our databases, and what that is: ``sees_all`` is whether its role sees others' work.

    ``counted_since`` is when this database's statistics were last set to nothing; None where they never were.
    """

    name: DatabaseName
    connection: Connection
    address: str
    server: tuple[datetime, str]
    version_num: int
    version: str
    oid: int
    datname: str
    pid: int
    role: str
    sees_all: bool
    counted_since: datetime | None

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """All rows of one statement.

        Raises:
            OperationError: it fails or takes too long; the message says why.
        """
        try:
            return await self.connection.fetch(sql, *args, timeout=_PATIENCE)
        except TimeoutError:
            self.connection.terminate()  # or its closing would wait for the server as well
            raise OperationError(f"the {self.name} database did not answer within {_PATIENCE:.0f} s") from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise OperationError(
                f"cannot ask the {self.name} database: {str(error) or type(error).__name__}"
            ) from error

    def counted(self) -> str:
        """From when on the server has counted what this database's statistics say, for a note."""
        if self.counted_since is None:
            return "counted since the database was made, or the server last crashed"
        return f"{self.name}: counted since {self.counted_since.isoformat(' ', 'seconds')}"


@dataclass(frozen=True)
class Server:
    """One PostgreSQL server, and a session in each of our databases that are on it (those asked for)."""

    sessions: tuple[Session, ...]

    @property
    def best(self) -> Session:
        """The session that sees the most."""
        return next((session for session in self.sessions if session.sees_all), self.sessions[0])

    @property
    def address(self) -> str:
        """Host and port, as one of our URLs names them."""
        return self.sessions[0].address

    @property
    def databases(self) -> tuple[DatabaseName, ...]:
        return tuple(session.name for session in self.sessions)

    @property
    def datnames(self) -> list[str]:
        """What the server calls the databases."""
        return [session.datname for session in self.sessions]

    @property
    def pids(self) -> list[int]:
        """The server's processes that serve us, who are not to be part of the picture."""
        return [session.pid for session in self.sessions]

    def name_of(self, datname: str | None) -> str | None:
        """Our name of a database, where it is one of ours."""
        return next((session.name for session in self.sessions if session.datname == datname), datname)

    def blind_spots(self) -> tuple[str, ...]:
        """What the role cannot see of others' sessions, as a note; empty where it sees everything."""
        if self.best.sees_all:
            return ()
        role = self.best.role
        return (
            f"{self.address}: the role {role} does not see what the sessions of other roles do (state, times, waits, "
            f"query): GRANT pg_monitor TO {role}",
        )


@asynccontextmanager
async def opened(urls: Urls) -> AsyncGenerator[tuple[tuple[Server, ...], dict[DatabaseName, str]]]:
    """The servers of these databases, all asked at once, and a line for each database that does not answer."""
    async with AsyncExitStack() as stack:

        async def open_one(name: DatabaseName, url: str) -> Session:
            return await _identified(name, url, await stack.enter_async_context(connected(name, url)))

        opening: dict[DatabaseName, Awaitable[Session]] = {name: open_one(name, url) for name, url in urls.items()}
        sessions, errors = await _gathered(opening)
        servers: dict[tuple[datetime, str], list[Session]] = {}
        for session in sessions.values():
            servers.setdefault(session.server, []).append(session)
        yield tuple(Server(tuple(of)) for of in servers.values()), errors


async def ask_databases(urls: Urls, look: Callable[[Session], Awaitable[Report[Row]]]) -> Report[Row]:
    """The reports of all databases as one, made at the same time; where one fails, the others stand."""
    async with opened(urls) as (servers, errors):
        looks: dict[DatabaseName, Awaitable[Report[Row]]] = {
            session.name: look(session) for server in servers for session in server.sessions
        }
        reports, failed = await _gathered(looks)
        return _merged([reports[name] for name in urls if name in reports], errors | failed)


async def ask_servers(urls: Urls, look: Callable[[Server], Awaitable[Report[Row]]]) -> Report[Row]:
    """The reports of all servers as one, made at the same time; where one fails, it fails for its databases."""
    async with opened(urls) as (servers, errors):
        reports, failed = await _gathered({server.databases: look(server) for server in servers})
        errors |= {name: line for names, line in failed.items() for name in names}
        return _merged(reports.values(), errors)


async def _gathered(work: Mapping[Place, Awaitable[Result]]) -> tuple[dict[Place, Result], dict[Place, str]]:
    """What each came to, and the line of each that failed with an ``OperationError``."""
    results = dict(zip(work, await asyncio.gather(*work.values(), return_exceptions=True), strict=True))
    for result in results.values():
        if isinstance(result, BaseException) and not isinstance(result, OperationError):
            raise result
    return (
        {place: result for place, result in results.items() if not isinstance(result, BaseException)},
        {place: str(result) for place, result in results.items() if isinstance(result, BaseException)},
    )


async def _identified(name: DatabaseName, url: str, connection: Connection) -> Session:
    try:
        [row] = await connection.fetch(_IDENTIFY, timeout=_PATIENCE)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        connection.terminate()
        raise OperationError(f"cannot ask the {name} database: {str(error) or type(error).__name__}") from None
    return Session(
        name=name,
        connection=connection,
        address=urlsplit(url).netloc.rpartition("@")[2] or "the local socket",
        server=(row["started_at"], row["port"]),
        **{of: row[of] for of in ("version_num", "version", "oid", "datname", "pid", "role", "sees_all")},
        counted_since=row["counted_since"],
    )


def _merged(reports: Iterable[Report[Row]], errors: Mapping[DatabaseName, str]) -> Report[Row]:
    """All rows and lines, each line once: four databases of one role have the same to note."""
    reports = list(reports)
    return Report(
        rows=tuple(row for report in reports for row in report.rows),
        findings=tuple(dict.fromkeys(line for report in reports for line in report.findings)),
        notes=tuple(dict.fromkeys(line for report in reports for line in report.notes)),
        errors=errors,
    )
