// Types that gql.tada infers from the schema and from documents where they stand; compiled, and never run.

import { type FragmentOf, initGraphQLTada, readFragment, type ResultOf, type VariablesOf } from 'gql.tada';
import type { introspection } from './graphql-env.js';

const graphql = initGraphQLTada<{
  introspection: introspection;
  scalars: { DateTime: string; Decimal: string; UUID: string };
}>();

const line = graphql(`
  fragment Line on Product {
    uuid
    price
    status
    category { name }
    stats { totalRevenue refreshedAt }
  }
`);

const search = graphql(
  `
    query Search($text: String!, $where: ProductWhere, $orderBy: [ProductOrderBy!]) {
      products(search: $text, where: $where, orderBy: $orderBy) {
        totalCount
        nodes { ...Line }
      }
    }
  `,
  [line],
);

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>): void => undefined;

same<
  ResultOf<typeof line>,
  {
    uuid: string;
    price: string;
    status: 'ACTIVE' | 'INACTIVE';
    category: { name: string } | null;
    stats: { totalRevenue: string | null; refreshedAt: string | null } | null;
  }
>(true);

type Variables = VariablesOf<typeof search>;
export const asked: Variables = {
  text: 'kettle',
  where: { price: { lt: '5.00' }, or: [{ status: { in: ['ACTIVE'] } }, { category: { id: '1' } }] },
  orderBy: [{ price: 'ASC' }, { name: 'DESC' }],
};
// @ts-expect-error -- an amount is a string
export const amount: Variables = { text: 'kettle', where: { price: { lt: 5 } } };
// @ts-expect-error -- an order is by one field, and not by none
export const order: Variables = { text: 'kettle', orderBy: [{}] };

export const price = (of: FragmentOf<typeof line>): string => readFragment(line, of).price;
// @ts-expect-error -- only what asked for it gets to see it
export const masked = (of: FragmentOf<typeof line>): string => of.price;
