"""The products database: a tree of categories, products and their images."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, String, Text, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.domains.base import (
    Id,
    Money,
    Timestamp,
    check_one_of,
    declare_function,
    declare_trigger,
    keep_updated_at,
    new_metadata,
)


class Base(DeclarativeBase):
    metadata = new_metadata("products")


class ProductStatus(StrEnum):
    ACTIVE = "active"
    INACTIVE = "inactive"


class Category(Base):
    """A node of the category tree. A deleted one ends its branch in every read of the tree."""

    __tablename__ = "categories"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(Text)
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("categories.id"), index=True)
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Product(Base):
    """What is for sale. A deleted one keeps its row, for the orders that sold it."""

    __tablename__ = "products"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    price: Mapped[Money]
    category_id: Mapped[UUID | None] = mapped_column(ForeignKey(Category.id))
    stock_quantity: Mapped[int] = mapped_column(server_default=text("0"))
    sku: Mapped[str | None] = mapped_column(String(100), unique=True)
    status: Mapped[str] = mapped_column(String(20), server_default=ProductStatus.ACTIVE)
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("price >= 0", name="price_positive"),
        CheckConstraint("stock_quantity >= 0", name="stock_not_negative"),
        check_one_of("status", ProductStatus),
    )


class ProductImage(Base):
    """A picture of a product; at most one is the primary one."""

    __tablename__ = "product_images"

    id: Mapped[Id]
    product_id: Mapped[UUID | None] = mapped_column(ForeignKey(Product.id, ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(String(255))
    is_primary: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Timestamp]


# Names sort by code point (COLLATE "C"), whatever the database's own locale.
Index("idx_categories_name_id", Category.name.collate("C"), Category.id)
Index("idx_products_category", Product.category_id)
Index("idx_products_category_name_id", Product.category_id, Product.name.collate("C"), Product.id)
Index("idx_products_name_id", Product.name.collate("C"), Product.id)
Index("idx_product_images_primary", ProductImage.product_id, unique=True, postgresql_where=text("is_primary"))

DEPTH = func.count().label("depth")
"""An aggregate of the categories above one."""

keep_updated_at(Base, Category, Product)

# The advisory lock (any number that no one else takes) lets one session at a time change the tree: two that each look
# alone would both find no cycle. Above READ COMMITTED a snapshot does not see what the other one committed while we
# waited, so there each step also locks the row, which fails where that row has changed since.
declare_function(
    Base,
    """\
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
$$""",
)
declare_trigger(
    Category,
    "CREATE TRIGGER categories_refuse_cycle BEFORE INSERT OR UPDATE OF parent_id, id ON categories "
    "FOR EACH ROW WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION refuse_category_cycle()",
)
