"""Servers in processes of their own, and what CPU they and PostgreSQL have used, from /proc (proc(5)): Linux only."""

import os
import socket
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.operations.connect import connected
from app.settings import Settings

_READY_WITHIN = 30.0
_POLL = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME = 11  # its place behind the name of the program, which may itself have blanks and is in parentheses


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def served(command: Sequence[str], environment: Mapping[str, str]) -> Generator[tuple[int, int]]:
    """A server for as long as the block runs: its process and its port, which becomes the command's last argument.

    Raises:
        SystemExit: it ended, or nobody listens after half a minute. What it complains of is on standard error.
    """
    port = free_port()
    process = subprocess.Popen(  # noqa: S603 -- our own command
        [*command, str(port)], env=os.environ | environment, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + _READY_WITHIN
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} does not serve")
            time.sleep(_POLL)
        yield process.pid, port
    finally:
        process.kill()  # they have nothing to lose, and the gateway would go on for a while
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def cpu_of(process: int) -> float:
    """Seconds of CPU that a process has used, with all of its threads."""
    return sum(_times(process)[:2])


def cpu_of_postgres(postmaster: int) -> float:
    """Seconds of CPU that a PostgreSQL server has used: the postmaster, its children, and those that have ended."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return sum(_times(postmaster)) + sum(cpu_of(int(child)) for child in children)


async def postmaster_of(settings: Settings) -> int:
    """The process that all backends of the databases' server are children of.

    Raises:
        SystemExit: it is none of this machine's.
    """
    async with connected("orders", settings.database_url("orders")) as connection:
        backend: int = await connection.fetchval("SELECT pg_backend_pid()")
        try:
            fields = _stat(backend)
        except OSError:
            raise SystemExit("PostgreSQL must run on this machine, in sight of /proc") from None
    return int(fields[1])


def _times(process: int) -> list[float]:
    """Seconds of CPU in user and in system mode, and the same of the children that have ended."""
    try:
        fields = _stat(process)
    except OSError:  # it has just ended, and counts with its parent's from now on
        return [0.0] * 4
    return [int(field) / _TICKS for field in fields[_UTIME : _UTIME + 4]]


def _stat(process: int) -> list[str]:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
