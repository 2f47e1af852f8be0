"""Writes: all or nothing, again where others got in the way, and nothing but the work's own errors come out."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import asyncpg
import pytest

from app.database import Database, Databases, Transaction
from app.errors import ConflictError, DatabaseTimeoutError, NotFoundError
from app.settings import DatabaseName, Settings

pytestmark = pytest.mark.anyio

ADD = "UPDATE counters SET value = value + $2 WHERE id = $1 RETURNING value"


@dataclass
class Counters:
    """A table of two counters, both 0, in the users database."""

    database: Database
    statements: list[str]

    async def values(self) -> list[int]:
        return [row["value"] for row in await self.database.fetch("SELECT value FROM counters ORDER BY id")]


@pytest.fixture
async def counters(settings: Settings) -> AsyncGenerator[Counters]:
    statements: list[str] = []

    def observe(_name: DatabaseName, sql: str) -> None:
        statements.append(sql)

    async def make(transaction: Transaction) -> None:
        await transaction.execute("CREATE TABLE counters (id int PRIMARY KEY, value int NOT NULL CHECK (value < 1000))")
        await transaction.execute("INSERT INTO counters VALUES (1, 0), (2, 0)")

    async def drop(transaction: Transaction) -> None:
        await transaction.execute("DROP TABLE counters")

    limits = {"transaction_attempts": 5}
    async with Databases.opened(settings.model_copy(update=limits), observe) as databases:
        users = databases["users"]
        await users.write(make)
        statements.clear()
        yield Counters(users, statements)
        await users.write(drop)


async def test_a_write_is_committed_and_returns_what_its_work_returns(counters: Counters) -> None:
    async def work(transaction: Transaction) -> tuple[object, ...]:
        return (
            await transaction.execute(ADD, 1, 5),
            await transaction.fetchval(ADD, 2, 7),
            dict(await transaction.fetchrow("SELECT * FROM counters ORDER BY id") or {}),
            [tuple(row) for row in await transaction.fetch("SELECT * FROM counters ORDER BY id")],
            await transaction.fetchrow("SELECT * FROM counters WHERE id = 3"),
        )

    assert await counters.database.write(work) == ("UPDATE 1", 7, {"id": 1, "value": 5}, [(1, 5), (2, 7)], None)
    ordered = "SELECT * FROM counters ORDER BY id"
    assert counters.statements == [ADD, ADD, ordered, ordered, "SELECT * FROM counters WHERE id = 3"]
    assert await counters.values() == [5, 7]


async def test_an_error_of_the_work_rolls_back_and_is_what_the_caller_gets(counters: Counters) -> None:
    error = NotFoundError("There is no such counter.")

    async def refuses(transaction: Transaction) -> None:
        await transaction.execute(ADD, 1, 5)
        raise error

    async def gives_up(transaction: Transaction) -> None:
        await transaction.execute(ADD, 1, 5)
        raise TimeoutError("of the work's own")

    async def breaks_a_rule(transaction: Transaction) -> None:
        await transaction.execute(ADD, 1, 5)
        await transaction.execute(ADD, 1, 1000)

    with pytest.raises(NotFoundError) as raised:
        await counters.database.write(refuses)
    assert raised.value is error
    with pytest.raises(TimeoutError, match="of the work's own"):
        await counters.database.write(gives_up)
    with pytest.raises(asyncpg.CheckViolationError):
        await counters.database.write(breaks_a_rule)
    assert counters.database.breaker.state == "closed"
    assert await counters.values() == [0, 0]


async def test_work_that_takes_no_notice_of_an_error_is_not_taken_for_done(counters: Counters) -> None:
    """PostgreSQL would answer its COMMIT with a ROLLBACK, and no error."""

    async def careless(transaction: Transaction) -> str:
        await transaction.execute(ADD, 1, 5)
        with pytest.raises(asyncpg.CheckViolationError):
            await transaction.execute(ADD, 1, 1000)
        return "done"

    with pytest.raises(asyncpg.CheckViolationError):
        await counters.database.write(careless)
    assert await counters.values() == [0, 0]


async def test_what_waits_too_long_for_a_lock_is_a_timeout(counters: Counters) -> None:
    locked = asyncio.Event()
    done = asyncio.Event()

    async def holds(transaction: Transaction) -> None:
        await transaction.execute(ADD, 1, 5)
        locked.set()
        await done.wait()

    async def waits(transaction: Transaction) -> None:
        await transaction.execute(ADD, 1, 7)

    holder = asyncio.create_task(counters.database.write(holds))
    await locked.wait()
    with pytest.raises(DatabaseTimeoutError):
        await counters.database.write(waits)
    done.set()
    await holder
    assert counters.database.breaker.state == "closed"
    assert await counters.values() == [5, 0]


async def test_serialization_failures_are_tried_again_until_all_is_done(counters: Counters) -> None:
    """Of those that meet one gets through, so four need no more than four attempts."""
    attempts = 0

    async def add_one(transaction: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await transaction.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        value = await transaction.fetchval("SELECT value FROM counters WHERE id = 1")
        await transaction.execute("UPDATE counters SET value = $1 WHERE id = 1", value + 1)

    await asyncio.gather(*(counters.database.write(add_one) for _ in range(4)))
    assert await counters.values() == [4, 0]
    assert attempts > 4


async def test_a_deadlock_is_tried_again(counters: Counters) -> None:
    """The server looks for one after a second (deadlock_timeout), so before a transaction gives up waiting for a lock.

    Where both are over at the same moment, the server says only that the lock took too long.
    """
    both = asyncio.Barrier(2)
    attempts: list[int] = []

    async def add(transaction: Transaction, first: int, second: int) -> None:
        attempts.append(first)
        await transaction.execute(ADD, first, 1)
        if len(attempts) <= 2:
            await both.wait()
        await transaction.execute(ADD, second, 1)

    await asyncio.gather(
        counters.database.write(lambda transaction: add(transaction, 1, 2)),
        counters.database.write(lambda transaction: add(transaction, 2, 1)),
    )
    assert await counters.values() == [2, 2]
    assert len(attempts) == 3


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
@pytest.mark.parametrize("masked", [False, True])
async def test_what_others_get_in_the_way_of_every_time_is_a_conflict(
    counters: Counters, sqlstate: str, masked: bool
) -> None:
    """Also where the work makes another error of what the server says."""
    attempts = 0

    async def work(transaction: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await transaction.execute(ADD, 1, 5)
        try:
            await transaction.execute(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$")
        except asyncpg.PostgresError as error:
            if masked:
                raise NotFoundError("Something else.") from error
            raise

    with pytest.raises(ConflictError, match="try again"):
        await counters.database.write(work)
    assert attempts == 5
    assert await counters.values() == [0, 0]
