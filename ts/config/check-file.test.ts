// SPDX-License-Identifier: Apache-2.0
// The program as it is started, with the real validator.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const program = fileURLToPath(new URL('check-file.ts', import.meta.url));

t.test('check-file', (t) => {
  const directory = t.testdir({
    'good.conf': `
UsherRuntimeDir /run/own
UsherLog "/var/log/my usher.log"
AppClass php -command "php-cgi -c /etc/x" \\
  -on-demand 20
ExternalAppClass tiles -host 10.0.0.5:9000 -host 10.0.0.6:9000
`,
    'empty.conf': '# nothing\n',
    'bad.conf': 'AppClass /srv/a.fcgi\n\nAppClass /srv/b.fcgi -processes many\nNothing\n',
    'name.conf': 'AppClass php\n',
  });
  const cases: [file: string, exitCode: number, out: string, err: RegExp][] = [
    ['good.conf', 0, '{"classes":2,"runtimeDir":"/run/own","log":"/var/log/my usher.log"}\n', /^$/],
    ['empty.conf', 0, '{"classes":0}\n', /^$/],
    [
      'bad.conf',
      2,
      '',
      /\/bad\.conf:3: -processes many: expected a whole number.*\n.*\/bad\.conf:4: Nothing is no directive/,
    ],
    ['name.conf', 2, '', /\/name\.conf:1: php is a name, not a path: .*-command/],
    ['missing.conf', 2, '', /^cannot read .*\/missing\.conf: ENOENT/],
  ];
  for (const [file, exitCode, out, err] of cases) {
    const args = ['--import=tsx', program, `${directory}/${file}`];
    const { NODE_OPTIONS: _, ...env } = process.env;
    const run = spawnSync(process.execPath, args, { encoding: 'utf8', env });
    t.match({ exitCode: run.status, err: run.stderr }, { exitCode, err }, file);
    t.equal(run.stdout, out, file);
  }
  t.end();
});
