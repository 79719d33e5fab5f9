// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import t from 'tap';
import { sampleFailure } from '../control/testing/sample.ts';
import { holds } from '../testing/properties.ts';
import { errorPage, PAGE_BYTES_MAX } from './error-page.ts';

t.test('the page of a start', async (t) => {
  const page = errorPage(
    sampleFailure({ class: '/srv/<app>.fcgi', output: 'a & b\r\n"c"\x1b[2J\0' }),
  );
  t.match(page, /^<!DOCTYPE html>\n<html lang="en">/);
  t.match(page, '<title>&lt;app&gt;.fcgi cannot be started</title>');
  t.match(page, '<pre>a &amp; b\n&quot;c&quot;\ufffd[2J\ufffd</pre>');
  t.match(page, 'usher explain k41x2mz3q');
  t.match(page, 'DB_PASSWORD=***');
  t.match(page, '<tr class="failed"><td>ready</td><td class="n">31 ms</td><td>failed: exited</td>');
  t.match(errorPage(sampleFailure({ output: '', setting: null })), '<p>Nothing.</p>');
});

t.test('a long one is shortened', async (t) => {
  const { setting } = sampleFailure();
  const environment = Array.from({ length: 200 }, (_, i) => `V${i}=${'"'.repeat(256)}`);
  const long = sampleFailure({
    output: '"'.repeat(4096),
    setting: setting && { ...setting, environment },
  });
  const page = errorPage(long);
  t.ok(Buffer.byteLength(page) <= PAGE_BYTES_MAX, `${Buffer.byteLength(page)} bytes`);
  t.match(page, '&quot;&quot;');
  t.notMatch(page, 'V199');
});

t.test('whatever a program prints, it is text', async (t) => {
  const text = fc.string({
    unit: fc.constantFrom('<', '>', '&', '"', "'", '-', '!', '/', 'script', '\0', '\n', 'é'),
  });
  const property = fc.property(text, text, text, (output, explanation, name) => {
    const page = errorPage(sampleFailure({ output, explanation, class: name, hint: output }));
    const plain = errorPage(
      sampleFailure({ output: 'x', explanation: 'x', class: 'x', hint: 'x' }),
    );
    const tags = (html: string) => html.match(/<[^>]*>/g)?.filter((tag) => !/^<\/?p/.test(tag));
    return (
      !page.includes('\0') &&
      Buffer.byteLength(page) <= PAGE_BYTES_MAX &&
      (output.trim() === '' || JSON.stringify(tags(page)) === JSON.stringify(tags(plain)))
    );
  });
  await holds(t, property, 300);
});
