// The statements, one for each edge and level, and the dataloaders over them. Columns bear the names of the fields, so
// that the compiled executor reads them from the rows without a resolver.
import DataLoader from 'dataloader'
import pg from 'pg'

// 2026-11-21 13:15:46.756+00 (every session is in UTC) as the gateway writes it: 2026-11-21T13:15:46.756000+00:00.
// No Date is made, which would lose the microseconds that a key needs.
function iso (text) {
  const fraction = text.length > 22 ? text.slice(19, -3).padEnd(7, '0') : ''
  return `${text.slice(0, 10)}T${text.slice(11, 19)}${fraction}+00:00`
}
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, iso)

export function openPool (connectionString) {
  // What the gateway sets for its sessions as well: planning over many partitions takes longer than running.
  const options = '-c TimeZone=UTC -c plan_cache_mode=force_generic_plan -c jit=off'
  return new pg.Pool({ connectionString, options, max: Number(process.env.POOL_SIZE), idleTimeoutMillis: 0 })
}

const ORDER = 'id AS uuid, upper(status) AS status, total_amount AS "totalAmount", created_at AS "createdAt", user_id'
const USER = 'id AS uuid, email, first_name AS "firstName", last_name AS "lastName"'
const PRODUCT = 'id AS uuid, name, price, sku, upper(status) AS status, created_at AS "createdAt", category_id'
const CATEGORY = 'id AS uuid, name'
const ITEM = 'id AS uuid, order_id, quantity, unit_price AS "unitPrice", quantity * unit_price AS "lineTotal", product_id'
const PAYMENT = 'id AS uuid, order_id, amount, currency, method, upper(status) AS status, created_at AS "createdAt"'

const SQL = {
  orderById: `SELECT t.* FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS k(id, low, high)
    JOIN LATERAL (SELECT ${ORDER} FROM orders
      WHERE id = k.id AND created_at BETWEEN k.low AND k.high LIMIT 1) AS t ON true`,
  orders: `SELECT ${ORDER} FROM orders ORDER BY created_at DESC, id DESC LIMIT $1`,
  ordersByUser: `SELECT k.id AS key, t.* FROM unnest($1::uuid[]) AS k(id)
    JOIN LATERAL (SELECT ${ORDER} FROM orders WHERE user_id = k.id
      ORDER BY created_at DESC, id DESC LIMIT $2) AS t ON true ORDER BY t."createdAt" DESC, t.uuid DESC`,
  itemsByOrder: `SELECT t.* FROM unnest($1::uuid[], $2::timestamptz[]) AS k(id, created_at)
    JOIN LATERAL (SELECT ${ITEM} FROM order_items
      WHERE order_id = k.id AND order_created_at = k.created_at ORDER BY order_items.id) AS t ON true ORDER BY t.uuid`,
  userById: `SELECT ${USER} FROM users WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL`,
  paymentsByOrder: `SELECT ${PAYMENT} FROM payments WHERE order_id = ANY($1::uuid[]) ORDER BY created_at, id`,
  productById: `SELECT ${PRODUCT} FROM products WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL`,
  products: `SELECT ${PRODUCT} FROM products WHERE deleted_at IS NULL ORDER BY name COLLATE "C", id LIMIT $1`,
  productsByCategory: `SELECT k.id AS key, t.* FROM unnest($1::uuid[]) AS k(id)
    JOIN LATERAL (SELECT ${PRODUCT} FROM products WHERE category_id = k.id AND deleted_at IS NULL
      ORDER BY name COLLATE "C", id LIMIT $2) AS t ON true ORDER BY t.name COLLATE "C", t.uuid`,
  imagesByProduct: `SELECT product_id, url, is_primary AS "isPrimary" FROM product_images
    WHERE product_id = ANY($1::uuid[]) ORDER BY is_primary DESC, created_at, id`,
  categoryById: `SELECT ${CATEGORY} FROM categories WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL`,
  categories: `SELECT ${CATEGORY} FROM categories WHERE deleted_at IS NULL AND (NOT $2 OR parent_id IS NULL)
    ORDER BY name COLLATE "C", id LIMIT $1`,
  childrenByCategory: `SELECT parent_id, ${CATEGORY} FROM categories
    WHERE parent_id = ANY($1::uuid[]) AND deleted_at IS NULL ORDER BY name COLLATE "C", id`,
  ancestorsByCategory: `SELECT k.id AS key, t.* FROM unnest($1::uuid[]) AS k(id) JOIN LATERAL (
      WITH RECURSIVE walk(id, parent_id, distance) AS (
        SELECT id, parent_id, 0 FROM categories WHERE id = k.id AND deleted_at IS NULL
        UNION ALL SELECT found.id, found.parent_id, distance + 1 FROM walk JOIN LATERAL (
          SELECT id, parent_id FROM categories WHERE id = walk.parent_id AND deleted_at IS NULL LIMIT NULL
        ) AS found ON true)
      SELECT categories.id AS uuid, name, distance FROM walk JOIN categories ON categories.id = ANY(ARRAY[walk.id])
      WHERE distance > 0) AS t ON true ORDER BY t.distance DESC`
}

/** Runs a statement, prepared once for each connection. */
export async function rows (pool, name, values) {
  return (await pool.query({ name, text: SQL[name], values })).rows
}

// An id of version 7 begins with its time, by which the partitions are pruned (RFC 9562, section 5.7).
function timeBounds (uuid) {
  if (uuid[14] !== '7') return ['0001-01-01Z', '9999-12-31Z']
  const time = parseInt(uuid.slice(0, 8) + uuid.slice(9, 13), 16)
  return [new Date(time - 3_600_000).toISOString(), new Date(time + 3_600_000).toISOString()]
}

/** At most one row for each key. */
function one (pool, name, key = 'uuid') {
  return new DataLoader(async (keys) => {
    const found = new Map()
    for (const row of await rows(pool, name, [keys])) found.set(row[key], row)
    return keys.map((key) => found.get(key) ?? null)
  }, UNLIMITED)
}

/** All rows for each key, in order. `values` are the statement's parameters behind the keys. */
function many (pool, name, key, values = []) {
  return new DataLoader(async (keys) => grouped(keys, key, await rows(pool, name, [keys, ...values])), UNLIMITED)
}

function grouped (keys, key, found) {
  const groups = new Map(keys.map((key) => [key, []]))
  for (const row of found) groups.get(row[key]).push(row)
  return keys.map((key) => groups.get(key))
}

const UNLIMITED = { maxBatchSize: Infinity }

/** A loader of pages for each size that is asked for. */
function pages (pool, name) {
  const loaders = new Map()
  return (first) => {
    if (!loaders.has(first)) loaders.set(first, many(pool, name, 'key', [first + 1]))
    return loaders.get(first)
  }
}

/** The dataloaders of one request. */
export function loadersOf ({ users, products, orders, payments }) {
  return {
    orderById: new DataLoader(async (ids) => {
      const bounds = ids.map(timeBounds)
      const low = bounds.map(([low]) => low)
      const high = bounds.map(([, high]) => high)
      const found = new Map()
      for (const row of await rows(orders, 'orderById', [ids, low, high])) found.set(row.uuid, row)
      return ids.map((id) => found.get(id) ?? null)
    }, UNLIMITED),
    itemsByOrder: new DataLoader(async (found) => {
      const ids = found.map((order) => order.uuid)
      const times = found.map((order) => order.createdAt)
      return grouped(ids, 'order_id', await rows(orders, 'itemsByOrder', [ids, times]))
    }, { ...UNLIMITED, cacheKeyFn: (order) => order.uuid }),
    ordersByUser: pages(orders, 'ordersByUser'),
    userById: one(users, 'userById'),
    paymentsByOrder: many(payments, 'paymentsByOrder', 'order_id'),
    productById: one(products, 'productById'),
    productsByCategory: pages(products, 'productsByCategory'),
    imagesByProduct: many(products, 'imagesByProduct', 'product_id'),
    categoryById: one(products, 'categoryById'),
    childrenByCategory: many(products, 'childrenByCategory', 'parent_id'),
    ancestorsByCategory: many(products, 'ancestorsByCategory', 'key')
  }
}
