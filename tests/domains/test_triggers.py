"""The rules that the databases keep themselves, whoever writes, also when two sessions write at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from uuid import UUID, uuid4

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from app.operations.connect import Connection, connected
from app.settings import DatabaseName, Settings

pytestmark = pytest.mark.usefixtures("clean")

Level = Literal["read_committed", "repeatable_read", "serializable"]
LEVELS: tuple[Level, ...] = get_args(Level)
CYCLES = """
    WITH RECURSIVE walk AS (
        SELECT id AS start, parent_id FROM categories
        UNION ALL SELECT start, c.parent_id FROM walk JOIN categories c ON c.id = walk.parent_id
    ) CYCLE start, parent_id SET is_cycle USING path
    SELECT count(*) FROM walk WHERE is_cycle
"""


@pytest.fixture
def within(settings: Settings) -> Callable[..., None]:
    """Run a test's coroutine function with as many connections to a database as it takes."""

    def run(name: DatabaseName, test: Callable[..., Awaitable[None]], connections: int = 1) -> None:
        async def connect() -> None:
            async with AsyncExitStack() as stack:
                url = settings.database_url(name)
                await test(*[await stack.enter_async_context(connected(name, url)) for _ in range(connections)])

        asyncio.run(connect())

    return run


async def at_the_same_time(
    first: Connection, second: Connection, levels: tuple[Level, Level], *changes: tuple[str, *tuple[object, ...]]
) -> str | None:
    """Make two changes in two transactions that both began before either ended; the first commits, then the second.

    Returns:
        the constraint or the error that refused the second; None where it went through.
    """
    other = first.transaction(isolation=levels[0]), second.transaction(isolation=levels[1])
    for connection, transaction in zip((first, second), other, strict=True):
        await transaction.start()
        await connection.fetch("SELECT 1 FROM pg_class")  # takes the snapshot, where there is one for the transaction
    await first.execute(*changes[0])
    waiting = asyncio.create_task(second.execute(*changes[1]))
    blocked = "SELECT cardinality(pg_blocking_pids($1)) > 0"
    async with asyncio.timeout(20):
        while not waiting.done() and not await first.fetchval(blocked, second.get_server_pid()):
            pass
    assert not waiting.done(), "the second did not wait for the first"
    await other[0].commit()
    try:
        await waiting
        await other[1].commit()
    except asyncpg.CheckViolationError as error:
        await other[1].rollback()
        return error.constraint_name
    except asyncpg.SerializationError:
        await other[1].rollback()
        return "serialization"
    return None


async def categories(connection: Connection, *parents: int | None) -> list[UUID]:
    """Make categories; each number is the place of its parent in the list."""
    ids = [uuid4() for _ in parents]
    for id_, parent in zip(ids, parents, strict=True):
        insert = "INSERT INTO categories (id, name, parent_id) VALUES ($1, 'category', $2)"
        await connection.execute(insert, id_, None if parent is None else ids[parent])
    return ids


MOVE = "UPDATE categories SET parent_id = $2 WHERE id = $1"


def test_a_category_is_never_below_itself(within: Callable[..., None]) -> None:
    async def test(connection: Connection) -> None:
        root, child, grandchild = await categories(connection, None, 0, 1)
        for parent in (root, child, grandchild):
            with pytest.raises(asyncpg.CheckViolationError) as refused:
                await connection.execute(MOVE, root, parent)
            assert refused.value.constraint_name == "check_no_category_cycle"
        own = uuid4()
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("INSERT INTO categories (id, name, parent_id) VALUES ($1, 'own', $1)", own)
        await connection.execute(MOVE, grandchild, root)
        await connection.execute(MOVE, grandchild, None)

    within("products", test)


@pytest.mark.parametrize("level", LEVELS)
def test_one_statement_cannot_make_a_cycle(within: Callable[..., None], level: Level) -> None:
    async def test(connection: Connection) -> None:
        a, b, c = await categories(connection, None, None, None)
        ring = "UPDATE categories SET parent_id = CASE id WHEN $1 THEN $2::uuid WHEN $2 THEN $3::uuid ELSE $1::uuid END"
        with pytest.raises(asyncpg.CheckViolationError):
            async with connection.transaction(isolation=level):
                await connection.execute(ring, a, b, c)
        assert await connection.fetchval("SELECT count(*) FROM categories WHERE parent_id IS NOT NULL") == 0

    within("products", test)


@pytest.mark.parametrize("second", LEVELS)
@pytest.mark.parametrize("first", LEVELS)
def test_two_moves_at_the_same_time_make_no_cycle(within: Callable[..., None], first: Level, second: Level) -> None:
    async def test(one: Connection, two: Connection) -> None:
        # Each branch is two deep, so that neither session touches a row that the other changes.
        a, under_a, b, under_b = await categories(one, None, 0, None, 2)
        refused = await at_the_same_time(one, two, (first, second), (MOVE, a, under_b), (MOVE, b, under_a))
        assert refused == ("check_no_category_cycle" if second == "read_committed" else "serialization")
        assert await one.fetchval(CYCLES) == 0
        assert await one.fetchval("SELECT parent_id FROM categories WHERE id = $1", a) == under_b

    within("products", test, connections=2)


@pytest.mark.parametrize("level", LEVELS)
def test_moves_that_do_not_meet_both_go_through(within: Callable[..., None], level: Level) -> None:
    async def test(one: Connection, two: Connection) -> None:
        a, b, c, d = await categories(one, None, None, None, None)
        refused = await at_the_same_time(one, two, (level, level), (MOVE, a, b), (MOVE, c, d))
        # A serializable transaction can be refused for what shares a page with what another wrote (section 13.2.3 of
        # PostgreSQL's manual): it is then to be repeated.
        assert refused is None or (level, refused) == ("serializable", "serialization")

    within("products", test, connections=2)


async def payment(connection: Connection, amount: str) -> UUID:
    insert = "INSERT INTO payments (order_id, amount, method) VALUES ($1, $2::text::numeric, 'card') RETURNING id"
    return await connection.fetchval(insert, uuid4(), amount)


REFUND = "INSERT INTO refunds (payment_id, amount) VALUES ($1, $2::text::numeric)"


def test_refunds_never_exceed_their_payment(within: Callable[..., None]) -> None:
    async def test(connection: Connection) -> None:
        paid, other = await payment(connection, "10.00"), await payment(connection, "10.00")
        await connection.execute(REFUND, paid, "6.00")
        await connection.execute("INSERT INTO refunds (payment_id, amount, status) VALUES ($1, 10, 'failed')", paid)
        await connection.execute(REFUND, paid, "4.00")
        await connection.execute(REFUND, other, "10.00")
        for statement in (
            "INSERT INTO refunds (payment_id, amount) SELECT payment_id, 0.01 FROM refunds LIMIT 1",
            "INSERT INTO refunds (payment_id, amount) SELECT id, 0.005 FROM payments",
            "UPDATE refunds SET amount = amount + 0.01 WHERE status <> 'failed'",
            "UPDATE refunds SET status = 'pending'",
            f"UPDATE refunds SET payment_id = '{other}'",
            "UPDATE payments SET amount = 9.99",
        ):
            with pytest.raises(asyncpg.CheckViolationError) as refused:
                await connection.execute(statement)
            assert refused.value.constraint_name == "check_refunds_within_payment"
        await connection.execute("UPDATE refunds SET status = 'succeeded' WHERE status = 'pending'")
        await connection.execute("UPDATE payments SET amount = 11")

    within("payments", test)


@pytest.mark.parametrize("second", LEVELS)
@pytest.mark.parametrize("first", LEVELS)
def test_two_refunds_at_the_same_time_do_not_exceed_it(
    within: Callable[..., None], first: Level, second: Level
) -> None:
    async def test(one: Connection, two: Connection) -> None:
        paid = await payment(one, "10.00")
        refused = await at_the_same_time(one, two, (first, second), (REFUND, paid, "6.00"), (REFUND, paid, "6.00"))
        assert refused == ("check_refunds_within_payment" if second == "read_committed" else "serialization")
        assert await one.fetchval("SELECT sum(amount) FROM refunds") == 6

    within("payments", test, connections=2)


def test_two_refunds_that_fit_both_go_through(within: Callable[..., None]) -> None:
    async def test(one: Connection, two: Connection) -> None:
        paid = await payment(one, "10.00")
        levels: tuple[Level, Level] = ("read_committed", "read_committed")
        assert await at_the_same_time(one, two, levels, (REFUND, paid, "6.00"), (REFUND, paid, "4.00")) is None

    within("payments", test, connections=2)


@pytest.mark.parametrize("refund_first", [True, False])
@pytest.mark.parametrize("second", LEVELS)
@pytest.mark.parametrize("first", LEVELS)
def test_a_payment_is_not_lowered_below_a_refund_made_at_the_same_time(
    within: Callable[..., None], first: Level, second: Level, refund_first: bool
) -> None:
    async def test(one: Connection, two: Connection) -> None:
        paid = await payment(one, "10.00")
        refund, lower = (REFUND, paid, "6.00"), ("UPDATE payments SET amount = 5 WHERE id = $1", paid)
        changes = (refund, lower) if refund_first else (lower, refund)
        refused = await at_the_same_time(one, two, (first, second), *changes)
        assert refused == ("check_refunds_within_payment" if second == "read_committed" else "serialization")

    within("payments", test, connections=2)


def test_updated_at_is_the_time_of_the_last_change(within: Callable[..., None]) -> None:
    async def test(connection: Connection) -> None:
        long_ago = datetime(2001, 2, 3, tzinfo=UTC)
        insert = "INSERT INTO payments (order_id, amount, method, updated_at) VALUES ($1, 10, 'card', $2) RETURNING id"
        paid = await connection.fetchval(insert, uuid4(), long_ago)
        get = "SELECT updated_at FROM payments"
        await connection.execute("UPDATE payments SET amount = amount")
        await connection.execute(REFUND, paid, "1.00")
        assert await connection.fetchval(get) == long_ago
        await connection.execute("UPDATE payments SET status = 'captured', updated_at = $1", long_ago)
        assert await connection.fetchval(get) > long_ago

    within("payments", test)


ORDER = "INSERT INTO orders (id, user_id, total_amount, shipping_address_id, created_at) VALUES ($1, $2, 1, $2, $3)"


def test_the_time_of_an_order_is_that_of_its_id(within: Callable[..., None]) -> None:
    async def test(connection: Connection) -> None:
        now = datetime.now(UTC)
        await connection.execute(ORDER, uuid7(), uuid4(), now)
        await connection.execute(ORDER, uuid4(), uuid4(), now)
        await connection.execute(
            "INSERT INTO orders (user_id, total_amount, shipping_address_id) SELECT id, 1, id FROM orders"
        )
        for wrong in (now - timedelta(hours=2), now + timedelta(hours=2)):
            with pytest.raises(asyncpg.CheckViolationError) as refused:
                await connection.execute(ORDER, uuid7(), uuid4(), wrong)
            assert refused.value.constraint_name == "check_created_at_matches_id"

    within("orders", test)


@pytest.mark.parametrize(
    ("id_", "time"),
    [
        ("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)),  # RFC 9562, A.6
        ("017f22e2-79b0-7cc3-18c4-dc0c0c07398f", None),  # another variant
        ("919108f7-52d1-4320-9bac-f847db4148a8", None),  # version 4, A.3
        (None, None),
    ],
)
def test_the_time_in_an_id(within: Callable[..., None], id_: str | None, time: datetime | None) -> None:
    async def test(connection: Connection) -> None:
        assert await connection.fetchval("SELECT uuid_v7_time($1)", id_ and UUID(id_)) == time

    within("orders", test)


def test_lines_go_with_their_order(within: Callable[..., None]) -> None:
    async def test(connection: Connection) -> None:
        now, id_ = datetime.now(UTC), uuid4()
        await connection.execute(ORDER, id_, uuid4(), now)
        line = (
            "INSERT INTO order_items (order_id, order_created_at, product_id, quantity, unit_price) "
            "VALUES ($1, $2, $1, 1, 1)"
        )
        await connection.execute(line, id_, now)
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute(line, id_, now + timedelta(microseconds=1))
        await connection.execute("DELETE FROM orders")
        assert await connection.fetchval("SELECT count(*) FROM order_items") == 0

    within("orders", test)


def test_a_product_has_at_most_one_primary_image(within: Callable[..., None]) -> None:
    async def test(connection: Connection) -> None:
        await connection.execute("INSERT INTO products (name, price) VALUES ('a', 1), ('b', 1)")
        for primary in (True, False, False):
            await connection.execute(
                "INSERT INTO product_images (product_id, url, is_primary) SELECT id, 'url', $1 FROM products", primary
            )
        with pytest.raises(asyncpg.UniqueViolationError) as refused:
            await connection.execute("UPDATE product_images SET is_primary = true")
        assert refused.value.constraint_name == "idx_product_images_primary"

    within("products", test)


@pytest.mark.parametrize("again", ["École@example.org", "ÉCOLE@EXAMPLE.ORG"])
def test_an_address_is_taken_whatever_its_case(within: Callable[..., None], again: str) -> None:
    async def test(connection: Connection) -> None:
        insert = "INSERT INTO users (email, password_hash, deleted_at) VALUES ($1, '!', now())"
        await connection.execute(insert, "école@example.org")
        with pytest.raises(asyncpg.UniqueViolationError) as refused:
            await connection.execute(insert, again)
        assert refused.value.constraint_name == "idx_users_email"

    within("users", test)
