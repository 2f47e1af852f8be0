"""Who is connected and does what, with how many connections."""

import re

import pytest

from tests.operations.monitoring.conftest import Monitor
from tests.operations.monitoring.sessions import Sessions

SLEEP = "SELECT pg_sleep(600)"
ASLEEP = "wait_event = 'PgSleep'"


def test_what_is_idle_in_a_transaction_is_shown_and_what_is_idle_is_not(sessions: Sessions, monitor: Monitor) -> None:
    idle = sessions.open("SET application_name = 'idle'", "SELECT 1").get_server_pid()
    open_ = sessions.open("SET application_name = 'open'", "BEGIN", "SELECT 'a', 'b'").get_server_pid()
    working = sessions.open()
    sessions.start(working, SLEEP, ASLEEP)

    shown = monitor("activity", "--json")
    assert shown.code == 0
    rows = {row["pid"]: row for row in shown.json["rows"]}
    assert set(rows) == {open_, working.get_server_pid()}
    assert next(iter(rows)) == open_, "the oldest transaction first"
    row = rows[open_]
    assert (row["state"], row["application"], row["query"]) == ("idle in transaction", "open", "SELECT 'a', 'b'")
    assert row["transaction_seconds"] >= row["seconds"] > 0
    assert rows[working.get_server_pid()]["wait_event"] == "PgSleep"

    everything = {row["pid"]: row for row in monitor("activity", "--json", "--all").json["rows"]}
    assert everything[idle]["state"] == "idle"
    assert "checkpointer" in {row["kind"] for row in everything.values()}
    assert "storegraph monitor" not in {row["application"] for row in everything.values()}
    table = monitor("activity").out
    assert str(open_) in table
    assert str(idle) not in table


def test_a_transaction_that_is_open_too_long_is_found(sessions: Sessions, monitor: Monitor) -> None:
    pid = sessions.open("SET application_name = 'open'", "BEGIN", "SELECT 1").get_server_pid()
    assert monitor("activity").code == 0
    found = monitor("activity", "--transaction", "0")
    assert found.code == 1
    assert f"orders: pid {pid} (postgres, open) has had a transaction open for 0" in found.out
    assert found.out.endswith("more than 0.0s; it is idle in transaction\n")


def test_a_query_on_several_processes_is_one_transaction(sessions: Sessions, monitor: Monitor) -> None:
    sessions.execute("CREATE TABLE thing AS SELECT generate_series(1, 10000) AS n")
    settings = ("parallel_setup_cost = 0", "parallel_tuple_cost = 0", "min_parallel_table_scan_size = 0")
    session = sessions.open(*(f"SET {setting}" for setting in settings))
    sessions.start(
        session,
        "SELECT count(pg_sleep(600)) FROM thing",
        "(SELECT count(*) > 1 FROM pg_stat_activity p "
        "WHERE p.pid = pg_stat_activity.pid OR p.leader_pid = pg_stat_activity.pid)",
    )
    shown = monitor("activity", "--json", "--transaction", "0").json
    assert {row["kind"] for row in shown["rows"]} == {"client backend", "parallel worker"}
    assert len(shown["findings"]) == 1
    assert f"pid {session.get_server_pid()} " in shown["findings"][0]


def test_a_long_query_is_cut_in_the_table_alone(sessions: Sessions, monitor: Monitor) -> None:
    query = f"SELECT '{'word ' * 100}',\n 'the end', pg_sleep(600)"
    sessions.start(sessions.open(), query, ASLEEP)
    assert monitor("activity", "--json").json["rows"][0]["query"] == query
    table = monitor("activity").out
    assert "word word" in table
    assert "the end" not in table
    assert max(map(len, table.splitlines())) <= 80


def test_names_are_neither_markup_nor_commands_to_the_terminal(sessions: Sessions, monitor: Monitor) -> None:
    sessions.execute('CREATE TABLE "[/b]" (n int)', 'CREATE TABLE "\x1b[31m" (n int)')
    holder = sessions.open("SET application_name = '[/i]'", "BEGIN", 'LOCK TABLE "[/b]"', "SELECT '\x1b[31m[red]a[i]'")
    sessions.start(sessions.open(), 'SELECT FROM "[/b]"')
    shown = {topic: monitor(topic).out for topic in ("activity", "pools", "locks", "tables", "sizes")}
    assert all("\x1b" not in out for out in shown.values())
    for topic in ("activity", "pools", "locks"):
        assert "[/i]" in shown[topic]
    for topic in ("locks", "tables", "sizes"):
        assert '"[/b]"' in shown[topic]
    assert "[red]a[i]" in " ".join(shown["activity"].split())
    assert str(holder.get_server_pid()) in shown["locks"]


def test_who_is_blocked_says_by_whom(sessions: Sessions, monitor: Monitor) -> None:
    holder = sessions.open("SELECT pg_advisory_lock(1)")
    waiter = sessions.open()
    sessions.start(waiter, "SELECT pg_advisory_lock(1)")
    [row] = monitor("activity", "--json").json["rows"]
    assert (row["pid"], row["blocked_by"]) == (waiter.get_server_pid(), [holder.get_server_pid()])
    assert (row["wait_event_type"], row["wait_event"]) == ("Lock", "advisory")


def test_pools_count_connections_by_what_they_have_in_common(sessions: Sessions, monitor: Monitor) -> None:
    for _ in range(3):
        sessions.open("SET application_name = 'gateway'", "SELECT 1")
    sessions.open("SET application_name = 'gateway'", "BEGIN")
    shown = monitor("pools", "--json").json
    of_orders = [row for row in shown["rows"] if row["database"] == "orders"]
    assert [(row["application"], row["user"], row["state"], row["connections"]) for row in of_orders] == [
        ("gateway", "postgres", "idle", 3),
        ("gateway", "postgres", "idle in transaction", 1),
    ]
    assert of_orders[0]["max_connections"] == 100
    assert of_orders[0]["percent"] == 3.0
    assert "of 100 connections, " in monitor("pools").out.splitlines()[-1]


@pytest.mark.parametrize("topic", ["status", "pools"])
def test_connections_that_run_out_are_found(sessions: Sessions, monitor: Monitor, topic: str) -> None:
    sessions.open()
    assert monitor(topic).code == 0
    found = monitor(topic, "--crowded", "0")
    assert found.code == 1
    assert re.search(
        r"\(users, products, orders, payments\): \d+ of 100 connections are in use, more than 0 %\n", found.out
    )
