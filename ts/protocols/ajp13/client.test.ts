// SPDX-License-Identifier: Apache-2.0
// The web server's side, against bytes written by hand.
import t from 'tap';
import { AjpClientDecoder } from './client-decoder.ts';
import {
  BODY_END,
  bodyBytesMax,
  CPING,
  encodeBody,
  encodeForwardRequest,
} from './client-encoder.ts';
import { ClientLog, hex, packet, request } from './testing/peers.ts';

t.test('a request as mod_jk sends it', async (t) => {
  const bytes = encodeForwardRequest(
    request({
      fields: [
        ['host', 'a'],
        ['X-A', 'b'],
        ['Content-Length', '0'],
      ],
      attributes: { queryString: 'q=1', secret: 's', others: [['AJP_REMOTE_PORT', '4711']] },
    }),
  );
  t.equal(
    bytes.toString('hex'),
    packet(
      '1234',
      '02 02',
      ['0008', 'HTTP/1.1', '00 0005', '/a%20', '00 0009', '127.0.0.1', '00 ffff'],
      ['0001', 'a', '00 0050 00 0003'],
      ['a00b 0001', 'a', '00  0003', 'X-A', '00 0001', 'b', '00  a008 0001', '0', '00'],
      ['0c 0001', 's', '00 05 0003', 'q=1', '00'],
      ['0a 000f', 'AJP_REMOTE_PORT', '00 0004', '4711', '00 ff'],
    ).toString('hex'),
  );
});

t.test('all attributes, in the order of mod_jk', async (t) => {
  const bytes = encodeForwardRequest(
    request({
      method: 'PATCH',
      isSsl: true,
      remoteHost: 'h',
      attributes: {
        others: [['N', 'v\nw']],
        sslKeySize: 256,
        sslSession: 'id',
        sslCipher: 'c',
        sslCert: 'PEM\n',
        route: 'r',
        queryString: '',
        authType: 'Basic',
        remoteUser: 'u',
        servletPath: '/s',
        context: '/c',
        secret: 'geheim',
      },
    }),
  );
  t.equal(
    bytes.toString('hex'),
    packet(
      '1234',
      '02 ff',
      ['0008', 'HTTP/1.1', '00 0005', '/a%20', '00 0009', '127.0.0.1', '00 0001', 'h', '00'],
      ['0001', 'a', '00 0050 01 0000'],
      ['0c 0006', 'geheim', '00 01 0002', '/c', '00 02 0002', '/s', '00'],
      ['03 0001', 'u', '00 04 0005', 'Basic', '00 05 0000 00 06 0001', 'r', '00'],
      ['07 0004', 'PEM\n', '00 08 0001', 'c', '00 09 0002', 'id', '00 0b 0100'],
      ['0d 0005', 'PATCH', '00 0a 0001', 'N', '00 0003', 'v\nw', '00 ff'],
    ).toString('hex'),
  );
});

t.test('codes of methods and headers', async (t) => {
  const sent = (changes: Parameters<typeof request>[0]) => encodeForwardRequest(request(changes));
  t.equal(sent({ method: 'MKACTIVITY' })[5], 27);
  t.ok(sent({ method: 'get' }).includes(hex('0d 0003', ['', 'get', '00 ff'])), 'case counts');
  for (const name of ['user-agent', 'User-Agent', 'USER-AGENT']) {
    t.ok(sent({ fields: [[name, 'u']] }).includes(hex('0001 a00e 0001', ['', 'u', '00'])), name);
  }
  const spaced = sent({ fields: [['user_agent', 'u']] });
  t.ok(spaced.includes(hex('000a', ['', 'user_agent', '00'])));
});

t.test('what may not be sent, or does not fit', async (t) => {
  const refused = (changes: Parameters<typeof request>[0], status: number, message: RegExp) =>
    t.throws(() => encodeForwardRequest(request(changes)), {
      name: 'ProtocolError',
      status,
      message,
    });
  refused({ fields: [['a', 'b\r\nc: d']] }, 400, /a holds byte 0d at 1/);
  refused({ fields: [['a', 'b\0']] }, 400, /byte 00/);
  refused({ fields: [['a', 'b\x7f']] }, 400, /byte 7f/);
  refused({ fields: [['a', 'Ċ']] }, 400, /byte 10a/);
  refused({ fields: [['a b', 'c']] }, 400, /a header name holds byte 20 at 1/);
  refused({ fields: [['', 'c']] }, 400, /empty/);
  refused({ fields: [['Transfer-Encoding', 'chunked']] }, 400, /Transfer-Encoding/);
  refused({ method: 'GET /' }, 400, /method holds byte 20/);
  refused({ method: '' }, 400, /method is empty/);
  refused({ uri: '/a\nb' }, 400, /uri holds byte 0a/);
  refused({ attributes: { queryString: 'a\0b' } }, 400, /query string/);
  refused({ attributes: { others: [['a\nb', 'c']] } }, 400, /attribute name/);
  refused({ attributes: { sslKeySize: 1.5 } }, 400, /key size 1.5/);
  refused({ serverPort: 65536 }, 400, /server port 65536 is not within 0 to 65535/);
  refused({ fields: [['a', 'x'.repeat(8192)]] }, 431, /does not fit a packet of 8192 bytes/);
  refused({ fields: [['a', 'x'.repeat(70000)]] }, 431, /does not fit/);
  refused({ fields: [['x'.repeat(41000), '']] }, 431, /does not fit/);
  refused({ fields: Array.from({ length: 4000 }, () => ['a', ''] as const) }, 431, /does not fit/);
  const large = request({ fields: [['a', 'x'.repeat(65000)]] });
  t.equal(encodeForwardRequest(large, 65536).readUInt16BE(2), 65000 + 52);
  t.throws(() => encodeForwardRequest(large, 4096), /8192 to 65536/);
  const full = 8192 - encodeForwardRequest(request({ fields: [['a', '']] })).length;
  t.equal(encodeForwardRequest(request({ fields: [['a', 'x'.repeat(full)]] })).length, 8192);
  refused({ fields: [['a', 'x'.repeat(full + 1)]] }, 431, /does not fit/);
});

t.test('data packets, their end and CPING', async (t) => {
  t.equal(bodyBytesMax(8192), 8186);
  t.same(Buffer.concat(encodeBody(Buffer.from('abc'))), hex('1234 0005 0003', ['', 'abc']));
  t.same(encodeBody(Buffer.alloc(0)), [BODY_END]);
  t.same(BODY_END, hex('1234 0002 0000'));
  t.same(CPING, hex('1234 0001 0a'));
  t.equal(Buffer.concat(encodeBody(Buffer.alloc(65530))).length, 65536);
  t.throws(() => encodeBody(Buffer.alloc(65531)), RangeError);
});

t.test('an answer as Tomcat sends it', async (t) => {
  const log = new ClientLog();
  log.decoder.begin();
  log.push(
    hex(
      ['4142 0020 04 00c8 0003', '200', '00 0002'],
      ['a001 000a', 'text/plain', '00 0001', 'X', '00 ffff'],
      ['4142 0007 03 0003', 'abc', '00 4142 0004 03 0000 00'],
      '4142 0003 06 1ffa 4142 0002 05 01',
    ),
  );
  t.same(log.events, [
    'head 200 200 Content-Type=text/plain X=',
    'body abc',
    'flush',
    'get 8186',
    'end true',
  ]);
  t.ok(log.decoder.isIdle);
});

const head = packet('4142', '04 00c8 0002', ['', 'OK', '00 0000']);
const end = packet('4142', '05 01');

function answering(...chunks: Buffer[]): ClientLog {
  const log = new ClientLog();
  log.decoder.begin();
  log.push(...chunks);
  return log;
}

t.test('what containers do differently', async (t) => {
  const events = (...chunks: Buffer[]) => answering(...chunks).events;
  const chunk = packet('4142', '03 0001', ['', 'a', '00']);
  t.same(events(head, chunk), ['head 200 OK', 'body a'], 'a chunk with NUL');
  t.same(events(head, packet('4142', '03 0001', ['', 'a'])), ['head 200 OK', 'body a'], 'without');
  t.same(events(head, packet('4142', '03 0000')), ['head 200 OK', 'flush'], 'a flush without NUL');
  t.same(events(packet('4142', '03 0000 00'), head), ['head 200 OK'], 'a flush before the head');
  t.same(events(packet('4142', '04 00c8 ffff 0000')), ['head 200 '], 'reason null');
  const early = [packet('4142', '06 0064'), head, packet('4142', '06 1ffa')];
  t.same(
    events(...early),
    ['get 100', 'head 200 OK', 'get 8186'],
    'GET_BODY_CHUNK before and after',
  );
  t.same(events(head, packet('4142', '05 00')).at(-1), 'end false');
  t.same(events(head, packet('4142', '05 02')).at(-1), 'end false', 'reuse that is no boolean');
  const code = packet('4142', '04 0194 0000 00 0001 a00b 0000 00');
  t.same(events(code), ['head 404  WWW-Authenticate='], 'the last header code');
  const long = packet('4142', '04 00c8 ffff 0001 012c', ['', 'n'.repeat(300), '00 ffff']);
  t.same(events(long), [`head 200  ${'n'.repeat(300)}=`], 'a name of 300 bytes');
});

t.test('what may not come during an answer', async (t) => {
  const refused = (message: RegExp, ...chunks: Buffer[]) =>
    t.throws(() => answering(...chunks), { name: 'ProtocolError', status: 0, message });
  refused(/a second SEND_HEADERS/, head, head);
  refused(/SEND_BODY_CHUNK of 1 bytes before SEND_HEADERS/, packet('4142', '03 0001 61 00'));
  refused(/END_RESPONSE without SEND_HEADERS/, end);
  refused(/CPONG although no CPING was sent/, packet('4142', '09'));
  refused(/packet type 7 from a container/, packet('4142', '07'));
  refused(/packet type 2 from a container/, packet('4142', '02'));
  refused(/begins with 1234 in place of 4142/, packet('1234', '0a'));
  refused(/packet type needs 1 bytes/, packet('4142'));
  refused(/at most 8192 are configured here/, hex('4142 1ffd 03'));
  refused(/GET_BODY_CHUNK for 0 bytes/, packet('4142', '06 0000'));
  refused(/1 bytes after GET_BODY_CHUNK/, packet('4142', '06 0001 00'));
  refused(/reuse needs 1 bytes/, head, packet('4142', '05'));
  refused(/1 bytes after END_RESPONSE/, head, packet('4142', '05 01 00'));
  refused(/status 100, 200 to 999/, packet('4142', '04 0064 0000 00 0000'));
  refused(/status 1000, 200 to 999/, packet('4142', '04 03e8 0000 00 0000'));
  refused(/has code a00c, known are a001 to a00b/, packet('4142', '04 00c8 ffff 0001 a00c ffff'));
  refused(/has code a000/, packet('4142', '04 00c8 ffff 0001 a000 ffff'));
  refused(/has code ffff/, packet('4142', '04 00c8 ffff 0001 ffff ffff'));
  refused(/header name is empty/, packet('4142', '04 00c8 ffff 0001 0000 00 ffff'));
  refused(/5 headers cannot be in the 4 bytes/, packet('4142', '04 00c8 ffff 0005 a001 ffff'));
  refused(/1 bytes after the last header/, packet('4142', '04 00c8 ffff 0000 00'));
  refused(/2 bytes after the data/, head, packet('4142', '03 0001 61 00 00'));
  refused(/is not ended by NUL/, head, packet('4142', '03 0001 61 01'));
  refused(/chunk of 3 bytes in a packet with room for 2/, head, packet('4142', '03 0003 61 00'));
  refused(/a data packet of 1 bytes without a length/, head, packet('4142', '03'));
  refused(/a data packet of 1 bytes without/, head, hex('4142'), hex('0001 03'));
  for (const byte of ['0d', '0a', '00', '1f', '7f']) {
    const holds = new RegExp(`holds byte ${byte} at 0`);
    refused(holds, packet('4142', '04 00c8 0001', byte, '00 0000'));
    refused(holds, packet('4142', '04 00c8 ffff 0001 a001 0001', byte, '00'));
    refused(holds, packet('4142', '04 00c8 ffff 0001 0001', byte, '00 ffff'));
  }
  refused(/holds byte 3a at 1/, packet('4142', '04 00c8 ffff 0001 0002', ['', 'a:', '00 ffff']));
});

t.test('an error is for ever, and kept to its connection', async (t) => {
  const log = new ClientLog();
  log.decoder.begin();
  t.throws(() => log.push(end), /without SEND_HEADERS/);
  t.throws(() => log.push(head), /without SEND_HEADERS/, 'nothing after it is looked at');
  t.notOk(log.decoder.isIdle);
  t.throws(() => log.decoder.begin(), /in state "failed"/);
  t.same(answering(head, end).events, ['head 200 OK', 'end true']);
});

t.test('an exception of its owner ends it too', async (t) => {
  const decoder = new AjpClientDecoder({
    ...{ onBody() {}, onGetBody() {}, onEnd() {}, onPong() {} },
    onHead() {
      throw new TypeError('mine');
    },
  });
  decoder.begin();
  t.throws(() => decoder.push(Buffer.concat([head, end])), TypeError);
  t.throws(() => decoder.push(end), TypeError, 'the rest of that chunk is lost');
  t.notOk(decoder.isIdle);
});

t.test('requests and pings one after the other', async (t) => {
  const log = answering(head);
  t.notOk(log.decoder.isIdle);
  t.throws(() => log.decoder.begin(), /in state "body"/);
  log.push(end.subarray(0, 3), end.subarray(3));
  t.ok(log.decoder.isIdle);
  log.decoder.ping();
  t.notOk(log.decoder.isIdle);
  t.throws(() => log.decoder.ping(), /a CPING cannot begin/);
  log.push(packet('4142', '09'));
  t.ok(log.decoder.isIdle);
  log.decoder.begin();
  log.push(head, packet('4142', '05 00'));
  t.notOk(log.decoder.isIdle, 'reuse 0');
  t.throws(() => log.decoder.begin(), /in state "closed"/);
  t.throws(() => log.push(Buffer.from('A')), /no answer is due/);
  const pinged = new ClientLog();
  pinged.decoder.ping();
  t.throws(() => pinged.push(packet('4142', '03 0001 61 00')), /SEND_BODY_CHUNK in place of CPONG/);
  const stray = new ClientLog();
  stray.decoder.ping();
  t.throws(() => stray.push(Buffer.concat([packet('4142', '09'), head])), /bytes came after CPONG/);
  t.same(stray.events, [], 'no pong is told of a connection that cannot be used');
});

t.test('views of what was pushed, without a copy', async (t) => {
  const chunk = Buffer.concat([head, packet('4142', '03 0003', ['', 'abc', '00'])]);
  const views: Buffer[] = [];
  const decoder = new AjpClientDecoder({
    ...{ onHead() {}, onGetBody() {}, onEnd() {}, onPong() {} },
    onBody: (bytes) => views.push(bytes),
  });
  decoder.begin();
  decoder.push(chunk.subarray(0, chunk.length - 3));
  decoder.push(chunk.subarray(chunk.length - 3));
  t.same(views.map(String), ['a', 'bc']);
  t.ok(views.every((view) => view.buffer === chunk.buffer));
});
