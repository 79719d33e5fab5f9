// SPDX-License-Identifier: Apache-2.0
// What other implementations of AJP got wrong, one test each; docs/ajp.md has the table.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { bodyModeOf, bodyModeOfParams } from './body-mode.ts';
import { encodeForwardRequest } from './client-encoder.ts';
import { encodeAnswer, encodeHead, encodeRefusal } from './server-encoder.ts';
import { ClientLog, hex, packet, request, ServerLog } from './testing/peers.ts';
import type { ForwardRequest } from './types.ts';

const head = packet('4142', '04 00c8 0000 00 0000');
const end = packet('4142', '05 01');
const refusal = (status: number) => ({ name: 'ProtocolError', status });

function readByServer(changes: Partial<ForwardRequest>, log = new ServerLog()): ServerLog {
  log.push(encodeForwardRequest(request(changes)));
  return log;
}

const withAttribute = (name: string) => ({
  attributes: { others: [[name, '/WEB-INF/web.xml']] as const },
});

t.test('CVE-2020-1938, CVE-2020-1745: attributes of an include read files', async (t) => {
  for (const name of ['javax', 'jakarta', 'Javax'].map(
    (top) => `${top}.servlet.include.request_uri`,
  )) {
    t.throws(() => readByServer(withAttribute(name)), refusal(403));
    t.throws(() => new ServerLog({ attributes: [name] }), RangeError, 'whatever is configured');
  }
  t.throws(() => readByServer(withAttribute('X')), refusal(403), 'nor any other unknown one');
  const log = new ServerLog({ attributes: ['X'] });
  t.same(readByServer(withAttribute('X'), log).events, ['GET /a%20 chunked']);
  t.throws(() => readByServer({}, new ServerLog({ secret: 's' })), refusal(403));
});

t.test('CVE-2022-26377, CVE-2022-36760: odd transfer codings smuggle requests', async (t) => {
  for (const coding of [
    'gzip',
    'gzip, chunked',
    'chunked, gzip',
    ' chunked',
    'chunked\x0b',
    'xchunked',
  ]) {
    t.throws(() => bodyModeOf([['Transfer-Encoding', coding]]), refusal(501));
    t.throws(() => bodyModeOfParams(new Map([['HTTP_TRANSFER_ENCODING', coding]])), refusal(501));
  }
  const both = [
    ['Content-Length', '3'],
    ['Transfer-Encoding', 'chunked'],
  ] as const;
  t.throws(() => bodyModeOf(both), refusal(400));
  t.throws(() => encodeForwardRequest(request({ fields: both })), refusal(400), 'nor is it sent');
  const log = readByServer({});
  const smuggled = encodeForwardRequest(request({ uri: '/admin' }));
  t.throws(() => log.push(smuggled), /nobody asked for/, 'and what comes unasked is no request');
  t.same(log.events, ['GET /a%20 chunked']);
});

t.test('CVE-2011-3190: a body that was not read is taken for a request', async (t) => {
  const smuggled = encodeForwardRequest(request({ uri: '/admin' }));
  const log = readByServer({ fields: [['Content-Length', String(smuggled.length)]] });
  t.equal(log.decoder.finish(), false);
  const data = packet(
    '1234',
    smuggled.length.toString(16).padStart(4, '0'),
    smuggled.toString('hex'),
  );
  log.push(data);
  t.same(log.events, [`GET /a%20 length ${smuggled.length}`, 'drained']);
  log.push(encodeForwardRequest(request({ uri: '/next' })));
  t.equal(log.events.at(-1), 'GET /next chunked');
});

t.test("CVE-2023-34981: without SEND_HEADERS the last answer's head came again", async (t) => {
  const log = new ClientLog();
  log.decoder.begin();
  log.push(packet('4142', '04 00c8 0000 00 0001 a007 0001 63 00'), end);
  log.decoder.begin();
  t.throws(() => log.push(end), /END_RESPONSE without SEND_HEADERS/);
  t.same(log.events, ['head 200  Set-Cookie=c', 'end true']);
  const bare = encodeAnswer({ status: 204, reason: '', fields: [] }, Buffer.alloc(0), true);
  t.same(
    bare,
    hex(['4142 000b 04 00cc 0003', '204', '00 0000 4142 0002 05 01']),
    'ours sends it always',
  );
});

t.test(
  "CVE-2008-5519, CVE-2009-1191, CVE-2005-3164, CVE-2026-103119: one user's answer for another",
  async (t) => {
    const stray = Buffer.concat([head, end]);
    const after = new ClientLog();
    after.decoder.begin();
    after.push(head, end);
    t.throws(() => after.push(stray), /no answer is due/, 'between requests');
    t.throws(() => after.decoder.begin(), /failed/);
    const beside = new ClientLog();
    beside.decoder.begin();
    t.throws(() => beside.push(Buffer.concat([head, end, stray])), /no answer is due/);
    t.same(beside.events, ['head 200 ', 'end false'], 'that connection serves nobody else');
    t.throws(() => beside.decoder.begin(), /failed/);
    const pieces = new ClientLog();
    pieces.decoder.begin();
    pieces.push(head, end.subarray(0, 3));
    t.throws(() => pieces.push(Buffer.concat([end.subarray(3), stray])), /no answer is due/);
    t.same(pieces.events, ['head 200 ', 'end false'], 'nor when END came in pieces');
    const half = new ClientLog();
    half.decoder.begin();
    half.push(head);
    t.notOk(half.decoder.isIdle);
    t.throws(
      () => half.decoder.begin(),
      /in state "body"/,
      'an answer that was given up stays there',
    );
  },
);

t.test('CVE-2024-24795: what a container says splits the answer', async (t) => {
  for (const value of ['0\r\n\r\nHTTP/1.1 200 OK', '0\n', '\r']) {
    const log = new ClientLog();
    log.decoder.begin();
    const length = value.length.toString(16).padStart(4, '0');
    const bad = packet('4142', '04 00c8 0000 00 0001 a003', ['', '', length, value, '00']);
    t.throws(() => log.push(bad), /Content-Length holds byte 0[ad]/);
    t.same(log.events, []);
  }
});

t.test('CVE-2026-28780: a length that forgot the head overflowed by 4', async (t) => {
  const size = 8192;
  const body = 'x'.repeat(size - 8);
  const log = new ClientLog(size);
  log.decoder.begin();
  log.push(head, packet('4142', '03 1ff8', ['', body, '00']));
  t.equal(log.events.at(-1), `body ${body}`, 'the longest packet');
  t.throws(() => log.push(hex('4142 1ffd')), /packet of 8193 bytes, at most 8192/, 'one byte more');
  const largest = new ClientLog(65536);
  largest.decoder.begin();
  t.throws(() => largest.push(hex('4142 fffd')), /at most 65536/, 'and beyond all buffers');
});

t.test(
  'CVE-2026-34059, CVE-2026-34032, CVE-2026-33857: getters read beyond the message',
  async (t) => {
    // Whatever lies behind a message that is too short must not complete it.
    const payload = hex(['04 00c8 0002', 'OK', '00 0001 a001 0003', 'a/b', '00']);
    for (let length = 1; length < payload.length; length++) {
      const cut = packet('4142', payload.subarray(0, length).toString('hex'));
      const log = new ClientLog();
      log.decoder.begin();
      const error = /needs \d+ bytes, the message has|cannot be in the|is not ended by NUL/;
      t.throws(() => log.push(Buffer.concat([cut, payload.subarray(length), end])), error);
      t.same(log.events, [], `${length} bytes`);
    }
  },
);

t.test('CVE-2026-33523: a reason splits the status line', async (t) => {
  for (const byte of ['0d', '0a', '00', '0b', '7f']) {
    const log = new ClientLog();
    log.decoder.begin();
    const bad = packet('4142', '04 00c8 0001', byte, '00 0000');
    t.throws(() => log.push(bad), new RegExp(`reason holds byte ${byte}`));
  }
  t.throws(() => encodeHead({ status: 200, reason: 'OK\r\nX: y', fields: [] }), refusal(500));
});

t.test('CVE-2026-43514: the time of a comparison tells the secret', async (t) => {
  const answers = ['geheim', 'geheiM', 'Geheim', 'geheim2', 'g', ''].map((secret) => {
    try {
      return readByServer({ attributes: { secret } }, new ServerLog({ secret: 'geheim' })).events;
    } catch (error) {
      return String(error);
    }
  });
  t.same(answers[0], ['GET /a%20 chunked']);
  t.equal(new Set(answers.slice(1)).size, 1, 'all misses look the same');
  const log = new ServerLog({ secret: 'geheim' });
  t.throws(() => readByServer({ attributes: { secret: 'g' } }, log), refusal(403));
  const right = { attributes: { secret: 'geheim' } };
  t.throws(() => readByServer(right, log), refusal(403), 'no second guess on a connection');
});

t.test('CVE-2021-30639, CVE-2009-0033, CVE-2011-3348: one bad request poisons all', async (t) => {
  const bad = new ServerLog();
  t.throws(() => bad.push(packet('1234', '02 02 ffff')), refusal(400));
  t.same(readByServer({}).events, ['GET /a%20 chunked'], 'another connection does not know of it');
  const log = readByServer({ method: 'JEFF' });
  t.same(log.events, ['JEFF /a%20 chunked'], 'an unknown method is a request like others');
});

t.test(
  'CVE-2022-2053, CVE-2023-5379: no answer to what is too large looks like a dead server',
  async (t) => {
    const sized = (...chunks: Buffer[]) => new ServerLog({ packetBytes: 8192 }).push(...chunks);
    t.throws(() => sized(hex('1234 1ffd 02')), refusal(431));
    const post = encodeForwardRequest(request({ fields: [['Content-Length', '9000']] }));
    t.throws(() => sized(post, hex('1234 1ffd 1ffb')), refusal(413));
    const log = new ClientLog();
    log.decoder.begin();
    log.push(encodeRefusal(431));
    t.same(log.events, ['head 431 431 Content-Length=0', 'end false'], 'answered, then closed');
  },
);

t.test('CVE-2022-1319: two answers, and an end that promises more', async (t) => {
  const log = new ClientLog();
  log.decoder.begin();
  t.throws(
    () => log.push(Buffer.concat([encodeRefusal(400), encodeRefusal(400)])),
    /no answer is due/,
  );
  t.same(log.events, ['head 400 400 Content-Length=0', 'end false']);
});

t.test('CVE-2024-6162: requests share what decodes them', async (t) => {
  const logs = [new ServerLog(), new ServerLog()] as const;
  const requests = ['/first', '/second'].map((uri) => encodeForwardRequest(request({ uri })));
  const [one, other] = requests as [Buffer, Buffer];
  for (let at = 0; at < other.length; at++) {
    if (at < one.length) logs[0].push(one.subarray(at, at + 1));
    logs[1].push(other.subarray(at, at + 1));
  }
  t.same(
    logs.map(({ events }) => events),
    [['GET /first chunked'], ['GET /second chunked']],
  );
});

t.test('CVE-2020-27782: illegal characters of a query', async (t) => {
  for (const queryString of ['a b', 'a#b', 'a"b', '<a>', '\t']) {
    t.throws(() => readByServer({ attributes: { queryString } }), refusal(400), queryString);
  }
});

t.test('CVE-2014-8111, CVE-2018-11759, CVE-2023-41081: another form of the path', async (t) => {
  for (const uri of ['http://other/a', 'other/a', 'a/../b', '']) {
    t.throws(() => readByServer({ uri }), refusal(400), uri);
  }
  const { requests } = readByServer({ uri: '/a%2fb/%2e%2e/;x/c' });
  t.equal(
    requests[0]?.uri,
    '/a%2fb/%2e%2e/;x/c',
    'what is passed on is what the web server matched',
  );
});

t.test('the table of docs/ajp.md names tests that are there', async (t) => {
  const root = new URL('../../../', import.meta.url);
  const table = readFileSync(new URL('docs/ajp.md', root), 'utf8');
  const rows = [...table.matchAll(/^\| (CVE[^|]*) \|.*\| ([^|]*) \|$/gm)];
  t.ok(rows.length > 10);
  for (const [, ids = '', tests = ''] of rows) {
    const files = [...tests.matchAll(/`([^`]+)`/g)].map(([, file = '']) =>
      readFileSync(new URL(file, root), 'utf8'),
    );
    const isNamed = (id: string) =>
      files[0]?.includes(id) && files.every((text) => /CVE/.test(text));
    t.same(
      ids.split(', ').filter((id) => !isNamed(id)),
      [],
      ids,
    );
  }
});
