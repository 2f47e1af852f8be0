"""The last lines of the servers' logs, where a server writes them to files that it lets us read."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

from app.errors import OperationError
from app.operations.monitoring.options import Level
from app.operations.monitoring.servers import Report, Server, Session, Urls, ask_servers
from app.settings import DatabaseName

_LEVELS: tuple[Level, ...] = get_args(Level)
_Names = Mapping[str, DatabaseName]

_FIRST, _MOST = 64 * 1024, 8 * 1024 * 1024  # bytes read from the end of the log: at first, and at most
_READ = "pg_read_binary_file(text, bigint, bigint, boolean)"  # as bytes: the log has every database's encoding
_FUNCTIONS = ("pg_current_logfile(text)", "pg_ls_logdir()", _READ)

# What tells a new entry from the rest of the one before it, in a log whose prefix may be anything.
_LEVEL = re.compile(r"\b(DEBUG[1-5]?|INFO|NOTICE|LOG|WARNING|ERROR|FATAL|PANIC): {1,2}")
_CONTINUED = re.compile(r"\b(DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION): {1,2}")

_CSV = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \S+,", re.MULTILINE)

_LACKING = """
SELECT of AS function, has_function_privilege('pg_monitor', of, 'EXECUTE') AS monitors
FROM unnest($1::text[]) of WHERE NOT has_function_privilege(of, 'EXECUTE')
"""
_FILE = """
SELECT format, path, size FROM unnest(ARRAY['jsonlog', 'csvlog', 'stderr']) WITH ORDINALITY AS f (format, number),
    pg_current_logfile(format) AS path
    JOIN pg_ls_logdir() ON name = regexp_replace(path, '^.*/', '')
ORDER BY number LIMIT 1
"""


@dataclass(frozen=True)
class Entry:
    """One entry of a server's log, of whatever database. ``time`` is as the server wrote it, in its ``log_timezone``.

    In a log as plain text, what stands before the level is the prefix that the server is set to, all of it in ``time``,
    and database, user and pid are None. ``detail`` has the lines that belong to the message.
    """

    server: str
    time: str | None
    level: Level
    database: DatabaseName | str | None
    user: str | None
    pid: int | None
    message: str
    detail: str | None


async def look(urls: Urls, lines: int = 20, level: Level = "debug") -> Report[Entry]:
    """The last ``lines`` entries of each server's log that are at least of that level, the newest last.

    Where a server does not let us read its log, that is the error of its databases, and says what is missing.
    """
    return await ask_servers(urls, partial(_look, lines=lines, level=level))


async def _look(server: Server, *, lines: int, level: Level) -> Report[Entry]:
    session = await _reader(server)
    files = await session.fetch(_FILE)
    if not files:
        raise OperationError(
            f"{server.address} ({', '.join(server.databases)}) writes its log to no file: set logging_collector = on "
            "in postgresql.conf and restart it, or look where its standard error goes (the service's journal, say)"
        )
    file = files[0]
    names: _Names = {of.datname: of.name for of in server.sessions}
    wanted, length = _LEVELS[_LEVELS.index(level) :], _FIRST
    while True:
        start = max(0, file["size"] - length)
        [read] = await session.fetch(f"SELECT {_READ.partition('(')[0]}($1, $2, $3, true)", file["path"], start, length)
        found = entries_of(_whole_lines(read[0] or b"", start), file["format"], server.address, names)
        entries = [entry for entry in found if entry.level in wanted]
        if len(entries) >= lines or start == 0 or length >= _MOST:
            break
        length = min(4 * length, _MOST)
    notes = ()
    if len(entries) < lines:
        beyond = f"its last {length // 1024**2} MiB have" if start else "it has"
        notes = (f"{server.address}: the current log file is {file['path']}, and {beyond} no more such entries",)
    return Report(tuple(entries[-lines:]), (), notes)


def entries_of(text: str, written_as: str, server: str, names: _Names) -> Iterator[Entry]:
    """What is written in whole lines of a log, as stderr, csvlog or jsonlog; ``names`` are ours of databases."""
    return {"jsonlog": _from_json, "csvlog": _from_csv, "stderr": _from_text}[written_as](text, server, names)


async def _reader(server: Server) -> Session:
    """A session whose role may read the log."""
    refusals: list[str] = []
    for session in server.sessions:
        lacking = await session.fetch(_LACKING, _FUNCTIONS)
        if not lacking:
            return session
        grants = [f"GRANT pg_monitor TO {session.role}"] if any(of["monitors"] for of in lacking) else []
        if functions := ", ".join(of["function"] for of in lacking if not of["monitors"]):
            grants.append(f"GRANT EXECUTE ON FUNCTION {functions} TO {session.role}, in {session.datname}")
        refusals.append(f"the role {session.role} may not read the log of {session.address}: {'; '.join(grants)}")
    raise OperationError(refusals[0])


def _whole_lines(read: bytes, start: int) -> str:
    """What was read, without the line that it begins in the middle of and the one that is being written."""
    if start:
        read = read[read.find(b"\n") + 1 :]
    return read[: read.rfind(b"\n") + 1].decode("utf-8", errors="replace")


def _from_json(text: str, server: str, names: _Names) -> Iterator[Entry]:
    for line in text.split("\n"):
        try:
            of = json.loads(line)
        except json.JSONDecodeError:
            continue
        parts = [("DETAIL", of.get("detail")), ("HINT", of.get("hint")), ("CONTEXT", of.get("context"))]
        yield Entry(
            server=server,
            time=of.get("timestamp"),
            level=_level(of.get("error_severity", "LOG")),
            database=names.get(of.get("dbname"), of.get("dbname")),
            user=of.get("user"),
            pid=of.get("pid"),
            message=of.get("message", ""),
            detail=_detail([*parts, ("STATEMENT", of.get("statement"))]),
        )


def _from_csv(text: str, server: str, names: _Names) -> Iterator[Entry]:
    """Columns: the manual, 20.8.4 "Using CSV-Format Log Output"."""
    begin = _CSV.search(text)  # in the middle of a quoted text, what is quoted and what is not would be reversed
    for of in csv.reader(io.StringIO(text[begin.start() if begin else len(text) :], newline="")):
        if len(of) < 23 or of[11].rstrip("12345") not in _SEVERITIES:
            continue
        yield Entry(
            server=server,
            time=of[0] or None,
            level=_level(of[11]),
            database=names.get(of[2], of[2] or None),
            user=of[1] or None,
            pid=int(of[3]) if of[3] else None,
            message=of[13],
            detail=_detail([("DETAIL", of[14]), ("HINT", of[15]), ("CONTEXT", of[18]), ("STATEMENT", of[19])]),
        )


def _from_text(text: str, server: str, _names: _Names) -> Iterator[Entry]:
    entry: Entry | None = None
    for line in text.split("\n"):
        level, part = _LEVEL.search(line), _CONTINUED.search(line)
        if line.startswith("\t") or (part and (level is None or part.start() < level.start())):
            if entry is not None:  # or it belongs to what was not read
                more = line[part.start() :] if part and not line.startswith("\t") else line.strip()
                entry = replace(entry, detail="\n".join(filter(None, (entry.detail, more))))
        elif level:
            if entry is not None:
                yield entry
            prefix, message = line[: level.start()].strip(), line[level.end() :]
            entry = Entry(server, prefix or None, _level(level[1]), None, None, None, message, None)
    if entry is not None:
        yield entry


def _detail(parts: list[tuple[str, str | None]]) -> str | None:
    return "\n".join(f"{name}: {text}" for name, text in parts if text) or None


def _level(severity: str) -> Level:
    return _SEVERITIES[severity.rstrip("12345")]


_SEVERITIES: dict[str, Level] = {level.upper(): level for level in _LEVELS}
