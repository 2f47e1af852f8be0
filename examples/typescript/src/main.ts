// A shop's frontend without a screen: what everybody sees, and with a token in TOKEN the newest of one's orders.

import { ask } from './client.js';
import { CategoryTreeDocument, LatestOrderDocument, ProductLineFragmentDoc, SearchDocument } from './generated/graphql.js';
import { type FragmentType, readFragment } from './generated/index.js';

// A list that holds products passes each on as it came. What is in it, only this function gets to see, which asked for it.
function productLine(masked: FragmentType<typeof ProductLineFragmentDoc>): string {
  const { name, price, category, stats } = readFragment(ProductLineFragmentDoc, masked);
  const path = category ? [...category.ancestors, category].map((of) => of.name).join(' > ') : 'no category';
  return `${name}, ${price} (${path}; ${stats ? `${stats.totalQuantitySold} sold` : 'sales unknown'})`;
}

async function showSearch(text: string): Promise<void> {
  const { products } = await ask(SearchDocument, { text, first: 3 });
  console.log(`${products?.totalCount ?? 'unknown'} products match "${text}"`);
  products?.nodes.forEach((product) => console.log(`  ${productLine(product)}`));
  if (products?.pageInfo.hasNextPage) {
    const next = await ask(SearchDocument, { text, first: 3, after: products.pageInfo.endCursor });
    console.log('the next page');
    next.products?.nodes.forEach((product) => console.log(`  ${productLine(product)}`));
  }
}

async function showCategories(): Promise<void> {
  const { categories } = await ask(CategoryTreeDocument, { first: 3 });
  console.log('categories');
  for (const { name, productCount, children } of categories?.nodes ?? []) {
    console.log(`  ${name}: ${productCount} products`);
    children.forEach((child) => console.log(`    ${child.name}: ${child.productCount}`));
  }
}

async function showLatestOrder(): Promise<void> {
  const order = (await ask(LatestOrderDocument, {})).orders?.nodes[0];
  if (!order) {
    return console.log('no order');
  }
  const { user, shippingAddress: address } = order;
  console.log(`order ${order.uuid}: ${order.status}, ${order.totalAmount}, placed ${order.createdAt}`);
  console.log(`  by ${user ? `${user.firstName} ${user.lastName} <${user.email}>` : 'unknown'}`);
  console.log(`  to ${address ? `${address.city}, ${address.country}` : 'unknown'}`);
  for (const { quantity, lineTotal, productName, product } of order.items) {
    console.log(`  ${quantity} for ${lineTotal}: ${product ? productLine(product) : `${productName}, no longer sold`}`);
  }
  for (const { amount, currency, method, status, provider, refunds } of order.payments ?? []) {
    const given = refunds.map((refund) => `, refund of ${refund.amount} ${refund.status}`).join('');
    console.log(`  ${amount} ${currency} by ${method}${provider ? ` (${provider})` : ''}: ${status}${given}`);
  }
}

try {
  await showSearch(process.argv[2] ?? 'kettle');
  await showCategories();
  await (process.env['TOKEN'] ? showLatestOrder() : console.log('no order: set TOKEN to sign in'));
} catch (error) {
  console.error(String(error));
  process.exitCode = 1;
}
