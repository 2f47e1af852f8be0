// The same without the client preset and without a client library: plain types, documents that know theirs, and fetch.

import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { print } from 'graphql';
import { CategoryTreeDocument } from './generated/plain.js';

async function ask<Data, Variables>(document: TypedDocumentNode<Data, Variables>, variables: Variables): Promise<Data> {
  const response = await fetch(process.env['GATEWAY_URL'] ?? 'http://127.0.0.1:8000/graphql', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ query: print(document), variables }),
  });
  const { data, errors = [] } = (await response.json()) as { data?: Data | null; errors?: { message: string }[] };
  if (!data || errors.length) {
    throw new Error(errors.map(({ message }) => message).join(' '));
  }
  return data;
}

const { categories } = await ask(CategoryTreeDocument, { first: 3 });
console.log(categories?.nodes.map(({ name, children }) => `${name}: ${children.length}`).join(', '));
