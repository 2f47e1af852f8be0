"""The end of a server's log, in each format that it can have, and what is missing where it cannot be read."""

import re
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.operations.monitoring.logs import entries_of
from app.settings import Settings
from tests.http_server import until
from tests.operations.monitoring.conftest import Monitor
from tests.operations.rows import rows


@pytest.fixture(params=["stderr", "csvlog", "jsonlog"])
def logged(elsewhere: Settings, request: pytest.FixtureRequest) -> Generator[Settings]:
    """The shop with the payments on a server that writes its log in one of the formats."""

    def write(destination: str) -> None:
        rows(elsewhere, "payments", f"ALTER SYSTEM SET log_destination = {destination}")
        rows(elsewhere, "payments", "SELECT pg_reload_conf()")
        other = [of for of in ("csvlog", "jsonlog") if of != destination]
        found = "SELECT count(pg_current_logfile(of)) FROM unnest($1::text[]) of"
        until(lambda: rows(elsewhere, "payments", found, [destination]) == [(1,)])
        until(lambda: rows(elsewhere, "payments", found, other) == [(0,)])

    write(request.param)
    yield elsewhere
    write("stderr")


def log(settings: Settings, level: str, text: str) -> None:
    """Have the payments' server log a text."""
    rows(settings, "payments", f"DO $$BEGIN RAISE {level} USING MESSAGE = {text}; END$$")


def told(monitor: Monitor, settings: Settings, last: str, *arguments: str) -> list[dict[str, Any]]:
    """The entries of the payments' server, once the last is there: the server's collector takes its time."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        shown = monitor("logs", "--json", "--database", "payments", *arguments, on=settings)
        assert shown.code == 0, shown.err
        found[:] = shown.json["rows"]
        return bool(found) and last in found[-1]["message"]

    until(is_there)
    return found


def test_entries_with_what_belongs_to_them(monitor: Monitor, logged: Settings) -> None:
    with suppress(asyncpg.DivisionByZeroError):
        rows(logged, "payments", "SELECT 1 / 0,\n 'wrong'")
    log(logged, "LOG", "E'two\\nlines, \"quoted\" ERROR:  no, \\u2028 LOG: neither'")
    log(logged, "WARNING", "'the last'")
    error, several, last = told(monitor, logged, "the last", "--lines", "3")
    assert list(error) == ["server", "time", "level", "database", "user", "pid", "message", "detail"]
    structured = error["database"] is not None
    assert [of["level"] for of in (error, several, last)] == ["error", "log", "warning"]
    assert error["message"] == "division by zero"
    assert "STATEMENT:  SELECT 1 / 0" in error["detail"].replace("STATEMENT: SELECT", "STATEMENT:  SELECT")
    assert "'wrong'" in error["detail"]
    assert error["time"][:2] == "20"
    message = 'two\nlines, "quoted" ERROR:  no, \u2028 LOG: neither'
    if structured:
        assert several["message"] == message
        assert (error["database"], error["user"]) == ("payments", "postgres")
        assert isinstance(error["pid"], int)
    else:
        assert several["message"] + "\n" + several["detail"].partition("\nCONTEXT")[0] == message
    shown = monitor("logs", "--database", "payments", "--lines", "3", on=logged).out
    assert " ERROR division by zero\n    STATEMENT:" in shown
    assert shown.splitlines()[0].startswith(error["time"])


def test_what_is_grave_is_found_far_back(monitor: Monitor, logged: Settings) -> None:
    log(logged, "WARNING", "'far back'")
    rows(
        logged,
        "payments",
        "DO $$BEGIN FOR i IN 1..100 LOOP RAISE LOG E'%\\n%', i, repeat('x \" y', 500); END LOOP; END$$",
    )
    log(logged, "LOG", "'the last'")
    assert len(told(monitor, logged, "the last", "--lines", "70")) == 70
    shown = monitor("logs", "--json", "--database", "payments", "--lines", "1", "--level", "warning", on=logged)
    assert [row["message"] for row in shown.json["rows"]] == ["far back"]


def test_where_a_log_cannot_be_read_it_says_why(
    monitor: Monitor, elsewhere: Settings, roles: dict[str, Settings]
) -> None:
    log(elsewhere, "LOG", "'the last'")
    told(monitor, elsewhere, "the last")
    shown = monitor("logs", on=elsewhere)
    assert shown.code == 2
    assert "LOG the last" in shown.out, "of the server that has a log"
    assert "(users, products, orders) writes its log to no file: set logging_collector = on" in shown.err
    for role in roles:
        refused = monitor("logs", on=roles[role])
        assert refused.code == 2
        assert f"storegraph: the role {role} may not read the log of 127.0.0.1:" in refused.err
        assert "pg_read_binary_file(text, bigint, bigint, boolean) TO" in refused.err
        assert ("GRANT pg_monitor TO" in refused.err) == (role == "plain")


def test_what_is_said_to_be_missing_is_enough(
    monitor: Monitor, elsewhere: Settings, roles: dict[str, Settings]
) -> None:
    """Following what it says, a role that is no superuser reads the log."""
    rows(elsewhere, "payments", "CREATE ROLE reader LOGIN")
    url = elsewhere.payments_database_url.replace("postgres@", "reader@")
    settings = elsewhere.model_copy(update={"payments_database_url": url})
    said = monitor("logs", "--database", "payments", on=settings)
    assert said.code == 2
    [grants] = re.findall(r"^storegraph: .*?:\d+: (.*), in postgres$", said.err, re.MULTILINE)
    for grant in grants.split("; "):
        rows(elsewhere, "payments", grant)
    assert monitor("logs", "--database", "payments", on=settings).code == 0
    rows(elsewhere, "payments", "DROP OWNED BY reader")
    rows(elsewhere, "payments", "DROP ROLE reader")


def test_a_log_is_read_from_wherever(logged: Settings, monitor: Monitor) -> None:
    """What is read begins anywhere: after the first end of a line, the entries are the last ones of the log's."""
    for n in range(3):
        log(logged, "LOG", f'E\'{n} "odd\\n"one" "\\n", "more", WARNING:  not one\\n\'')
    log(logged, "LOG", "'the last'")
    told(monitor, logged, "the last")
    read = "SELECT of, pg_read_file(pg_current_logfile(of)) FROM unnest($1::text[]) of"
    found = {of: text for of, text in rows(logged, "payments", read, ["stderr", "csvlog", "jsonlog"]) if text}
    written_as, text = found.popitem()  # beside another format, stderr has a line that says where to look
    text = text[-20_000:]
    entries = list(entries_of(text, written_as, "a:1", {}))
    assert len(entries) >= 4
    counts: list[int] = []
    for start in [0, *(at + 1 for at, of in enumerate(text[:-1]) if of == "\n")]:
        last = list(entries_of(text[start:], written_as, "a:1", {}))
        assert last == entries[len(entries) - len(last) :]
        counts.append(len(last))
    assert counts == sorted(counts, reverse=True)
    assert set(counts) >= set(range(1, len(entries) + 1)), "each is read once all of it is there"


def test_a_read_that_begins_with_a_closing_quote_loses_no_row() -> None:
    row = (
        '2026-01-31 10:00:00.000 UTC,"postgres","shop",7,,a,1,"DO",2026-01-31 09:00:00 UTC,,0,ERROR,22012,"no"'
        + "," * 12
    )
    [entry] = entries_of(f'",,a\n{row}\n', "csvlog", "a:1", {"shop": "orders"})
    assert (entry.level, entry.message, entry.database, entry.pid) == ("error", "no", "orders", 7)


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc"))).map(str.strip)


@given(st.lists(st.tuples(st.sampled_from(["LOG", "ERROR", "DEBUG1"]), WORDS, st.lists(WORDS, max_size=2))))
def test_lines_of_text_are_put_together(written: list[tuple[str, str, list[str]]]) -> None:
    """As the server writes them: a prefix, the level, two blanks, the text; a tab before each further line."""
    prefix = "2026-01-31 10:00:00.000 UTC [7] "
    lines = [
        line
        for level, message, more in written
        for line in (f"{prefix}{level}:  {message}", *(f"\t{of}" for of in more), f"{prefix}STATEMENT:  x")
    ]
    entries = list(entries_of("\n".join(["\tof an entry before", *lines, ""]), "stderr", "a:1", {}))
    assert [(of.level, of.message) for of in entries] == [
        ({"DEBUG1": "debug"}.get(level, level.lower()), message) for level, message, _ in written
    ]
    for entry, (_, _, more) in zip(entries, written, strict=True):
        assert entry.time == prefix.strip()
        assert entry.detail == "\n".join([*filter(None, more), "STATEMENT:  x"])
