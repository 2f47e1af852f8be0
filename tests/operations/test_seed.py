"""Seeding: the rows are plausible, agree with one another, and are the same every time."""

import asyncio
import json
import signal
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app.errors import OperationError
from app.operations import seed as seeding
from app.operations.contents import Summary, tables_of
from app.operations.seed import is_empty
from app.operations.seed_data import Shop
from app.operations.seed_sales import CHUNK, Sales, sales_of
from app.settings import DATABASE_NAMES, Settings
from tests.operations.rows import indexes_and_constraints, rows, storegraph

UNTIL = date(2024, 2, 29)

pytestmark = pytest.mark.usefixtures("clean")


def seed(settings: Settings, orders: int = 300, seed: int = 1) -> Summary:
    return asyncio.run(seeding.seed(settings, orders=orders, seed=seed, until=UNTIL))


def empty(settings: Settings) -> None:
    for name in DATABASE_NAMES:
        for table in reversed(tables_of(name)):
            rows(settings, name, f"DELETE FROM {table.name}")


def checksums(settings: Settings) -> dict[str, tuple[Any, ...]]:
    return {
        table.name: rows(settings, name, f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table.name} t")[0]
        for name in DATABASE_NAMES
        for table in tables_of(name)
    }


def test_the_same_seed_makes_the_same_rows(settings: Settings) -> None:
    first = seed(settings)
    same = checksums(settings)
    empty(settings)
    assert seed(settings) == first
    assert checksums(settings) == same
    empty(settings)
    seed(settings, seed=2)
    other = checksums(settings)
    assert [table for table in same if other[table] == same[table]] == []


def test_money_agrees(settings: Settings) -> None:
    seed(settings, orders=1000)
    orders = {
        key: (status, total, of_lines)
        for key, status, total, of_lines in rows(
            settings,
            "orders",
            "SELECT o.id, o.status, o.total_amount, (SELECT sum(quantity * unit_price) FROM order_items i "
            "WHERE i.order_id = o.id AND i.order_created_at = o.created_at) FROM orders o",
        )
    }
    assert all(total == of_lines for _, total, of_lines in orders.values())
    payments = rows(
        settings,
        "payments",
        "SELECT order_id, status, amount, (SELECT sum(amount) FROM refunds r WHERE payment_id = p.id "
        "AND status = 'succeeded'), (SELECT min(amount) FROM refunds WHERE payment_id = p.id) FROM payments p",
    )
    paid: dict[object, list[object]] = {key: [] for key in orders}
    for order, status, amount, refunded, least in payments:
        assert amount == orders[order][1]
        assert refunded == (amount if status == "refunded" else None)
        assert least is None or status == "refunded"
        if status != "failed":
            paid[order].append(status)
    expected = {status: [["captured"]] for status in ("paid", "shipped", "delivered")} | {
        "refunded": [["refunded"]],
        "pending": [["pending"], []],
        "cancelled": [["voided"], []],
    }
    assert {status for status, _, _ in orders.values()} == set(expected)
    assert all(paid[key] in expected[str(status)] for key, (status, _, _) in orders.items())
    assert any(status == "failed" for _, status, *_ in payments)


def test_times_are_of_three_years_and_in_the_ids(settings: Settings) -> None:
    seed(settings)
    for name in DATABASE_NAMES:
        for table in tables_of(name):
            assert rows(
                settings,
                name,
                f"""
                SELECT every(created_at >= $1 AND created_at < $2), every(get_byte(uuid_send(id), 6) >> 4 = 7),
                every(('x0000' || left(replace(id::text, '-', ''), 12))::bit(64)::bigint
                      = extract(epoch FROM created_at) * 1000)
                FROM {table.name}
                """,
                datetime(2021, 2, 28, tzinfo=UTC),
                datetime(2024, 2, 29, tzinfo=UTC),
            ) == [(True, True, True)]
    quarters = rows(settings, "orders", "SELECT DISTINCT tableoid::regclass::text FROM orders ORDER BY 1")
    assert quarters[0] == ("orders_2021_q1",)
    assert len(quarters) == 13


def test_references_are_right_and_no_order_is_older_than_its_user(settings: Settings) -> None:
    seed(settings)
    users = dict(rows(settings, "users", "SELECT id, created_at FROM users"))
    addresses = dict(rows(settings, "users", "SELECT id, user_id FROM user_profiles"))
    orders = rows(settings, "orders", "SELECT user_id, shipping_address_id, created_at FROM orders")
    assert all(addresses[address] == user and users[user] <= created for user, address, created in orders)
    products = set(rows(settings, "products", "SELECT id, name, sku, price FROM products"))
    sold = set(rows(settings, "orders", "SELECT product_id, product_name, product_sku, unit_price FROM order_items"))
    assert sold < products


def test_the_shop_is_plausible(settings: Settings) -> None:
    seed(settings)
    roles = rows(settings, "users", "SELECT role, count(*) FROM users GROUP BY 1 ORDER BY 2, 1")
    assert roles == [("admin", 1), ("support", 3), ("customer", 26)]
    assert rows(settings, "users", "SELECT DISTINCT password_hash FROM users") == [("!",)]
    tree = """
        WITH RECURSIVE tree AS (
            SELECT id, 1 AS depth FROM categories WHERE parent_id IS NULL
            UNION ALL SELECT c.id, depth + 1 FROM categories c JOIN tree t ON c.parent_id = t.id
        ) SELECT max(depth), count(*) FROM tree
    """
    assert rows(settings, "products", tree) == [(2, 37)]
    images = "SELECT count(*), count(*) FILTER (WHERE is_primary) FROM product_images GROUP BY product_id"
    assert set(rows(settings, "products", images)) == {(2, 1)}


def test_one_order_is_enough(settings: Settings) -> None:
    summary = seed(settings, orders=1)
    assert summary["orders"]["orders"] == 1
    assert summary["users"]["users"] == 20


def test_indexes_and_foreign_keys_are_there_again(settings: Settings) -> None:
    seed(settings)  # makes the partitions
    empty(settings)
    before = indexes_and_constraints(settings)
    seed(settings)
    assert indexes_and_constraints(settings) == before


def test_statistics_are_fresh(settings: Settings) -> None:
    seed(settings)
    [(sold, counted)] = rows(
        settings,
        "orders",
        "SELECT (SELECT sum(total_quantity_sold) FROM product_stats), sum(quantity) FROM order_items i "
        "JOIN orders o ON o.id = i.order_id WHERE o.status <> 'cancelled'",
    )
    assert sold == counted
    assert rows(settings, "orders", "SELECT reltuples FROM pg_class WHERE relname = 'orders'") == [(300.0,)]


def test_databases_with_rows_are_refused_and_left_alone(settings: Settings) -> None:
    assert asyncio.run(is_empty(settings))
    rows(settings, "payments", "INSERT INTO payments (order_id, amount, method) VALUES (gen_random_uuid(), 1, 'card')")
    assert not asyncio.run(is_empty(settings))
    with pytest.raises(OperationError, match="the payments database is not empty: payments has rows"):
        seed(settings)
    assert rows(settings, "users", "SELECT FROM users") == []


def test_ctrl_c_leaves_everything_as_it_was(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(shop: Shop) -> Callable[[int], Sales]:
        def chunk(number: int) -> Sales:
            if number:
                signal.raise_signal(signal.SIGINT)
            return sales_of(shop)(number)

        return chunk

    seed(settings)  # makes the partitions
    empty(settings)
    before = indexes_and_constraints(settings)
    monkeypatch.setattr(seeding, "sales_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        seed(settings)
    assert indexes_and_constraints(settings) == before
    assert asyncio.run(is_empty(settings))


def test_the_command_prints_what_was_added(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("db", "seed", "--orders", "10", "--until", "2024-02-29", "--json")
    assert storegraph(settings, monkeypatch, *arguments) == 0
    assert json.loads(capsys.readouterr().out)["orders"]["orders"] == 10
    assert storegraph(settings, monkeypatch, *arguments) == 2
    assert "the users database is not empty: users has rows" in capsys.readouterr().err


def test_a_year_out_of_range_is_refused(settings: Settings) -> None:
    with pytest.raises(OperationError, match="1972-01-01: expected a year from 1973 to 2200"):
        asyncio.run(seeding.seed(settings, orders=1, until=date(1972, 1, 1)))


def test_a_chunk_depends_on_nothing_before_it() -> None:
    shop = Shop(2 * CHUNK + 1, 1, UNTIL)
    in_order, alone = sales_of(shop), sales_of(shop)
    in_order(0)
    assert in_order(1) == alone(1)
    assert len(alone(2).orders) == 1
    assert alone(3) == Sales()


@pytest.mark.parametrize("orders", [1, 100_000, 10_000_000])
def test_sizes_grow_with_the_orders(orders: int) -> None:
    shop = Shop(orders, 1, UNTIL)
    sizes = {1: (20, 31, 16), 100_000: (10_000, 10_000, 680), 10_000_000: (1_000_000, 100_000, 6800)}
    assert (shop.users, shop.products, shop.categories) == sizes[orders]
    assert shop.users_at(shop.end - 1) <= shop.users
    assert shop.first_day == shop.until - timedelta(days=366 + 365 + 365)
