// mercurius with its JIT over the four databases, for the benchmark alone: node server.mjs PORT
//
// Dataloaders by key in place of mercurius' own, which write each parent object out as JSON to tell it from others.
// Whoever asks is an administrator: there are no tokens here, and no limits.
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import mercurius from 'mercurius'
import { loadersOf, openPool, rows } from './reads.mjs'

const pools = {
  users: openPool(process.env.USERS_DATABASE_URL),
  products: openPool(process.env.PRODUCTS_DATABASE_URL),
  orders: openPool(process.env.ORDERS_DATABASE_URL),
  payments: openPool(process.env.PAYMENTS_DATABASE_URL)
}

// The gateway's global ids and cursors, so that the answers can be compared.
const idOf = (type) => (row) => Buffer.from(`${type}:${row.uuid}`, 'latin1').toString('base64')
const cursorOf = (values) => Buffer.from(JSON.stringify([1, ...values])).toString('base64url')
const orderCursor = (row) => cursorOf(['-orders.created_at,-orders.id', row.createdAt, row.uuid])
const byName = (table) => (row) => cursorOf([`${table}.name,${table}.id`, row.name, row.uuid])

/** The page of `first` rows, of which there is one more where the list goes on. */
function page (found, first, cursor) {
  const hasNextPage = found.length > first
  const nodes = hasNextPage ? found.slice(0, first) : found
  return {
    nodes,
    get pageInfo () { // only where it is selected
      return { hasNextPage, endCursor: nodes.length ? cursor(nodes[nodes.length - 1]) : null }
    }
  }
}

const resolvers = {
  Query: {
    order: (_, { id }, { loaders }) => loaders.orderById.load(id),
    user: (_, { id }, { loaders }) => loaders.userById.load(id),
    orders: async (_, { first }) => page(await rows(pools.orders, 'orders', [first + 1]), first, orderCursor),
    products: async (_, { first }) => page(await rows(pools.products, 'products', [first + 1]), first, byName('products')),
    categories: async (_, { first, where }) => {
      const found = await rows(pools.products, 'categories', [first + 1, where?.isRoot === true])
      return page(found, first, byName('categories'))
    }
  },
  User: {
    id: idOf('User'),
    orders: async ({ uuid }, { first }, { loaders }) =>
      page(await loaders.ordersByUser(first).load(uuid), first, orderCursor)
  },
  Order: {
    id: idOf('Order'),
    user: (row, _, { loaders }) => loaders.userById.load(row.user_id),
    items: (row, _, { loaders }) => loaders.itemsByOrder.load(row),
    payments: (row, _, { loaders }) => loaders.paymentsByOrder.load(row.uuid)
  },
  OrderItem: {
    id: idOf('OrderItem'),
    product: (row, _, { loaders }) => loaders.productById.load(row.product_id)
  },
  Product: {
    id: idOf('Product'),
    category: (row, _, { loaders }) => row.category_id && loaders.categoryById.load(row.category_id),
    images: (row, _, { loaders }) => loaders.imagesByProduct.load(row.uuid)
  },
  Category: {
    id: idOf('Category'),
    ancestors: (row, _, { loaders }) => loaders.ancestorsByCategory.load(row.uuid),
    children: (row, _, { loaders }) => loaders.childrenByCategory.load(row.uuid),
    products: async ({ uuid }, { first }, { loaders }) =>
      page(await loaders.productsByCategory(first).load(uuid), first, byName('products'))
  },
  Payment: { id: idOf('Payment') }
}

const app = Fastify()
app.register(mercurius, {
  schema: readFileSync(new URL('schema.graphql', import.meta.url), 'utf8'),
  resolvers,
  context: () => ({ loaders: loadersOf(pools) }),
  jit: 1
})
await app.listen({ host: '127.0.0.1', port: Number(process.argv[2]) })
