// The client: where the gateway is, who asks, and whether documents are sent or only named.

import { Client, type CombinedError, fetchExchange, type TypedDocumentNode } from '@urql/core';
import { persistedExchange } from '@urql/exchange-persisted';

const { TOKEN, GATEWAY_URL = 'http://127.0.0.1:8000/graphql', DOCUMENTS } = process.env;
const namesDocuments = DOCUMENTS === 'ids';

// What is left to a user to do about an error. The codes are a closed list: the README's part "Errors".
const ADVICE: Record<string, string> = {
  UNAUTHENTICATED: 'sign in',
  FORBIDDEN: 'not for you',
  NOT_FOUND: 'there is none',
  LIMIT_EXCEEDED: 'ask for less',
  RATE_LIMITED: 'too many requests, come again later',
  DATABASE_UNAVAILABLE: 'not to be had now, come again later',
  TIMEOUT: 'took too long, come again later',
};

// Sends a document's id, which the build wrote into the document and into the manifest, and never its text.
const ids = persistedExchange({
  enforcePersistedQueries: true,
  enableForMutation: true,
  generateHash: async (_, document) => (document as unknown as { __meta__: { hash: string } }).__meta__.hash,
});

async function toldFetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const response = await fetch(input, init);
  console.error(`${init?.method} ${response.status}, Cache-Control: ${response.headers.get('Cache-Control')}`);
  return response;
}

const client = new Client({
  url: GATEWAY_URL,
  exchanges: namesDocuments ? [ids, fetchExchange] : [fetchExchange],
  preferGetMethod: false, // texts by POST; ids by GET, so that whoever is in between may keep public answers
  fetch: namesDocuments ? toldFetch : fetch,
  fetchOptions: TOKEN ? { headers: { Authorization: `Bearer ${TOKEN}` } } : {},
});

// Asks, and returns the data, in part if need be: what could not be had is null, and told. Throws where there are none.
export async function ask<Data, Variables extends Record<string, unknown>>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Data> {
  const { data, error } = await client.query(document, variables).toPromise();
  if (!data) {
    throw new Error(error ? whole(error) : 'an answer without data');
  }
  for (const { path = [], message, extensions } of error?.graphQLErrors ?? []) {
    console.error(`! ${path.join('.')}: ${ADVICE[String(extensions['code'])] ?? message} (${extensions['code']})`);
  }
  return data;
}

// Why there is no answer at all: the gateway was not reached, or refused the request as a whole.
function whole(error: CombinedError): string {
  if (error.networkError) {
    return `no answer from ${GATEWAY_URL}: ${error.networkError.message}`;
  }
  return error.graphQLErrors.map(({ message, extensions }) => `${message} (${extensions['code']})`).join(' ');
}
