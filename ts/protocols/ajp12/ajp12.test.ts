// SPDX-License-Identifier: Apache-2.0
// Both sides of AJP 1.2, against bytes written by hand.
import { createHash } from 'node:crypto';
import t from 'tap';
import { hex } from '../ajp13/testing/peers.ts';
import { answerTo, encodeChallenge, isAnswer } from './challenge.ts';
import { encodeRequest, encodeSignal } from './client-encoder.ts';
import { encodeHead, PONG } from './server-encoder.ts';
import { ClientLog, request, ServerLog } from './testing/peers.ts';

const refusal = (status: number, message?: RegExp) => ({
  name: 'ProtocolError',
  status,
  ...(message ? { message } : {}),
});

/** As mod_jk sends it. */
const getA = hex(
  ['01 0003', 'GET', 'ffff ffff 0001', 'e', 'ffff ffff ffff 0003', 'q=1', '0009', '127.0.0.1'],
  ['ffff ffff ffff 0002', '80', '0003', 'GET', '0002', '/a', 'ffff ffff 0001', 'a'],
  ['0002', '80', '0008', 'HTTP/1.1', 'ffff 0001', 's', 'ffff ffff ffff'],
);
const full = Buffer.concat([
  getA,
  hex(['05 0005', 'HTTPS', '0002', 'on', '03 000e', 'content-length', '0001', '3', '04']),
]);

t.test('a request, both ways', async (t) => {
  const sent = request({
    queryString: 'q=1',
    environment: [['HTTPS', 'on']],
    fields: [['content-length', '3']],
  });
  t.equal(encodeRequest(sent).toString('hex'), full.toString('hex'));
  const log = new ServerLog();
  log.push(full, Buffer.from('ab'));
  t.notOk(log.decoder.isDone);
  log.push(Buffer.from('c'));
  t.same(log.requests, [sent]);
  t.same(log.events, ['GET /a 3', 'body abc', 'body-end']);
  t.ok(log.decoder.isDone);
  t.throws(() => log.push(Buffer.from('\r\n')), refusal(400, /after the end of the request/));
});

t.test(
  'what mod_jserv does otherwise: empty strings, a remote port, zone and servlet',
  async (t) => {
    const log = new ServerLog();
    log.push(
      hex(
        ['01 0004', 'POST', '0004', 'zone', '0003', 'Cls', '0000 0000 0000 0000 0000 0000 0000'],
        ['0001', 'u', '0005', 'Basic', '0004', '4711', '0004', 'POST', '0000 0000 0000 0000'],
        ['0004', '8080', '0000 0000 0000 0002', 'r1', '0000 0000 04'],
      ),
    );
    const { zone, servlet, serverPort, route, remoteUser } = log.requests[0] ?? request();
    t.same([zone, servlet, serverPort, route, remoteUser], ['zone', 'Cls', 8080, 'r1', 'u']);
    t.same(log.events, ['POST  0', 'body-end']);
  },
);

t.test('requests that are refused', async (t) => {
  const refused = (status: number, message: RegExp, ...parts: Parameters<typeof hex>) =>
    t.throws(
      () => new ServerLog().push(Buffer.concat([getA, hex(...parts)])),
      refusal(status, message),
    );
  const header = (name: string, value: string) => {
    const length = (text: string) => text.length.toString(16).padStart(4, '0');
    return ['03', '', length(name), name, length(value), value];
  };
  refused(411, /needs a Content-Length/, header('transfer-encoding', 'chunked'), '04');
  refused(501, /other than/, header('transfer-encoding', 'gzip'), '04');
  const length = header('content-length', '3');
  refused(400, /both/, length, header('transfer-encoding', 'chunked'), '04');
  refused(400, /two different/, length, header('Content-Length', '4'), '04');
  refused(400, /not a number/, header('content-length', '3,3'), '04');
  refused(400, /mark 0 in a request/, '00');
  refused(400, /mark 255 in a request/, 'ff');
  refused(400, /header name is empty/, '03 ffff');
  refused(400, /variable name is empty/, '05 0000');
  refused(400, /header name holds byte 3a at 1/, ['03 0002', 'a:']);
  refused(400, /a holds byte 0a at 0/, ['03 0001', 'a', '0001 0a']);
  refused(400, /variable name holds byte 00/, '05 0001 00');
  refused(431, /more than 100 headers/, '03 0001 61 ffff'.repeat(101));
  refused(431, /more than 65536 bytes/, '03 fff0');
  const first = (bytes: Buffer) => new ServerLog().push(bytes);
  t.throws(() => first(hex('02')), refusal(0, /begins with mark 2, known are 1 and 254/));
  t.throws(() => first(hex('01 ffff')), refusal(400, /method is empty/));
  t.throws(() => first(hex(['01 0003', 'G T'])), refusal(400, /method holds byte 20/));
  const other = Buffer.from(getA);
  other.write('PUT', other.indexOf('GET', 10));
  t.throws(() => first(other), refusal(400, /two different ones/));
  const port = Buffer.from(full);
  port.write('8x', port.lastIndexOf('80'));
  t.throws(() => first(port), refusal(400, /server port is no number/));
  const log = new ServerLog();
  t.throws(() => log.push(hex('02')));
  t.throws(() => log.push(full), refusal(0, /mark 2/), 'for ever');
});

t.test('what may not be sent', async (t) => {
  const refused = (changes: Parameters<typeof request>[0], status: number) =>
    t.throws(() => encodeRequest(request(changes)), refusal(status), JSON.stringify(changes));
  refused({ method: '' }, 400);
  refused({ method: 'G T' }, 400);
  refused({ requestUri: '/a\r\n' }, 400);
  refused({ queryString: 'a b' }, 400);
  refused({ pathInfo: 'Ċ' }, 400);
  refused({ serverPort: -1 }, 400);
  refused({ fields: [['', 'a']] }, 400);
  refused({ fields: [['a b', 'c']] }, 400);
  refused({ fields: [['a', 'b\n']] }, 400);
  refused({ environment: [['', 'a']] }, 400);
  refused({ environment: [['a', '\0']] }, 400);
  refused({ fields: [['Transfer-Encoding', 'chunked']] }, 411);
  refused({ pathInfo: 'x'.repeat(65535) }, 431);
});

t.test('signals', async (t) => {
  for (const [signal, code] of [
    ['ping', '00'],
    ['restart', '01'],
    ['shutdown', '0f'],
  ] as const) {
    t.same(encodeSignal(signal), hex('fe', code));
    const log = new ServerLog();
    log.push(hex('fe'), hex(code));
    t.same(log.events, [`${signal} false`]);
    t.throws(() => log.push(hex('fe 00')), refusal(400), 'one a connection');
  }
  t.throws(() => new ServerLog().push(hex('fe 02')), refusal(0, /signal 2, known are 0, 1 and 15/));
  t.same(PONG, hex('00'));
  for (const pong of ['00', 'ff']) {
    const log = new ClientLog({ expects: 'pong' });
    t.same(log.read(hex(pong)), ['pong']);
  }
  t.throws(() => new ClientLog({ expects: 'pong' }).read(), /ends before pong/);
});

t.test('the challenge', async (t) => {
  const challenge = hex('01 02 03 04 05');
  const key = Buffer.from('secret file\n');
  const answer = createHash('md5')
    .update(Buffer.concat([challenge, key]))
    .digest();
  t.same(encodeChallenge(challenge), hex('0000 0005 01 02 03 04 05'));
  t.throws(() => encodeChallenge(Buffer.alloc(0)), RangeError);
  t.throws(() => encodeChallenge(Buffer.alloc(1025)), RangeError);
  t.same(answerTo(challenge, key), answer);
  t.notOk(isAnswer(answer.subarray(1), challenge, key), 'of another length');
  const authentication = { challenge, key };
  const server = new ServerLog({ authentication });
  server.push(answer.subarray(0, 7), answer.subarray(7), hex('fe 0f'));
  t.same(server.events, ['shutdown true']);
  const wrong = Buffer.concat([hex('00'), answer.subarray(1), full]);
  const guesser = new ServerLog({ authentication });
  t.throws(() => guesser.push(wrong), refusal(0, /wrong answer to the challenge/));
  t.throws(() => guesser.push(answer), refusal(0), 'no second guess');
  t.same(guesser.events, []);

  const client = new ClientLog({ key });
  const stream = Buffer.concat([encodeChallenge(challenge), Buffer.from('Status: 200 OK\n\nx')]);
  client.push(stream.subarray(0, 2), stream.subarray(2, 6), stream.subarray(6));
  client.decoder.end();
  t.same(client.events, [`answer ${answer.toString('hex')}`, 'head 200 OK', 'body x', 'end']);
  t.throws(() => new ClientLog({ key }).read(hex('0000 0000')), /challenge of 0 bytes/);
  t.throws(() => new ClientLog({ key }).read(hex('7fff ffff')), /1 to 1024 are allowed/);
  t.throws(() => new ClientLog({ key }).read(hex('0000 0005 01')), /ends before challenge/);

  const early = new ClientLog({ key, expects: null });
  early.push(encodeChallenge(challenge));
  t.same(early.events, [`answer ${answer.toString('hex')}`], 'before there is a request');
  early.decoder.begin('GET');
  t.same(early.read('A: b\n\n').slice(1), ['head 200  A=b', 'end']);
  const nobody = /sends a challenge, and there is no secret file/;
  for (const expects of [null, 'pong', { method: 'GET' }] as const) {
    const log = new ClientLog({ expects });
    t.throws(() => log.push(encodeChallenge(challenge)), nobody, JSON.stringify(expects));
  }
});

t.test('answers', async (t) => {
  const head = encodeHead({
    status: 200,
    reason: '',
    fields: [
      ['A', 'b'],
      ['Empty', ''],
    ],
  });
  t.equal(head.toString(), 'Status: 200 200\r\nA: b\r\n\r\n');
  t.same(new ClientLog().read(head, 'abc', 'd'), ['head 200 200 A=b', 'body abcd', 'end']);
  const failed = { status: 500, reason: 'Oh', fields: [], servletError: 'no class' };
  t.same(new ClientLog().read(encodeHead(failed)), ['head 500 Oh (no class)', 'end']);
  const read = (text: string, method = 'GET') => new ClientLog({ expects: { method } }).read(text);
  t.same(read('Location: /b\n\n'), ['head 302 Found Location=/b', 'end']);
  t.same(read('Location: http://b/\nA: b\n\n'), ['head 302  Location=http://b/ A=b', 'end']);
  t.same(read('Content-Length: 3\n\nabc').slice(1), ['body abc', 'end']);
  t.same(read('Content-Length: 3\n\n', 'HEAD').slice(1), ['end']);
  t.same(
    read('Status: 304 Not\nContent-Length: 3\n\nabc').slice(1),
    ['end'],
    'a body where none is',
  );
  t.throws(() => read('Content-Length: 3\n\nab'), refusal(0, /ends 1 bytes before/));
  t.throws(() => read('Content-Length: 3\n\nabcd'), refusal(0, /more of a body/));
  const broken = { name: 'CgiHeadError', status: 502 };
  t.throws(() => read('A: b\n'), { ...broken, message: /before the empty line/ });
  t.throws(() => read('A: b\rC: d\n\n'), broken);
  t.throws(() => read(''), { ...broken, message: /wrote nothing/ });
  t.same(read('Status: 200 OK\nLocation: /b\n\n'), ['head 302 Found Location=/b', 'end']);
  t.same(read('Status: 201 OK\nLocation: /b\n\n'), ['head 201 OK Location=/b', 'end']);
  t.throws(() => new ClientLog({ expects: null }).push(Buffer.from('A')), /before there was/);
  t.throws(() => new ClientLog().decoder.ping(), /one request or signal/);
  const whole = new ClientLog();
  whole.push(Buffer.from('Content-Length: 2\n\na'));
  t.notOk(whole.decoder.isWhole);
  whole.push(Buffer.from('b'));
  t.ok(whole.decoder.isWhole);
  t.throws(() => whole.push(Buffer.from('c')));
  t.notOk(whole.decoder.isWhole);
  const ended = new ClientLog();
  ended.read('A: b\n\n');
  t.throws(() => ended.push(Buffer.from('x')), refusal(0, /after the end/));
  const refused = (change: object) =>
    t.throws(() => encodeHead({ ...failed, ...change }), refusal(500), JSON.stringify(change));
  refused({ status: 100 });
  refused({ reason: 'a\nb' });
  refused({ servletError: 'a\r' });
  refused({ fields: [['Status', '200']] });
  refused({ fields: [['a b', 'c']] });
  refused({ fields: [['', 'c']] });
  refused({ fields: [['a', 'b\nc']] });
});
