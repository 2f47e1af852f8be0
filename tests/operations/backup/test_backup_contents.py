"""A checksum of rows is the same exactly where the rows are."""

import asyncio
from collections import Counter
from collections.abc import Generator, Sequence

import asyncpg
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.operations.backup_contents import Contents, TableContents, contents_of, tables_in
from app.operations.connect import Connection, connected
from app.operations.progress import progress_bar
from app.operations.server import LocalServer
from tests.operations.backup.shops import on_server

Row = tuple[str | None, int | None]

# PostgreSQL stores no NUL.
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)
tables = st.lists(st.tuples(texts, st.none() | st.integers(-2, 2)), max_size=4)


@pytest.fixture(scope="module")
def runner() -> Generator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def connection(server: LocalServer, runner: asyncio.Runner) -> Generator[Connection]:
    """One to a database of this module's own, whose settings are not the usual ones."""
    on_server(server, "CREATE DATABASE contents TEMPLATE template0")
    entered = connected("users", server.url("contents"))
    connection = runner.run(entered.__aenter__())
    runner.run(connection.execute("SET DateStyle = German; SET TimeZone = 'Asia/Tokyo'; SET bytea_output = escape"))
    yield connection
    runner.run(entered.__aexit__(None, None, None))
    on_server(server, "DROP DATABASE contents WITH (FORCE)")


async def read(connection: Connection, *statements: str, rows: Sequence[Row] = ()) -> Contents:
    """What is in the database after some statements, and rows for the table t, which are then taken back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        for statement in statements:
            await connection.execute(statement)
        if rows:
            await connection.executemany("INSERT INTO t (a, b) VALUES ($1, $2)", rows)
        with progress_bar(1) as bar:
            return await contents_of(connection, bar)
    finally:
        await transaction.rollback()


PLAIN = "CREATE TABLE t (a text, b int)"
TURNED = "CREATE TABLE t (gone int, b int, a text)", "ALTER TABLE t DROP gone"
PARTITIONED = (
    "CREATE TABLE t (a text, b int) PARTITION BY HASH (a)",
    "CREATE TABLE t_0 (b int, a text)",
    "ALTER TABLE t ATTACH PARTITION t_0 FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    "CREATE TABLE t_1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
)


@pytest.mark.parametrize("layout", [(PLAIN,), TURNED, PARTITIONED], ids=["plain", "turned", "partitioned"])
@example(rows=[("a", 1), ("a", 1)], others=[("a", 2), ("a", 2)])  # which XOR could not tell
@example(rows=[("a,b", None)], others=[("a", None)])
@example(rows=[(None, 1)], others=[("", 1)])
@given(rows=tables, others=tables)
@hypothesis_settings(max_examples=25)
def test_checksums_are_equal_where_rows_are(
    runner: asyncio.Runner, connection: Connection, layout: tuple[str, ...], rows: list[Row], others: list[Row]
) -> None:
    here = runner.run(read(connection, PLAIN, rows=rows)).tables["public.t"]
    turned = runner.run(read(connection, *layout, rows=rows[::-1])).tables["public.t"]
    there = runner.run(read(connection, *layout, rows=others)).tables["public.t"]
    assert here == turned
    assert here.rows == len(rows)
    assert (here == there) == (Counter(rows) == Counter(others))


def test_a_value_is_written_the_same_way_whatever_the_session_s_settings_are(
    server: LocalServer, runner: asyncio.Runner, connection: Connection
) -> None:
    statements = (
        "CREATE TABLE t (a timestamptz, b bytea, c float8, d interval, e regclass)",
        r"""INSERT INTO t VALUES ('2026-03-31 12:00+00', '\x00ff', 0.1::float8 + 0.2, '25 hours 3 days', 't')""",
    )

    async def elsewhere() -> Contents:
        async with connected("users", server.url("contents")) as other:
            await other.execute(
                "SET extra_float_digits = -3; SET IntervalStyle = iso_8601; SET search_path = pg_catalog"
            )
            return await read(other, "SET LOCAL search_path = public", *statements)

    assert runner.run(elsewhere()).tables == runner.run(read(connection, *statements)).tables


def test_what_is_generated_does_not_count(runner: asyncio.Runner, connection: Connection) -> None:
    before = runner.run(read(connection, PLAIN, rows=[("a", 1)]))
    generated = "ALTER TABLE t ADD c int GENERATED ALWAYS AS (b * 2) STORED"
    assert runner.run(read(connection, PLAIN, generated, rows=[("a", 1)])).tables == before.tables


def test_everything_but_what_extensions_bring_is_counted(runner: asyncio.Runner, connection: Connection) -> None:
    found = runner.run(
        read(
            connection,
            'CREATE SCHEMA s; CREATE TABLE s."T.é" (); INSERT INTO s."T.é" DEFAULT VALUES',
            "CREATE MATERIALIZED VIEW filled AS SELECT 1 AS one",
            "CREATE MATERIALIZED VIEW hollow AS TABLE filled WITH NO DATA",
            "CREATE EXTENSION pg_trgm",
            *PARTITIONED,
        )
    )
    assert {name: table.rows for name, table in found.tables.items()} == {"public.t": 0, "s.T.é": 1}
    assert found.filled_views == ["public.filled"]
    assert found.revision is None
    assert found.objects == dict.fromkeys(found.objects, 0) | {
        "tables": 2,
        "partitions": 2,
        "views": 2,
        "extensions": 2,
    }


def test_rows_that_a_policy_hides_are_an_error_and_not_absent(
    server: LocalServer, runner: asyncio.Runner, connection: Connection
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        runner.run(
            read(
                connection,
                PLAIN,
                "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE ROLE sees_little; GRANT SELECT ON t TO sees_little",
                "SET LOCAL ROLE sees_little",
            )
        )


def test_names_are_quoted(runner: asyncio.Runner, connection: Connection) -> None:
    async def names() -> list[str]:
        async with connection.transaction():
            await connection.execute('CREATE TABLE "a ""b" ("c ""d" int); INSERT INTO "a ""b" VALUES (1)')
            found = await tables_in(connection)
            await connection.execute('DROP TABLE "a ""b"')
            return found

    assert runner.run(names()) == ['public."a ""b"']
    made = 'CREATE TABLE "a ""b" ("c ""d" int)', 'INSERT INTO "a ""b" VALUES (1)'
    [(name, table)] = runner.run(read(connection, *made)).tables.items()
    assert (name, table.rows) == ('public.a "b', 1)
    assert table != TableContents(1, "0000000000000000")
