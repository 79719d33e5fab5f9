// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import t from 'tap';
import { holds } from '../../testing/properties.ts';
import { VariablesMetadata } from '../connections/variables-metadata.ts';
import type { RequestMetadata } from '../metadata.ts';
import { metadata } from '../models/testing/recorded-exchange.ts';
import { encode, FrameDecoder, fromMaster, fromWorker, type Message } from './frames.ts';

const id = fc.nat(0xffff_ffff);
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const latin = fc
  .array(fc.nat(255), { maxLength: 20 })
  .map((codes) => String.fromCharCode(...codes));

/** Some as long as a length of one byte cannot say. */
const longer = fc.tuple(latin, fc.nat(40)).map(([some, times]) => some.repeat(times));
const variables = fc.array(fc.tuple(latin, longer)).map((pairs) => new Map(pairs));
const wholeMetadata: fc.Arbitrary<RequestMetadata> = fc.record({
  ...(Object.fromEntries(
    Object.entries(metadata).map(([key, value]) => [key, fc.constant(value)]),
  ) as { [K in keyof typeof metadata]: fc.Arbitrary<(typeof metadata)[K]> }),
  remoteUser: fc.option(longer),
  remotePort: fc.option(fc.nat(65535)),
  tls: fc.option(fc.constant(metadata.tls)),
  variables,
});

const head = fc.record({
  method: fc.constantFrom('GET', 'POST'),
  url: latin,
  httpVersion: fc.constantFrom('1.0', '1.1', '2.0'),
  fields: fc.array(longer, { maxLength: 6 }),
  bodyBytes: fc.option(fc.nat()),
  metadata: fc.oneof(
    wholeMetadata,
    variables.map((some) => new VariablesMetadata('fastcgi', 'responder', some)),
  ),
});

const masterMessage: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ type: fc.constant('request' as const), id, head }),
  fc.record({ type: fc.constant('body' as const), id, bytes }),
  fc.record({ type: fc.constant('body-end' as const), id }),
  fc.record({ type: fc.constant('abort' as const), id, reason: text }),
  fc.record({ type: fc.constant('grant' as const), id, bytes: fc.nat() }),
  fc.record({ type: fc.constant('ping' as const) }),
  fc.record({ type: fc.constant('stop' as const), stopMs: fc.nat() }),
);

const workerMessage: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ type: fc.constantFrom('ready' as const, 'pong' as const) }),
  fc.record({ type: fc.constantFrom('failed' as const, 'retire' as const), reason: text }),
  fc.record({
    type: fc.constant('head' as const),
    id,
    status: fc.integer({ min: 200, max: 999 }),
    reason: latin,
    fields: fc.array(latin, { maxLength: 6 }),
  }),
  fc.record({
    type: fc.constant('answer' as const),
    id,
    status: fc.integer({ min: 200, max: 999 }),
    reason: latin,
    fields: fc.array(longer, { maxLength: 6 }),
    last: fc.option(
      fc.oneof(
        bytes.filter((some) => some.length > 0),
        fc.constant(Buffer.alloc(20_000, 'x')),
      ),
    ),
  }),
  fc.record({ type: fc.constant('body' as const), id, bytes }),
  fc.record({ type: fc.constantFrom('flush' as const, 'break' as const, 'over' as const), id }),
  fc.record({
    type: fc.constant('end' as const),
    id,
    last: fc.option(bytes.filter((some) => some.length > 0)),
  }),
  fc.record({ type: fc.constant('report' as const), id, line: text }),
);

/** The stream in pieces, decoded. */
function decoded(stream: Buffer, cuts: readonly number[], allowed: typeof fromMaster): Message[] {
  const messages: Message[] = [];
  const decoder = new FrameDecoder(allowed, (message) => messages.push(message));
  const ends = [...cuts.map((cut) => cut % (stream.length + 1)), stream.length];
  let at = 0;
  for (const end of ends.sort((a, b) => a - b)) {
    decoder.push(stream.subarray(at, end));
    at = end;
  }
  if (decoder.isInside) throw new Error('something is left over');
  return messages;
}

for (const [from, message, allowed] of [
  ['master', masterMessage, fromMaster],
  ['worker', workerMessage, fromWorker],
] as const) {
  t.test(`what a ${from} sends arrives, however the stream is cut`, async (t) => {
    const property = fc.property(
      fc.array(message, { maxLength: 8 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (messages, cuts) => {
        const stream = Buffer.concat(messages.flatMap(encode));
        return isSame(decoded(stream, cuts, allowed), messages);
      },
    );
    await holds(t, property, 200);
  });

  t.test(`any bytes from a ${from} are messages, or a ProtocolError`, async (t) => {
    const property = fc.property(fc.uint8Array({ maxLength: 200 }), (array) => {
      try {
        new FrameDecoder(allowed, () => undefined).push(Buffer.from(array));
        return true;
      } catch (error) {
        return (error as Error).name === 'ProtocolError';
      }
    });
    await holds(t, property, 500);
  });
}

function isSame(a: unknown, b: unknown): boolean {
  return plain(a) === plain(b);
}

function plain(value: unknown): string {
  return JSON.stringify(value, (_key, part) => {
    if (part instanceof VariablesMetadata) return [part.protocol, part.role, [...part.variables]];
    return part instanceof Map ? [...part] : part;
  });
}
