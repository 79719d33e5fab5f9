// SPDX-License-Identifier: Apache-2.0
// What a command loads before it does anything: half of what people wait for `usher status` is that.
import { basename } from 'node:path';
import { buildSync, type Metafile } from 'esbuild';
import t from 'tap';
import { installed } from './installed.ts';

const program = 'ts/cli/program.ts';
/** Of Node's own modules those that take longest to load, 1 to 10 ms each. */
const slow = ['node:http2', 'node:https', 'node:inspector', 'node:worker_threads'];

function imports(): Metafile['inputs'] {
  const { metafile } = buildSync({
    absWorkingDir: installed('.'),
    entryPoints: ['ts/cli/main.ts'],
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    outfile: 'main.js',
    write: false,
    metafile: true,
  });
  return metafile.inputs;
}

const inputs = imports();

/** Our files, packages and modules of Node that come with a file, by imports of these kinds. */
function loadedWith(file: string, kinds: readonly string[]): string[] {
  const seen = new Set([file]);
  for (const one of seen) {
    for (const { path, kind } of inputs[one]?.imports ?? []) {
      if (kinds.includes(kind)) seen.add(path);
    }
  }
  return [...seen];
}

const packages = (names: string[]): string[] =>
  names.filter((name) => !name.startsWith('ts/') && !name.startsWith('node:'));
const commands = (names: string[]): string[] =>
  names.filter((name) => name.startsWith('ts/cli/commands/'));

const lazily = (inputs[program]?.imports ?? []).filter(({ kind }) => kind === 'dynamic-import');
const files = [...new Set(lazily.map(({ path }) => path))];

t.test('the command line', async (t) => {
  const first = loadedWith('ts/cli/main.ts', ['import-statement']);
  t.ok(first.includes(program));
  t.same(commands(first), [], 'no command before it is called');
  const all = loadedWith('ts/cli/main.ts', ['import-statement', 'dynamic-import']);
  t.same(packages(all), ['commander'], 'and never what belongs to the manager');
  t.same(commands(all).length, files.length);
  t.same(
    all.filter((name) => slow.includes(name)),
    [],
    'what any command imports of Node stands at the top of the one file',
  );
});

for (const file of files) {
  t.test(`usher ${basename(file, '.ts')}`, async (t) => {
    const loaded = loadedWith(file, ['import-statement']);
    t.same(commands(loaded), [file], 'without any other command');
  });
}

t.test('usher status, before it has asked', async (t) => {
  const [main, status] = ['ts/cli/main.ts', 'ts/cli/commands/status.ts'].map((file) =>
    loadedWith(file, ['import-statement']),
  );
  t.ok(main && status && files.includes('ts/cli/commands/status.ts'));
  const both = [...new Set([...(main ?? []), ...(status ?? [])])];
  const ours = both.filter((name) => name.startsWith('ts/') && !name.startsWith('ts/cli/'));
  t.same(ours.sort(), [
    'ts/control/client.ts',
    'ts/control/messages.ts',
    'ts/install/installation.ts',
  ]);
});
