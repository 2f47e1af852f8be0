"""Add the search of products: their words, and the words in which misspelt ones find their likes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0003"
down_revision = "0002"
created = "2026-11-23"
accepts = {"unknown": "the block makes an extension, which locks no table"}

# What the server says of a missing extension is several lines.
CREATE_EXTENSION = """\
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
EXCEPTION WHEN feature_not_supported OR undefined_file OR insufficient_privilege THEN
    RAISE EXCEPTION 'the search of products needs the extension pg_trgm of PostgreSQL''s contrib package: %', SQLERRM;
END
$$"""

SEARCH = """\
setweight(to_tsvector('english'::regconfig, translate(name::text, '-/'::text, '  '::text)), 'A'::"char")
 || setweight(to_tsvector('english'::regconfig,
    translate(COALESCE(sku, ''::character varying)::text, '-/._'::text, '    '::text)), 'B'::"char")
 || setweight(to_tsvector('english'::regconfig,
    translate("left"(COALESCE(description, ''::text), 100000), '-/'::text, '  '::text)), 'C'::"char")
 || array_to_tsvector(array_remove(ARRAY[lower(COALESCE(sku, ''::character varying)::text)], ''::text))"""

WORDS_OF = """\
CREATE FUNCTION words_of(text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT tsvector_to_array(to_tsvector('simple', translate(left($1, 100000), '-/', '  ')))
$$"""

LEARN_WORDS_ADDED = """\
CREATE FUNCTION learn_words_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO product_words
    SELECT word FROM (SELECT DISTINCT unnest(words_of(concat_ws(' ', name, description))) AS word FROM added) AS words
    WHERE length(word) BETWEEN 3 AND 30 AND word !~ '[[:digit:][:punct:]]'
        AND NOT EXISTS (SELECT FROM product_words AS known WHERE known.word = words.word);
    RETURN NULL;
END
$$"""

LEARN_WORDS_CHANGED = """\
CREATE FUNCTION learn_words_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO product_words
    SELECT word FROM unnest(words_of(concat_ws(' ', NEW.name, NEW.description))) AS words(word)
    WHERE length(word) BETWEEN 3 AND 30 AND word !~ '[[:digit:][:punct:]]'
        AND NOT EXISTS (SELECT FROM product_words AS known WHERE known.word = words.word);
    RETURN NULL;
END
$$"""

FINDS_PRODUCT = """\
CREATE FUNCTION finds_product(query tsquery) RETURNS boolean LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_indexscan = off AS $$
BEGIN
    RETURN EXISTS (SELECT FROM products WHERE products.search @@ query AND deleted_at IS NULL);
END
$$"""

INEXACT_PRODUCT_QUERY = """\
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
$$"""

PRODUCT_QUERY = """\
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
$$"""

# Before an update, what is generated is not there to be compared: every other column is.
TOUCH_UPDATED_AT = """\
CREATE TRIGGER products_touch_updated_at BEFORE UPDATE ON products FOR EACH ROW WHEN ((
    OLD.id, OLD.name, OLD.description, OLD.price, OLD.category_id, OLD.stock_quantity, OLD.sku, OLD.status,
    OLD.created_at, OLD.updated_at, OLD.deleted_at
) IS DISTINCT FROM (
    NEW.id, NEW.name, NEW.description, NEW.price, NEW.category_id, NEW.stock_quantity, NEW.sku, NEW.status,
    NEW.created_at, NEW.updated_at, NEW.deleted_at
)) EXECUTE FUNCTION touch_updated_at()"""


def upgrade() -> None:
    op.execute(CREATE_EXTENSION)
    op.execute("DROP TRIGGER products_touch_updated_at ON products")
    op.add_column("products", sa.Column("search", TSVECTOR, sa.Computed(SEARCH, persisted=True), nullable=False))
    op.create_index("idx_products_search", "products", ["search"], postgresql_using="gin")
    op.execute(TOUCH_UPDATED_AT)
    create_product_words()
    op.execute(FINDS_PRODUCT)
    op.execute(INEXACT_PRODUCT_QUERY)
    op.execute(PRODUCT_QUERY)


def downgrade() -> None:
    op.execute("DROP FUNCTION product_query")
    op.execute("DROP FUNCTION inexact_product_query")
    op.execute("DROP FUNCTION finds_product")
    op.execute("DROP TRIGGER products_learn_words_changed ON products")
    op.execute("DROP TRIGGER products_learn_words_added ON products")
    op.execute("DROP FUNCTION learn_words_changed")
    op.execute("DROP FUNCTION learn_words_added")
    op.execute("DROP FUNCTION words_of")
    op.drop_table("product_words")
    op.execute("DROP TRIGGER products_touch_updated_at ON products")
    op.drop_column("products", "search")
    op.execute(
        "CREATE TRIGGER products_touch_updated_at BEFORE UPDATE ON products "
        "FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at()"
    )
    # The extension stays: others may use it, and it may have been there before.


def create_product_words() -> None:
    op.create_table("product_words", sa.Column("word", sa.Text, nullable=False))
    op.execute(WORDS_OF)
    op.execute(
        """
        INSERT INTO product_words
        SELECT word FROM (SELECT DISTINCT unnest(words_of(concat_ws(' ', name, description))) FROM products) AS w(word)
        WHERE length(word) BETWEEN 3 AND 30 AND word !~ '[[:digit:][:punct:]]'
        """
    )
    op.create_index("idx_product_words_word", "product_words", ["word"])
    op.create_index(
        "idx_product_words_trigrams",
        "product_words",
        ["word"],
        postgresql_using="gin",
        postgresql_ops={"word": "gin_trgm_ops"},
    )
    op.execute(LEARN_WORDS_ADDED)
    op.execute(LEARN_WORDS_CHANGED)
    op.execute(
        "CREATE TRIGGER products_learn_words_added AFTER INSERT ON products REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION learn_words_added()"
    )
    op.execute(
        "CREATE TRIGGER products_learn_words_changed AFTER UPDATE OF name, description ON products FOR EACH ROW "
        "WHEN (OLD.name <> NEW.name OR OLD.description IS DISTINCT FROM NEW.description) "
        "EXECUTE FUNCTION learn_words_changed()"
    )
