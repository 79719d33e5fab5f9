// SPDX-License-Identifier: Apache-2.0
// Programs write anything, cut anywhere; servers and clients say anything.
import fc from 'fast-check';
import t from 'tap';
import { holds } from '../../testing/properties.ts';
import { ProtocolError } from '../protocol-error.ts';
import { CgiHeadError } from './cgi-head-error.ts';
import { cgiEnvironment } from './environment.ts';
import { CgiHeadDecoder } from './head-decoder.ts';
import { searchWords } from './search-words.ts';
import type { Field } from './types.ts';

const limits = { headBytes: 70, fields: 5 };
const latin1 = (maxLength: number) =>
  fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes).toString('latin1'));

const line = fc.oneof(
  fc.constantFrom(
    ...['Content-Type: text/html', 'Status: 404 Not Found', 'Status: 302', 'Location: /path'],
    ...['Location: http://host/', 'HTTP/1.1 200 OK', 'Connection: close', 'X: \t y \t', ' folded'],
    ...['X-NUL: \0', 'X-CR: a\rb', 'Content-Length: 3', 'Content-Length: x', '', ''],
  ),
  latin1(12),
);
const output = fc.oneof(
  fc
    .array(fc.tuple(line, fc.constantFrom('\n', '\n', '\r\n', '')), { maxLength: 9 })
    .map((lines) => lines.flat().join('')),
  latin1(200),
  fc.string({
    unit: fc.constantFrom('\n', '\r', ':', 'a', ' ', '\t', '\0', '\xff'),
    maxLength: 60,
  }),
);
const cuts = fc.array(fc.nat(200), { maxLength: 12 });

/** What the program said: the head and the body, or why it is none. */
function read(output: string, at: readonly number[]): object | string {
  const bytes = Buffer.from(output, 'latin1');
  const places = [...at.filter((place) => place < bytes.length), bytes.length];
  places.sort((a, b) => a - b);
  const decoder = new CgiHeadDecoder(limits);
  let done = 0;
  try {
    for (const place of places) {
      const chunk = Buffer.from(bytes.subarray(done, place));
      const result = decoder.push(chunk);
      done = place;
      if (result === null) chunk.fill(0x21);
      else
        return {
          head: result.head,
          body: result.body.toString('latin1') + bytes.toString('latin1', done),
        };
    }
    return decoder.end();
  } catch (error) {
    if (!(error instanceof CgiHeadError)) throw error;
    return error.message;
  }
}

t.test('any cut of any output is the same head and body', async (t) => {
  await holds(
    t,
    fc.property(output, cuts, (output, at) => {
      const whole = JSON.stringify(read(output, []));
      const bytewise = Array.from({ length: output.length }, (_, index) => index);
      return (
        whole === JSON.stringify(read(output, at)) &&
        whole === JSON.stringify(read(output, bytewise))
      );
    }),
    2000,
  );
});

t.test('what is taken can be sent', async (t) => {
  await holds(
    t,
    fc.property(output, (output) => {
      const result = read(output, []);
      if (typeof result === 'string') return /^[\x20-\x7e]+$/.test(result);
      const { head, body } = result as { head: Record<string, unknown>; body: string };
      if (!output.endsWith(body)) return false;
      if (head.kind === 'local-redirect') return /^\/[^\0\r\n]*$/.test(String(head.location));
      const { status, reason, fields } = head as {
        status: number;
        reason: string;
        fields: Field[];
      };
      return (
        status >= 200 &&
        status <= 999 &&
        !/[\0\r\n]/.test(reason) &&
        fields.length <= limits.fields &&
        fields.every(([name, value]) => /^[!-9;-~]+$/.test(name) && !/[\0\r\n]/.test(value)) &&
        !fields.some(([name]) => /^(status|connection)$/i.test(name))
      );
    }),
    2000,
  );
});

t.test('fields come out as they went in', async (t) => {
  const name = fc.stringMatching(/^X-[A-Za-z0-9_!~]{1,10}$/);
  const value = fc.stringMatching(/^[!-~\xa0-\xff]([\t -~\x80-\xff]{0,20}[!-~\xa0-\xff])?$/);
  const fields = fc.array(fc.tuple(name, value), { minLength: 1, maxLength: 5 });
  await holds(
    t,
    fc.property(fields, fc.constantFrom('\n', '\r\n'), latin1(20), (fields, newline, body) => {
      const decoder = new CgiHeadDecoder();
      const head = fields.map(([name, value]) => `${name}: ${value}${newline}`).join('');
      const result = decoder.push(Buffer.from(head + newline + body, 'latin1'));
      const expected = { kind: 'document', status: 200, reason: '', fields };
      return (
        JSON.stringify(result?.head) === JSON.stringify(expected) &&
        result?.body.toString('latin1') === body
      );
    }),
    500,
  );
});

t.test('an environment that can be given to a program', async (t) => {
  const name = fc.oneof(
    fc.constantFrom(
      ...['SCRIPT_NAME', 'PATH_INFO', 'PATH_TRANSLATED', 'DOCUMENT_URI', 'DOCUMENT_ROOT'],
      ...['USHER_PREFIX', 'USHER_PROGRAM', 'CONTENT_LENGTH', 'HTTP_PROXY', 'LD_PRELOAD', 'PATH'],
    ),
    latin1(5),
  );
  const value = fc.oneof(fc.constantFrom('/a', '/a/', '/a/b', '', '/', '/a/..', '7'), latin1(8));
  const program = fc.option(fc.record({ file: value, pathInfo: value }), { nil: undefined });
  await holds(
    t,
    fc.property(fc.array(fc.tuple(name, value)), program, (pairs, program) => {
      try {
        const base = ['PATH=/bin'];
        const entries = cgiEnvironment(
          new Map(pairs),
          program === undefined ? { base } : { base, program: { ...program, file: '/x' } },
        );
        const names = entries.map((entry) => entry.slice(0, entry.indexOf('=')));
        return (
          new Set(names).size === names.length &&
          names.every((name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) &&
          !names.some((name) => /^(USHER_|HTTP_PROXY$|LD_)/.test(name)) &&
          entries.every((entry) => !entry.includes('\0')) &&
          entries.includes('PATH=/bin') &&
          entries.includes('GATEWAY_INTERFACE=CGI/1.1') &&
          names.includes('SCRIPT_NAME') &&
          names.includes('QUERY_STRING')
        );
      } catch (error) {
        return error instanceof ProtocolError && error.status === 400;
      }
    }),
    1000,
  );
});

t.test('search words', async (t) => {
  const query = fc.oneof(
    latin1(20),
    fc.string({
      unit: fc.constantFrom('a', '+', '%', '2', '0', 'd', '=', '-', '$'),
      maxLength: 20,
    }),
  );
  await holds(
    t,
    fc.property(query, (query) => {
      const words = searchWords(query);
      if (words.length > 0 && query.includes('=')) return false;
      return words.every((word) => word !== '' && !word.includes('\0') && !/^\s*-/.test(word));
    }),
    1000,
  );
});
