// A page of Relay's kind: what a component needs is its fragment, and a list goes on through node(id:).

import { graphql } from 'relay-runtime';

export const page = graphql`
  query categoryPageQuery($id: ID!) {
    category(id: $id) {
      name
      ...category_products
    }
  }
`;

export const products = graphql`
  fragment category_products on Category
  @argumentDefinitions(first: { type: "Int", defaultValue: 3 }, after: { type: "String" }, where: { type: "ProductWhere" })
  @refetchable(queryName: "categoryProductsQuery") {
    products(first: $first, after: $after, where: $where, includeDescendants: true)
      @connection(key: "category_products", filters: ["where"]) {
      edges {
        node {
          name
          price
          createdAt
        }
      }
    }
  }
`;
