"""The products database: a tree of categories, products and their images."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Computed,
    DateTime,
    ForeignKey,
    Index,
    String,
    Table,
    Text,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
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
    table_of,
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


# What a search compares: words of the name (weight A), of the sku (B) and of the description (C), and the whole sku as
# one word (which has no place in a text, and so counts as D). Hyphens and slashes part words: to PostgreSQL's parser
# "red/blue" is the path of a file and "-100" a number below zero. No vector holds over a megabyte, so only the first
# 100,000 characters count. Written as PostgreSQL prints it, or Alembic would see a difference.
_SEARCH = """\
setweight(to_tsvector('english'::regconfig, translate(name::text, '-/'::text, '  '::text)), 'A'::"char")
 || setweight(to_tsvector('english'::regconfig,
    translate(COALESCE(sku, ''::character varying)::text, '-/._'::text, '    '::text)), 'B'::"char")
 || setweight(to_tsvector('english'::regconfig,
    translate("left"(COALESCE(description, ''::text), 100000), '-/'::text, '  '::text)), 'C'::"char")
 || array_to_tsvector(array_remove(ARRAY[lower(COALESCE(sku, ''::character varying)::text)], ''::text))"""


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
    search: Mapped[str] = mapped_column(TSVECTOR, Computed(_SEARCH, persisted=True))

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


# The words of names and descriptions, in which misspelt ones find their likes. None is ever removed, and two sessions
# that meet a new word at the same time both add it: uniqueness would make one wait for the other's end.
PRODUCT_WORDS = Table("product_words", Base.metadata, Column("word", Text, nullable=False, index=True))

# Names sort by code point (COLLATE "C"), whatever the database's own locale.
Index("idx_categories_name_id", Category.name.collate("C"), Category.id)
Index("idx_categories_created_at_id", Category.created_at, Category.id)
Index("idx_categories_updated_at_id", Category.updated_at, Category.id)
Index("idx_products_category", Product.category_id)
# Of what is there alone: walks and counts find all they need in these two, and not a row in the table.
_THERE = text("deleted_at IS NULL")
Index(
    "idx_categories_parent_name_id",
    Category.parent_id,
    Category.name.collate("C"),
    Category.id,
    postgresql_where=_THERE,
)
Index(
    "idx_products_category_name_id",
    Product.category_id,
    Product.name.collate("C"),
    Product.id,
    postgresql_where=_THERE,
)
Index("idx_products_name_id", Product.name.collate("C"), Product.id)
Index("idx_products_price_id", Product.price, Product.id)
Index("idx_products_created_at_id", Product.created_at, Product.id)
Index("idx_products_updated_at_id", Product.updated_at, Product.id)
Index("idx_products_category_price_id", Product.category_id, Product.price, Product.id)
Index("idx_products_category_created_at_id", Product.category_id, Product.created_at, Product.id)
Index("idx_product_images_primary", ProductImage.product_id, unique=True, postgresql_where=text("is_primary"))
Index("idx_products_search", Product.search, postgresql_using="gin")
Index(
    "idx_product_words_trigrams",
    PRODUCT_WORDS.c.word,
    postgresql_using="gin",
    postgresql_ops={"word": "gin_trgm_ops"},
)


def relevance(query: ColumnElement[Any]) -> ColumnElement[Any]:
    """How well a product answers a tsquery: above 0, below 1.

    A word in the name counts more than any number of the same in the description, and more in a shorter name, so that
    nothing comes before the product of just that name. (``ts_rank``'s own normalizations go by the length of the whole
    text, and would punish a good description.)
    """
    # {whole sku, description, sku's words, name}: manual, 12.3.3.
    rank = func.ts_rank(literal_column("'{1, 0.03, 0.2, 0.5}'::real[]"), Product.search, query)
    return rank / func.ln(func.length(Product.name) + literal_column("2"))


DEPTH = func.count().label("depth")
"""An aggregate of the categories above one."""

keep_updated_at(Base, Category)

# As for other tables, but the column by column: before an update what is generated is not there to compare.
_STORED = [column.name for column in table_of(Product).columns if column.computed is None]
declare_trigger(
    Product,
    "CREATE TRIGGER products_touch_updated_at BEFORE UPDATE ON products FOR EACH ROW "
    f"WHEN (({', '.join(f'OLD.{name}' for name in _STORED)}) IS DISTINCT FROM "
    f"({', '.join(f'NEW.{name}' for name in _STORED)})) EXECUTE FUNCTION touch_updated_at()",
)

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

# Comes with PostgreSQL, and a database's owner may add it: words are alike by the threes of letters that they share.
declare_function(Base, "CREATE EXTENSION IF NOT EXISTS pg_trgm")
declare_function(
    Base,
    """\
CREATE FUNCTION words_of(text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT tsvector_to_array(to_tsvector('simple', translate(left($1, 100000), '-/', '  ')))
$$""",
)
# Two triggers: COPY of a million rows is one statement, whose words are first made distinct; what is changed is one
# row's text now and then, and its stock all the time.
declare_function(
    Base,
    """\
CREATE FUNCTION learn_words_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO product_words
    SELECT word FROM (SELECT DISTINCT unnest(words_of(concat_ws(' ', name, description))) AS word FROM added) AS words
    WHERE length(word) BETWEEN 3 AND 30 AND word !~ '[[:digit:][:punct:]]'
        AND NOT EXISTS (SELECT FROM product_words AS known WHERE known.word = words.word);
    RETURN NULL;
END
$$""",
)
declare_trigger(
    Product,
    "CREATE TRIGGER products_learn_words_added AFTER INSERT ON products REFERENCING NEW TABLE AS added "
    "FOR EACH STATEMENT EXECUTE FUNCTION learn_words_added()",
)
declare_function(
    Base,
    """\
CREATE FUNCTION learn_words_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO product_words
    SELECT word FROM unnest(words_of(concat_ws(' ', NEW.name, NEW.description))) AS words(word)
    WHERE length(word) BETWEEN 3 AND 30 AND word !~ '[[:digit:][:punct:]]'
        AND NOT EXISTS (SELECT FROM product_words AS known WHERE known.word = words.word);
    RETURN NULL;
END
$$""",
)
declare_trigger(
    Product,
    "CREATE TRIGGER products_learn_words_changed AFTER UPDATE OF name, description ON products FOR EACH ROW "
    "WHEN (OLD.name <> NEW.name OR OLD.description IS DISTINCT FROM NEW.description) "
    "EXECUTE FUNCTION learn_words_changed()",
)

# The planner knows of no query how rare its words are, and would read the table in the hope of an early match.
declare_function(
    Base,
    """\
CREATE FUNCTION finds_product(query tsquery) RETURNS boolean LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_indexscan = off AS $$
BEGIN
    RETURN EXISTS (SELECT FROM products WHERE products.search @@ query AND deleted_at IS NULL);
END
$$""",
)
# Each word, but those too common to be kept, is the beginning of one, or its own stem; and where nothing on sale has
# that (`widely`: always), it is also the five words most like it that something on sale has. Words that nothing has any
# more are passed over; the LIMIT of 100 also keeps PostgreSQL from asking for each before it sorts them. The text of a
# tsvector of one lexeme is that lexeme, quoted as a tsquery wants it.
declare_function(
    Base,
    """\
CREATE FUNCTION inexact_product_query(said text, widely boolean) RETURNS tsquery LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN string_agg(format('(%s)', concat_ws(' | ', own, likes)), ' & ')::tsquery
    FROM (
        SELECT lexeme AS word, concat_ws(' | ', array_to_tsvector(ARRAY[lexeme])::text || ':*', stem) AS own
        FROM unnest(to_tsvector('simple', translate(said, '-/', '  '))), plainto_tsquery('english', lexeme) AS stem
        WHERE numnode(stem) > 0 ORDER BY positions[1] LIMIT 8
    ) AS asked LEFT JOIN LATERAL (
        SELECT string_agg(stem::text, ' | ') AS likes FROM (
            SELECT stem FROM (
                SELECT plainto_tsquery('english', known.word) AS stem
                FROM product_words AS known WHERE known.word % asked.word
                GROUP BY 1 ORDER BY max(similarity(known.word, asked.word)) DESC, 1 LIMIT 100
            ) AS likely WHERE finds_product(stem) LIMIT 5
        ) AS stems
    ) AS l ON widely OR NOT finds_product(own::tsquery);
END
$$""",
)
# What a text looks for: its words as a search engine on the web takes them (manual: websearch_to_tsquery), or a sku.
# They stand as they are written if anything on sale answers. What only excludes would be nearly everything, which no
# index finds: it is plain words then, of a sku such as -123, say. Where no product has all of the words, and yet
# something has each, `widely` is what is left to try.
declare_function(
    Base,
    """\
CREATE FUNCTION product_query(said text) RETURNS tsquery LANGUAGE plpgsql STABLE
SET client_min_messages = warning AS $$
DECLARE
    whole text := nullif(array_to_tsvector(array_remove(ARRAY[lower(trim(said))], ''))::text, '');
    excluded text := (SELECT string_agg(m[1], ' ') FROM regexp_matches(said, '(?:^|\\s)(-\\w+)', 'g') AS m);
    widely boolean;
    wanted tsquery := websearch_to_tsquery('english', regexp_replace(said, '(\\w)[-/]', '\\1 ', 'g'));
BEGIN
    IF querytree(wanted) IN ('', 'T') THEN
        said := translate(said, '-', ' ');
        excluded := NULL;
        wanted := plainto_tsquery('english', translate(said, '/', ' '));
    END IF;
    wanted := wanted || coalesce(whole, '')::tsquery;
    IF finds_product(wanted) THEN
        RETURN wanted;
    END IF;
    said := regexp_replace(said, '(^|\\s)-\\w+', ' ', 'g');
    FOREACH widely IN ARRAY ARRAY[false, true] LOOP
        wanted := inexact_product_query(said, widely) && websearch_to_tsquery('english', coalesce(excluded, ''));
        EXIT WHEN wanted IS NULL OR finds_product(wanted);
    END LOOP;
    RETURN concat_ws(' | ', wanted, whole || ':*')::tsquery;
END
$$""",
)
