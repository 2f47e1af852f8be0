"""Who blocks whom: a chain as a tree, also with several ways to stand in line, and a circle."""

from hypothesis import given
from hypothesis import strategies as st

from app.operations.monitoring.locks import Chain, Link, chains
from app.settings import Settings
from tests.operations.monitoring.conftest import Monitor
from tests.operations.monitoring.sessions import Sessions

UPDATE = "UPDATE thing SET n = n + 1 WHERE id = 1"


def test_a_session_blocks_another_and_a_third_stands_behind(sessions: Sessions, monitor: Monitor) -> None:
    sessions.execute("CREATE TABLE thing AS SELECT 1 AS id, 0 AS n")
    holder = sessions.open("SET application_name = 'holder'", "BEGIN", UPDATE)
    second, third, fourth = (sessions.open(f"SET application_name = 'waiter {n}'") for n in (2, 3, 4))
    for waiter in (second, third):
        sessions.start(waiter, UPDATE)
    sessions.start(fourth, "SELECT FROM thing; LOCK TABLE thing IN ACCESS EXCLUSIVE MODE")
    pids = [session.get_server_pid() for session in (holder, second, third, fourth)]

    shown = monitor("locks", "--json")
    assert shown.code == 0
    links = {link["pid"]: link for link in shown.json["rows"]}
    assert [links[pid]["below"] for pid in pids[:3]] == [None, pids[0], pids[1]]
    assert set(links) == set(pids)
    first, middle, last, alter = (links[pid] for pid in pids)
    assert (first["state"], first["application"], first["database"]) == ("idle in transaction", "holder", "orders")
    assert (first["mode"], first["object"], first["blocked_by"]) == (None, None, [])
    assert first["query"] == middle["query"] == UPDATE
    assert (middle["lock_type"], middle["mode"]) == ("transactionid", "ShareLock")
    assert middle["held_modes"] == ["ExclusiveLock"]
    assert middle["object"] == last["object"] == "row (0,1) of thing"
    assert middle["wait_seconds"] > last["wait_seconds"] > alter["wait_seconds"] > 0
    assert (last["lock_type"], last["mode"]) == ("tuple", "ExclusiveLock")
    assert (alter["mode"], alter["object"]) == ("AccessExclusiveLock", "thing")
    assert alter["blocked_by"] == sorted(pids[:3])

    table = monitor("locks").out.splitlines()
    lines = [next(line for line in table if f"pid {pid}" in line) for pid in pids]
    depths = [line.index("pid") for line in lines]
    assert depths[0] == 0
    assert depths[0] < depths[1] < depths[2]
    assert depths[3] > 0

    found = monitor("locks", "--wait", "0")
    assert found.code == 1
    assert f"orders: 3 sessions wait for pid {pids[0]} (postgres, idle in transaction), the longest for" in found.out


def test_two_that_block_each_other_are_a_tree_as_well(sessions: Sessions, monitor: Monitor) -> None:
    """A deadlock that the server is yet to find, with a third session behind it."""
    sessions.execute("CREATE TABLE thing AS SELECT id, 0 AS n FROM generate_series(1, 2) AS id")
    patient, update = "SET deadlock_timeout = '1h'", "UPDATE thing SET n = n + 1 WHERE id = {}"
    first, second, third = (
        sessions.open(patient, "BEGIN", *also) for also in ([update.format(1)], [update.format(2)], [])
    )
    sessions.start(first, update.format(2))
    sessions.start(second, update.format(1))
    sessions.start(third, update.format(1))
    pids = [session.get_server_pid() for session in (first, second, third)]

    shown = monitor("locks", "--json", "--wait", "0")
    assert shown.code == 1
    links = {link["pid"]: link for link in shown.json["rows"]}
    assert links[pids[0]]["blocked_by"] == [pids[1]]
    assert pids[0] in links[pids[1]]["blocked_by"]
    assert sum(link["below"] is None for link in links.values()) == 1
    assert len(shown.json["findings"]) == 1
    out = monitor("locks").out
    assert all(out.count(f"pid {pid} ") == 1 for pid in pids)


def test_all_in_a_queue_stand_below_who_has_the_lock(sessions: Sessions, monitor: Monitor) -> None:
    """Each is blocked by those before it as well; and the holder's number is neither the lowest nor the highest."""
    sessions.execute("CREATE TABLE thing (n int)")
    first, holding, *others = (sessions.open() for _ in range(4))
    sessions.run(holding.execute("BEGIN; LOCK TABLE thing IN SHARE MODE"))
    waiters, holder = [first, *others], holding.get_server_pid()
    for waiter in waiters:
        sessions.start(waiter, "LOCK TABLE thing; SELECT 1")
    links = {link["pid"]: link for link in monitor("locks", "--json").json["rows"]}
    pids = [waiter.get_server_pid() for waiter in waiters]
    assert [links[pid]["below"] for pid in pids] == [holder] * 3
    assert [len(links[pid]["blocked_by"]) for pid in pids] == [1, 2, 3]
    assert [links[pid]["held_modes"] for pid in pids] == [["ShareLock"]] * 3


def test_advisory_locks_are_told_by_their_keys(sessions: Sessions, monitor: Monitor) -> None:
    take = "SELECT pg_advisory_lock(5000000000), pg_advisory_lock(1, 2)"
    sessions.open(take)
    one, two = sessions.open(), sessions.open()
    sessions.start(one, "SELECT pg_advisory_lock(5000000000)")
    sessions.start(two, "SELECT pg_advisory_lock(1, 2)")
    objects = {link["object"] for link in monitor("locks", "--json").json["rows"]}
    assert objects == {None, "advisory lock 5000000000", "advisory lock 1, 2"}


def test_a_forgotten_prepared_transaction_is_at_the_head(monitor: Monitor, elsewhere: Settings) -> None:
    """It has no process: its locks are those of none."""
    away = Sessions(elsewhere.payments_database_url)
    away.execute("CREATE TABLE thing (n int)", "BEGIN; LOCK TABLE thing; PREPARE TRANSACTION 'forgotten'")
    pid = away.open().get_server_pid()
    waiting = away.open()
    away.start(waiting, "TABLE thing")
    shown = monitor("locks", "--json", "--wait", "0", on=elsewhere)
    head, link = sorted(shown.json["rows"], key=lambda link: link["pid"])
    assert (head["pid"], head["below"], head["query"]) == (0, None, None)
    assert (link["pid"], link["below"], link["held_modes"]) == (waiting.get_server_pid(), 0, ["AccessExclusiveLock"])
    assert "1 session waits for a prepared transaction, the longest for" in shown.json["findings"][0]
    assert monitor("locks", on=elsewhere).out.startswith("a prepared transaction (pg_prepared_xacts)\n└── pid ")
    assert str(pid) not in shown.out
    away.execute("ROLLBACK PREPARED 'forgotten'", "DROP TABLE thing")
    away.close()


def test_only_the_chains_of_the_databases_asked_for(sessions: Sessions, monitor: Monitor) -> None:
    sessions.open("SELECT pg_advisory_lock(1)")
    sessions.start(sessions.open(), "SELECT pg_advisory_lock(1)")
    assert len(monitor("locks", "--json", "--database", "orders").json["rows"]) == 2
    assert monitor("locks", "--json", "--database", "users").json["rows"] == []
    assert monitor("locks", "--database", "users").out == "Nobody waits for a lock.\n"


def a_link(pid: int, below: int | None) -> Link:
    return Link(
        *("a:1", "orders", pid, None, None, None, None, None, (), below, float(pid)),
        lock_type=None,
        mode=None,
        object=None,
        held_modes=(),
    )


@given(st.lists(st.integers(0, 30)).map(lambda numbers: [min(n, i) for i, n in enumerate(numbers)]))
def test_every_link_is_in_one_place(parents: list[int]) -> None:
    """Where each stands below one before it, or, as the first does, below none."""
    links = [a_link(pid, below if below < pid else None) for pid, below in enumerate(parents)]

    def pids(trees: tuple[Chain, ...]) -> list[int]:
        return [pid for tree in trees for pid in (tree.link.pid, *pids(tree.waiting))]

    trees = chains(links)
    assert sorted(pids(trees)) == list(range(len(links)))
    assert sum(len(tree.waits()) + 1 for tree in trees) == len(links)
