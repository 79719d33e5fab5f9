// SPDX-License-Identifier: Apache-2.0
// Both sides with any messages, however the stream is cut, and with any bytes at all.
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { holds } from '../../testing/properties.ts';
import { ProtocolError } from '../protocol-error.ts';
import { encodeBody, encodeForwardRequest } from './client-encoder.ts';
import { Cursor } from './cursor.ts';
import { allowedAttributes, readForwardRequest } from './request-reader.ts';
import { encodeChunk, encodeEnd, encodeGetBody, encodeHead, FLUSH } from './server-encoder.ts';
import {
  type AnyAnswer,
  anyAnswer,
  anyRequest,
  cut,
  cuts,
  damage,
  damaged,
} from './testing/arbitrary.ts';
import { ClientLog, ServerLog } from './testing/peers.ts';

const secret = 'geheim';
const attributes = ['X'];

function encoded(answer: AnyAnswer): Buffer {
  const chunks = answer.body.flatMap((bytes) => (bytes.length === 0 ? FLUSH : encodeChunk(bytes)));
  return Buffer.concat([encodeHead(answer), encodeGetBody(100), ...chunks, encodeEnd(true)]);
}

/** What a log tells of the stream in these pieces, with the error that ends it. */
function told(log: ClientLog | ServerLog, pieces: readonly Buffer[]): string[] {
  try {
    log.push(...pieces);
    return log.events;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return [...log.events, error.message];
  }
}

function client(): ClientLog {
  const log = new ClientLog();
  log.decoder.begin();
  return log;
}

t.test('an answer reads back, however it is cut', async (t) => {
  await holds(
    t,
    fc.property(anyAnswer, cuts, (answer, at) => {
      const stream = encoded(answer);
      const whole = told(client(), [stream]);
      const bytewise = Array.from(stream, (_, i) => stream.subarray(i, i + 1));
      const text = JSON.stringify(whole);
      const list = answer.fields.map(([name, value]) => ` ${name}=${value}`).join('');
      const body = answer.body.map((bytes) => bytes.toString('latin1')).join('');
      const bodies = whole.filter((event) => event.startsWith('body '));
      return (
        JSON.stringify(told(client(), cut(stream, at))) === text &&
        JSON.stringify(told(client(), bytewise)) === text &&
        whole[0] === `head ${answer.status} ${answer.reason}${list}` &&
        whole[1] === 'get 100' &&
        bodies.map((event) => event.slice(5)).join('') === body &&
        whole.filter((event) => event === 'flush').length ===
          answer.body.filter((bytes) => bytes.length === 0).length &&
        whole.at(-1) === 'end true'
      );
    }),
    300,
  );
});

t.test('damaged answers are the same however they are cut, or the same error', async (t) => {
  // Whether the connection may be used again depends on what has come behind END.
  const normal = (events: string[]) =>
    JSON.stringify(events.map((event) => (event.startsWith('end ') ? 'end' : event)));
  await holds(
    t,
    fc.property(anyAnswer, damage, cuts, (answer, damages, at) => {
      const stream = damaged(encoded(answer), damages);
      return normal(told(client(), [stream])) === normal(told(client(), cut(stream, at)));
    }),
    2000,
  );
});

t.test('a request reads back, however it is cut', async (t) => {
  await holds(
    t,
    fc.property(anyRequest, cuts, (request, at) => {
      const brings = { ...request, attributes: { ...request.attributes, secret } };
      const stream = encodeForwardRequest(brings);
      const { secret: _, ...expected } = request.attributes;
      return [[stream], cut(stream, at)].every((pieces) => {
        const log = new ServerLog({ secret, attributes });
        log.push(...pieces);
        const [read] = log.requests;
        const isCoded = (name: string) => ['accept', 'cookie', 'host', 'user-agent'].includes(name);
        const fields = request.fields.map(([name, value]) => {
          const lower = name.toLowerCase();
          return [isCoded(lower) ? lower : name, value];
        });
        const wanted = { ...request, fields, attributes: expected };
        return isDeepStrictEqual(read, wanted) && log.requests.length === 1;
      });
    }),
    300,
  );
});

t.test('damaged requests are the same however they are cut, or the same error', async (t) => {
  // In one piece with a request, bytes behind it show before it is told.
  const isUnasked = (events: string[]) => events.at(-1)?.includes('nobody asked for');
  await holds(
    t,
    fc.property(anyRequest, damage, cuts, (request, damages, at) => {
      const stream = damaged(encodeForwardRequest(request), damages);
      const whole = told(new ServerLog({ attributes }), [stream]);
      const parts = told(new ServerLog({ attributes }), cut(stream, at));
      const isSame = isDeepStrictEqual(whole, parts) || (isUnasked(whole) && isUnasked(parts));
      return isSame === true && parts.length <= 2;
    }),
    2000,
  );
});

t.test('any bytes at all', async (t) => {
  const pieces = fc.constantFrom(
    ...['4142', '1234', '0000', '0001', '0002', '0007', '02', '03', '04', '05', '06', '09', '0a'],
    ...['ff', 'ffff', '00', '00c8', 'a001', 'a00b', '61', '0d'],
  );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    fc.array(pieces, { maxLength: 20 }).map((parts) => Buffer.from(parts.join(''), 'hex')),
  );
  await holds(
    t,
    fc.property(bytes, fc.boolean(), (bytes, isPing) => {
      const log = new ClientLog();
      if (isPing) log.decoder.ping();
      else log.decoder.begin();
      told(log, [bytes]);
      told(new ServerLog(), [bytes]);
      const reading = new ServerLog();
      reading.push(encodeForwardRequest({ ...empty, fields: [['content-length', '3']] }));
      told(reading, [bytes]);
      return true;
    }),
    5000,
  );
});

const empty = {
  ...{ method: 'POST', protocol: 'HTTP/1.1', uri: '/', remoteAddr: '', remoteHost: null },
  ...{ serverName: '', serverPort: 80, isSsl: false, attributes: {} },
};

t.test('what lies behind a message is not read', async (t) => {
  const limits = { attributes: allowedAttributes(attributes), headersMax: 100 };
  const read = (bytes: Buffer, at: number, end: number): string => {
    const cursor = new Cursor(400);
    cursor.begin(bytes, at, end);
    try {
      return JSON.stringify(readForwardRequest(cursor, limits));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return error.message;
    }
  };
  await holds(
    t,
    fc.property(anyRequest, damage, fc.uint8Array({ maxLength: 400 }), (request, damages, more) => {
      const payload = damaged(encodeForwardRequest(request).subarray(5), damages);
      const alone = read(payload, 0, payload.length);
      const amid = Buffer.concat([more, payload, more]);
      const rest = encodeForwardRequest(request);
      return (
        read(amid, more.length, more.length + payload.length) === alone &&
        read(Buffer.concat([payload, rest]), 0, payload.length) === alone
      );
    }),
    2000,
  );
});

t.test('client and server bring a body over, whatever is asked for', async (t) => {
  const body = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  await holds(
    t,
    fc.property(
      body,
      fc.boolean(),
      fc.integer({ min: 1, max: 60 }),
      cuts,
      (body, known, size, at) => {
        const log = new ServerLog();
        let sent = 0;
        const send = (): void => {
          const bytes = body.subarray(sent, sent + size);
          sent += bytes.length;
          log.push(...cut(Buffer.concat(encodeBody(bytes)), at));
        };
        const length = [['content-length', String(body.length)]] as const;
        log.push(encodeForwardRequest({ ...empty, fields: known ? length : [] }));
        if (known && body.length > 0) send();
        while (log.decoder.mayAsk) {
          log.decoder.ask();
          send();
        }
        const text = body.toString('latin1');
        const kind = known ? (body.length > 0 ? `length ${body.length}` : 'none') : 'chunked';
        const expected = [`POST / ${kind}`, ...(text === '' ? [] : [`body ${text}`])];
        if (kind !== 'none') expected.push('body-end');
        return JSON.stringify(log.events) === JSON.stringify(expected) && log.decoder.finish();
      },
    ),
    500,
  );
});
