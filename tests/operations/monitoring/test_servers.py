"""Which databases share a server, what becomes of one that is down, and what every topic tells a script."""

import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.operations.monitoring.servers import opened
from app.operations.monitoring.units import duration, shortened
from app.settings import DATABASE_NAMES, Settings
from tests.operations.monitoring.conftest import Monitor, Urls, urls_of
from tests.operations.monitoring.sessions import Sessions

TOPICS = ("status", "activity", "pools", "locks", "tables", "indexes", "slow", "cache", "sizes", "bloat")
KEYS = {
    "status": "databases reachable server version started_at uptime_seconds connections max_connections percent "
    "in_recovery bytes",
    "activity": "server database pid user application client kind state since seconds transaction_started_at "
    "transaction_seconds wait_event_type wait_event blocked_by query",
    "pools": "server database application user state connections max_connections percent",
    "locks": "server database pid user application state transaction_seconds query blocked_by below wait_seconds "
    "lock_type mode object held_modes",
    "tables": "database table partition_of partitions live_rows dead_rows dead_percent vacuumed_at analyzed_at "
    "sequential_scans index_scans inserted updated deleted hot_updated hot_percent",
    "indexes": "database counted_since indexes missing",
    "slow": "database query_id user calls total_ms mean_ms max_ms percent rows blocks_hit blocks_read "
    "temporary_blocks_written query",
    "cache": "database table_percent index_percent worst",
    "sizes": "database bytes relations",
    "bloat": "database kind name table partitions bytes bloat_bytes percent",
}


def of_servers(urls: Urls) -> list[tuple[str, ...]]:
    async def run() -> list[tuple[str, ...]]:
        async with opened(urls) as (servers, errors):
            assert errors == {}
            return [server.databases for server in servers]

    return asyncio.run(run())


def test_a_server_is_the_same_by_whatever_name(elsewhere: Settings) -> None:
    urls = urls_of(elsewhere)
    assert of_servers(urls) == [("users", "products", "orders"), ("payments",)]
    urls["products"] = urls["products"].replace("127.0.0.1", "localhost")
    assert of_servers(urls) == [("users", "products", "orders"), ("payments",)]


def test_status_tells_of_a_server_once(monitor: Monitor, elsewhere: Settings) -> None:
    one, two = monitor("status", "--json", on=elsewhere).json["rows"]
    assert (one["databases"], two["databases"]) == (["users", "products", "orders"], ["payments"])
    for row in (one, two):
        assert (row["reachable"], row["in_recovery"], set(row["bytes"])) == (True, False, set(row["databases"]))
        assert all(size > 1_000_000 for size in row["bytes"].values())
        assert row["uptime_seconds"] > 0
        assert row["percent"] == pytest.approx(100 * row["connections"] / row["max_connections"], abs=0.1)


@pytest.mark.parametrize("topic", TOPICS)
def test_where_one_is_down_the_others_are_shown(
    monitor: Monitor, sessions: Sessions, shop: Settings, topic: str
) -> None:
    sessions.execute("CREATE TABLE thing AS SELECT 1 AS n", "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    whole = monitor(topic, "--json").json["rows"]
    down = shop.model_copy(update={"users_database_url": "postgresql://postgres@127.0.0.1:1/users"})
    shown = monitor(topic, "--json", on=down)
    assert shown.code == 2
    message = "cannot connect to the users database: [Errno 111] Connect call failed ('127.0.0.1', 1)"
    assert shown.json["errors"] == {"users": message}
    assert shown.err == f"storegraph: {message}\n"
    names = {name for row in shown.json["rows"] for name in row.get("databases", [row.get("database")])}
    others = {name for row in whole for name in row.get("databases", [row.get("database")])} - {"users"}
    assert names - {"users"} == others
    if topic == "status":
        assert [row["databases"] for row in shown.json["rows"] if not row["reachable"]] == [["users"]]


def test_all_down(monitor: Monitor, shop: Settings) -> None:
    urls = {f"{name}_database_url": f"postgresql://postgres@127.0.0.1:1/{name}" for name in DATABASE_NAMES}
    shown = monitor("tables", on=shop.model_copy(update=urls))
    assert (shown.code, shown.out, shown.err.count("cannot connect")) == (2, "", 4)


@pytest.mark.parametrize("topic", TOPICS)
def test_json_has_the_keys_that_are_documented(
    monitor: Monitor, sessions: Sessions, elsewhere: Settings, topic: str
) -> None:
    sessions.execute(
        *("CREATE EXTENSION IF NOT EXISTS pg_stat_statements", "CREATE TABLE thing (n int PRIMARY KEY)"),
        *("INSERT INTO thing SELECT generate_series(1, 1000)", "ANALYZE thing"),
    )
    sessions.open("BEGIN", "LOCK TABLE thing IN EXCLUSIVE MODE")
    sessions.start(sessions.open(), "DELETE FROM thing")
    shown = monitor(topic, "--json", on=elsewhere)
    assert list(shown.json) == ["rows", "findings", "notes", "errors"]
    rows: list[dict[str, Any]] = shown.json["rows"]
    assert rows
    for row in rows:
        assert list(row) == KEYS[topic].split()
    parts = {"indexes": "indexes", "cache": "worst", "sizes": "relations"}.get(topic)
    assert parts is None or all(part for row in rows for part in row[parts])


@pytest.mark.parametrize("topic", TOPICS[:-4])
def test_a_plain_role_sees_what_it_may_and_is_told_of_the_rest(
    monitor: Monitor, sessions: Sessions, roles: dict[str, Settings], topic: str
) -> None:
    sessions.execute("CREATE TABLE thing (n int)")
    sessions.open("BEGIN", "SELECT 1")
    plain, watcher = (monitor(topic, "--json", on=roles[role]) for role in ("plain", "watcher"))
    assert plain.code == watcher.code == 0
    grants = [note for note in plain.json["notes"] if "GRANT pg_monitor TO plain" in note]
    assert len(grants) == (topic in ("activity", "pools"))
    assert "GRANT" not in json.dumps(watcher.json["notes"])
    if topic == "activity":
        assert plain.json["rows"] == []
        assert "1 sessions of other roles are left out" in plain.json["notes"][1]
        everything = monitor(topic, "--json", "--all", on=roles["plain"]).json["rows"]
        assert {row["state"] for row in everything if row["database"] == "orders"} == {None}
        assert [row["state"] for row in watcher.json["rows"]] == ["idle in transaction"]


def test_bloat_says_what_a_plain_role_may_not_read(
    monitor: Monitor, sessions: Sessions, roles: dict[str, Settings]
) -> None:
    sessions.execute("CREATE TABLE thing AS SELECT generate_series(1, 10000) AS n", "ANALYZE thing")
    shown = monitor("bloat", "--json", on=roles["plain"]).json
    assert shown["rows"] == []
    assert "orders: left out, for the role plain may not read them: 1 tables" in "\n".join(shown["notes"])


@given(st.floats(0, 1e9))
def test_a_duration_reads_as_what_it_is(seconds: float) -> None:
    """To a part in a hundred, or half a second."""
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    read = sum(float(amount) * units[unit] for amount, unit in re.findall(r"([\d.]+)([dhms])", duration(seconds)))
    assert read == pytest.approx(seconds, rel=0.04, abs=0.5)
    assert len(duration(seconds).split()) <= 2


@given(st.text(), st.integers(1, 50))
def test_a_shortened_text_is_one_line(text: str, length: int) -> None:
    short = shortened(text, length)
    assert len(short) <= length
    assert "\n" not in short
    assert short.isprintable()
    assert len(short) == length or not short.endswith("…") or "…" in text
    assert short.rstrip("…") in " ".join("".join(of if of.isprintable() else " " for of in text).split())
