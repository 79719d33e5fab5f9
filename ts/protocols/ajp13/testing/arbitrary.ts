// SPDX-License-Identifier: Apache-2.0
// For properties: texts, requests and answers of AJP, and what can be done to streams.
import fc from 'fast-check';
import { chunkBytesMax } from '../server-encoder.ts';
import type { Field, ForwardRequest, RequestAttributes } from '../types.ts';

const characters = (allowed: (code: number) => boolean) =>
  fc.constantFrom(
    ...Array.from({ length: 256 }, (_, code) => code)
      .filter(allowed)
      .map((code) => String.fromCharCode(code)),
  );

const isLine = (code: number) => (code >= 0x20 && code !== 0x7f) || code === 9;
const line = fc.string({ unit: characters(isLine), maxLength: 40 });
const lines = fc.string({ unit: characters((code) => isLine(code) || code === 10), maxLength: 40 });
const token = fc.string({ unit: fc.constantFrom(...'aZ09-_!~|'), minLength: 1, maxLength: 30 });
const path = fc.webPath().map((path) => `/${path.replace(/^\/+/, '')}`);

/** Bodies are said apart from these. */
const fields = (known: readonly string[]): fc.Arbitrary<Field[]> =>
  fc.array(fc.tuple(fc.oneof(token, fc.constantFrom(...known)), line), { maxLength: 8 });

const attributes: fc.Arbitrary<RequestAttributes> = fc.record(
  {
    ...{ context: line, servletPath: line, remoteUser: line, authType: line, route: line },
    ...{ sslCert: lines, sslCipher: line, sslSession: line, secret: line },
    queryString: fc.webQueryParameters(),
    sslKeySize: fc.nat(0xffff),
    others: fc.array(fc.tuple(fc.constantFrom('AJP_REMOTE_PORT', 'X'), lines), {
      minLength: 1,
      maxLength: 3,
    }),
  },
  { requiredKeys: [] },
);

export const anyRequest: fc.Arbitrary<ForwardRequest> = fc.record({
  method: fc.oneof(fc.constantFrom('GET', 'POST', 'MKACTIVITY', 'PATCH'), token),
  protocol: fc.constantFrom('HTTP/1.0', 'HTTP/1.1', 'HTTP/2.0'),
  uri: path,
  remoteAddr: line,
  remoteHost: fc.option(line),
  serverName: line,
  serverPort: fc.nat(0xffff),
  isSsl: fc.boolean(),
  fields: fields(['accept', 'cookie', 'host', 'user-agent']),
  attributes,
});

export interface AnyAnswer {
  status: number;
  reason: string;
  fields: Field[];
  /** Chunks; empty = flush. */
  body: Buffer[];
}

const bytes = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
const longest = fc.constant(Buffer.alloc(chunkBytesMax(8192), 'x'));

export const anyAnswer: fc.Arbitrary<AnyAnswer> = fc.record({
  status: fc.integer({ min: 200, max: 999 }),
  reason: line.filter((text) => text !== ''),
  fields: fields(['Content-Type', 'Set-Cookie', 'WWW-Authenticate']),
  body: fc.array(fc.oneof({ weight: 6, arbitrary: bytes }, longest), { maxLength: 5 }),
});

/** A place in a stream, as part of its length. Not fc.double(), whose values are nearly all beside 0. */
const place = fc.nat(9999).map((part) => part / 9999);

/** Where a stream is cut. */
export const cuts = fc.array(place, { maxLength: 12 });

export function cut(stream: Buffer, at: readonly number[]): Buffer[] {
  const ends = at.map((part) => Math.round(part * stream.length)).sort((a, b) => a - b);
  return [...ends, stream.length].map((end, i) => stream.subarray(ends[i - 1] ?? 0, end));
}

/** Bytes that are changed, left out or put in. */
export const damage = fc.array(
  fc.record({
    at: place,
    drop: fc.nat(3),
    put: fc.uint8Array({ maxLength: 3 }),
  }),
  { minLength: 1, maxLength: 4 },
);

type Damage = typeof damage extends fc.Arbitrary<infer Value> ? Value : never;

export function damaged(stream: Buffer, damages: Damage): Buffer {
  let result = stream;
  for (const { at, drop, put } of damages) {
    const from = Math.floor(at * result.length);
    result = Buffer.concat([result.subarray(0, from), put, result.subarray(from + drop)]);
  }
  return result;
}
