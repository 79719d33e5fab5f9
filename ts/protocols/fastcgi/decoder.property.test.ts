// SPDX-License-Identifier: Apache-2.0
// What a web server may send, and what nobody would: the same is told however the stream is cut, what
// is told is in order, and nothing but ProtocolError is thrown.
import fc from 'fast-check';
import t from 'tap';
import { holds } from '../../testing/properties.ts';
import { ProtocolError } from '../protocol-error.ts';
import { encodePairs } from './pairs.ts';
import { decodeParams } from './params.ts';
import { Told } from './testing/told.ts';
import { abort, begin, pairs, record, stream } from './testing/web-server.ts';

const limits = { paramsBytes: 600, maxConnections: 4 };

const latin1 = (maxLength: number) =>
  fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes).toString('latin1'));
const nameValue = fc.tuple(latin1(6), fc.oneof(latin1(10), latin1(200)));
const content = fc.uint8Array({ maxLength: 40 });

const aRecord = fc
  .tuple(fc.integer({ min: 0, max: 13 }), fc.integer({ min: 0, max: 2 }), content, fc.nat(9))
  .map(([type, id, bytes, padding]) => record(type, id, bytes, padding));
const aBegin = fc
  .tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 4 }), fc.nat(3))
  .map(([id, role, flags]) => begin(id, role, flags));
const aQuery = fc
  .array(fc.tuple(fc.constantFrom('FCGI_MAX_CONNS', 'FCGI_MPXS_CONNS', 'X'), latin1(3)))
  .map((asked) => record(9, 0, pairs(asked)));
const anAbort = fc.integer({ min: 0, max: 2 }).map(abort);

interface Sent {
  id: number;
  values: (readonly [string, string])[];
  body: Uint8Array;
  recordBytes: number;
}

const aRequest = fc.record<Sent>({
  id: fc.integer({ min: 1, max: 3 }),
  values: fc.array(nameValue, { maxLength: 6 }),
  body: content,
  recordBytes: fc.integer({ min: 1, max: 300 }),
});
const bytesOf = ({ id, values, body, recordBytes }: Sent) =>
  Buffer.concat([
    begin(id),
    stream(4, id, pairs(values), recordBytes),
    stream(5, id, body, recordBytes),
  ]);

const anything = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: aRequest.map(bytesOf) },
    { weight: 1, arbitrary: fc.oneof(aRecord, aBegin, aQuery, anAbort) },
  ),
  { maxLength: 8 },
);
/** One byte changed, in some of them. */
const damaged = fc
  .tuple(anything, fc.option(fc.tuple(fc.nat(), fc.nat(255)), { freq: 1 }))
  .map(([parts, damage]) => {
    const bytes = Buffer.concat(parts);
    if (damage !== null && bytes.length > 0) bytes[damage[0] % bytes.length] = damage[1];
    return bytes;
  });
const cuts = fc.array(fc.nat(2000), { maxLength: 20 });

function* cut(bytes: Buffer, at: readonly number[]): Generator<Buffer> {
  const places = [0, ...at.filter((place) => place < bytes.length), bytes.length];
  places.sort((a, b) => a - b);
  for (const [index, place] of places.slice(1).entries())
    yield bytes.subarray(places[index], place);
}

/** What is told, and how it ends. */
function tell(chunks: Iterable<Buffer>, endsRequests: boolean): string[] {
  const told = new Told({ limits, endsRequests });
  try {
    for (const chunk of chunks) told.push(chunk);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return [...told.lines, error.message];
  }
  return told.lines;
}

t.test('any cut of any stream tells the same', async (t) => {
  await holds(
    t,
    fc.property(damaged, cuts, fc.boolean(), (bytes, at, endsRequests) => {
      const whole = JSON.stringify(tell([bytes], endsRequests));
      const bytewise = Array.from({ length: bytes.length }, (_, index) => index);
      return (
        whole === JSON.stringify(tell(cut(bytes, at), endsRequests)) &&
        whole === JSON.stringify(tell(cut(bytes, bytewise), endsRequests))
      );
    }),
    1000,
  );
});

t.test('events are in order', async (t) => {
  // A body only after its request, then its end or an abort, and nothing of it after that.
  const order = /^(?:request (\d) (?:body \1 )?(?:end|abort) \1 )*(?:request (\d) (?:body \2 )?)?$/;
  await holds(
    t,
    fc.property(damaged, cuts, (bytes, at) => {
      const told = tell(cut(bytes, at), true)
        .filter((line) => /^(request|body|body end|abort) \d/.test(line))
        .map((line) => line.replace(/^body end/, 'end').replace(/^(\w+ \d+)(?:\s.*)?$/s, '$1 '));
      return order.test(told.join(''));
    }),
    1000,
  );
});

t.test('requests come out as they went in', async (t) => {
  await holds(
    t,
    fc.property(fc.array(aRequest, { maxLength: 5 }), cuts, (requests, at) => {
      const fitting = requests.filter(({ values }) => pairs(values).length <= limits.paramsBytes);
      const expected = fitting.flatMap(({ id, values, body }) => [
        `request ${id} responder kept ${[...new Map(values)].map((pair) => pair.join('=')).join('&')}`,
        ...(body.length === 0 ? [] : [`body ${id} ${Buffer.from(body).toString('latin1')}`]),
        `body end ${id}`,
      ]);
      const told = tell(cut(Buffer.concat(fitting.map(bytesOf)), at), true);
      return JSON.stringify(told) === JSON.stringify(expected);
    }),
    1000,
  );
});

t.test('bytes that are no FastCGI', async (t) => {
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => bytes.map((byte) => byte % 4)),
  );
  await holds(
    t,
    fc.property(garbage, (bytes) => {
      tell([Buffer.from(bytes)], true); // throws what is not a ProtocolError
      return true;
    }),
    2000,
  );
});

t.test('names and values', async (t) => {
  const any = fc.array(fc.tuple(latin1(200), latin1(400)), { maxLength: 5 });
  await holds(
    t,
    fc.property(any, (values) => {
      const bytes = encodePairs(values);
      const read = [...decodeParams(bytes)];
      return (
        bytes.equals(pairs(values)) && JSON.stringify(read) === JSON.stringify([...new Map(values)])
      );
    }),
    500,
  );
});
