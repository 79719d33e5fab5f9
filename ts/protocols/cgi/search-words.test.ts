// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { searchWords } from './search-words.ts';

t.test('words', async (t) => {
  t.strictSame(searchWords('first+second'), ['first', 'second']);
  t.strictSame(searchWords('a'), ['a']);
  t.strictSame(searchWords('a%20b+%2b%3D+%c3%A4'), ['a b', '+=', '\xc3\xa4'], 'decoded');
  t.strictSame(searchWords('a/b:c,d@e!f.g_h'), ['a/b:c,d@e!f.g_h']);
  t.strictSame(searchWords('a', 'HEAD'), ['a']);
});

t.test('what is active in a shell', async (t) => {
  t.strictSame(searchWords("a;b&c+$d*?~()'"), ['a\\;b\\&c', "\\$d\\*\\?\\~\\(\\)\\'"]);
  t.strictSame(searchWords('%60%22%7c%3c%3e%5e%5b%5d%7b%7d%5c%0a%ff'), [
    '\\`\\"\\|\\<\\>\\^\\[\\]\\{\\}\\\\\\\n\\\xff',
  ]);
});

t.test('no words', async (t) => {
  const none = (query: string, method?: string) =>
    t.strictSame(searchWords(query, method), [], query);
  none('');
  none('a=b');
  none('a+b=');
  none('a++b');
  none('+a');
  none('a+');
  none('a%2');
  none('a%zz');
  none('%');
  none('a%00b');
  none('a b');
  none('a"b');
  none('a#b');
  none('\xe4');
  none('a\0');
  none('a\n');
  none('a', 'POST');
  none('a', 'get');
});

t.test('no options', async (t) => {
  for (const query of ['-s', '--help', '-d+x', 'a+-s', '%2ds', '%20-s', '%0a-s', '-']) {
    t.strictSame(searchWords(query), [], query);
  }
  t.strictSame(searchWords('a-b'), ['a-b']);
});
