// SPDX-License-Identifier: Apache-2.0
// usher doctor: its report, its exit codes, and that it ends in time.
import { writeFileSync } from 'node:fs';
import t from 'tap';
import type { Finding, Told } from '../doctor/report.ts';
import { examine, reportOf } from './doctor-program.ts';
import { showReport } from './doctor-text.ts';
import { paintFor, plain } from './paint.ts';
import type { Terminal } from './terminal.ts';
import { usher } from './testing/usher.ts';

const begun = (checks: string[]): Told => ({
  type: 'begun',
  version: '0.1.0',
  runtimeDirs: ['/run/usher'],
  checks,
});
const finding = (changes: Partial<Finding>): Told => ({
  type: 'found',
  finding: { check: 'a', status: 'ok', what: 'fine', ...changes },
});
const done = (check: string): Told => ({ type: 'done', check });
const wrong: Partial<Finding> = {
  status: 'error',
  what: 'bad\x1b[2J',
  where: '/etc/x:1',
  why: 'because',
  fix: 'repair it',
};

t.test('the report', (t) => {
  const told = [
    begun(['a', 'b', 'c']),
    finding({}),
    done('a'),
    finding({ check: 'b', ...wrong }),
    done('b'),
  ];
  const report = reportOf(told, 0);
  t.match(report, {
    schema: 1,
    errors: 1,
    warnings: 0,
    findings: [{ check: 'a' }, { check: 'b' }, { check: 'c', status: 'skipped' }],
  });
  t.equal(
    report && showReport(report, plain),
    `error    b: bad\ufffd[2J
         at   /etc/x:1
         why  because
         fix  repair it

ok       a: fine
skipped  c: it was ended: something here answers too slowly (a file system, a server)

usher doctor: 1 error, 0 warnings, 1 ok, 1 skipped
`,
  );
  const paint = paintFor({ terminal: {} as Terminal, env: {} } as Parameters<typeof paintFor>[0]);
  t.match(report && showReport(report, paint), '\x1b[31merror\x1b[0m    \x1b[1mb\x1b[0m: bad');
  t.equal(reportOf([], 0), null);
  t.end();
});

t.test('what was found is kept, however the program ends', async (t) => {
  const told = [begun(['a', 'b']), finding({}), done('a')];
  const text = told.map((one) => JSON.stringify(one)).join('\n');
  const program = `${t.testdir({})}/program.mjs`;
  const wanted = { runtimeDir: null, nginx: [], apache: [], only: [] };
  writeFileSync(program, `process.stdout.write(${JSON.stringify(`${text}\n`)})`);
  const examined = await examine(wanted, 0, process.env, { program: [program] });
  t.match(examined, {
    report: {
      findings: [
        { check: 'a', status: 'ok' },
        { check: 'b', status: 'skipped' },
      ],
    },
  });
  const refuses = ['-e', 'process.stderr.write("no"); process.exit(3)'];
  const none = await examine(wanted, 0, process.env, { program: refuses });
  t.match(none, { failure: 'no', exitCode: 3 });
  const hangs = ['-e', 'setInterval(() => {}, 1000)'];
  const ended = await examine(wanted, 0, process.env, { program: hangs, withinMs: 300 });
  t.match(ended, { failure: 'it was ended', exitCode: 1 });
});

t.test('the command', async (t) => {
  const dir = t.testdir({ 'nginx.conf': 'http {\n' });
  const at = ['--runtime-dir', `${dir}/run`, '--nginx', `${dir}/nginx.conf`];
  const { env } = process;
  const well = await usher(['doctor', '--only', 'node', ...at], { env });
  t.match(well, {
    exitCode: 0,
    out: /^ok {7}node: Node .*\n\nusher doctor: 0 errors, 0 warnings, 1 ok/,
    err: '',
  });
  const bad = await usher(['doctor', '--json', '--only', 'configuration', ...at], { env });
  t.equal(bad.exitCode, 1);
  t.match(JSON.parse(bad.out), {
    schema: 1,
    runtimeDirs: [`${dir}/run`],
    errors: 1,
    findings: [
      {
        check: 'configuration',
        status: 'error',
        where: `${dir}/nginx.conf`,
        why: /nginx.conf:1: the block is not closed/,
      },
    ],
  });
  t.match(await usher(['doctor', '--only', 'nothing', ...at], { env }), {
    exitCode: 2,
    out: '',
    err: /no check is called nothing/,
  });
});
