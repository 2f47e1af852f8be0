"""Statements by pg_stat_statements: their order, what is missing where there is none, and counting anew."""

import re

import pytest

from app.settings import Settings
from tests.operations.monitoring.conftest import Monitor
from tests.operations.monitoring.sessions import Sessions
from tests.operations.rows import rows


@pytest.fixture
def counted(sessions: Sessions, shop: Settings) -> Settings:
    """The shop where the orders database alone has the extension: it shows the statements of all on the server."""
    if not rows(shop, "orders", "SELECT current_setting('pg_stat_statements.max', true)")[0][0]:
        pytest.skip("this server loads no pg_stat_statements")
    sessions.execute('CREATE SCHEMA "the stats"', 'CREATE EXTENSION pg_stat_statements SCHEMA "the stats"')
    rows(shop, "orders", 'SELECT "the stats".pg_stat_statements_reset()')  # other tests have left thousands
    return shop


def queries(monitor: Monitor, *arguments: str) -> list[str]:
    """The statements of the orders database, in the order in which they are told."""
    return [row["query"] for row in monitor("slow", "--json", "--database", "orders", *arguments).json["rows"]]


def test_statements_by_their_time_in_all_by_their_mean_and_by_calls(
    sessions: Sessions, monitor: Monitor, counted: Settings
) -> None:
    sessions.execute(*["SELECT pg_sleep(0.05) AS often"] * 8, "SELECT 1 AS slow, pg_sleep(0.2)", "SELECT 1 AS once")
    often, slow, once = (f"SELECT {of}" for of in ("pg_sleep($1) AS often", "$1 AS slow, pg_sleep($2)", "$1 AS once"))
    for order, expected in {
        "total": [often, slow, once],
        "mean": [slow, often, once],
        "calls": [often, *[of for of in queries(monitor, "--by", "calls", "--limit", "1000") if of in (slow, once)]],
    }.items():
        told = [of for of in queries(monitor, "--by", order, "--limit", "1000") if of in (often, slow, once)]
        assert told == expected
    assert len(queries(monitor, "--limit", "2")) == 2
    rows_of = monitor("slow", "--json", "--database", "orders", "--limit", "1000").json["rows"]
    first = next(row for row in rows_of if row["query"] == often)
    assert (first["calls"], first["rows"], first["user"]) == (8, 8, "postgres")
    assert first["total_ms"] >= 400
    assert first["mean_ms"] == pytest.approx(first["total_ms"] / 8, abs=0.001)
    assert first["max_ms"] >= first["mean_ms"]
    assert 0 < first["percent"] < 100
    table = monitor("slow", "--database", "orders", "--limit", "1000").out
    assert "SELECT pg_sleep($1) AS often" in table
    assert max(len(line) for line in table.splitlines() if not line.startswith("note: ")) <= 80


def test_one_database_with_the_extension_shows_all_of_the_server(monitor: Monitor, counted: Settings) -> None:
    rows(counted, "users", "SELECT count(*) AS of_users FROM users")
    shown = monitor("slow", "--json", "--limit", "1000")
    assert (shown.code, shown.json["errors"]) == (0, {})
    of_users = [row["query"] for row in shown.json["rows"] if row["database"] == "users"]
    assert "SELECT count(*) AS of_users FROM users" in of_users
    assert shown.json["rows"][0]["database"] == "users"


def test_counting_anew(
    sessions: Sessions, monitor: Monitor, counted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions.execute("SELECT 1 AS before")
    rows(counted, "users", "SELECT 1 AS of_others")
    done = monitor("slow", "--reset", "--database", "orders")
    assert (done.code, done.out) == (0, "counts anew: orders\n")
    assert "SELECT $1 AS before" not in queries(monitor, "--limit", "1000")
    all_rows = monitor("slow", "--json", "--limit", "1000").json["rows"]
    assert "SELECT $1 AS of_others" in {row["query"] for row in all_rows}, "only the database asked for"
    assert monitor("slow", "--reset", "--json").json == {"reset": ["users", "products", "orders", "payments"]}


def test_without_the_extension_it_says_how_to_have_it(monitor: Monitor, elsewhere: Settings) -> None:
    shown = monitor("slow", on=elsewhere)
    assert (shown.code, shown.out) == (2, "")
    lines = shown.err.splitlines()
    assert re.fullmatch(
        r"storegraph: 127.0.0.1:\d+ \(users, products, orders\) loads pg_stat_statements, but none of these databases "
        r"shows it: run CREATE EXTENSION pg_stat_statements in the database ecommerce_users",
        lines[0],
    )
    assert re.fullmatch(
        r"storegraph: 127.0.0.1:\d+ \(payments\) does not load pg_stat_statements: set shared_preload_libraries = "
        r"'pg_stat_statements' in postgresql.conf, restart the server, and run CREATE EXTENSION pg_stat_statements in "
        r"the database postgres",
        lines[1],
    )
    assert set(monitor("slow", "--json", on=elsewhere).json["errors"]) == {"users", "products", "orders", "payments"}


def test_a_role_that_sees_no_text_is_told_so(
    monitor: Monitor, counted: Settings, sessions: Sessions, roles: dict[str, Settings]
) -> None:
    sessions.execute('GRANT USAGE ON SCHEMA "the stats" TO PUBLIC')
    shown = monitor("slow", "--json", "--database", "orders", on=roles["plain"])
    assert shown.code == 0
    assert None in {row["query"] for row in shown.json["rows"]}
    assert any("GRANT pg_read_all_stats TO plain" in note for note in shown.json["notes"])
    refused = monitor("slow", "--reset", on=roles["plain"])
    assert refused.code == 2
    assert "the role plain may not reset statistics: GRANT EXECUTE ON FUNCTION " in refused.err
