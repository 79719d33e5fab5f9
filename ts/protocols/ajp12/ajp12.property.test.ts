// SPDX-License-Identifier: Apache-2.0
// Both sides with any requests, however the stream is cut, and with any bytes at all.
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { holds } from '../../testing/properties.ts';
import { cut, cuts, damage, damaged } from '../ajp13/testing/arbitrary.ts';
import { ProtocolError } from '../protocol-error.ts';
import { encodeChallenge } from './challenge.ts';
import { encodeRequest } from './client-encoder.ts';
import { ClientLog, request, ServerLog } from './testing/peers.ts';

const character = fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f);
const line = fc.string({ unit: character.map((code) => String.fromCharCode(code)), maxLength: 30 });
const token = fc.string({ unit: fc.constantFrom(...'aZ09-_!~|'), minLength: 1, maxLength: 12 });
const list = (name: fc.Arbitrary<string>) => fc.array(fc.tuple(name, line), { maxLength: 5 });
const anyRequest = fc
  .record({
    ...{ method: token, zone: line, servlet: line, pathInfo: line, remoteUser: line, route: line },
    ...{ requestUri: line, queryString: fc.webQueryParameters(), serverPort: fc.nat(65535) },
    environment: list(line.filter((name) => name !== '')),
    fields: list(token),
  })
  .map(request);
const body = fc.uint8Array({ minLength: 1, maxLength: 50 }).map((bytes) => Buffer.from(bytes));

const challenge = Buffer.from('01020304', 'hex');
const key = Buffer.from('key');

/** What a log tells of the stream in these pieces, with the error that ends it. */
function told(log: ServerLog | ClientLog, pieces: readonly Buffer[]): string[] {
  try {
    log.push(...pieces);
    if (log instanceof ClientLog) log.decoder.end();
    return log.events;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return [...log.events, error.message];
  }
}

t.test('a request reads back, however it is cut', async (t) => {
  await holds(
    t,
    fc.property(anyRequest, body, cuts, (request, body, at) => {
      const length = ['content-length', String(body.length)] as const;
      const sent = { ...request, fields: [...request.fields, length] };
      const stream = Buffer.concat([encodeRequest(sent), body]);
      const bytewise = Array.from(stream, (_, i) => stream.subarray(i, i + 1));
      return [[stream], cut(stream, at), bytewise].every((pieces) => {
        const log = new ServerLog();
        log.push(...pieces);
        return (
          isDeepStrictEqual(log.requests, [sent]) &&
          isDeepStrictEqual(log.events.slice(1), [`body ${body.toString('latin1')}`, 'body-end']) &&
          log.decoder.isDone
        );
      });
    }),
    300,
  );
});

t.test('damaged requests are the same however they are cut, or the same error', async (t) => {
  await holds(
    t,
    fc.property(anyRequest, damage, cuts, (request, damages, at) => {
      const stream = damaged(encodeRequest(request), damages);
      return isDeepStrictEqual(
        told(new ServerLog(), [stream]),
        told(new ServerLog(), cut(stream, at)),
      );
    }),
    2000,
  );
});

t.test('answers with a challenge, damaged or not, are the same however they are cut', async (t) => {
  const head = fc.constantFrom(
    'Status: 200 OK\r\nA: b\r\n\r\n',
    'Content-Length: 9\n\n',
    'A: b\n\n',
  );
  const harm = fc.option(damage, { nil: [] });
  await holds(
    t,
    fc.property(head, body, harm, cuts, (head, body, damages, at) => {
      const whole = Buffer.concat([encodeChallenge(challenge), Buffer.from(head), body]);
      const stream = damages.length === 0 ? whole : damaged(whole, damages);
      return isDeepStrictEqual(
        told(new ClientLog({ key }), [stream]),
        told(new ClientLog({ key }), cut(stream, at)),
      );
    }),
    2000,
  );
});

t.test('any bytes at all', async (t) => {
  const pieces = fc.constantFrom('01', '03', '04', '05', 'fe', '00', '0f', 'ffff', '0001', '61');
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    fc.array(pieces, { maxLength: 60 }).map((parts) => Buffer.from(parts.join(''), 'hex')),
  );
  await holds(
    t,
    fc.property(bytes, cuts, (bytes, at) => {
      const pieces = cut(bytes, at);
      const authentication = { challenge, key };
      told(new ClientLog({ expects: 'pong' }), pieces);
      return [() => new ServerLog(), () => new ServerLog({ authentication })].every((log) =>
        isDeepStrictEqual(told(log(), [bytes]), told(log(), pieces)),
      );
    }),
    3000,
  );
});
