"""The statements of the floor: the gateway's, written out, with the columns that the five queries show.

What the driver would make objects of, uuids and amounts, comes as text; times come as times, whose text Python writes
faster than PostgreSQL. LIMIT and the recursive walk are explained in ``app/statements.py`` and
``app/domains/products/reads.py``.
"""

_ORDER = """\
CAST(id AS text) AS id, status, CAST(total_amount AS text) AS total_amount, created_at,
    CAST(user_id AS text) AS user_id"""

ORDER_BY_ID = f"""\
SELECT t.* FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS keys (id, low, high) JOIN LATERAL (
    SELECT {_ORDER} FROM orders WHERE orders.id = keys.id AND created_at BETWEEN keys.low AND keys.high LIMIT 1
) AS t ON true"""

ORDERS = f"SELECT {_ORDER} FROM orders ORDER BY created_at DESC, orders.id DESC LIMIT 101"

ORDERS_BY_USER = f"""\
SELECT t.id, t.status, t.total_amount, t.created_at FROM unnest($1::uuid[]) AS keys (id) JOIN LATERAL (
    SELECT {_ORDER}, orders.id AS place FROM orders WHERE orders.user_id = keys.id
    ORDER BY created_at DESC, orders.id DESC LIMIT 21
) AS t ON true ORDER BY t.created_at DESC, t.place DESC"""

ITEMS_BY_ORDER = """\
SELECT t.order_id, t.id, t.quantity, t.unit_price, t.line_total, t.product_id
FROM unnest($1::uuid[], $2::timestamptz[]) AS keys (id, created_at) JOIN LATERAL (
    SELECT CAST(order_id AS text) AS order_id, CAST(order_items.id AS text) AS id, quantity,
        CAST(unit_price AS text) AS unit_price, CAST(quantity * unit_price AS text) AS line_total,
        CAST(product_id AS text) AS product_id, order_items.id AS place
    FROM order_items WHERE order_id = keys.id AND order_created_at = keys.created_at ORDER BY order_items.id
) AS t ON true ORDER BY t.place"""

USERS_BY_ID = """\
SELECT CAST(id AS text), email, first_name, last_name
FROM users WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL"""

PAYMENTS_BY_ORDER = """\
SELECT CAST(order_id AS text), CAST(id AS text), CAST(amount AS text), currency, method, status, created_at
FROM payments WHERE order_id = ANY ($1::uuid[]) ORDER BY payments.created_at, payments.id"""

_PRODUCT = "CAST(id AS text) AS id, name, CAST(price AS text) AS price, sku"

PRODUCTS_BY_ID = f"""\
SELECT {_PRODUCT}, CAST(category_id AS text) FROM products WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL"""

PRODUCTS = f"""\
SELECT {_PRODUCT}, status, created_at FROM products WHERE deleted_at IS NULL
ORDER BY name COLLATE "C", products.id LIMIT 101"""

PRODUCTS_BY_CATEGORY = """\
SELECT CAST(keys.id AS text), t.id, t.name, t.price FROM unnest($1::uuid[]) AS keys (id) JOIN LATERAL (
    SELECT CAST(products.id AS text) AS id, name, CAST(price AS text) AS price, products.id AS place
    FROM products WHERE category_id = keys.id AND deleted_at IS NULL ORDER BY name COLLATE "C", products.id LIMIT 6
) AS t ON true ORDER BY t.name COLLATE "C", t.place"""

IMAGES_BY_PRODUCT = """\
SELECT CAST(product_id AS text), url, is_primary FROM product_images
WHERE product_id = ANY ($1::uuid[]) ORDER BY is_primary DESC, created_at, product_images.id"""

CATEGORIES_BY_ID = "SELECT CAST(id AS text), name FROM categories WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL"

ROOTS = """\
SELECT CAST(id AS text), name FROM categories WHERE deleted_at IS NULL AND parent_id IS NULL
ORDER BY name COLLATE "C", categories.id LIMIT 101"""

CHILDREN = """\
SELECT CAST(parent_id AS text), CAST(id AS text), name FROM categories
WHERE parent_id = ANY ($1::uuid[]) AND deleted_at IS NULL ORDER BY name COLLATE "C", categories.id"""

ANCESTORS = """\
SELECT CAST(keys.id AS text), t.id, t.name FROM unnest($1::uuid[]) AS keys (id) JOIN LATERAL (
    WITH RECURSIVE walk (id, parent_id, distance) AS (
        SELECT id, parent_id, 0 FROM categories WHERE categories.id = keys.id AND deleted_at IS NULL
        UNION ALL
        SELECT found.id, found.parent_id, walk.distance + 1 FROM walk JOIN LATERAL (
            SELECT id, parent_id FROM categories
            WHERE categories.id = walk.parent_id AND deleted_at IS NULL LIMIT NULL
        ) AS found ON true
    )
    SELECT CAST(categories.id AS text) AS id, name, distance
    FROM walk JOIN categories ON categories.id = ANY (ARRAY[walk.id]) WHERE distance > 0 ORDER BY distance DESC
) AS t ON true ORDER BY t.distance DESC"""
