"""PostgreSQL's own client programs: which of them fit a server, and how they run without a password in sight."""

import asyncio
import re
import shutil
import subprocess
import tempfile
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from app.errors import OperationError
from app.operations.binaries import find_binaries

Stream = TypeVar("Stream", StreamReader, StreamWriter)

_NAMES = ("pg_dump", "pg_restore", "psql")

# What libpq knows by the same name; whatever else a URL says is a setting for the server, as it is to asyncpg.
_PARAMETERS = {
    "host", "port", "user", "passfile", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "gsslib",
}  # fmt: skip


@dataclass(frozen=True)
class ClientPrograms:
    """Three programs, and the version of the oldest of them: ``18.6``, say."""

    pg_dump: Path
    pg_restore: Path
    psql: Path
    version: str

    @property
    def major(self) -> int:
        """The part of the version that decides what they know."""
        return major_of(self.version)


def find_client_programs(source: Literal["embedded", "path"], oldest: int) -> ClientPrograms:
    """The programs that come with us as a wheel, or those on PATH, of the major version ``oldest`` or newer.

    With ``embedded`` those on PATH stand in where the wheel is missing or older. No program knows what is newer than
    itself: pg_dump no server, and pg_restore no dump.

    Raises:
        OperationError: none fit; the message says what was found and what to do.
    """
    found: list[str] = []
    for from_wheel in (True, False) if source == "embedded" else (False,):
        try:
            programs = _embedded() if from_wheel else _on_path()
        except OperationError as error:
            found.append(str(error))
            continue
        if programs.major >= oldest:
            return programs
        found.append(f"{programs.pg_dump.parent} has version {programs.version}")
    other = ", or leave STOREGRAPH_POSTGRES out to use those of storegraph" if source == "path" else ""
    raise OperationError(
        f"no {', '.join(_NAMES)} of version {oldest} or newer ({'; '.join(found)}): "
        f"install PostgreSQL's client programs and put them on PATH{other}"
    )


def _embedded() -> ClientPrograms:
    folder = find_binaries("embedded").folder
    return _programs({name: folder / name for name in _NAMES})


def _on_path() -> ClientPrograms:
    found = {name: shutil.which(name) for name in _NAMES}
    if missing := [name for name, path in found.items() if path is None]:
        raise OperationError(f"PATH has no {', '.join(missing)}")
    # Not through links: Debian's lead to a program that looks at the name by which it was called.
    return _programs({name: Path(path) for name, path in found.items() if path is not None})


def _programs(paths: dict[str, Path]) -> ClientPrograms:
    return ClientPrograms(**paths, version=min((_version(path) for path in paths.values()), key=major_of))


@cache
def _version(program: Path) -> str:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise OperationError(f"{program} does not run: {error.strerror}") from None
    version = re.search(r"\(PostgreSQL\) (\d\S*)", answer.stdout)
    if version is None:
        raise OperationError(f"{program} does not run: {answer.stderr.strip() or 'it does not say its version'}")
    return version[1]


def major_of(version: str) -> int:
    """18 of ``18.6``, and of ``18beta1``."""
    return int(re.split(r"\D", version, maxsplit=1)[0])


@contextmanager
def connection_string(url: str) -> Generator[str]:
    """What ``--dbname`` takes for a database, without its password: that lies in a file as long as the block runs.

    A command line can be read by everybody on the machine; the file only by us. What the environment says and the URL
    does not (PGSSLROOTCERT, say), the program reads there itself.

    Raises:
        OperationError: the URL has a secret that can be given in no other way.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "sslpassword" in query:
        raise OperationError("sslpassword would be on pg_dump's command line: take the password off the key instead")
    password = unquote(parts.password) if parts.password is not None else query.get("password")
    options = ["-c TimeZone=UTC"]
    options += [
        f"-c {name}=" + re.sub(r"([\\\s])", r"\\\1", value)
        for name, value in query.items()
        if name not in _PARAMETERS | {"password", "dbname", "database", "service"}
    ]
    given = {
        "host": unquote(parts.hostname or ""),
        "port": str(parts.port or ""),
        "user": unquote(parts.username or ""),
    }
    words = {name: value for name, value in given.items() if value}
    words |= {name: value for name, value in query.items() if name in _PARAMETERS | {"service"} and name not in words}
    words |= {
        "dbname": unquote(parts.path.removeprefix("/")),
        "options": " ".join(options),
        "application_name": "storegraph",
        "connect_timeout": "10",
    }
    with tempfile.TemporaryDirectory(prefix="storegraph-") as folder:
        if password is not None:
            passfile = Path(folder) / "password"
            passfile.touch(mode=0o600)
            passfile.write_text("*:*:*:*:" + re.sub(r"([\\:])", r"\\\1", password) + "\n", encoding="utf-8")
            # The empty password is none, and keeps one in the environment from being taken first.
            words |= {"password": "", "passfile": str(passfile)}
        yield " ".join(f"{name}='{_escaped(value)}'" for name, value in words.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


async def run(program: Path, *arguments: str, doing: str) -> None:
    """Run a program to its end; what is cancelled ends it.

    Raises:
        OperationError: it failed; the message begins with ``doing``, and says what the program did.
    """
    async with _started(program, *arguments, stdin=DEVNULL, stdout=DEVNULL) as process:
        _, errors = await process.communicate()
    _stop_if_failed(process, errors, doing)


async def feed(program: Path, *arguments: str, text: AsyncIterator[bytes], doing: str) -> None:
    """Run a program with a text on its standard input, however long it is.

    Raises:
        OperationError: as for ``run``.
    """
    async with _started(program, *arguments, stdin=PIPE, stdout=DEVNULL) as process:
        into = _pipe(process.stdin)
        reading = asyncio.create_task(_pipe(process.stderr).read())
        try:
            try:
                async for part in text:
                    into.write(part)
                    await into.drain()
                into.close()
            except (BrokenPipeError, ConnectionResetError):
                pass  # it ended early, and says why
            errors = await reading
            await process.wait()
        finally:
            reading.cancel()
    _stop_if_failed(process, errors, doing)


async def printed_by(program: Path, *arguments: str, doing: str) -> AsyncGenerator[bytes]:
    """What a program prints, part by part.

    Raises:
        OperationError: as for ``run``, at the end.
    """
    async with _started(program, *arguments, stdin=DEVNULL, stdout=PIPE) as process:
        printed = _pipe(process.stdout)
        reading = asyncio.create_task(_pipe(process.stderr).read())
        try:
            while part := await printed.read(PART):
                yield part
            errors = await reading
            await process.wait()
        finally:
            reading.cancel()
    _stop_if_failed(process, errors, doing)


PART = 2**20
"""How many bytes are moved at once."""


@asynccontextmanager
async def _started(program: Path, *arguments: str, stdin: int, stdout: int) -> AsyncGenerator[Process]:
    # Of a session of its own: Ctrl-C in the terminal reaches us alone, and we end it.
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdin=stdin, stdout=stdout, stderr=PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _pipe(stream: Stream | None) -> Stream:
    if stream is None:
        raise ValueError("this pipe was not asked for")
    return stream


def _stop_if_failed(process: Process, errors: bytes, doing: str) -> None:
    if process.returncode:
        raise OperationError(f"{doing}: {_reason(errors.decode(errors='replace'))}")


def _reason(errors: str) -> str:
    """The first line that says what is wrong. Those after it can repeat rows."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()] or ["it said nothing"]
    for mark in ("ERROR:", "FATAL:", "error:"):
        for line in lines:
            if mark in line:
                return line.partition(mark)[2].strip()
    return lines[-1]
