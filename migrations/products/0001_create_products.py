"""Create the tables of the products database."""

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

REFUSE_CATEGORY_CYCLE = """\
CREATE FUNCTION refuse_category_cycle() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ancestor uuid := NEW.parent_id;
BEGIN
    PERFORM pg_advisory_xact_lock(7220512036118446);
    WHILE ancestor IS NOT NULL LOOP
        IF ancestor = NEW.id THEN
            RAISE EXCEPTION 'category % cannot be below itself', NEW.id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'check_no_category_cycle', TABLE = 'categories';
        END IF;
        IF current_setting('transaction_isolation') = 'read committed' THEN
            SELECT parent_id INTO ancestor FROM categories WHERE id = ancestor;
        ELSE
            SELECT parent_id INTO ancestor FROM categories WHERE id = ancestor FOR SHARE;
        END IF;
    END LOOP;
    RETURN NEW;
END
$$"""


def timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False)


def upgrade() -> None:
    op.execute(TOUCH_UPDATED_AT)
    op.execute(REFUSE_CATEGORY_CYCLE)
    create_categories()
    create_products()
    create_product_images()


def downgrade() -> None:
    op.drop_table("product_images")
    op.drop_table("products")
    op.drop_table("categories")
    op.execute("DROP FUNCTION refuse_category_cycle")
    op.execute("DROP FUNCTION touch_updated_at")


def create_categories() -> None:
    op.create_table(
        "categories",
        sa.Column("id", sa.Uuid, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("parent_id", sa.Uuid),
        timestamp("created_at"),
        timestamp("updated_at"),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["parent_id"], ["categories.id"], name="categories_parent_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="categories_pkey"),
    )
    op.create_index("idx_categories_name_id", "categories", [sa.literal_column('(name COLLATE "C")'), "id"])
    op.create_index("idx_categories_parent_id", "categories", ["parent_id"])
    op.execute(
        "CREATE TRIGGER categories_touch_updated_at BEFORE UPDATE ON categories "
        "FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at()"
    )
    op.execute(
        "CREATE TRIGGER categories_refuse_cycle BEFORE INSERT OR UPDATE OF parent_id, id ON categories "
        "FOR EACH ROW WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION refuse_category_cycle()"
    )


def create_products() -> None:
    op.create_table(
        "products",
        sa.Column("id", sa.Uuid, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("price", sa.Numeric(10, 2), nullable=False),
        sa.Column("category_id", sa.Uuid),
        sa.Column("stock_quantity", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("sku", sa.String(100)),
        sa.Column("status", sa.String(20), server_default="active", nullable=False),
        timestamp("created_at"),
        timestamp("updated_at"),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("check_status_known")),
        sa.CheckConstraint("price >= 0", name=op.f("check_price_positive")),
        sa.CheckConstraint("stock_quantity >= 0", name=op.f("check_stock_not_negative")),
        sa.ForeignKeyConstraint(["category_id"], ["categories.id"], name="products_category_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="products_pkey"),
        sa.UniqueConstraint("sku", name="products_sku_key"),
    )
    op.create_index("idx_products_category", "products", ["category_id"])
    op.create_index(
        "idx_products_category_name_id",
        "products",
        ["category_id", sa.literal_column('(name COLLATE "C")'), "id"],
    )
    op.create_index("idx_products_name_id", "products", [sa.literal_column('(name COLLATE "C")'), "id"])
    op.execute(
        "CREATE TRIGGER products_touch_updated_at BEFORE UPDATE ON products "
        "FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at()"
    )


def create_product_images() -> None:
    op.create_table(
        "product_images",
        sa.Column("id", sa.Uuid, server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("product_id", sa.Uuid),
        sa.Column("url", sa.String(255), nullable=False),
        sa.Column("is_primary", sa.Boolean, server_default=sa.text("false"), nullable=False),
        timestamp("created_at"),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name="product_images_product_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="product_images_pkey"),
    )
    op.create_index(
        "idx_product_images_primary",
        "product_images",
        ["product_id"],
        unique=True,
        postgresql_where=sa.text("is_primary"),
    )
    op.create_index("idx_product_images_product_id", "product_images", ["product_id"])
