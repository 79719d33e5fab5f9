// SPDX-License-Identifier: Apache-2.0
// What all checks have in common: deadlines, the manual's table, and the program as it is started.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { type Check, ok } from './check.ts';
import { checks } from './checks.ts';
import type { FoundOut, Told } from './report.ts';
import { runChecks } from './run.ts';
import { fakeScene } from './testing/fake-host.ts';

const manual = fileURLToPath(new URL('../../docs/doctor.md', import.meta.url));
const program = fileURLToPath(new URL('main.ts', import.meta.url));

const check = (id: string, run: Check['run']): Check => ({
  ...{ id, group: '', looksAt: '', worst: 'error', remedy: '', run },
});

t.test('a check that fails or hangs costs its own line only', async (t) => {
  const found = new Map<string, FoundOut[]>();
  const all = [
    check('well', () => [ok('fine', { why: 'it said: db_password=geheim' })]),
    check('broken', () => {
      throw new Error('a bug');
    }),
    check('slow', () => new Promise(() => undefined)),
  ];
  await runChecks(all, fakeScene({ files: {} }), ({ id }, ones) => found.set(id, ones), 50);
  t.same(found.get('well'), [{ status: 'ok', what: 'fine', why: 'it said: db_password=***' }]);
  t.match(found.get('broken'), [
    { status: 'skipped', what: 'the check failed', why: 'Error: a bug' },
  ]);
  t.match(found.get('slow'), [{ status: 'skipped', what: 'it did not end within 0.05 s' }]);
});

/** The tables of docs/doctor.md: USHER_WRITE_DOCTOR=1 writes them. */
t.test('the manual lists every check', (t) => {
  const groups = [...new Set(checks.map(({ group }) => group))];
  const tables = groups.map((group) => {
    const rows = checks
      .filter((one) => one.group === group)
      .map(({ id, looksAt, worst, remedy }) => `| \`${id}\` | ${looksAt} | ${worst} | ${remedy} |`);
    return `### ${group}\n\n| check | looks at | worst | what to do |\n|---|---|---|---|\n${rows.join('\n')}\n`;
  });
  const wanted = `<!-- checks: written by ts/doctor/doctor.test.ts -->\n\n${tables.join('\n')}\n<!-- end of checks -->`;
  const text = readFileSync(manual, 'utf8');
  const part = /<!-- checks: [\s\S]*<!-- end of checks -->/;
  if (process.env.USHER_WRITE_DOCTOR === '1')
    writeFileSync(
      manual,
      text.replace(part, () => wanted),
    );
  else t.equal(part.exec(text)?.[0], wanted, 'USHER_WRITE_DOCTOR=1 writes it');
  t.equal(new Set(checks.map(({ id }) => id)).size, checks.length, 'each has a name of its own');
  t.end();
});

t.test('the program', (t) => {
  const runtimeDir = t.testdir({});
  const run = (only: string[]) => {
    const wanted = JSON.stringify({ runtimeDir, nginx: [], apache: [], only });
    const { NODE_OPTIONS: _, ...env } = process.env;
    const args = ['--import=tsx', program, wanted];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', env });
    return {
      status,
      stderr,
      told: stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Told),
    };
  };
  t.match(run(['node', 'addon']), {
    status: 0,
    told: [
      { type: 'begun', runtimeDirs: [runtimeDir], checks: ['node', 'addon'] },
      { type: 'found', finding: { check: 'node', status: 'ok' } },
      { type: 'done', check: 'node' },
      { type: 'found', finding: { check: 'addon', status: 'ok' } },
      { type: 'done', check: 'addon' },
    ],
  });
  t.match(run(['nod']), {
    status: 2,
    told: [],
    stderr: /no check is called nod; there are node, addon,/,
  });
  t.end();
});
