"""Create the tables of the orders database."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
created = "2026-11-22"

TOUCH_UPDATED_AT = """\
CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := CURRENT_TIMESTAMP;
    RETURN NEW;
END
$$"""

UUID_V7_TIME = """\
CREATE FUNCTION uuid_v7_time(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN get_byte(uuid_send(id), 6) >> 4 = 7 AND get_byte(uuid_send(id), 8) >> 6 = 2 THEN
    to_timestamp(('x0000' || left(id::text, 8) || substr(id::text, 10, 4))::bit(64)::bigint / 1000.0)
END"""

PRODUCT_STATS = """\
CREATE MATERIALIZED VIEW product_stats AS
SELECT i.product_id, count(i.id) AS total_orders, sum(i.quantity) AS total_quantity_sold,
    sum(i.quantity * i.unit_price) AS total_revenue, max(o.created_at) AS last_ordered_at
FROM order_items i JOIN orders o ON o.id = i.order_id AND o.created_at = i.order_created_at
WHERE o.status <> 'cancelled'
GROUP BY i.product_id"""


def timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False)


def upgrade() -> None:
    op.execute(TOUCH_UPDATED_AT)
    op.execute(UUID_V7_TIME)
    create_orders()
    create_order_items()
    create_product_stats_refresh()
    op.execute(PRODUCT_STATS)
    op.execute("CREATE UNIQUE INDEX idx_product_stats_product ON product_stats (product_id)")


def downgrade() -> None:
    op.execute("DROP MATERIALIZED VIEW product_stats")
    op.drop_table("product_stats_refresh")
    op.drop_table("order_items")
    op.drop_table("orders")
    op.execute("DROP FUNCTION uuid_v7_time(uuid)")
    op.execute("DROP FUNCTION touch_updated_at")


def create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("status", sa.String(20), server_default="pending", nullable=False),
        sa.Column("total_amount", sa.Numeric(10, 2), nullable=False),
        sa.Column("shipping_address_id", sa.Uuid, nullable=False),
        timestamp("created_at"),
        timestamp("updated_at"),
        sa.CheckConstraint(
            "status IN ('pending', 'paid', 'shipped', 'delivered', 'cancelled', 'refunded')",
            name=op.f("check_status_known"),
        ),
        sa.CheckConstraint(
            "abs(extract(epoch FROM created_at - uuid_v7_time(id))) <= 3600",
            name=op.f("check_created_at_matches_id"),
        ),
        sa.CheckConstraint("total_amount >= 0", name=op.f("check_total_amount_not_negative")),
        sa.PrimaryKeyConstraint("id", "created_at", name="orders_pkey"),
        postgresql_partition_by="RANGE (created_at)",
    )
    op.create_index("idx_orders_created_at_id", "orders", ["created_at", "id"])
    op.create_index("idx_orders_user", "orders", ["user_id"])
    op.create_index("idx_orders_user_id_created_at_id", "orders", ["user_id", "created_at", "id"])
    op.execute(
        "CREATE TRIGGER orders_touch_updated_at BEFORE UPDATE ON orders "
        "FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at()"
    )


def create_product_stats_refresh() -> None:
    op.create_table(
        "product_stats_refresh",
        sa.Column("singleton", sa.Boolean, server_default=sa.text("true"), nullable=False),
        timestamp("refreshed_at"),
        sa.CheckConstraint("singleton", name=op.f("check_single_row")),
        sa.PrimaryKeyConstraint("singleton", name="product_stats_refresh_pkey"),
    )
    op.execute("INSERT INTO product_stats_refresh DEFAULT VALUES")


def create_order_items() -> None:
    op.create_table(
        "order_items",
        sa.Column("id", sa.Uuid, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("order_created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("product_id", sa.Uuid, nullable=False),
        sa.Column("product_name", sa.String(255)),
        sa.Column("product_sku", sa.String(100)),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("unit_price", sa.Numeric(10, 2), nullable=False),
        timestamp("created_at"),
        sa.CheckConstraint("quantity > 0", name=op.f("check_quantity_positive")),
        sa.CheckConstraint("unit_price >= 0", name=op.f("check_unit_price_not_negative")),
        sa.ForeignKeyConstraint(
            ["order_id", "order_created_at"],
            ["orders.id", "orders.created_at"],
            name="order_items_order_id_order_created_at_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", "order_created_at", name="order_items_pkey"),
        postgresql_partition_by="RANGE (order_created_at)",
    )
    op.create_index("idx_order_items_order_id_order_created_at", "order_items", ["order_id", "order_created_at"])
    op.create_index("idx_order_items_product_id_created_at_id", "order_items", ["product_id", "created_at", "id"])
    op.create_index(
        "idx_order_items_product_id_order_created_at_id",
        "order_items",
        ["product_id", "order_created_at", "id"],
    )
