// SPDX-License-Identifier: Apache-2.0
// The container's side, against bytes written by hand.
import t from 'tap';
import type { AjpServerOptions } from './server-decoder.ts';
import {
  CPONG,
  chunkBytesMax,
  encodeAnswer,
  encodeChunk,
  encodeEnd,
  encodeGetBody,
  encodeHead,
  encodeRefusal,
  FLUSH,
} from './server-encoder.ts';
import { hex, packet, ServerLog } from './testing/peers.ts';

/** GET /a by default, up to the number of headers. */
const start = (method = '02', uri = '/a') => {
  const length = uri.length.toString(16).padStart(4, '0');
  return hex(
    ['02', '', method, '', '0008', 'HTTP/1.1', '00', '', length, uri, '00'],
    ['0009', '127.0.0.1', '00 ffff 0001', 'a', '00 0050 00'],
  ).toString('hex');
};

const forward = (...rest: (string | string[])[]) => packet('1234', start(), ...rest);
const length10 = ['0001 a008 0002', '10', '00 ff'];
const unknown = forward('0000 ff');
const empty = forward(['0001 a008 0001', '0', '00 ff']);

function reading(options: Partial<AjpServerOptions>, ...chunks: Buffer[]): ServerLog {
  const log = new ServerLog(options);
  log.push(...chunks);
  return log;
}

t.test('a request with everything', async (t) => {
  const log = reading(
    { secret: 'geheim', attributes: ['X'] },
    packet(
      '1234',
      ['02 ff 0008', 'HTTP/1.1', '00 0002', '/a', '00 0003', '::1', '00 0001', 'h', '00'],
      ['0001', 'a', '00 01bb 01 0003'],
      ['a00e 0001', 'u', '00 012c', 'N'.repeat(300), '00 ffff a008 0002', '10', '00'],
      ['05 0003', 'q=1', '00 0d 0005', 'PATCH', '00 03 0001', 'u', '00 04 0005', 'Basic', '00'],
      ['06 0001', 'r', '00 07 0002', 'P\n', '00 08 0001', 'c', '00 09 0002', 'id', '00 0b 0100'],
      ['01 0000 00 02 ffff 0a 0001', 'X', '00 0001', 'y', '00'],
      ['0a 000f', 'AJP_REMOTE_PORT', '00 0001', '1', '00 0c 0006', 'geheim', '00 ff'],
    ),
  );
  t.same(log.events, ['PATCH /a length 10']);
  t.same(log.requests, [
    {
      ...{ method: 'PATCH', protocol: 'HTTP/1.1', uri: '/a', remoteAddr: '::1', remoteHost: 'h' },
      ...{ serverName: 'a', serverPort: 443, isSsl: true },
      fields: [
        ['user-agent', 'u'],
        ['N'.repeat(300), ''],
        ['content-length', '10'],
      ],
      attributes: {
        ...{ queryString: 'q=1', remoteUser: 'u', authType: 'Basic', route: 'r', sslCert: 'P\n' },
        ...{ sslCipher: 'c', sslSession: 'id', sslKeySize: 256, context: '', servletPath: '' },
        others: [
          ['X', 'y'],
          ['AJP_REMOTE_PORT', '1'],
        ],
      },
    },
  ]);
});

t.test('a body of a known length: one packet is promised, the others are asked for', async (t) => {
  const log = reading({}, forward(length10));
  t.notOk(log.decoder.mayAsk, 'one is on its way');
  t.throws(() => log.decoder.ask());
  log.push(packet('1234', ['0004', 'abcd']));
  t.ok(log.decoder.mayAsk);
  log.decoder.ask();
  log.push(packet('1234', ['0006', 'efghij']));
  t.same(log.events, ['GET /a length 10', 'body abcdefghij', 'body-end']);
  t.notOk(log.decoder.mayAsk);
  t.ok(log.decoder.finish());
  t.ok(log.decoder.isIdle);
  t.throws(() => log.decoder.finish(), /no answer to finish/);
  log.push(packet('1234', '0a'), empty);
  t.same(log.events.slice(3), ['ping', 'GET /a none']);
});

t.test('a body of unknown length, with both ends that clients send', async (t) => {
  for (const last of [packet('1234'), packet('1234', '0000')]) {
    const log = reading({}, unknown);
    log.decoder.ask();
    log.push(packet('1234', ['0003', 'abc']));
    log.decoder.ask();
    log.push(last);
    t.same(log.events, ['GET /a chunked', 'body abc', 'body-end']);
    t.throws(() => log.push(packet('1234', '0000')), /nobody asked for/);
  }
  const log = reading({ packetBytes: 8192 }, unknown);
  log.decoder.ask();
  log.push(packet('1234', ['1ffa', 'x'.repeat(8186)]));
  t.equal(
    log.events[1],
    `body ${'x'.repeat(8186)}`,
    'as much as a packet holds, whatever was asked',
  );
});

t.test('an answer before the body was read', async (t) => {
  const log = reading({}, forward(length10));
  t.notOk(log.decoder.finish(), 'END has to wait for the promised packet');
  log.push(packet('1234', ['0004', 'abcd']));
  t.same(log.events, ['GET /a length 10', 'drained']);
  t.ok(log.decoder.isIdle);
  const unasked = reading({}, unknown);
  t.ok(unasked.decoder.finish(), 'nothing was promised');
});

t.test('what may not come', async (t) => {
  const refused = (status: number, message: RegExp, ...chunks: Buffer[]) =>
    t.throws(() => reading({}, ...chunks), { name: 'ProtocolError', status, message });
  refused(0, /packet type 7 between requests, allowed are 2 and 10/, packet('1234', '07'));
  refused(0, /packet type 8/, packet('1234', '08'));
  refused(0, /packet type 4/, packet('1234', '04'));
  refused(0, /an empty packet/, packet('1234'));
  refused(0, /begins with 4745 in place of 1234/, Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  refused(400, /begins with 4142/, forward(length10), packet('4142', '0000'));
  refused(400, /nobody asked for/, unknown, packet('1234', '0000'));
  refused(400, /nobody asked for/, empty, empty);
  refused(400, /nobody asked for/, Buffer.concat([empty, empty]));
  refused(400, /1 bytes without a length/, forward(length10), packet('1234', '0a'));
  refused(400, /10 bytes too early/, forward(length10), packet('1234', '0000'));
  refused(400, /10 bytes too early/, forward(length10), packet('1234'));
  refused(
    400,
    /11 bytes where the body has 10/,
    forward(length10),
    packet('1234', ['000b', 'x'.repeat(11)]),
  );
  refused(400, /1 bytes after the data/, forward(length10), packet('1234', '0001 61 00'));
  refused(400, /room for 1/, forward(length10), packet('1234', '0002 61'));
});

t.test('an answer inside an event does not make the next bytes a request', async (t) => {
  const none = new ServerLog();
  none.onRequest = () => none.decoder.finish();
  t.throws(() => none.push(Buffer.concat([empty, empty])), /nobody asked for/);
  t.same(none.events, [], 'whoever sends two at once does not know who answers which');
  const data = packet('1234', ['000a', '0123456789']);
  const read = new ServerLog();
  read.onBodyEnd = () => read.decoder.finish();
  t.throws(() => read.push(Buffer.concat([forward(length10), data, empty])), /nobody asked for/);
  t.same(read.events, ['GET /a length 10', 'body 0123456789']);
  const early = new ServerLog();
  early.onRequest = () => early.decoder.finish();
  t.throws(() => early.push(Buffer.concat([forward(length10), data, empty])), /nobody asked for/);
  t.same(early.events, ['GET /a length 10']);
  const late = new ServerLog();
  late.onRequest = () => late.decoder.finish();
  late.push(Buffer.concat([forward(length10), data]), empty);
  t.same(late.events, ['GET /a length 10', 'drained', 'GET /a none']);
});

t.test('requests that are refused', async (t) => {
  const refused = (status: number, message: RegExp, chunk: Buffer) =>
    t.throws(() => reading({}, chunk), { name: 'ProtocolError', status, message });
  const whole = (method: string, uri?: string) => packet('1234', start(method, uri), '0000 ff');
  refused(400, /method code 0, known are 1 to 27/, whole('00'));
  refused(400, /method code 28/, whole('1c'));
  refused(400, /method code 255 without a name/, whole('ff'));
  refused(400, /method code 2 and a name/, forward(['0000 0d 0003', 'PUT', '00 ff']));
  refused(400, /stored method is empty/, packet('1234', start('ff'), '0000 0d 0000 00 ff'));
  for (const uri of ['http://b/a', 'a', '', '**']) refused(400, /is no path/, whole('02', uri));
  refused(400, /holds a query/, whole('02', '/a?b'));
  for (const uri of ['/a b', '/a#b', '/a"', '/<', '/\r'])
    refused(400, /uri holds/, whole('02', uri));
  t.same(reading({}, whole('01', '*')).events, ['OPTIONS * chunked']);
  refused(400, /has code a00f, known are a001 to a00e/, forward('0001 a00f ffff ff'));
  refused(431, /101 headers, at most 100/, forward('0065', 'a001ffff'.repeat(101), 'ff'));
  refused(400, /headers cannot be in the/, forward('ffff', 'ff'));
  refused(
    400,
    /both Content-Length and/,
    forward(['0002 a008 0001', '1', '00 0011', 'transfer-encoding', '00 0007', 'chunked', '00 ff']),
  );
  refused(
    501,
    /other than "chunked"/,
    forward(['0001 0011', 'transfer-encoding', '00 0004', 'gzip', '00 ff']),
  );
  refused(
    400,
    /two different values/,
    forward(['0002 a008 0001', '1', '00 a008 0001', '2', '00 ff']),
  );
  refused(400, /attribute code 14/, forward('0000 0e ff'));
  refused(400, /attribute code 50/, forward(['0000 0b 0003', '256', '00 ff']));
  refused(400, /remoteUser comes twice/, forward('0000 03 0000 00 03 0000 00 ff'));
  refused(400, /key size comes twice/, forward('0000 0b 0080 0b 0100 ff'));
  refused(400, /attribute needs 1 bytes/, forward('0000'));
  refused(400, /1 bytes after the end of the attributes/, forward('0000 ff 00'));
  refused(400, /is not ended by NUL/, forward('0001 a001 0001 61 62 ff'));
  refused(400, /accept needs 6 bytes/, forward('0001 a001 0005 61 00 ff'));
  refused(400, /protocol is null/, packet('1234', '02 02 ffff'));
  refused(400, /method needs 1 bytes/, packet('1234', '02'));
});

t.test('secrets', async (t) => {
  const bring = (secret: string, options: Partial<AjpServerOptions> = { secret: 's' }) =>
    reading(options, forward('0000 03 0000 00', secret, 'ff')).events;
  t.same(bring('0c 0001 73 00'), ['GET /a chunked']);
  for (const wrong of ['', '0c 0000 00', '0c ffff', '0c 0001 74 00', '0c 0002 7373 00']) {
    t.throws(() => bring(wrong), { name: 'ProtocolError', status: 403 }, `"${wrong}"`);
  }
  const log = reading({ secret: null }, forward('0000 0c 0001 73 00 ff'));
  t.same(log.requests[0]?.attributes, {}, 'nobody else gets to see it');
  for (const secret of ['', 'a\nb', 'ʼ']) t.throws(() => new ServerLog({ secret }), RangeError);
});

t.test('what a container sends', async (t) => {
  const text = {
    status: 200,
    reason: '',
    fields: [
      ['Content-Type', 'a/b'],
      ['X', 'y'],
    ] as const,
  };
  const head = packet('4142', [
    '04 00c8 0003',
    '200',
    '00 0002 a001 0003',
    'a/b',
    '00 0001',
    'X',
    '00 0001',
    'y',
    '00',
  ]);
  t.same(encodeHead(text), head);
  const chunk = packet('4142', '03 0003', ['', 'abc', '00']);
  t.same(Buffer.concat(encodeChunk(Buffer.from('abc'))), chunk);
  t.same(encodeChunk(Buffer.alloc(0)), []);
  t.same(FLUSH, hex('4142 0004 03 0000 00'));
  t.same(CPONG, hex('4142 0001 09'));
  t.same(encodeGetBody(8186), hex('4142 0003 06 1ffa'));
  t.same(encodeEnd(true), hex('4142 0002 05 01'));
  t.same(encodeEnd(false), hex('4142 0002 05 00'));
  t.same(
    encodeAnswer(text, Buffer.from('abc'), true),
    Buffer.concat([head, chunk, encodeEnd(true)]),
  );
  t.same(
    encodeRefusal(403),
    Buffer.concat([
      packet('4142', ['04 0193 0003', '403', '00 0001 a003 0001', '0', '00']),
      encodeEnd(false),
    ]),
  );
  t.equal(chunkBytesMax(8192), 8184);
  const large = Buffer.concat(encodeChunk(Buffer.alloc(8185, 'x')));
  t.same(
    large,
    Buffer.concat([
      packet('4142', '03 1ff8', ['', 'x'.repeat(8184), '00']),
      packet('4142', '03 0001', ['', 'x', '00']),
    ]),
  );
  const refused = (change: object) =>
    t.throws(() => encodeHead({ ...text, ...change }), { name: 'ProtocolError', status: 500 });
  refused({ status: 100 });
  refused({ status: Number.NaN });
  refused({ reason: 'a\r\nb' });
  refused({ fields: [['a', 'b\nc']] });
  refused({ fields: [['a:', 'b']] });
  refused({ fields: [['a', 'x'.repeat(8192)]] });
  t.throws(() => encodeGetBody(0), RangeError);
});
