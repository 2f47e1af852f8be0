"""What ends sessions, whoever writes and at whatever isolation level, also a session that is just being made."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, get_args
from uuid import uuid4

import asyncpg
import pytest

from app.database import Databases, Transaction
from app.domains.users import writes
from app.domains.users.writes import Account, Lifetimes, Limits, Reused
from app.operations.connect import Connection, connected
from app.settings import Settings
from app.viewer import Viewer
from tests.factories import Make

pytestmark = pytest.mark.anyio

Level = Literal["read_committed", "repeatable_read", "serializable"]
LEVELS: tuple[Level, ...] = get_args(Level)
MONTH = Lifetimes(30 * 86_400, 960)
HASH = "!"

ENDS = [
    "UPDATE users SET status = 'suspended'",
    "UPDATE users SET role = 'admin'",
    "UPDATE users SET deleted_at = now()",
    "UPDATE users SET password_hash = 'another'",
    "DELETE FROM users",
]


async def start(transaction: Transaction, user: str, token: bytes = b"first") -> Viewer | None:
    """As a log-in does."""
    role = await writes.hold_account(transaction, Account(user, "", HASH))
    return role and await writes.start_session(transaction, user, role, token, MONTH)


async def renew(transaction: Transaction, _user: str) -> Viewer | Reused | None:
    return await writes.renew_session(transaction, b"first", b"second", MONTH)


async def live(connection: Connection) -> int:
    """Sessions that go on."""
    return await connection.fetchval(
        "SELECT count(*) FROM refresh_tokens WHERE used_at IS NULL AND revoked_at IS NULL AND user_id IS NOT NULL"
    )


async def begun(databases: Databases, make: Make) -> str:
    """A user with a session."""
    user = str((await make.user(password_hash=HASH))["id"])
    await databases["users"].write(lambda transaction: start(transaction, user))
    return user


@pytest.mark.parametrize("end", ENDS)
async def test_sessions_end_with_what_they_rest_on_and_others_go_on(settings: Settings, make: Make, end: str) -> None:
    users = make.connections["users"]
    async with Databases.opened(settings) as databases:
        user = await begun(databases, make)
        other = str((await make.user(password_hash=HASH))["id"])
        await databases["users"].write(lambda transaction: start(transaction, other, b"other"))
        await users.execute(f"{end} WHERE id = $1", user)
        assert await live(users) == 1
        ended = await writes.ended_sessions(databases["users"], 900)
        assert len(ended) == 1
        revoked = await users.fetchrow("SELECT * FROM refresh_tokens WHERE revoked_at IS NOT NULL")
        assert revoked is not None
        assert (str(revoked["family_id"]), revoked["token_hash"]) == (ended.pop(), b"first")


async def test_an_end_keeps_its_first_time(settings: Settings, make: Make) -> None:
    users = make.connections["users"]
    async with Databases.opened(settings) as databases:
        await begun(databases, make)
        await users.execute(ENDS[0])
        before = await users.fetchval("SELECT revoked_at FROM refresh_tokens")
        for end in ENDS[1:]:
            await users.execute(end)
        assert await users.fetchval("SELECT revoked_at FROM refresh_tokens") == before


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET first_name = 'Ann', email = 'x@example.com'",
        "UPDATE users SET status = 'active', role = 'customer', password_hash = '!', deleted_at = NULL",
        "SET LOCAL storegraph.rehashing = on; UPDATE users SET password_hash = 'the same, hashed anew'",
    ],
)
async def test_what_they_do_not_rest_on_ends_none(settings: Settings, make: Make, change: str) -> None:
    users = make.connections["users"]
    async with Databases.opened(settings) as databases:
        await begun(databases, make)
        async with users.transaction():
            await users.execute(change)
        assert await live(users) == 1


async def test_only_a_password_can_be_rehashed(settings: Settings, make: Make) -> None:
    users = make.connections["users"]
    async with Databases.opened(settings) as databases:
        await begun(databases, make)
        async with users.transaction():
            await users.execute("SET LOCAL storegraph.rehashing = on")
            await users.execute(ENDS[0])
        assert await live(users) == 0


async def test_the_setting_for_rehashing_ends_with_its_statement(settings: Settings, make: Make) -> None:
    users = make.connections["users"]
    async with Databases.opened(settings) as databases:
        user = await begun(databases, make)

        async def work(transaction: Transaction) -> None:
            await writes.store_rehashed(transaction, user, "the same, hashed anew")
            await writes.set_password(transaction, user, "another")

        await databases["users"].write(work)
        assert await live(users) == 0


async def test_beginning_a_session_changes_nothing_of_the_account(settings: Settings, make: Make) -> None:
    users = make.connections["users"]
    async with Databases.opened(settings) as databases:
        await make.user(password_hash=HASH)
        await users.execute("UPDATE users SET first_name = 'Ann', updated_at = '2001-01-01'")
        before = await users.fetchrow("SELECT * FROM users")
        assert before is not None
        await databases["users"].write(lambda transaction: start(transaction, str(before["id"])))
        await databases["users"].write(lambda transaction: renew(transaction, ""))
        assert await users.fetchrow("SELECT * FROM users") == before


async def test_a_session_has_one_token_that_is_not_used(make: Make) -> None:
    add = "INSERT INTO refresh_tokens (family_id, token_hash, expires_at) VALUES ($1, $2, now())"
    family = uuid4()
    await make.execute("users", add, family, b"1")
    with pytest.raises(asyncpg.UniqueViolationError, match="idx_refresh_tokens_family_id"):
        await make.execute("users", add, family, b"2")
    with pytest.raises(asyncpg.UniqueViolationError, match="refresh_tokens_token_hash_key"):
        await make.execute("users", add, uuid4(), b"1")
    await make.execute("users", "UPDATE refresh_tokens SET used_at = now()")
    await make.execute("users", add, family, b"2")


# Of a wait that is the test's own point; on a busy machine it can take seconds.
PATIENT = {"lock_timeout": 60.0, "write_timeout": 60.0, "statement_timeout": 60.0, "idle_in_transaction_timeout": 60.0}


async def blocked_by(connection: Connection, task: "asyncio.Task[Any]") -> None:
    """Wait until another session waits for this one, or the task is done."""
    waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
    async with asyncio.timeout(20):
        while not task.done() and not await connection.fetchval(waiting):
            pass


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("begin", [start, renew])
async def test_a_session_begun_while_its_account_changes_waits_and_is_refused(
    settings: Settings, make: Make, begin: Callable[[Transaction, str], Awaitable[object]], end: str, level: Level
) -> None:
    patient = settings.model_copy(update=PATIENT)
    async with Databases.opened(patient) as databases, connected("users", settings.users_database_url) as operator:
        user = await begun(databases, make)
        if begin is start:
            await make.execute("users", "DELETE FROM refresh_tokens")
        async with operator.transaction(isolation=level):
            await operator.execute(end)
            task = asyncio.create_task(databases["users"].write(lambda transaction: begin(transaction, user)))
            await blocked_by(operator, task)
            assert not task.done()
        outcome = await task
        if end == ENDS[1] and begin is start:  # to log in as an administrator, who one has become, is no wrong
            assert isinstance(outcome, Viewer)
            assert outcome.role == "admin"
        else:
            assert outcome is None
            assert await live(operator) == 0


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("begin", [start, renew])
async def test_an_account_that_changes_while_a_session_begins_ends_that_too(
    settings: Settings, make: Make, begin: Callable[[Transaction, str], Awaitable[object]], end: str, level: Level
) -> None:
    """The operator's transaction, which may not see the new session, waits for it; or fails, and has to come again."""
    patient = settings.model_copy(update=PATIENT)
    async with Databases.opened(patient) as databases, connected("users", settings.users_database_url) as operator:
        user = await begun(databases, make)
        if begin is start:
            await make.execute("users", "DELETE FROM refresh_tokens")
        transaction = operator.transaction(isolation=level)
        await transaction.start()
        await operator.fetch("SELECT FROM users")  # takes the snapshot, where there is one for the transaction

        async def work(held: Transaction) -> "asyncio.Task[Any]":
            assert isinstance(await begin(held, user), Viewer)
            ending = asyncio.create_task(operator.execute(end))
            async with connected("users", settings.users_database_url) as watcher:
                blocked = "SELECT cardinality(pg_blocking_pids($1)) > 0"
                async with asyncio.timeout(20):
                    while not await watcher.fetchval(blocked, operator.get_server_pid()):
                        assert not ending.done()
            return ending

        ending = await databases["users"].write(work)
        if level == "read_committed":
            await ending
            await transaction.commit()
        else:
            with pytest.raises(asyncpg.SerializationError):
                await ending
            await transaction.rollback()
            await operator.execute(end)
        assert await live(operator) == 0


@pytest.mark.parametrize("times", [2, 8])
async def test_of_transactions_that_use_one_token_the_first_gets_the_next_and_the_second_ends_the_session(
    settings: Settings, make: Make, times: int
) -> None:
    users = make.connections["users"]
    async with Databases.opened(settings) as databases:
        await begun(databases, make)

        async def use(number: int) -> object:
            return await databases["users"].write(
                lambda transaction: writes.renew_session(transaction, b"first", b"next %d" % number, MONTH)
            )

        outcomes = await asyncio.gather(*(use(number) for number in range(times)))
        kinds = [type(outcome) for outcome in outcomes]
        assert (kinds.count(Viewer), kinds.count(Reused)) == (1, times - 1)
        assert await live(users) == 0
        assert await users.fetchval("SELECT count(*) FROM refresh_tokens") == 2


@pytest.mark.parametrize("other", ["log out", "use the first again"])
async def test_a_session_that_ends_while_it_is_renewed_stays_ended(settings: Settings, make: Make, other: str) -> None:
    """What ends it must see the token that the renewal is just about to commit."""
    patient = settings.model_copy(update=PATIENT)
    async with Databases.opened(patient) as databases, connected("users", settings.users_database_url) as watcher:
        await begun(databases, make)
        session = str(await watcher.fetchval("SELECT family_id FROM refresh_tokens"))
        renewed = asyncio.Event()
        go_on = asyncio.Event()

        async def slowly(transaction: Transaction) -> object:
            outcome = await writes.renew_session(transaction, b"first", b"second", MONTH)
            renewed.set()
            await go_on.wait()
            return outcome

        async def end(transaction: Transaction) -> object:
            if other == "log out":
                return await writes.end_session(transaction, session)
            return await writes.renew_session(transaction, b"first", b"third", MONTH)

        renewing = asyncio.create_task(databases["users"].write(slowly))
        await renewed.wait()
        ending = asyncio.create_task(databases["users"].write(end))
        waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0)"
        async with asyncio.timeout(20):
            while not await watcher.fetchval(waiting):
                assert not ending.done()
        go_on.set()
        assert isinstance(await renewing, Viewer)
        await ending
        assert await live(watcher) == 0
        assert await writes.ended_sessions(databases["users"], 900) == {session}


async def test_attempts_of_one_account_or_address_wait_for_one_another_and_others_do_not(
    settings: Settings, make: Make
) -> None:
    limits = Limits(900, 1, 1)
    async with Databases.opened(settings) as databases:
        reserve = databases["users"].write
        names = [b"an account", b"an address", b"another account", b"another address"]
        names = [name.ljust(32) for name in names]
        held, go_on = asyncio.Event(), asyncio.Event()

        async def first(transaction: Transaction) -> object:
            outcome = await writes.reserve_attempt(transaction, names[0], names[1], limits)
            held.set()
            await go_on.wait()
            return outcome

        def attempt(account: bytes | None, address: bytes) -> "asyncio.Task[object]":
            return asyncio.create_task(
                reserve(lambda transaction: writes.reserve_attempt(transaction, account, address, limits))
            )

        holding = asyncio.create_task(reserve(first))
        await held.wait()
        assert await attempt(names[2], names[3]) is not None
        same = [attempt(names[0], b"a third".ljust(32)), attempt(None, names[1])]
        async with asyncio.timeout(20):
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
            while await make.connections["users"].fetchval(waiting) < 2:
                assert not any(task.done() for task in same)
        go_on.set()
        assert await holding is not None
        assert await asyncio.gather(*same) == [None, None]
