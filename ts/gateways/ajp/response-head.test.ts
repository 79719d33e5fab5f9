// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { Failure } from './failure.ts';
import { PathMapping } from './request-path.ts';
import { responseHead } from './response-head.ts';

type Fields = [string, string][];
const asItIs = new PathMapping('', '');

function head(
  fields: Fields,
  { status = 200, reason = '200', method = 'GET', mapping = asItIs } = {},
) {
  return responseHead(status, reason, fields, method, 'X-Own: 1\r\n', mapping, 'h.org:8080');
}

function lines(fields: Fields, more = {}): string[] {
  const made = head(fields, more);
  if (made instanceof Failure) throw made;
  return made.text.split('\r\n');
}

t.test('status and reason', async (t) => {
  t.same(lines([]), ['Status: 200 OK', 'X-Own: 1', '', '']);
  t.equal(lines([], { status: 404, reason: 'Not here' })[0], 'Status: 404 Not here');
  t.equal(lines([], { status: 404, reason: '' })[0], 'Status: 404 Not Found');
  t.equal(lines([], { status: 799, reason: '799' })[0], 'Status: 799 Unknown');
});

t.test('fields', async (t) => {
  const fields: Fields = [
    ['Content-Type', 'text/html'],
    ['Set-Cookie', 'a=b; Path=/app'],
    ['Set-Cookie', 'c=d'],
    ['X-Accel-Redirect', '/x'],
  ];
  t.same(
    lines(fields).slice(1, -3),
    fields.map(([name, value]) => `${name}: ${value}`),
  );
});

t.test('CVE-2024-24795: the framing of the backend is not passed on', async (t) => {
  const fields: Fields = [
    ['Transfer-Encoding', 'gzip'],
    ['connection', 'close'],
    ['Keep-Alive', 'x'],
    ['Upgrade', 'x'],
    ['Trailer', 'x'],
    ['TE', 'x'],
    ['Status', '404 Not Found'],
    ['X-Usher-Backend', 'forged'],
    ['x-usher-route', 'forged'],
    ['X-Ok', '1'],
  ];
  t.same(lines(fields).slice(1), ['X-Ok: 1', 'X-Own: 1', '', '']);
});

t.test('Content-Length', async (t) => {
  const of = (value: string): Fields => [['Content-Length', value]];
  t.match(head(of('5')), { bodyBytes: 5, hasNoBody: false });
  t.match(head([]), { bodyBytes: -1, hasNoBody: false });
  t.match(head(of('5'), { method: 'HEAD' }), { bodyBytes: -1, hasNoBody: true });
  t.ok(lines(of('5'), { method: 'HEAD' }).includes('Content-Length: 5'));
  t.match(head(of('5'), { status: 304 }), { bodyBytes: -1, hasNoBody: true });
  t.match(head(of('5'), { status: 204 }), { bodyBytes: -1, hasNoBody: true });
  t.notOk(lines(of('5'), { status: 204 }).includes('Content-Length: 5'));
  t.equal(lines([...of('5'), ...of('5')]).filter((line) => line.startsWith('Content')).length, 1);
  for (const wrong of [
    of('5x'),
    of('-1'),
    of('9'.repeat(20)),
    of(' 5'),
    [...of('5'), ...of('6')],
  ]) {
    t.match(head(wrong), { status: 502, message: 'Content-Length' }, JSON.stringify(wrong));
  }
});

t.test('context to mount', async (t) => {
  const mapping = new PathMapping('/shop', '/app');
  const mapped = (name: string, value: string) => lines([[name, value]], { mapping })[1];
  t.equal(mapped('Location', '/app/x?y=/app/z'), 'Location: /shop/x?y=/app/z');
  t.equal(mapped('Location', 'http://H.org:8080/app/x'), 'Location: http://H.org:8080/shop/x');
  t.equal(mapped('Location', 'https://h.org:8080/app'), 'Location: https://h.org:8080/shop');
  t.equal(mapped('Location', '//h.org:8080/app/x'), 'Location: //h.org:8080/shop/x');
  t.equal(mapped('Location', 'http://other/app/x'), 'Location: http://other/app/x', 'elsewhere');
  t.equal(mapped('Location', 'x/y'), 'Location: x/y', 'relative');
  t.equal(mapped('Location', '/application'), 'Location: /application');
  t.equal(mapped('Content-Location', '/app/x'), 'Content-Location: /shop/x');
  t.equal(
    mapped('Set-Cookie', 'a=/app; Path=/app; Secure'),
    'Set-Cookie: a=/app; Path=/shop; Secure',
  );
  t.equal(mapped('set-cookie', 'a=b;path=/app/'), 'set-cookie: a=b;path=/shop/');
  t.equal(mapped('Set-Cookie', 'a=b; Path=/'), 'Set-Cookie: a=b; Path=/');
  t.equal(mapped('X-Path', '/app/x'), 'X-Path: /app/x');
  const long = `a=b;${' '.repeat(100_000)}Path${' '.repeat(100_000)}`;
  t.equal(mapped('Set-Cookie', long), `Set-Cookie: ${long}`, 'CVE-2026-34355: of any length');
});
