// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { usher } from './testing/usher.ts';

t.test('words that make no sense', async (t) => {
  for (const [words, message] of [
    ['install', /missing required argument 'server'/],
    ['install lighttpd', /Allowed choices are nginx, apache/],
    ['install nginx --manager off', /Allowed choices are embedded, external/],
    ['install nginx --prefix opt/usher', /expected an absolute path, such as \/.*\/opt\/usher/],
    ['uninstall', /name nginx, apache or both, or say --all/],
    ['uninstall nginx --all', /name nginx, apache or both, or say --all/],
  ] as const) {
    const { exitCode, out, err } = await usher(words.split(' '));
    t.same([exitCode, out], [2, ''], words);
    t.match(err, message, words);
  }
});

t.test('nothing is installed', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'usher-root-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const words = ['uninstall', '--all', '--root', root];
  t.same(await usher(words), {
    exitCode: 0,
    out: 'nothing is installed: nothing was changed\n',
    err: '',
  });
  const { out } = await usher([...words, '--json']);
  t.same(JSON.parse(out), { schema: 1, isInstalled: false });
});
