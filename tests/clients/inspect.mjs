// node inspect.mjs SCHEMA FILE...: what graphql-inspector finds wrong with the operations in the files, as JSON.

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { validate } from '@graphql-inspector/core';
import { buildSchema, Source } from 'graphql';

const [schema, ...files] = process.argv.slice(2);
const sources = files.map((file) => new Source(readFileSync(file, 'utf8'), basename(file)));
const found = validate(buildSchema(readFileSync(schema, 'utf8')), sources);
console.log(JSON.stringify(found.map(({ source, errors }) => [source.name, errors.map(({ message }) => message)])));
