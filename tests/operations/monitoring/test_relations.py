"""Tables and indexes as the server counts and measures them, partitions under their parents."""

from typing import Any

import pytest

from app.settings import Settings
from tests.operations.monitoring.conftest import Monitor
from tests.operations.monitoring.sessions import Sessions
from tests.operations.rows import rows

FLUSH = "SELECT pg_stat_force_next_flush()"  # a session's counts reach the others when it next waits for a statement
SALES = (
    "CREATE TABLE sale (id int, day date, note text) PARTITION BY RANGE (day)",
    "CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM ('2024-01-01') TO ('2024-02-01')",
    "CREATE TABLE sale_2 PARTITION OF sale FOR VALUES FROM ('2024-02-01') TO ('2024-03-01')",
    "CREATE INDEX sale_id ON sale (id)",
    "INSERT INTO sale SELECT n, date '2024-01-01' + 31 * (n > 20)::int FROM generate_series(1, 30) n",
)


def of_orders(monitor: Monitor, *arguments: str) -> Any:
    """The rows that a command shows of the orders database, as JSON."""
    return [row for row in monitor(*arguments, "--json").json["rows"] if row["database"] == "orders"]


def indexes(monitor: Monitor, *arguments: str) -> dict[str, Any]:
    [row] = of_orders(monitor, "indexes", *arguments)
    return {index["name"]: index for index in row["indexes"]}


def test_rows_scans_and_vacuum_of_a_table_and_of_partitions(sessions: Sessions, monitor: Monitor) -> None:
    sessions.execute(*SALES, "DELETE FROM sale WHERE id <= 5", "UPDATE sale SET note = '' WHERE id > 25", FLUSH)
    sessions.execute("VACUUM sale_2", "ANALYZE sale_2", FLUSH)
    [sale] = of_orders(monitor, "tables")
    assert (sale["table"], sale["partitions"], sale["partition_of"]) == ("sale", 2, None)
    assert (sale["live_rows"], sale["dead_rows"], sale["dead_percent"]) == (25, 5, 16.7)
    assert (sale["inserted"], sale["deleted"], sale["updated"], sale["hot_updated"]) == (30, 5, 5, 5)
    assert sale["hot_percent"] == 100
    assert sale["sequential_scans"] + sale["index_scans"] >= 2
    assert sale["vacuumed_at"] is not None
    one, two = sorted(of_orders(monitor, "tables", "--partitions"), key=lambda row: row["table"])
    assert (one["table"], one["partition_of"], one["live_rows"], one["vacuumed_at"]) == ("sale_1", "sale", 15, None)
    assert (two["table"], two["partition_of"], two["live_rows"], two["dead_rows"]) == ("sale_2", "sale", 10, 0)
    assert two["analyzed_at"] is not None
    table = monitor("tables").out
    assert "sale (2) " in table
    assert max(map(len, table.splitlines())) <= 80


def test_indexes_that_are_unused_or_there_twice(sessions: Sessions, monitor: Monitor) -> None:
    sessions.execute(
        "CREATE TABLE thing (id int PRIMARY KEY, code text UNIQUE, n int, other int, late int)",
        "INSERT INTO thing SELECT n, n, n FROM generate_series(1, 1000) n",
        "CREATE INDEX used ON thing (n)",
        "CREATE INDEX unused ON thing (other)",
        "CREATE INDEX again ON thing (n)",
        "CREATE INDEX partly ON thing (n) WHERE n > 5",
        "CREATE INDEX spelt ON thing (lower(code)) WHERE n IS NOT NULL",
        "CREATE INDEX  spelt_otherwise ON thing ( lower( code ) ) WHERE ( n IS  NOT NULL )",
        "CREATE INDEX code ON thing (code)",
        "CREATE INDEX downwards ON thing (n DESC)",
        "CREATE INDEX first ON thing (late)",
        "CREATE UNIQUE INDEX needed ON thing (late)",
        "ANALYZE thing",
    )
    before = indexes(monitor)
    assert {name for name, of in before.items() if not of["unused"]} == {"thing_pkey", "thing_code_key", "needed"}
    duplicates = {name: of["duplicate_of"] for name, of in before.items() if of["duplicate_of"]}
    assert duplicates == {"again": "used", "spelt_otherwise": "spelt", "code": "thing_code_key", "first": "needed"}
    sessions.execute("SET enable_seqscan = off", "DROP INDEX again, downwards", "SELECT FROM thing WHERE n = 5", FLUSH)
    used = indexes(monitor)["used"]
    assert (used["unused"], used["scans"], used["bytes"] > 0) == (False, 1, True)
    names = list(indexes(monitor))
    assert names.index("code") < names.index("unused") < names.index("used"), "what is wrong with one comes first"
    lines = {line.split()[0]: line for line in monitor("indexes").out.splitlines() if line.strip()}
    assert "duplicate of thing_code_key, unused" in lines["code"]
    assert lines["unused"].startswith("unused of thing ")
    assert "unused" not in lines["used"]
    assert "constraint" in lines["thing_code_key"]


def test_an_invalid_index_is_found(sessions: Sessions, monitor: Monitor) -> None:
    sessions.execute("CREATE TABLE thing AS SELECT 1 AS n FROM generate_series(1, 2)", "CREATE INDEX good ON thing (n)")
    assert monitor("indexes").code == 0
    builder = sessions.open()
    failed = sessions.start(builder, "CREATE UNIQUE INDEX CONCURRENTLY bad ON thing (n)", "false")
    assert "could not create unique index" in str(sessions.outcome(failed))
    shown = monitor("indexes")
    assert shown.code == 1
    assert "orders: index bad of thing is invalid" in shown.out
    assert "REINDEX INDEX CONCURRENTLY bad, or DROP INDEX CONCURRENTLY" in shown.out
    bad = indexes(monitor)["bad"]
    assert (bad["valid"], bad["building"], bad["unused"], bad["duplicate_of"]) == (False, False, False, None)


def test_an_index_that_is_being_built_is_not_broken(
    sessions: Sessions, monitor: Monitor, roles: dict[str, Settings]
) -> None:
    sessions.execute("CREATE TABLE thing AS SELECT 1 AS n")
    sessions.open("BEGIN", "UPDATE thing SET n = 2")  # the index must wait for its end
    sessions.start(sessions.open(), "CREATE INDEX CONCURRENTLY slowly ON thing (n)")
    assert monitor("indexes").code == 0
    assert monitor("indexes", on=roles["plain"]).code == 0
    slowly = indexes(monitor)["slowly"]
    assert (slowly["building"], slowly["valid"], slowly["unused"]) == (True, False, False)


def test_an_index_over_partitions_is_one(sessions: Sessions, monitor: Monitor) -> None:
    sessions.execute(*SALES, "CREATE INDEX sale_1_too ON sale_1 (id)", "SELECT FROM sale_1 WHERE id = 1")
    sessions.execute("SET enable_seqscan = off", "SELECT FROM sale_2 WHERE id = 30", FLUSH)
    found = indexes(monitor)
    assert set(found) == {"sale_id", "sale_1_too"}
    assert (found["sale_id"]["partitions"], found["sale_id"]["unused"], found["sale_id"]["scans"]) == (2, False, 1)
    assert found["sale_1_too"]["duplicate_of"] == "sale_1_id_idx"
    each = indexes(monitor, "--partitions")
    assert set(each) == {"sale_1_id_idx", "sale_2_id_idx", "sale_1_too"}
    assert (each["sale_1_id_idx"]["scans"], each["sale_1_id_idx"]["unused"]) == (0, False), "it goes with the others"
    assert each["sale_2_id_idx"]["scans"] == 1


def test_indexes_that_may_be_missing(sessions: Sessions, monitor: Monitor) -> None:
    sessions.execute(
        "CREATE TABLE parent (a int, b int, PRIMARY KEY (a, b))",
        "CREATE TABLE bare (a int, b int, FOREIGN KEY (a, b) REFERENCES parent)",
        "CREATE TABLE halfway (a int, b int, FOREIGN KEY (a, b) REFERENCES parent)",
        "CREATE INDEX ON halfway (a)",
        "CREATE INDEX ON halfway (a, b) WHERE b > 0",
        "CREATE TABLE served (a int, b int, c int, FOREIGN KEY (a, b) REFERENCES parent)",
        "CREATE INDEX served_b_a_c ON served (b, a, c)",
        "CREATE TABLE big AS SELECT n FROM generate_series(1, 10000) n",
        "CREATE TABLE small AS SELECT n FROM generate_series(1, 100) n",
        "DO $$BEGIN FOR i IN 1..100 LOOP PERFORM count(n) FROM big; PERFORM count(n) FROM small; END LOOP; END$$",
        FLUSH,
    )
    [row] = of_orders(monitor, "indexes")
    missing = {of["table"]: of for of in row["missing"]}
    assert set(missing) == {"bare", "halfway", "big"}
    assert missing["bare"]["columns"] == ["a", "b"]
    assert missing["bare"]["reason"] == "foreign key bare_a_b_fkey: a change of parent reads the whole table"
    assert missing["big"]["columns"] == []
    assert missing["big"]["reason"].endswith("scans go through its 10,000 rows one by one")
    served = indexes(monitor)["served_b_a_c"]
    assert (served["foreign_key"], served["unused"]) == ("served_a_b_fkey", True)
    assert "unused, but for a foreign key" in monitor("indexes").out


def test_sizes_add_up_and_are_the_server_s(sessions: Sessions, monitor: Monitor, shop: Settings) -> None:
    sessions.execute(
        *SALES,
        "CREATE TABLE wide (id int PRIMARY KEY, text text)",
        "ALTER TABLE wide ALTER text SET STORAGE EXTERNAL",
        "INSERT INTO wide VALUES (1, repeat('x', 100000))",
    )
    [row] = of_orders(monitor, "sizes")
    relations = {of["name"]: of for of in row["relations"]}
    assert set(relations) == {"sale", "wide"}
    for of in relations.values():
        assert of["bytes"] == of["table_bytes"] + of["index_bytes"] + of["toast_bytes"]
    measured = "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relname IN ('sale_1', 'sale_2')"
    assert rows(shop, "orders", measured) == [(relations["sale"]["bytes"],)]
    assert rows(shop, "orders", "SELECT pg_total_relation_size('wide')") == [(relations["wide"]["bytes"],)]
    assert relations["wide"]["toast_bytes"] > 100_000 > relations["wide"]["table_bytes"]
    assert row["bytes"] > sum(of["bytes"] for of in relations.values())
    [each] = of_orders(monitor, "sizes", "--partitions")
    assert {of["name"] for of in each["relations"]} == {"sale_1", "sale_2", "wide"}


@pytest.mark.parametrize("locked", ["thing", "thing_pkey"])
def test_what_somebody_has_locked_is_not_waited_for(sessions: Sessions, monitor: Monitor, locked: str) -> None:
    sessions.execute("CREATE TABLE thing (id int PRIMARY KEY, n int)", "CREATE TABLE free (id int PRIMARY KEY)")
    sessions.open("BEGIN", "DROP TABLE thing" if locked == "thing" else "REINDEX INDEX thing_pkey")
    for topic in ("tables", "cache", "bloat"):
        assert monitor(topic).code == 0
    shown = monitor("sizes")
    assert shown.code == 0
    assert "note: orders: not measured while somebody has them locked: thing\n" in shown.out
    [row] = of_orders(monitor, "sizes")
    assert {of["name"]: of["bytes"] is None for of in row["relations"]} == {"thing": True, "free": False}
    assert {name: of["bytes"] for name, of in indexes(monitor).items()}["thing_pkey"] is None


def test_the_cache_s_worst_tables(sessions: Sessions, monitor: Monitor) -> None:
    sessions.execute(*SALES, "CREATE TABLE one AS SELECT 1 AS n", "SELECT FROM one", FLUSH)
    [row] = of_orders(monitor, "cache")
    assert 0 < row["table_percent"] <= 100
    assert {of["table"] for of in row["worst"]} <= {"sale", "one"}
    for of in row["worst"]:
        assert of["table_read"] + of["index_read"] > 0
    assert of_orders(monitor, "cache", "--limit", "0")[0]["worst"] == []


@pytest.mark.parametrize("kept", [1, 2, 4])
def test_bloat_is_estimated_about_as_pgstattuple_measures_it(
    sessions: Sessions, monitor: Monitor, shop: Settings, kept: int
) -> None:
    """Of rows and index entries of one width, of which one of ``kept`` is left."""
    if not rows(shop, "orders", "SELECT FROM pg_available_extensions WHERE name = 'pgstattuple'"):
        pytest.skip("this server has no pgstattuple")
    sessions.execute(
        "CREATE EXTENSION pgstattuple",
        "CREATE TABLE thing AS SELECT n::bigint AS id, md5(n::text) AS code FROM generate_series(1, 20000) n",
        "CREATE UNIQUE INDEX thing_id ON thing (id)",
        f"DELETE FROM thing WHERE id % {kept} <> 0 OR id > 19990",
        "VACUUM ANALYZE thing",
    )
    estimated = {of["name"]: of["percent"] for of in of_orders(monitor, "bloat")}
    [(table,)] = rows(shop, "orders", "SELECT free_percent FROM pgstattuple('thing')")
    [(density,)] = rows(shop, "orders", "SELECT avg_leaf_density FROM pgstatindex('thing_id')")
    assert estimated["thing"] == pytest.approx(table, abs=8)
    assert estimated["thing_id"] == pytest.approx(100 - density / 0.9, abs=8)
    shown = monitor("bloat").out
    assert "note: an estimate, from pg_stats by the method of ioguix/pgsql-bloat-estimation" in shown
