"""Migrations that require others of other databases: in which order they run, and what stops them."""

import asyncio
import json
from collections.abc import Generator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domains.revisions import Revision
from app.errors import OperationError
from app.operations.databases import create
from app.operations.migrations import status
from app.operations.migrations_order import histories, ordered, undone, validate
from app.operations.server import LocalServer
from app.settings import DATABASE_NAMES, DatabaseName, Settings
from tests.operations.revision_files import HEADS, add, copied, value
from tests.operations.rows import storegraph

Histories = dict[DatabaseName, list[Revision]]
Positions = dict[DatabaseName, str | None]
Key = tuple[str, str]


@st.composite
def arbitrary(draw: st.DrawFn) -> tuple[Histories, Positions]:
    """Histories of up to four migrations, some of which require others, and where each database stands."""
    lengths = {name: draw(st.integers(0, 4)) for name in DATABASE_NAMES}
    of: Histories = {}
    for name in DATABASE_NAMES:
        of[name] = []
        for number in range(1, lengths[name] + 1):
            others: list[DatabaseName] = [other for other in DATABASE_NAMES if other != name and lengths[other]]
            requires: dict[DatabaseName, str] = {}
            for other in draw(
                st.lists(st.sampled_from(others), max_size=2, unique=True) if others else st.just(others)
            ):
                requires[other] = f"{draw(st.integers(1, lengths[other])):04}"
            after = f"{number - 1:04}" if number > 1 else None
            of[name].append(Revision(name, f"{number:04}", after, "", requires=requires))
    at: Positions = {}
    for name in DATABASE_NAMES:
        place = draw(st.integers(0, lengths[name]))
        at[name] = f"{place:04}" if place else None
    return of, at


def applied(at: str | None) -> int:
    return int(at or 0)


def graph_of(of: Histories, at: Positions) -> dict[Key, set[Key]]:
    """What each migration that is not applied waits for, of those that are not applied."""
    pending = [revision for name in of for revision in of[name] if int(revision.number) > applied(at[name])]
    keys: set[Key] = {(revision.database, revision.number) for revision in pending}
    graph: dict[Key, set[Key]] = {}
    for revision in pending:
        needs: set[Key] = {*revision.requires.items()}
        if revision.after:
            needs.add((revision.database, revision.after))
        graph[revision.database, revision.number] = needs & keys
    return graph


@given(arbitrary())
def test_each_comes_after_what_it_requires_and_none_is_left_out_if_there_is_any_order(
    drawn: tuple[Histories, Positions],
) -> None:
    of, at = drawn
    graph = graph_of(of, at)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        with pytest.raises(OperationError, match=r"require each other, so that none can be the first: .* → "):
            ordered(of, at, DATABASE_NAMES)
        return
    order: list[Key] = [(revision.database, revision.number) for revision in ordered(of, at, DATABASE_NAMES)]
    assert sorted(order) == sorted(graph)
    for place, key in enumerate(order):
        assert graph[key] <= set(order[:place])


@given(arbitrary())
def test_what_goes_is_required_by_nothing_that_is_still_there(drawn: tuple[Histories, Positions]) -> None:
    of, targets = drawn
    try:
        validate(of)
    except OperationError:
        return
    heads: Positions = {name: line[-1].number if line else None for name, line in of.items()}
    every = [revision for line in of.values() for revision in line]
    there: dict[Key, Revision] = {(revision.database, revision.number): revision for revision in every}
    gone = [revision for revision in every if int(revision.number) > applied(targets[revision.database])]
    going: set[Key] = {(revision.database, revision.number) for revision in gone}
    kept = [revision for revision in every if revision not in gone]
    if any(item in going for revision in kept for item in revision.requires.items()):
        with pytest.raises(OperationError, match=r"cannot be undone: .* requires it"):
            undone(of, heads, targets)
        return
    for revision in undone(of, heads, targets):
        del there[revision.database, revision.number]
        for other in there.values():
            assert (revision.database, revision.number) not in other.requires.items()
            assert (revision.database, revision.number) != (other.database, other.after)
    assert not going & there.keys()


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(tmp_path, monkeypatch)


@pytest.fixture
def mine(settings: Settings, server: LocalServer) -> Generator[Settings]:
    """The settings with databases of users and of orders, at their heads, of a test's own."""

    async def drop() -> None:
        for name in ("users", "orders"):
            await value(server.url("postgres"), f"DROP DATABASE IF EXISTS scratch_{name} WITH (FORCE)")

    async def make() -> None:
        await drop()
        for name in ("users", "orders"):
            await value(server.url("postgres"), f"CREATE DATABASE scratch_{name} TEMPLATE ecommerce_{name}")

    asyncio.run(make())
    urls = {f"{name}_database_url": server.url(f"scratch_{name}") for name in ("users", "orders")}
    yield settings.model_copy(update=urls)
    asyncio.run(drop())


def stand(settings: Settings) -> dict[DatabaseName, str | None]:
    async def run() -> dict[DatabaseName, str | None]:
        return {name: (await status(name, settings.database_url(name))).revision for name in ("users", "orders")}

    return asyncio.run(run())


def test_databases_take_turns_and_go_back_the_other_way_round(
    mine: Settings, history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = add(history, "orders", "pass")
    second = add(history, "users", "pass", f'requires = {{"orders": "{first}"}}')
    third = add(history, "orders", "pass", f'requires = {{"users": "{second}"}}')
    fourth = add(history, "users", "pass", f'requires = {{"orders": "{third}"}}')
    assert storegraph(mine, monkeypatch, "db", "plan", "--json") == 0
    plans = json.loads(capsys.readouterr().out)
    places = {
        migration["place"]: (name, migration["revision"]) for name in plans for migration in plans[name]["migrations"]
    }
    assert places == {1: ("orders", first), 2: ("users", second), 3: ("orders", third), 4: ("users", fourth)}

    before = stand(mine)
    for line in (("plan",), ("upgrade",)):
        assert storegraph(mine, monkeypatch, "db", *line, "--database", "users") == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"storegraph: migration users {second} requires orders {first}, and the orders database is at "
            f"{HEADS['orders']}: run `storegraph db upgrade` for all, or for orders first"
        )
    assert stand(mine) == before
    assert storegraph(mine, monkeypatch, "db", "upgrade", "--database", "orders") == 2
    assert storegraph(mine, monkeypatch, "db", "upgrade", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["users"]["applied"], told["orders"]["applied"]) == ([second, fourth], [first, third])
    assert told["payments"]["outcome"] == "unchanged"

    assert storegraph(mine, monkeypatch, "db", "downgrade", first, "--database", "orders") == 2
    assert f"orders {third} cannot be undone: users {fourth} requires it" in capsys.readouterr().err
    assert stand(mine) == {"users": fourth, "orders": third}
    assert storegraph(mine, monkeypatch, "db", "downgrade", "-2", "--database", "users") == 2
    assert storegraph(mine, monkeypatch, "db", "downgrade", "-1", "--database", "users") == 0
    assert storegraph(mine, monkeypatch, "db", "downgrade", "-1", "--database", "orders") == 0
    assert stand(mine) == {"users": second, "orders": first}


def test_it_stops_at_the_first_failure_says_where_each_stands_and_goes_on_from_there(
    mine: Settings, history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = add(history, "users", 'op.execute("CREATE TABLE good ()")')
    bad = add(history, "users", 'op.execute("INSERT INTO not_there DEFAULT VALUES")')
    after = add(history, "orders", "pass")
    assert storegraph(mine, monkeypatch, "db", "upgrade", "--json") == 2
    shown = capsys.readouterr()
    problem = f'users database: migration {bad} failed and was undone: relation "not_there" does not exist'
    assert shown.err == f"storegraph: {problem}\n"
    told = json.loads(shown.out)
    assert told["users"] == {
        "before": HEADS["users"],
        "after": good,
        "head": bad,
        "outcome": "failed",
        "applied": [good],
        "partitions": [],
        "problem": problem,
    }
    assert {name: told[name]["outcome"] for name in told if name != "users"} == {
        "products": "not tried",
        "orders": "not tried",
        "payments": "not tried",
    }
    assert (told["orders"]["after"], told["orders"]["head"]) == (HEADS["orders"], after)
    asyncio.run(value(mine.users_database_url, "CREATE TABLE not_there ();"))
    assert storegraph(mine, monkeypatch, "db", "upgrade", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["users"]["applied"], told["orders"]["applied"]) == ([bad], [after])


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ('requires = {"orders": "0999"}', "migration users 0{} requires orders 0999, which there is not"),
        ('requires = {"users": "0001"}', "migration users 0{} requires users 0001: it is of the same database"),
        ('requires = {"shops": "0001"}', "0{}_added.py requires a database shops; there are users, products, orders"),
        ('requires = ["users"]', "0{}_added.py: requires must be texts by texts, as in requires = "),
        ("requires = dict(users=1)", "0{}_added.py: requires must be written out, and not worked out"),
        ("accepts = {'unknown': 1}", "0{}_added.py: accepts must be texts by texts"),
        ("created = 2026", "0{}_added.py: revision, down_revision and created must be texts"),
        ("down_revision = '0777'", "migrations of the users database hang on none that there is: 0{} follows 0777"),
        ("down_revision = '0001'", "two migrations of the users database follow 0001: 0002 and 0{}. Write the down_"),
    ],
)
def test_what_a_migration_declares_wrongly_is_told(history: Path, declared: str, problem: str) -> None:
    number = add(history, "users", "pass", declared)
    with pytest.raises(OperationError) as refused:
        histories()
    assert str(refused.value).startswith(problem.format(number[1:]))


def test_a_cycle_is_told_before_anything_is_done(
    mine: Settings, history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    users, orders = (f"{int(HEADS[name]) + 1:04}" for name in ("users", "orders"))
    add(history, "users", "pass", f'requires = {{"orders": "{orders}"}}')
    add(history, "orders", "pass", f'requires = {{"users": "{users}"}}')
    before = stand(mine)
    for line in (("plan",), ("upgrade",), ("downgrade", "-1")):
        assert storegraph(mine, monkeypatch, "db", *line) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            "storegraph: migrations require each other, so that none can be the first: "
            f"users {users} → orders {orders} → users {users}"
        )
    assert stand(mine) == before


def test_a_database_that_has_what_is_required_to_say_and_does_not_answer_stops_it(
    mine: Settings, history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add(history, "users", "pass", f'requires = {{"payments": "{HEADS["payments"]}"}}')
    lost = mine.model_copy(update={"payments_database_url": "postgresql://nobody@127.0.0.1:1/payments"})
    assert storegraph(lost, monkeypatch, "db", "upgrade", "--database", "users") == 2
    assert "cannot connect to the payments database" in capsys.readouterr().err
    assert storegraph(mine, monkeypatch, "db", "upgrade", "--database", "users") == 0


def test_from_nothing_all_are_made_in_an_order_that_works(
    mine: Settings, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(history, "users", "pass", f'requires = {{"orders": "{HEADS["orders"]}"}}')

    async def empty() -> None:
        for name in ("users", "orders"):
            url = mine.database_url(name)
            await value(url.replace(f"scratch_{name}", "postgres"), f"DROP DATABASE scratch_{name}")
            await create(name, url)

    asyncio.run(empty())
    assert storegraph(mine, monkeypatch, "db", "plan") == 0
    assert storegraph(mine, monkeypatch, "db", "upgrade") == 0
    assert storegraph(mine, monkeypatch, "db", "downgrade", "base", "--database", "users") == 0
