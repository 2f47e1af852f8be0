"""Sessions that have ended while their access tokens are still valid, so that these are refused.

A request must not cost a statement for its token. So each process keeps the set of these sessions, which is small, and
asks for it again every ``revocation_poll`` seconds; what ended in this process, it knows at once.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress

from app.database import Database
from app.domains.users import writes
from app.errors import AppError
from app.settings import Settings

log = logging.getLogger(__name__)

CLOCKS_DIFFER = 60.0
"""Seconds by which this process's clock, which an access token expires by, may be behind others or go slower."""


def remembered_for(settings: Settings) -> float:
    """For how many seconds after its end a session can still have a valid access token."""
    return settings.access_token_lifetime + CLOCKS_DIFFER


class Revocations:
    """The sessions whose tokens are refused, as far as this process knows."""

    def __init__(self, users: Database, settings: Settings) -> None:
        self._users = users
        self._pause = settings.revocation_poll
        self._window = remembered_for(settings)
        self._known: set[str] = set()
        self._own: set[str] = set()
        """What ended in this process, and may be missing from the last answer."""

    def __contains__(self, session: str | None) -> bool:
        return session in self._known or session in self._own

    def add(self, sessions: Iterable[str]) -> None:
        """Refuse the tokens of sessions from now on. Their end must be committed."""
        self._own.update(sessions)

    async def poll(self) -> None:
        """Ask for all that ended within the window, not for what is new: an end can be committed long after its time.

        Where the database does not answer, all stays as it is, and tokens go on until they expire.

        Raises:
            DatabaseUnavailableError, DatabaseTimeoutError: as ``Database.fetch`` does.
        """
        committed_before = set(self._own)
        self._known = await writes.ended_sessions(self._users, self._window)
        self._own -= committed_before

    @asynccontextmanager
    async def polling(self) -> AsyncGenerator[None]:
        """Poll once, and then for as long as the block runs."""
        await self._try()
        task = asyncio.create_task(self._keep_polling())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep_polling(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            await self._try()

    async def _try(self) -> None:
        try:
            await self.poll()
        except AppError:
            pass  # the database's own log line says it
        except Exception:  # whatever it is, the next poll must come: nobody else would notice
            log.exception("the sessions that ended cannot be read; access tokens of new ones go on until they expire")
