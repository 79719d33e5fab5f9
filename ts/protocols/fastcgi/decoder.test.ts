// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { FastcgiDecoder } from './decoder.ts';
import { Told } from './testing/told.ts';
import { abort, begin, pairs, params, record, request, stdin } from './testing/web-server.ts';

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ''), 'hex');
const none = new Uint8Array(0);
const bytewise = (bytes: Uint8Array) => [...bytes].map((byte) => Uint8Array.of(byte));

/** version type id content padding reserved, then content and padding; every byte by hand. */
const kept = hex(`
  01 01 0001 0008 00 00   0001 01 00 00 00 00 00
  01 04 0001 0017 01 00   0b 04 5343524950545f4e414d45 2f617070   04 00 464c4147   ee
  01 04 0001 0000 00 00
  01 05 0001 0003 05 00   613d31 eeeeeeeeee
  01 05 0001 0000 00 00`);
const keptLines = ['request 1 responder kept SCRIPT_NAME=/app&FLAG=', 'body 1 a=1', 'body end 1'];

t.test('a request whose bytes were written by hand', async (t) => {
  t.strictSame(new Told().push(kept).lines, keptLines, 'in one chunk');
  const told = new Told();
  told.push(...bytewise(kept));
  t.strictSame(told.lines, keptLines, 'byte by byte');
});

t.test('lengths of four bytes, and pairs over several records', async (t) => {
  const pair = hex(`
    80000080 80000081 ${'4e'.repeat(128)} ${'56'.repeat(129)}
    01 80000001 61 62
    80000001 01 63 64`);
  const expected = `request 7 responder ${'N'.repeat(128)}=${'V'.repeat(129)}&a=b&c=d`;
  for (const size of [1, 2, 3, 5, 127, 200, pair.length]) {
    const told = new Told().push(begin(7, 1, 0));
    for (let at = 0; at < pair.length; at += size) {
      told.push(record(4, 7, pair.subarray(at, at + size), at % 4));
    }
    t.strictSame(told.push(record(4, 7, none)).lines, [expected], `records of ${size} bytes`);
  }
});

t.test('bytes above 127, empty names and values, a name that comes twice', async (t) => {
  const told = new Told().push(begin(1));
  const values = [
    ['\xe4', '\xff\x00\x80'],
    ['', 'x'],
    ['A', '1'],
    ['A', '2'],
    ['USHER_PREFIX', 'ours'],
    ['USHER_PREFIX', 'theirs'],
  ] as const;
  told.push(record(4, 1, pairs(values)), record(4, 1, none));
  t.strictSame(told.lines, ['request 1 responder kept \xe4=\xff\x00\x80&=x&A=2&USHER_PREFIX=ours']);
});

t.test('a request without parameters', async (t) => {
  t.strictSame(new Told().push(begin(65535), params(65535, {}), stdin(65535)).lines, [
    'request 65535 responder kept ',
    'body end 65535',
  ]);
});

t.test('an authorizer has no body, whatever the server says of it', async (t) => {
  const told = new Told().push(begin(1, 2, 0), params(1, { A: 'b' }));
  t.strictSame(told.lines, ['request 1 authorizer A=b', 'body end 1']);
  told.push(stdin(1), stdin(1, 'text'));
  t.equal(told.lines.length, 2);
  told.push(abort(1));
  t.equal(told.lines[2], 'abort 1');
});

t.test('requests one after the other on a connection', async (t) => {
  const two = Buffer.concat([kept, request(2, { A: '1' })]);
  t.strictSame(
    new Told({ endsRequests: true }).push(two).lines,
    [...keptLines, 'request 2 responder kept A=1', 'body end 2'],
    'in one chunk',
  );
  const told = new Told({ endsRequests: true }).push(kept, kept);
  t.strictSame(told.lines, [...keptLines, ...keptLines], 'the same id again');
});

t.test('a request that is ended early', async (t) => {
  const told = new Told().push(begin(1), params(1, {}), record(5, 1, Buffer.from('abc')));
  const half = record(5, 1, Buffer.from('defghi'));
  told.push(half.subarray(0, 10));
  t.strictSame(told.lines, ['request 1 responder kept ', 'body 1 abcde']);
  told.decoder.end(1);
  told.push(half.subarray(10), stdin(1, 'rest'), abort(1));
  t.strictSame(told.lines.slice(1), ['body 1 abcde'], 'what still comes of it is dropped');
  told.push(request(1, { A: '1' }));
  t.strictSame(told.lines.slice(2), ['request 1 responder kept A=1', 'body end 1']);
  told.decoder.end(2);
  told.push(abort(1));
  t.equal(told.lines.at(-1), 'abort 1', 'the end of another request does not end it');
});

t.test('an end that comes while its successor sends parameters', async (t) => {
  const bytes = params(1, { NAME: 'value' });
  const told = new Told().push(begin(1), bytes.subarray(0, 12));
  told.decoder.end(1);
  told.push(bytes.subarray(12), stdin(1), request(1, { A: '1' }));
  t.strictSame(told.lines, ['request 1 responder kept A=1', 'body end 1']);
});

t.test('a request that is ended while it is told', async (t) => {
  let bodies = 0;
  const decoder = new FastcgiDecoder(
    {
      onRequest: ({ id }) => decoder.end(id),
      onBody: () => bodies++,
      onBodyEnd: () => bodies++,
      onAbort: () => bodies++,
      onReply: () => bodies++,
    },
    { paramsBytes: 100 },
  );
  decoder.push(Buffer.concat([kept, kept, begin(1, 2), params(1, {}), abort(1)]));
  t.equal(bodies, 0);
});

t.test('an abort', async (t) => {
  const told = new Told().push(begin(1), params(1, {}), abort(1), abort(1), stdin(1, 'late'));
  t.strictSame(told.lines, ['request 1 responder kept ', 'abort 1'], 'is told once, then silence');
  told.decoder.end(1);
  told.push(kept);
  t.strictSame(told.lines.slice(2), keptLines, 'the connection serves on');

  const early = new Told().push(begin(3), record(4, 3, Uint8Array.of(1)), abort(3), kept);
  t.strictSame(
    early.lines,
    ['reply 01030003000800000000000000000000', ...keptLines],
    'before its parameters are there it is ended here',
  );
  t.strictSame(
    new Told().push(begin(3, 1, 0), abort(3)).lines,
    ['reply 01030003000800000000000000000000 last'],
    'and is the last of its connection where that is not kept',
  );
});

t.test('records of requests that are not active', async (t) => {
  const stray = [params(9, { A: '1' }), stdin(9, 'x'), abort(9), record(8, 9, Uint8Array.of(1))];
  t.strictSame(new Told().push(...stray).lines, []);
  const told = new Told().push(begin(1), ...stray, params(1, {}), ...stray, stdin(1));
  t.strictSame(told.lines, ['request 1 responder kept ', 'body end 1']);
});

t.test('types that an application does not get', async (t) => {
  const told = new Told().push(begin(1));
  for (const type of [3, 6, 7, 8, 9, 10, 11, 12, 0, 255]) {
    told.push(record(type, 1, Buffer.from('content'), 3));
  }
  told.push(params(1, {}), stdin(1, 'b'));
  t.strictSame(told.lines, ['request 1 responder kept ', 'body 1 b', 'body end 1']);
});

t.test('a second request at a time', async (t) => {
  const told = new Told().push(begin(1), begin(2), params(2, { A: '2' }), stdin(2, 'two'));
  const reply = 'reply 01030002000800000000000001000000';
  t.strictSame(told.lines, [reply], 'is told that this connection takes one');
  told.push(params(1, {}), begin(3, 3, 0), stdin(1, 'one'));
  t.strictSame(told.lines.slice(1), [
    'request 1 responder kept ',
    reply.replace('0002', '0003'),
    'body 1 one',
    'body end 1',
  ]);
});

t.test('another role', async (t) => {
  const told = new Told().push(begin(1, 3), params(1, { A: '1' }), stdin(1, 'x'), begin(2, 0, 0));
  t.strictSame(told.lines, [
    'reply 01030001000800000000000003000000',
    'reply 01030002000800000000000003000000 last',
  ]);
  t.strictSame(told.push(begin(3, 256)).lines[2], 'reply 01030003000800000000000003000000');
});

t.test('management records', async (t) => {
  const asked = ['FCGI_MAX_CONNS', 'FCGI_MAX_REQS', 'FCGI_MPXS_CONNS', 'FCGI_OTHER'];
  const query = record(9, 0, pairs(asked.map((name) => [name, ''])), 2);
  const limits = { paramsBytes: 100, maxConnections: 12 };
  t.strictSame(new Told({ limits }).push(query).lines, [
    `reply 010a000000350000${[
      ...['0f01', Buffer.from('FCGI_MPXS_CONNS0').toString('hex')],
      ...['0e02', Buffer.from('FCGI_MAX_CONNS12').toString('hex')],
      ...['0d02', Buffer.from('FCGI_MAX_REQS12').toString('hex')],
    ].join('')}`,
  ]);
  t.strictSame(
    new Told().push(query, record(9, 0, none)).lines,
    [
      `reply 010a000000120000${'0f01'}${Buffer.from('FCGI_MPXS_CONNS0').toString('hex')}`,
      'reply 010a000000000000',
    ],
    'what is not known is left out',
  );
  const told = new Told();
  told.push(...bytewise(query));
  t.equal(told.lines.length, 1, 'byte by byte');
  t.strictSame(
    new Told().push(record(200, 0, Buffer.from('x')), begin(0), record(4, 0, none)).lines,
    [200, 1, 4].map(
      (type) => `reply 010b000000080000${type.toString(16).padStart(2, '0')}${'0'.repeat(14)}`,
    ),
    'unknown types are said to be unknown',
  );
  const answers = [record(10, 0, Buffer.from('x')), record(11, 0, Buffer.alloc(8))];
  t.strictSame(new Told().push(...answers).lines, [], 'answers are not answered');
  t.strictSame(
    new Told()
      .push(begin(1), record(4, 1, hex('0101 41')), query, record(4, 1, hex('31')))
      .push(record(4, 1, none))
      .lines.slice(1),
    ['request 1 responder kept A=1'],
    'they may come between the records of a request',
  );
});

t.test('too many parameters', async (t) => {
  const limits = { paramsBytes: 20 };
  const fits = { NAME: 'fourteen bytes' };
  const told = new Told({ limits }).push(begin(1), params(1, fits, 3), stdin(1));
  t.strictSame(told.lines, ['request 1 responder kept NAME=fourteen bytes', 'body end 1']);

  const over = [begin(1), params(1, { NAME: 'fifteen bytes..' }, 7), stdin(1, 'body')];
  const other = new Told({ limits }).push(...over, kept.subarray(0, 16));
  t.equal(other.lines.length, 1);
  const answer = Buffer.from(other.lines[0]!.slice('reply '.length), 'hex');
  t.match(answer.toString('latin1'), /^.{8}Status: 431 .*are longer than 20 bytes/s);
  t.equal(
    answer.subarray(-24).toString('hex'),
    '0106000100000000010300010008000000000000' + '00000000',
  );
  t.strictSame(
    other.push(params(1, fits), stdin(1)).lines.slice(1),
    told.lines,
    'the connection serves on',
  );
  const last = new Told({ limits }).push(begin(1, 1, 0), params(1, { NAME: 'x'.repeat(200) }));
  t.match(last.lines, [/ last$/]);
});

t.test('what breaks the protocol', async (t) => {
  const cases: [what: string, bytes: Uint8Array[], message: RegExp][] = [
    ['HTTP', [Buffer.from('GET / HTTP/1.1\r\n\r\n')], /version 71 at byte 0 .*only 1 is known/],
    ['version 2 later', [kept, hex('02 01 0001 0008 00 00')], /version 2 at byte 80 /],
    [
      'a short begin',
      [record(1, 5, Buffer.alloc(7))],
      /request 5: FCGI_BEGIN_REQUEST has 7 .*not 8/,
    ],
    [
      'a long begin',
      [record(1, 5, Buffer.alloc(9))],
      /request 5: FCGI_BEGIN_REQUEST has 9 .*not 8/,
    ],
    ['an empty begin', [record(1, 5, none)], /FCGI_BEGIN_REQUEST has 0 .*not 8/],
    ['a begin twice', [begin(5), begin(5)], /request 5: .*not ended/],
    ['a body first', [begin(5), stdin(5)], /request 5: FCGI_STDIN before/],
    ['more parameters', [kept, record(4, 1, Uint8Array.of(0, 0))], /request 1: FCGI_PARAMS after/],
    ['more body', [kept, stdin(1, 'x')], /request 1: FCGI_STDIN after/],
  ];
  const cut = [
    '05',
    '0501',
    '05014e414d45',
    '05024e414d4521ff',
    '80',
    '800000',
    '80000001',
    '0180',
    '81000001014142',
    '01800000',
    '018000000241',
    'ffffffffffffffff',
    '0101414200',
  ];
  for (const content of cut) {
    const bytes = [begin(5), record(4, 5, hex(content)), record(4, 5, none)];
    cases.push([`parameters ${content}`, bytes, /end at byte \d+, within the pair .* at byte \d/]);
  }
  cases.push(['asked values', [record(9, 0, hex('05'))], /end at byte 1, within the pair/]);
  for (const [what, bytes, message] of cases) {
    const expected = { name: 'ProtocolError', message };
    t.throws(() => new Told().push(...bytes), expected, what);
    const told = new Told();
    const one = Buffer.concat(bytes);
    t.throws(() => told.push(...bytewise(one)), expected);
    t.throws(() => told.push(kept), expected, 'and nothing is read after that');
  }
});

t.test('empty records after the end of a stream are harmless', async (t) => {
  t.strictSame(new Told().push(kept, record(5, 1, none), record(4, 1, none)).lines, keptLines);
});
