"""A standby of the server that the tests run on: made of it, and streaming from it."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.operations.binaries import find_binaries, user_for
from app.operations.connect import connected
from app.operations.server import LocalServer, running
from app.settings import load_local_settings

FLUSHED = "SELECT pg_current_wal_flush_lsn()"


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait for what a server is about to do."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 -- it is another process
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Standby:
    """A server that replays what its primary does, and cancels whatever is in the way of that at once."""

    primary: LocalServer
    server: LocalServer

    def url(self, database: str) -> str:
        return self.server.url(database)

    async def value(self, sql: str, *args: object, database: str = "postgres") -> Any:
        """The first column of the first row of what the standby says."""
        async with connected("orders", self.url(database)) as connection:
            return await connection.fetchval(sql, *args)

    async def pause(self) -> None:
        """Replay nothing from now on."""
        await self.value("SELECT pg_wal_replay_pause()")
        await eventually(lambda: self._says("SELECT pg_get_wal_replay_pause_state() = 'paused'"))

    async def resume(self) -> None:
        """Replay again, and all that the primary has now."""
        await self.value("SELECT pg_wal_replay_resume()")
        await self.catch_up()

    async def catch_up(self) -> None:
        """Wait until all that the primary has now is replayed."""
        async with connected("orders", self.primary.url("postgres")) as connection:
            await connection.execute("SET synchronous_commit = local")
            await connection.execute("SELECT pg_logical_emit_message(true, '', '')")  # flushed, with all before it
            position = await connection.fetchval(FLUSHED)
        await eventually(lambda: self._says("SELECT pg_last_wal_replay_lsn() >= $1", position))

    async def _says(self, sql: str, *args: object) -> bool:
        return bool(await self.value(sql, *args))


@contextmanager
def standby_of(primary: LocalServer, scratch: Path, *, streaming: bool = True) -> Generator[Standby]:
    """A standby for as long as the block runs. One that does not stream stays as it is."""
    with tempfile.TemporaryDirectory(dir=scratch) as parent:
        Path(parent).chmod(0o755)  # as root, the server runs as another user
        folder = Path(parent) / "standby"
        binaries = find_binaries(load_local_settings().postgres)
        command = [binaries.folder / "pg_basebackup", "--pgdata", folder, "--host=127.0.0.1", f"--port={primary.port}"]
        command += ["--username=postgres", "--checkpoint=fast", "--no-sync", *(["--write-recovery-conf"] * streaming)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        if not streaming:
            (folder / "standby.signal").touch()
        with (folder / "postgresql.auto.conf").open("a") as file:
            file.write("max_standby_streaming_delay = 0\nwal_retrieve_retry_interval = '20ms'\n")
        if (user := user_for(folder)) is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user.pw_uid, user.pw_gid)
        with running(folder, binaries, fast=True) as server:
            yield Standby(primary, server)
