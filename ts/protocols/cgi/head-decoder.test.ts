// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import t, { type Test } from 'tap';
import { CgiHeadError } from './cgi-head-error.ts';
import { CgiHeadDecoder } from './head-decoder.ts';
import type { CgiHeadLimits } from './types.ts';

/** [head, the rest as text], read in one piece and byte by byte. */
function read(text: string, limits?: CgiHeadLimits) {
  const bytes = Buffer.from(text, 'latin1');
  const whole = new CgiHeadDecoder(limits).push(bytes);
  const decoder = new CgiHeadDecoder(limits);
  for (let at = 0; at < bytes.length; at++) {
    const part = decoder.push(bytes.subarray(at, at + 1));
    if (part === null) continue;
    const rest = part.body.toString('latin1') + bytes.toString('latin1', at + 1);
    assert.deepEqual([whole?.head, whole?.body.toString('latin1')], [part.head, rest]);
    return [part.head, rest];
  }
  throw new Error(`the head goes on: ${text}`);
}

const document = (status: number, reason: string, ...fields: [string, string][]) => {
  return { kind: 'document', status, reason, fields };
};
const redirect = (status: number, reason: string, ...fields: [string, string][]) => {
  return { kind: 'client-redirect', status, reason, fields };
};
const html: [string, string] = ['Content-Type', 'text/html'];

t.test('documents', async (t) => {
  const same = (text: string, head: object, body: string) =>
    t.strictSame(read(text), [head, body], JSON.stringify(text.slice(0, 50)));
  same('Content-Type: text/html\n\n<p>', document(200, '', html), '<p>');
  same('Content-Type: text/html\r\n\r\n\r\nx', document(200, '', html), '\r\nx');
  same(
    'content-type:text/html\nX: 1\r\n\n',
    document(200, '', ['content-type', 'text/html'], ['X', '1']),
    '',
  );
  same('Status: 404 Not Found\nContent-Type: text/html\n\n', document(404, 'Not Found', html), '');
  same('Content-Type: text/html\nSTATUS:\t404\n\n', document(404, '', html), '');
  same('Status: 204\n\n', document(204, ''), '');
  same('Status: 500 \n\n', document(500, ''), '');
  same('Status: 999 \xe4 b\n\n', document(999, '\xe4 b'), '');
  same('X-Only: 1\n\nbody\n\n', document(200, '', ['X-Only', '1']), 'body\n\n');
  same('X-Blanks: \t a  b \t \n\n', document(200, '', ['X-Blanks', 'a  b']), '');
  same('X-Utf8: \xc3\xa0\n\n', document(200, '', ['X-Utf8', '\xc3\xa0']), '');
  same('X-Empty:\nX-Colon: a:b\n\n', document(200, '', ['X-Empty', ''], ['X-Colon', 'a:b']), '');
  const cookies: [string, string][] = [
    ['Set-Cookie', 'a=1'],
    ['set-cookie', 'b=2'],
  ];
  same('Set-Cookie: a=1\nset-cookie: b=2\n\n', document(200, '', ...cookies), '');
  same('Content-Length: 5\n\n12345', document(200, '', ['Content-Length', '5']), '12345');
  same('Content-Type: \nLocation:\nStatus:\nX: 1\n\n', document(200, '', ['X', '1']), '');
  same(
    'Status: 201 Created\nLocation: /new\n\n',
    document(201, 'Created', ['Location', '/new']),
    '',
  );
});

t.test('a status that is no redirect beside a Location', async (t) => {
  const there: [string, string] = ['Location', '/x'];
  t.strictSame(read('Status: 404\nLocation: /x\n\n'), [document(404, '', there), '']);
  t.strictSame(read('Status: 299\nLocation: /x\n\n'), [document(299, '', there), '']);
  t.strictSame(read('Status: 399\nLocation: /x\n\n'), [redirect(399, '', there), '']);
});

t.test('what concerns a connection is left out', async (t) => {
  const fields = ['Connection: close', 'Keep-Alive: 5', 'TE: x', 'Trailer: x', 'Upgrade: x'];
  fields.push('transfer-encoding: chunked', 'Proxy-Connection: x', 'Content-Type: text/html');
  t.strictSame(read(`${fields.join('\n')}\n\nb`), [document(200, '', html), 'b']);
});

t.test('local redirects', async (t) => {
  const local = (location: string) => ({ kind: 'local-redirect', location });
  t.strictSame(read('Location: /path?query\n\n'), [local('/path?query'), '']);
  t.strictSame(read('location: //path\r\n\r\nx'), [local('//path'), 'x']);
});

t.test('client redirects', async (t) => {
  const to = (value: string): [string, string] => ['Location', value];
  const uri = to('http://host/path#fragment');
  t.strictSame(read(`Location: ${uri[1]}\n\n`), [redirect(302, '', uri), '']);
  t.strictSame(
    read(`Location: ${uri[1]}\nStatus: 301 Moved\nContent-Type: text/html\n\nThere`),
    [redirect(301, 'Moved', uri, html), 'There'],
    'with a document',
  );
  t.strictSame(read('Location: /path\nStatus: 303\n\n'), [redirect(303, '', to('/path')), '']);
  t.strictSame(
    read('Location: /path\nSet-Cookie: a=1\n\n'),
    [redirect(302, '', to('/path'), ['Set-Cookie', 'a=1']), ''],
    'a path beside other fields',
  );
  t.strictSame(read('Location: other.html\n\n'), [redirect(302, '', to('other.html')), '']);
});

t.test('whole HTTP answers', async (t) => {
  const nph = (status: number, reason: string, ...fields: [string, string][]) => {
    return { kind: 'nph', status, reason, fields };
  };
  t.strictSame(read('HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<p>'), [
    nph(404, 'Not Found', html),
    '<p>',
  ]);
  t.strictSame(read('HTTP/1.0 200\n\n'), [nph(200, ''), '']);
  t.strictSame(read('HTTP/1.1 302 \nLocation: /a\nConnection: close\n\n'), [
    nph(302, '', ['Location', '/a']),
    '',
  ]);
});

function refused(t: Test, text: string, message: RegExp, limits?: CgiHeadLimits): CgiHeadError {
  const bytes = Buffer.from(text, 'latin1');
  const decoder = new CgiHeadDecoder(limits);
  const bytewise = new CgiHeadDecoder(limits);
  const errors = [
    () => decoder.push(bytes) ?? decoder.end(),
    () => decoder.push(bytes),
    () => {
      for (const byte of bytes) bytewise.push(Buffer.of(byte));
      bytewise.end();
    },
  ].map((read) => {
    try {
      read();
    } catch (error) {
      return error;
    }
    return null;
  });
  const [error] = errors;
  if (!(error instanceof CgiHeadError)) throw error ?? new Error(`taken: ${text}`);
  t.match(error.message, message);
  t.equal(error.status, 502);
  t.strictSame(
    errors.map(String),
    errors.map(() => String(error)),
    'again, and byte by byte',
  );
  return error;
}

t.test('what is no head', async (t) => {
  refused(t, '', /^the program wrote nothing$/);
  refused(t, '\nbody', /^the answer's head: an empty line, and no header field before it$/);
  refused(t, '\r\n\r\n', /an empty line/);
  refused(t, 'Hello, world\n', /^line 1 of .*head, "Hello, world": not a header field, NAME: /);
  refused(t, 'X: 1\n<html>\n\n', /line 2 .* "<html>": not a header field/);
  refused(t, ': value\n\n', /": value": not a header field/);
  refused(t, 'A : value\n\n', /"A : value": not a header field/);
  refused(t, 'N\xe4me: value\n\n', /"N.me: value": not a header field/);
  refused(t, 'A: 1\n b\n\n', /line 2 .*" b": a line may not go on in the next/);
  refused(t, 'A: 1\n\tb\n\n', /line 2 .*"\.b": a line may not go on/);
  refused(t, 'A: 1\nHTTP/1.1 200 OK\n\n', /line 2 .*: not a header field/);
  for (const control of ['\0', '\r', '\x01', '\x1f', '\x7f']) {
    refused(t, `A: 1${control}2\n\n`, /line 1 .*"A: 1\.2": a control character in a header field/);
  }
  refused(t, 'A: 1\r\r\n\n', /a control character/);
  refused(t, 'HTTP/1.1 200 O\0K\n\n', /a control character/);
});

t.test('what may be said once only', async (t) => {
  for (const name of ['Content-Type', 'Location', 'Content-Length']) {
    refused(
      t,
      `${name}: 1\n${name.toLowerCase()}: 1\n\n`,
      new RegExp(`line 2 .*: a second ${name}`, 'i'),
    );
  }
  refused(t, 'Status: 200\nStatus: 200\n\n', /line 2 .*: a second Status$/);
  refused(t, 'HTTP/1.1 200 OK\nStatus: 200\n\n', /line 2 .*: a second Status$/);
});

t.test('what is no value', async (t) => {
  const statuses = ['20', '2000', 'OK', '200OK', '100 Continue', '199', '099', '-20', '2e2'];
  for (const status of statuses) {
    refused(t, `Status: ${status}\n\n`, /: not a status, 200 to 999 and a reason$/);
  }
  for (const line of ['HTTP/1.1', 'HTTP/1.1 OK', 'HTTP/2 200 OK', 'HTTP/1.1 100 Continue']) {
    refused(t, `${line}\n\n`, /line 1 .*: not a status/);
  }
  for (const length of ['-1', '1 2', 'x', '0x10', '1'.repeat(16)]) {
    refused(t, `Content-Length: ${length}\n\n`, /: not a number of bytes$/);
  }
  refused(t, 'HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n', /whose body is not encoded/);
});

t.test('an output that ends too early', async (t) => {
  refused(
    t,
    'Content-Type: text/html\n',
    /line 2 of .*head,: the output ends before the empty line/,
  );
  refused(t, 'Content-Type: te', /line 1 .* "Content-Type: te": the output ends before/);
});

t.test('what was seen is told up to 80 bytes, and can be printed', async (t) => {
  const error = refused(t, `\x7fELF\0\xff${'x'.repeat(200)}\n`, /not a header field/);
  t.equal(error.seen, `.ELF..${'x'.repeat(74)}`);
});

t.test('limits', async (t) => {
  const limits = { headBytes: 20, fields: 3 };
  t.ok(read('A: 345678\nB: 34567\n\nbody', limits), '20 bytes');
  refused(t, 'A: 345678\nB: 345678\n\n', /line 3 of .*: longer than 20 bytes$/, limits);
  refused(t, `A: ${'x'.repeat(17)}\n\n`, /line 1 .*"A: x{17}": longer than 20 bytes/, limits);
  refused(t, 'x'.repeat(100), /line 1 .* "x{20}": longer than 20 bytes/, limits);
  refused(t, 'x'.repeat(70000), /line 1 .*: longer than 65536 bytes/);
  t.ok(read('A:\nA:\nA:\n\n', limits), '3 fields');
  refused(t, 'A:\nA:\nA:\nA:\n\n', /line 4 .*: more than 3 header fields/, limits);
  const many = read(`${'A: b\n'.repeat(256)}\n`);
  t.equal((many[0] as { fields: unknown[] }).fields.length, 256);
});

t.test('blanks in a long line are read once', async (t) => {
  const value = `a${' '.repeat(60000)}b`;
  t.strictSame(read(`A: ${value}\n\n`), [document(200, '', ['A', value]), '']);
});
