"""Everything that a database can hold otherwise than its models say is found, and nothing else."""

import asyncio
import re
from datetime import UTC, date, datetime

import pytest

from app.errors import OperationError
from app.operations.check import Report, check
from app.operations.connect import connected
from app.operations.migrations import downgrade, upgrade
from app.operations.partitions import Quarter, ensure
from app.operations.server import LocalServer
from app.settings import DATABASE_NAMES, DatabaseName, Settings

TODAY = datetime.now(UTC).date()
THIS = Quarter.of(TODAY)
ORDERS = THIS.partition("orders")
ITEMS = THIS.partition("order_items")


def run(name: DatabaseName, url: str, sql: str) -> None:
    async def execute() -> None:
        async with connected(name, url) as connection:
            await connection.execute(sql)

    asyncio.run(execute())


def copy(server: LocalServer, name: DatabaseName) -> None:
    run("users", server.url("postgres"), f"CREATE DATABASE scratch TEMPLATE ecommerce_{name}")


def report(name: DatabaseName, url: str) -> Report:
    return asyncio.run(check(name, url, TODAY))


@pytest.mark.parametrize("name", DATABASE_NAMES)
def test_models_and_migrations_agree(settings: Settings, name: DatabaseName) -> None:
    assert report(name, settings.database_url(name)) == Report([], [])


DRIFT: list[tuple[DatabaseName, str, str]] = [
    ("users", "DROP TABLE user_profiles", "table user_profiles: missing"),
    ("users", "CREATE TABLE extra (id int PRIMARY KEY)", "table extra: not in the models"),
    ("users", "CREATE VIEW extra AS SELECT 1 AS one", "view extra: not in the models"),
    ("users", "CREATE SEQUENCE extra", "sequence extra: not in the models"),
    ("users", "CREATE TYPE extra AS ENUM ('a')", "enum extra: not in the models"),
    ("users", "ALTER TABLE user_profiles SET UNLOGGED", "table user_profiles: differs: database has UNLOGGED, …"),
    (
        "users",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        "table users: differs: database has ROW LEVEL SECURITY, …",
    ),
    ("users", "ALTER TABLE users ADD extra int", "column users.extra: not in the models"),
    ("users", "ALTER TABLE user_profiles DROP city", "column user_profiles.city: missing"),
    (
        "users",
        "ALTER TABLE users ALTER role SET DEFAULT 'admin'",
        "column users.role: differs: database has character varying(20) NOT NULL DEFAULT 'admin'::character varying, "
        "models say character varying(20) NOT NULL DEFAULT 'customer'::character varying",
    ),
    (
        "users",
        "ALTER TABLE users ALTER first_name TYPE text",
        "column users.first_name: differs: database has text, models say character varying(100)",
    ),
    (
        "users",
        "ALTER TABLE users ALTER last_name SET NOT NULL",
        "column users.last_name: differs: database has character varying(100) NOT NULL, models say …",
    ),
    (
        "users",
        'ALTER TABLE users ALTER last_name TYPE varchar(100) COLLATE "C"',
        'column users.last_name: differs: database has character varying(100) COLLATE "C", models say …',
    ),
    ("users", "DROP INDEX idx_users_email", "index users.idx_users_email: missing"),
    ("users", "CREATE INDEX extra ON users (role)", "index users.extra: not in the models"),
    (
        "users",
        "DROP INDEX idx_users_email; CREATE UNIQUE INDEX idx_users_email ON users (upper(email))",
        "index users.idx_users_email: differs: database has CREATE UNIQUE INDEX idx_users_email ON users "
        "USING btree (upper(email::text)), models say …",
    ),
    (
        "users",  # as a CREATE INDEX CONCURRENTLY that failed leaves it
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_users_email'::regclass",
        "index users.idx_users_email: is invalid, as a CREATE INDEX CONCURRENTLY that was stopped leaves it: no query "
        "uses it; REINDEX INDEX CONCURRENTLY idx_users_email, or drop it (…)",
    ),
    (
        "users",
        "CREATE POLICY extra ON users FOR SELECT USING (role = 'admin')",
        "policy users.extra: not in the models",
    ),
    ("users", "CREATE RULE extra AS ON DELETE TO users DO INSTEAD NOTHING", "rule users.extra: not in the models"),
    ("users", "CREATE STATISTICS extra ON role, status FROM users", "statistics users.extra: not in the models"),
    (
        "users",
        "CREATE AGGREGATE extra (int) (SFUNC = int4pl, STYPE = int)",
        "aggregate extra(integer): not in the models",
    ),
    (
        "users",
        "ALTER TABLE users ENABLE ALWAYS TRIGGER users_end_sessions",
        "trigger users.users_end_sessions: differs: database has …ENABLE ALWAYS, models say …",
    ),
    (
        "products",
        "ALTER TABLE products DROP CONSTRAINT check_price_positive",
        "constraint products.check_price_positive: missing",
    ),
    (
        "products",
        "ALTER TABLE products DROP CONSTRAINT check_price_positive, "
        "ADD CONSTRAINT check_price_positive CHECK (price > 0)",
        "constraint products.check_price_positive: differs: database has CHECK (price > 0::numeric), "
        "models say CHECK (price >= 0::numeric)",
    ),
    (
        "products",
        "ALTER TABLE products DROP CONSTRAINT products_sku_key",
        "constraint products.products_sku_key: missing",
    ),
    (
        "products",
        "ALTER TABLE product_images DROP CONSTRAINT product_images_product_id_fkey",
        "constraint product_images.product_images_product_id_fkey: missing",
    ),
    (
        "products",
        "ALTER TABLE products DROP CONSTRAINT products_category_id_fkey, "
        "ADD CONSTRAINT products_category_id_fkey FOREIGN KEY (category_id) REFERENCES categories NOT VALID",
        "constraint products.products_category_id_fkey: differs: database has FOREIGN KEY (category_id) "
        "REFERENCES categories(id) NOT VALID, models say …",
    ),
    (
        "products",
        "DROP TRIGGER categories_refuse_cycle ON categories",
        "trigger categories.categories_refuse_cycle: missing",
    ),
    (
        "products",
        "ALTER TABLE categories DISABLE TRIGGER categories_refuse_cycle",
        "disabled trigger categories.categories_refuse_cycle: not in the models",
    ),
    (
        "products",
        "ALTER TABLE product_images DISABLE TRIGGER ALL",
        "disabled trigger product_images.product_images_product_id_fkey: not in the models",
    ),
    ("products", "ALTER TABLE products ALTER search DROP EXPRESSION", "column products.search: differs: …"),
    ("products", "DROP TABLE product_words", "table product_words: missing"),
    ("products", "DROP EXTENSION pg_trgm CASCADE", "index product_words.idx_product_words_trigrams: missing"),
    (
        "products",
        "DROP INDEX idx_product_words_trigrams; "
        "CREATE INDEX idx_product_words_trigrams ON product_words USING gist (word gist_trgm_ops)",
        "index product_words.idx_product_words_trigrams: differs: database has CREATE INDEX "
        "idx_product_words_trigrams ON product_words USING gist (word gist_trgm_ops), models say …"
        "USING gin (word gin_trgm_ops)",
    ),
    (
        "payments",
        "CREATE OR REPLACE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$\n"
        "BEGIN\n    NEW.updated_at := now();\n    RETURN NEW;\nEND\n$$",
        "function touch_updated_at(): differs: database has NEW.updated_at := now();, "
        "models say NEW.updated_at := CURRENT_TIMESTAMP;",
    ),
    (
        "payments",
        "CREATE OR REPLACE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$\n"
        "BEGIN\n  NEW.updated_at := CURRENT_TIMESTAMP;\n  RETURN NEW;\nEND\n$$",
        "function touch_updated_at(): differs: in white space only",
    ),
    (
        "payments",
        "CREATE FUNCTION extra(int) RETURNS int LANGUAGE sql RETURN 1",
        "function extra(integer): not in the models",
    ),
    ("orders", "DROP MATERIALIZED VIEW product_stats", "materialized view product_stats: missing"),
    (
        "orders",
        "REFRESH MATERIALIZED VIEW product_stats WITH NO DATA",
        "materialized view product_stats: differs: database has …WITH NO DATA, …",
    ),
    (
        "orders",
        "DROP MATERIALIZED VIEW product_stats; CREATE MATERIALIZED VIEW product_stats AS "
        "SELECT i.product_id, count(i.id) AS total_orders FROM order_items i GROUP BY i.product_id; "
        "CREATE UNIQUE INDEX idx_product_stats_product ON product_stats (product_id)",
        "materialized view product_stats: differs: database has …",
    ),
    (
        "orders",
        "ALTER TABLE orders DISABLE TRIGGER orders_touch_updated_at",
        "disabled trigger orders.orders_touch_updated_at: not in the models",
    ),
    (
        "orders",
        f"ALTER TABLE {ORDERS} DISABLE TRIGGER orders_touch_updated_at",
        f"disabled trigger {ORDERS}.orders_touch_updated_at: not in the models",
    ),
    (
        "orders",
        "ALTER TABLE order_items DROP CONSTRAINT order_items_order_id_order_created_at_fkey",
        "constraint order_items.order_items_order_id_order_created_at_fkey: missing",
    ),
    ("orders", "DROP INDEX idx_orders_user", "index orders.idx_orders_user: missing"),
    ("orders", f"CREATE INDEX extra ON {ORDERS} (status)", f"index {ORDERS}.extra: not in the models"),
    (
        "orders",
        f"ALTER TABLE {ITEMS} ADD CONSTRAINT extra CHECK (quantity < 9) NOT VALID",
        f"constraint {ITEMS}.extra: not in the models",
    ),
    (
        "orders",
        f"CREATE TRIGGER extra BEFORE UPDATE ON {ORDERS} FOR EACH ROW EXECUTE FUNCTION touch_updated_at()",
        f"trigger {ORDERS}.extra: not in the models",
    ),
    ("orders", f"ALTER TABLE {ITEMS} SET UNLOGGED", f"partition {ITEMS}: is UNLOGGED, and its table is not"),
    (
        "orders",
        f"ALTER TABLE {ORDERS} ALTER status SET DEFAULT 'paid'",
        f"column {ORDERS}.status: differs: partition has …'paid'…, its table …'pending'…",
    ),
    (
        "orders",
        f"ALTER TABLE {ORDERS} ENABLE ROW LEVEL SECURITY",
        f"partition {ORDERS}: has ROW LEVEL SECURITY, and its table has not",
    ),
    (
        "orders",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_orders_user'::regclass",
        "index orders.idx_orders_user: is invalid until one of each partition is attached to it",
    ),
    ("orders", f"DROP TABLE {ITEMS}", f"partition {ITEMS}: missing; …"),
    (
        "orders",
        "CREATE TABLE orders_rest PARTITION OF orders DEFAULT",
        "partition orders_rest: not in the models: a default partition …",
    ),
    (
        "orders",
        f"ALTER TABLE {ITEMS} RENAME TO order_items_first",
        f"partition order_items_first: differs: its bounds are those of {ITEMS}",
    ),
    (
        "orders",
        "CREATE TABLE orders_1999 PARTITION OF orders FOR VALUES FROM ('1999-01-01') TO ('2000-01-01')",
        "partition orders_1999: differs: database has FOR VALUES FROM ('1999-01-01 00:00:00+00') "
        "TO ('2000-01-01 00:00:00+00'), which is no quarter of a year in UTC",
    ),
    (
        "orders",  # as a session in another zone makes them
        "SET TimeZone TO 'Europe/Paris'; "
        "CREATE TABLE orders_1999_q1 PARTITION OF orders FOR VALUES FROM ('1999-01-01') TO ('1999-04-01')",
        "partition orders_1999_q1: differs: database has FOR VALUES FROM ('1998-12-31 23:00:00+00') …",
    ),
]


@pytest.mark.parametrize(("name", "drift", "finding"), DRIFT)
def test_drift_is_found(
    settings: Settings, server: LocalServer, scratch_url: str, name: DatabaseName, drift: str, finding: str
) -> None:
    """``finding`` is the only one; … stands for any text."""
    copy(server, name)
    run(name, scratch_url, drift)
    (found,) = report(name, scratch_url).findings
    assert re.fullmatch(re.escape(finding).replace("…", ".*"), found), found


def test_each_part_of_a_larger_drift_is_found(settings: Settings, server: LocalServer, scratch_url: str) -> None:
    copy(server, "payments")
    run(
        "payments",
        scratch_url,
        "DROP FUNCTION refuse_excess_refund CASCADE; ALTER TABLE payments DROP provider_reference",
    )
    assert report("payments", scratch_url).findings == [
        "column payments.provider_reference: missing",
        "constraint payments.payments_provider_reference_key: missing",
        "function refuse_excess_refund(): missing",
        "trigger refunds.refunds_refuse_excess: missing",
    ]


def test_a_detached_partition_is_found(settings: Settings, server: LocalServer, scratch_url: str) -> None:
    copy(server, "orders")
    run("orders", scratch_url, f"ALTER TABLE order_items DETACH PARTITION {ITEMS}")
    assert report("orders", scratch_url).findings == [
        f"partition {ITEMS}: missing; run `storegraph partitions ensure --from {THIS.start} --to {THIS.start}`",
        f"table {ITEMS}: not in the models",
    ]


def test_a_gap_between_partitions_is_found_but_not_one_of_years(
    settings: Settings, server: LocalServer, scratch_url: str
) -> None:
    async def make(first: date, last: date) -> None:
        async with connected("orders", scratch_url) as connection:
            await ensure(connection, first, last)

    copy(server, "orders")
    asyncio.run(make(date(1996, 7, 4), date(1998, 5, 6)))
    assert report("orders", scratch_url).findings == []
    drop = "ALTER TABLE orders DETACH PARTITION orders_1997_q4; DROP TABLE order_items_1997_q4, orders_1997_q4"
    run("orders", scratch_url, drop)
    found = [line.partition(";")[0] for line in report("orders", scratch_url).findings]
    assert found == ["partition orders_1997_q4: missing", "partition order_items_1997_q4: missing"]


def test_next_years_partitions_are_wanted_before_it_begins(settings: Settings) -> None:
    later = date(TODAY.year + 1, 1, 1)
    findings = asyncio.run(check("orders", settings.orders_database_url, later)).findings
    assert len(findings) == 8
    assert findings[0].startswith(f"partition orders_{later.year + 1}_q1: missing")


def test_objects_of_extensions_are_no_drift(settings: Settings, server: LocalServer, scratch_url: str) -> None:
    copy(server, "users")
    run("users", scratch_url, "CREATE EXTENSION pg_stat_statements")
    assert report("users", scratch_url).findings == []


def test_migrations_yet_to_be_applied_are_all_that_is_reported(
    settings: Settings, server: LocalServer, scratch_url: str
) -> None:
    copy(server, "orders")
    asyncio.run(downgrade("orders", scratch_url, "base"))
    assert report("orders", scratch_url).findings == [
        f"migration {number}: not applied; run `storegraph db upgrade`" for number in ("0001", "0002")
    ]


@pytest.mark.parametrize(
    ("locale", "warning"),
    [
        ("ENCODING 'UTF8'", "the locale knows no letters beyond ASCII"),
        ("ENCODING 'LATIN1'", "encoding is LATIN1, not UTF8"),
    ],
)
def test_a_poor_locale_is_a_warning(server: LocalServer, scratch_url: str, locale: str, warning: str) -> None:
    make = f"CREATE DATABASE scratch TEMPLATE template0 LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' {locale}"
    run("users", server.url("postgres"), make)
    asyncio.run(upgrade("users", scratch_url, TODAY))
    found = report("users", scratch_url)
    assert found.findings == []
    assert [line[: len(warning)] for line in found.warnings] == [warning]


def test_who_may_not_make_a_schema_is_told(settings: Settings, server: LocalServer, scratch_url: str) -> None:
    copy(server, "users")
    run("users", scratch_url, "ALTER DATABASE scratch SET default_transaction_read_only TO on")
    with pytest.raises(OperationError, match=r"cannot check the users database: .*read-only transaction"):
        report("users", scratch_url)
