// SPDX-License-Identifier: Apache-2.0
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Host } from './host.ts';
import { faultOfFolder, findNode } from './trust.ts';

const isRoot = process.getuid?.() === 0;
const host = (node: string, version: string): Host => ({
  uid: 0,
  hasSystemd: false,
  node,
  source: '',
  faultOfFolder,
  run: async (program) => ({ status: 0, output: program === node ? version : 'v18.20.4\n' }),
  executables: () => [],
  runtimeDirs: () => [],
});

t.test('folders', async (t) => {
  t.equal(faultOfFolder('/usr'), null);
  t.equal(faultOfFolder('/usr/nowhere/usher'), null, 'what is not there yet');
  t.match(faultOfFolder('/tmp/usher'), /^\/tmp can be written by others than root \(mode 1777\)/);
  t.match(faultOfFolder('/usr/bin/env/usher'), /env is no directory/);
});

t.test('with directories of our own', { skip: !isRoot && 'they must be root’s' }, async (t) => {
  const folder = mkdtempSync('/run/usher-trust-');
  t.teardown(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0o755);
  const bin = join(folder, 'bin');
  const node = join(bin, 'node');
  mkdirSync(bin);
  writeFileSync(node, '', { mode: 0o755 });
  t.equal(faultOfFolder(bin), null);
  t.equal(await findNode(host(node, 'v20.17.0')), node);
  await t.rejects(findNode(host(node, 'v20.16.9')), { message: /bin\/node is v20\.16\.9/ });
  chmodSync(bin, 0o775);
  await t.rejects(findNode(host(node, 'v22.1.0')), {
    message: /bin can be written by others.*chmod go-w/,
  });
  chmodSync(bin, 0o700);
  t.match(faultOfFolder(bin), /bin is closed to other users \(mode 0700\)/);
  const link = join(folder, 'node');
  symlinkSync('bin/node', link);
  await t.rejects(
    findNode(host(link, 'v22.1.0')),
    { message: /bin is closed to other users/ },
    'behind a link',
  );
  chmodSync(bin, 0o755);
  chmodSync(node, 0o700);
  await t.rejects(findNode(host(link, 'v22.1.0')), { message: /cannot be run by other users/ });
});

t.test('a Node of one user alone', async (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'usher-node-')));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const node = join(folder, 'node');
  writeFileSync(node, '', { mode: 0o755 });
  await t.rejects(findNode(host(node, 'v22.0.0')), {
    message: /no Node ≥ 20\.17 .*deb\.nodesource\.com/s,
  });
});
