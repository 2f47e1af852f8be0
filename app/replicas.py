"""Standbys that take the graph's reads from the primaries, and who must not read from which of them yet.

Reads follow writes by position: a place in PostgreSQL's write-ahead log (``pg_lsn``, here a number of bytes) is the
same place on a standby. Where the log was after a COMMIT is noted, by session and for the client to send back, and only
a standby that has replayed that far answers whoever must see it. Lateness goes by position as well: a standby is as
late as it is since the primary was where the standby is now. So no clocks are compared, and an idle primary makes
nobody late.
"""

import asyncio
import logging
import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from itertools import count
from math import nan
from operator import itemgetter
from typing import cast
from zlib import crc32

import asyncpg

from app.database import Database, Databases, Observer, Row
from app.errors import AppError, BadUserInputError, DatabaseTimeoutError, DatabaseUnavailableError
from app.pool import BusyError
from app.settings import DATABASE_NAMES, DatabaseName, Settings

log = logging.getLogger(__name__)

Positions = dict[DatabaseName, int]

INTERVAL = 0.25
"""Seconds between two looks at a server. So long, at least, a session reads what it wrote from the primary."""
SESSIONS = 10_000
"""How many sessions that have written are kept at most; those of the last seconds are."""
_LONGEST = 1000  # characters of a header

# A standby gets what is flushed, and what else there is may not be flushed for long while nobody commits anything.
_PRIMARY = "SELECT pg_current_wal_flush_lsn() AS position"
_STANDBY = "SELECT pg_is_in_recovery() AS is_standby, coalesce(pg_last_wal_replay_lsn(), '0/0') AS position"
_IDENTITY = "SELECT system_identifier AS cluster, current_database() AS database FROM pg_control_system()"

_UNKNOWN = "it has yet to catch up with the primary"

noting: ContextVar[Callable[[DatabaseName, int], None] | None] = ContextVar("noting", default=None)
"""Who is told of the commits of the operation that runs. The tasks that it starts inherit it."""


def printed(positions: Mapping[DatabaseName, int]) -> str:
    """As a header: ``orders=16/B374D848, users=0/3000060``."""
    return ", ".join(f"{name}={at >> 32:X}/{at & 0xFFFFFFFF:X}" for name, at in sorted(positions.items()))


def read_positions(header: str) -> Positions:
    """What ``printed`` made; of several for one database, the furthest. Names that are none of ours are passed over.

    Raises:
        BadUserInputError: it is something else. To ignore it would be to show the client what it believes is changed.
    """
    positions: Positions = {}
    for part in header.split(",") if len(header) <= _LONGEST else ("too long",):
        if not part.strip():  # RFC 9110, section 5.6.1.2
            continue
        found = _POSITION.fullmatch(part.strip())
        if found is None:
            raise BadUserInputError("X-Read-After is not what an answer has had in it: send that, or leave it out.")
        if found[1] in DATABASE_NAMES:
            name = cast("DatabaseName", found[1])
            positions[name] = max(positions.get(name, 0), int(found[2], 16) << 32 | int(found[3], 16))
    return positions


_POSITION = re.compile(r"([a-z]{1,63})=([0-9A-F]{1,8})/([0-9A-F]{1,8})", re.ASCII)


class Replica(Database):
    """One standby of a database."""

    def __init__(self, name: DatabaseName, number: int, url: str, settings: Settings, observe: Observer | None) -> None:
        its_own = settings.model_copy(update={f"{name}_database_url": url})
        super().__init__(name, its_own, observe, server=f"replica-{number}")
        self.position = 0
        """It has replayed up to here, as far as is known: since it was looked at."""
        self.looked_at = 0.0
        self.is_ahead = False
        """Whether it has what the primary has not."""
        self.as_of = -1.0
        """It has all that was committed at this time of the loop."""
        self.left_out: str | None = _UNKNOWN
        """Why it is not read from."""
        self.read_again = 0
        """How many of its reads were asked again of the primary."""

    @property
    def is_used(self) -> bool:
        """Whether reads are sent to it, of those who need not see more than it has."""
        return self.left_out is None and self.is_answering and self.breaker.state == "closed"

    def _note(self, failure: object) -> None:
        self._answers = failure is None  # what is logged of it, ``Standbys`` knows better


class Standbys:
    """The standbys of one database."""

    def __init__(self, primary: Database, replicas: list[Replica], max_lag: float) -> None:
        """``max_lag``: seconds. One that is later is left out, until it is half as late."""
        self.primary = primary
        self.replicas = replicas
        self._max_lag = max_lag
        self._late = f"it is more than {max_lag:g} s late"
        # Where the primary was when, ascending in both: from the latest that is at least `max_lag` old.
        self._history: list[tuple[float, int]] = []
        self._sessions: OrderedDict[str, int] = OrderedDict()
        self._everybody = 0
        self._identities: dict[str, Row | None] = {}  # by server, as long as it answers
        self._troubles: dict[str, str] = {}  # by server: why nobody can say how late it is
        self._turns = count()
        primary.committed = self._committed

    def server_for(self, session: str | None, after: int) -> Database:
        """A standby that has replayed what there is up to ``after``, and what the session wrote; or else the primary.

        A session keeps to one while that one is fit, so that it does not see time go back.
        """
        after = max(after, self._everybody, self._sessions.get(session, 0) if session else 0)
        first = crc32(session.encode()) if session else next(self._turns)
        for number in range(len(self.replicas)):
            replica = self.replicas[(first + number) % len(self.replicas)]
            if replica.is_used and replica.position >= after:
                return replica
        return self.primary

    def remember(self, session: str, position: int) -> None:
        """Let the session read nothing older than this, in this process."""
        self._sessions[session] = max(position, self._sessions.pop(session, 0))
        if len(self._sessions) > SESSIONS:
            # It cannot be told any more from the others, so what holds for it must hold for all.
            self._everybody = max(self._everybody, self._sessions.popitem(last=False)[1])

    def lag(self, replica: Replica) -> float:
        """How many seconds late it is at most; NaN where that is not known."""
        return self._history[-1][0] - replica.as_of if self._history and replica.as_of >= 0 else nan

    def looks(self) -> list[Callable[[], Awaitable[None]]]:
        """What asks each server how far it is, the primary first."""
        return [self._ask_primary, *(partial(self._ask, replica) for replica in self.replicas)]

    def _committed(self, position: int) -> None:
        if (note := noting.get()) is not None:
            note(self.primary.name, position)

    def _was_at(self, position: int) -> None:
        """The primary has flushed so much, as we hear just now. It can be another that lacks what the last one had."""
        del self._history[bisect_right(self._history, position, key=itemgetter(1)) :]
        now = asyncio.get_running_loop().time()
        self._history.append((now, position))
        old = bisect_right(self._history, now - self._max_lag, key=itemgetter(0))
        del self._history[: max(0, old - 1)]

    async def _ask_primary(self) -> None:
        now = asyncio.get_running_loop().time()
        row = await self._asked(self.primary, _PRIMARY)
        if row is not None:
            for replica in self.replicas:
                if replica.looked_at < now:
                    replica.is_ahead = replica.position > row["position"]
            self._was_at(row["position"])
        self._judge()

    async def _ask(self, replica: Replica) -> None:
        row = await self._asked(replica, _STANDBY)
        if row is not None:
            replica.position, replica.looked_at = row["position"], asyncio.get_running_loop().time()
            if not row["is_standby"]:
                self._troubles[replica.server] = "it is no standby"
        self._judge()

    async def _asked(self, server: Database, sql: str) -> Row | None:
        """What a server says; None where it says nothing, or what it cannot be asked for."""
        try:
            if server.server not in self._identities:
                self._identities[server.server] = await _identity(server)
            [row] = await server.probe(sql)
        except BusyError:
            return None
        except Exception as error:  # of whatever kind: the next look must come
            self._identities.pop(server.server, None)
            if not isinstance(error, AppError):
                who = "it" if isinstance(server, Replica) else "the primary"
                self._troubles[server.server] = f"{who} cannot be asked how far it is ({type(error).__name__})"
            return None
        self._troubles.pop(server.server, None)
        return row

    def _judge(self) -> None:
        """Say which replicas are left out, and forget the sessions that the others can answer."""
        for replica in self.replicas:
            reason, before = self._why_not(replica), replica.left_out
            replica.left_out = reason
            if reason is not None and reason != before:
                log.warning("%s of the %s database is left out: %s", replica.server, replica.name, reason)
            if reason is None and before is not None:
                level = logging.INFO if before == _UNKNOWN else logging.WARNING
                log.log(level, "%s of the %s database is read from", replica.server, replica.name)
        passed = self._history[0][1] if self._history else 0
        while self._sessions and next(iter(self._sessions.values())) <= passed:
            self._sessions.popitem(last=False)

    def _why_not(self, replica: Replica) -> str | None:
        if not replica.is_answering:
            return "it does not answer"
        if trouble := self._troubles.get("primary") or self._troubles.get(replica.server):
            return trouble
        identities = [self._identities.get(server) for server in ("primary", replica.server)]
        if None not in identities and identities[0] != identities[1]:
            return "it is not of the same database as the primary"
        return self._why_late(replica)

    def _why_late(self, replica: Replica) -> str | None:
        if not self._history:
            return None  # where the primary has never answered, nothing says that it is late
        if replica.is_ahead:
            return "it is ahead of the primary, as one that has followed another is"
        passed = bisect_right(self._history, replica.position, key=itemgetter(1))
        if passed:
            replica.as_of = self._history[passed - 1][0]
            allowed = self._max_lag / 2 if replica.left_out == self._late else self._max_lag
            return self._late if self.lag(replica) > allowed else None
        return self._late if self._history[-1][0] - self._history[0][0] >= self._max_lag else _UNKNOWN


async def _repeated(look: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(INTERVAL)
        await look()


async def _identity(server: Database) -> Row | None:
    """What a database has in common with its standbys; None where we may not know."""
    try:
        [row] = await server.probe(_IDENTITY)
    except asyncpg.InsufficientPrivilegeError:
        return None
    return row


class _Chosen:
    """A replica for an operation, until it fails."""

    def __init__(self, replica: Replica, primary: Database) -> None:
        self._server: Database = replica
        self._replica = replica
        self._primary = primary

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        """As ``Database.fetch``. What a replica fails at is asked once more, of the primary, and so is all after it.

        That may be a connection that is lost, a row that replay needed to remove (PostgreSQL's manual, "Handling Query
        Conflicts"), a table that it does not have yet. But not that there is too much to do, or that the statement
        takes too long: the primary is not to have that as well.
        """
        server = self._server
        try:
            return await server.fetch(sql, *args)
        except (BusyError, DatabaseTimeoutError):
            raise
        except (DatabaseUnavailableError, asyncpg.PostgresError):
            if server is self._primary:
                raise
        self._server = self._primary
        self._replica.read_again += 1
        return await self._primary.fetch(sql, *args)


class Reading:
    """Where one operation reads: of each database from one server, which is chosen when it is first asked."""

    def __init__(self, replicas: "Replicas", session: str | None, after: Mapping[DatabaseName, int]) -> None:
        self._replicas = replicas
        self._session = session
        self._after = after
        self._chosen: dict[DatabaseName, Database | _Chosen] = {}

    def __getitem__(self, name: DatabaseName) -> Database | _Chosen:
        if (chosen := self._chosen.get(name)) is None:
            chosen = self._chosen[name] = self._replicas.choose(name, self._session, self._after.get(name, 0))
        return chosen


class Replicas:
    """The standbys of those databases that have any."""

    def __init__(self, databases: Databases, settings: Settings, observe: Observer | None = None) -> None:
        self._databases = databases
        self._standbys: dict[DatabaseName, Standbys] = {}
        for name in DATABASE_NAMES:
            if urls := settings.replica_urls(name):
                replicas = [Replica(name, number, url, settings, observe) for number, url in enumerate(urls, 1)]
                self._standbys[name] = Standbys(databases[name], replicas, settings.replica_max_lag)

    def __iter__(self) -> Iterator[Replica]:
        return (replica for standbys in self._standbys.values() for replica in standbys.replicas)

    def reading(self, session: str | None, after: Mapping[DatabaseName, int]) -> Reading:
        """Where an operation of a session reads, which must see what there is up to ``after``."""
        return Reading(self, session, after)

    def choose(self, name: DatabaseName, session: str | None, after: int) -> Database | _Chosen:
        """Where an operation reads; see ``Standbys.server_for``."""
        standbys = self._standbys.get(name)
        server = standbys.server_for(session, after) if standbys else self._databases[name]
        return _Chosen(server, self._databases[name]) if isinstance(server, Replica) else server

    def remember(self, session: str, positions: Mapping[DatabaseName, int]) -> None:
        """Let a session read nothing older than what it has written, in this process."""
        for name, position in positions.items():
            self._standbys[name].remember(session, position)

    def lag(self, replica: Replica) -> float:
        """How many seconds late it is at most; NaN where that is not known."""
        return self._standbys[replica.name].lag(replica)

    async def look(self) -> None:
        """Ask each server how far it is, the primaries first."""
        looks = [standbys.looks() for standbys in self._standbys.values()]
        await asyncio.gather(*(primary() for primary, *_ in looks))
        await asyncio.gather(*(replica() for _, *replicas in looks for replica in replicas))

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, databases: Databases, settings: Settings, observe: Observer | None = None
    ) -> "AsyncGenerator[Replicas | None]":
        """Looked at for as long as the block runs, each at its own pace; None where the settings name no replica."""
        replicas = cls(databases, settings, observe)
        if not replicas._standbys:
            yield None
            return
        await asyncio.gather(*(replica.open() for replica in replicas))
        await replicas.look()
        looks = [look for standbys in replicas._standbys.values() for look in standbys.looks()]
        tasks = [asyncio.create_task(_repeated(look)) for look in looks]
        try:
            yield replicas
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await asyncio.gather(*(replica.close() for replica in replicas))
