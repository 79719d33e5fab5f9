// SPDX-License-Identifier: Apache-2.0
// usher doctor with a real server: nothing to say of one that is well, and a finding with its remedy for each
// thing that is broken on purpose.

import { chmodSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import type { Test } from 'tap';
import { usher } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import { isRoot, Site, uidOf } from '../servers/site.ts';
import { run, usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

interface Finding {
  check: string;
  status: string;
  what: string;
  where?: string;
  why?: string;
  fix?: string;
}

interface Report {
  exitCode: number;
  findings: Finding[];
  /** Of warnings and errors: "check: what, where, why". */
  wrong: string;
}

/** What does not depend on how this machine is set up. */
const ours = [
  ...['addon', 'module-fits', 'configuration', 'module-loaded', 'directives', 'one-manager'],
  ...['runtime-directory', 'runtime-leftovers', 'runtime-view', 'manager', 'versions'],
  ...['class-program', 'class-user', 'class-files', 'class-state'],
];

async function doctor(
  command: string[],
  options: { uid?: number; gid?: number } = {},
): Promise<Report> {
  const { status, output } = await run([usher, 'doctor', '--json', ...command], options);
  if (!output.startsWith('{')) throw new Error(`usher doctor ended with ${status}: ${output}`);
  const { findings } = JSON.parse(output) as { findings: Finding[] };
  const wrong = findings
    .filter(({ status }) => status === 'error' || status === 'warning')
    .map(({ check, what, where, why }) => `${check}: ${what}, ${where}, ${why}`);
  return { exitCode: status, findings, wrong: wrong.join('\n') };
}

type Classes = [name: string, options: [name: string, value: string][]][];

/** Classes, and the first of them at /, in the server's words. */
function textOf(server: WebServer, port: number, classes: Classes, more = ''): string {
  const [first = ''] = classes.map(([name]) => name);
  if (server.kind === 'nginx') {
    const lines = classes.map(([name, options]) => {
      const words = options.map(([option, value]) => `${option.replaceAll('-', '_')}=${value}`);
      return `usher_app ${name} ${words.join(' ')};`;
    });
    const pass = `location / { usher_pass ${first}; include fastcgi_params; }`;
    return `${more}\n${lines.join('\n')}\nserver { listen 127.0.0.1:${port}; ${pass} }`;
  }
  const lines = classes.map(([name, options]) => {
    return `AppClass ${name} ${options.map(([option, value]) => `-${option} ${value}`).join(' ')}`;
  });
  return `${more}\n${lines.join('\n')}\n<Location />\n  UsherPass ${first}\n</Location>`;
}

export async function doctorFinds(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const { kind } = server;
  const good = site.program('bin/echo');
  const failing = site.program('bin/exits-at-once', 'exits-at-once');
  const classes: Classes = [
    [
      'app',
      [
        ['command', good],
        ['on-demand', '2'],
      ],
    ],
    [
      'failing',
      [
        ['command', failing],
        ['on-demand', '1'],
      ],
    ],
  ];
  const at = ['--runtime-dir', site.runtimeDir];
  const own = [`--${kind}`, `${site.dir}/server.conf`];
  /** With another configuration in place of the server's own, which goes on with that. */
  const broken = (only: string[], text: string, runtimeDir = site.runtimeDir) => {
    const file = site.file('broken.conf', text);
    return doctor(['--runtime-dir', runtimeDir, `--${kind}`, file, '--only', ...only]);
  };
  const configuration = (more: Classes, directives = '') =>
    server.configuration(site, textOf(server, site.port, [...classes, ...more], directives));
  const loads = kind === 'nginx' ? /^load_module .*$/m : /^LoadModule usher_module .*$/m;

  await site.start({ [kind]: textOf(server, site.port, classes) });
  t.equal((await site.request('/')).status, 200);

  await site.check('of a server that is well there is nothing to say', async (t) => {
    const { exitCode, wrong, findings } = await doctor([...at, ...own, '--only', ...ours]);
    t.equal(wrong, '');
    t.equal(exitCode, 0);
    t.ok(
      findings.some(({ check, status }) => check === 'runtime-view' && status === 'ok') || !isRoot,
    );
    t.ok(findings.some(({ check, what }) => check === 'manager' && /answers: pid \d+/.test(what)));
    const { output } = await usherCommand(site.runtimeDir, 'doctor', ...own);
    t.match(
      output,
      /^usher doctor: \d+ errors?, \d+ warnings?, \d+ ok, \d+ skipped$/m,
      'for people',
    );
  });

  await site.check('the module in a comment, and loaded twice', async (t) => {
    const text = readFileSync(`${site.dir}/server.conf`, 'utf8');
    const checks = ['module-loaded', 'configuration'];
    const commented = await broken(checks, text.replace(loads, '# $&'));
    t.equal(commented.exitCode, 1);
    t.match(
      commented.wrong,
      /^module-loaded: the line that loads the module is a comment, .*broken.conf:\d+/m,
    );
    t.match(commented.wrong, /^configuration: \S.* refuses it, .*broken.conf/m);
    const twice = await broken(checks, text.replace(loads, '$&\n$&'));
    t.equal(twice.exitCode, 1);
    t.match(
      twice.wrong,
      /^module-loaded: the module is loaded twice, .*broken.conf:\d+, first at/m,
    );
  });

  await site.check('programs that cannot be started', async (t) => {
    const crlf = site.file('bin/crlf', '#!/bin/sh\r\necho\r\n', 0o755);
    const locked = site.file('bin/locked', '#!/bin/sh\n', 0o644);
    const library = Buffer.from(
      readFileSync(good).toString('latin1').replace('libc.so.6', 'libZ.so.6'),
      'latin1',
    );
    const unlinked = site.file('bin/unlinked', library, 0o755);
    const made: Classes = [
      ['crlf', [['command', crlf]]],
      ['locked', [['command', locked]]],
      ['unlinked', [['command', unlinked]]],
      [
        'nobody',
        [
          ['command', good],
          ['user', 'usher-test-nobody'],
        ],
      ],
      [
        'nowhere',
        [
          ['command', good],
          ['cwd', '/usher-test-nowhere'],
        ],
      ],
    ];
    const checks = ['class-program', 'class-user', 'class-files'];
    const { exitCode, wrong, findings } = await broken(checks, configuration(made));
    t.equal(exitCode, 1);
    t.match(wrong, /^class-program: crlf: .*CR LF \[interpreter-crlf\], .*bin\/crlf/m);
    t.match(wrong, /^class-program: locked: mode 0644.*\[not-executable\]/m);
    t.match(
      wrong,
      /^class-program: unlinked: it needs libZ.so.6, which is nowhere \[library-missing\]/m,
    );
    t.match(wrong, /^class-user: nobody: user usher-test-nobody does not exist \[user-unknown\]/m);
    t.match(wrong, /^class-files: nowhere: its directory does not exist \[cwd-missing\]/m);
    t.match(findings.find(({ what }) => what.startsWith('crlf:'))?.fix, /dos2unix/);
  });

  await site.check('limits, a class that nobody defines, another runtime directory', async (t) => {
    const greedy: Classes = [
      [
        'greedy',
        [
          ['command', good],
          ['limit', 'nofile=2000000000'],
        ],
      ],
    ];
    const limited = await broken(['limit-files'], configuration(greedy));
    t.match(limited.wrong, /^limit-files: greedy: -limit nofile=2000000000 is above/m);
    const text = configuration([]).replace(/(usher_pass|UsherPass) app/, '$1 apq');
    const unknown = await broken(['directives'], text);
    t.match(unknown.wrong, /^directives: no directive defines the class apq, .*broken.conf:\d+/m);
    t.equal(unknown.exitCode, 2, 'warnings only');
    const other = await broken(
      ['one-manager'],
      configuration([]).replace(site.runtimeDir, `${site.dir}/other`),
    );
    t.match(other.wrong, /^one-manager: another runtime directory: .*\/other, .*broken.conf:\d+/m);
    t.equal(other.exitCode, 2);
  });

  await site.check('external, and no manager', async (t) => {
    const dir = `${site.dir}/external`;
    mkdirSync(dir, { mode: 0o711 });
    const says = kind === 'nginx' ? 'usher_manager external;' : 'UsherManager external';
    const text = configuration([], says).replace(site.runtimeDir, dir);
    const { exitCode, wrong } = await broken(['manager'], text, dir);
    t.equal(exitCode, 1);
    t.match(wrong, /^manager: .*broken.conf:\d+ says external, and no manager runs/m);
  });

  await site.check('a runtime directory that anybody may write to', async (t) => {
    const { mode } = statSync(site.runtimeDir);
    chmodSync(site.runtimeDir, 0o777);
    const { exitCode, wrong } = await doctor([...at, ...own, '--only', 'runtime-directory']);
    chmodSync(site.runtimeDir, mode & 0o7777);
    t.equal(exitCode, 1);
    t.match(wrong, /^runtime-directory: others may write to it \(mode 0777\)/m);
  });

  await site.check('a class that has failed, with its cause', async (t) => {
    const text = textOf(server, site.port, [...classes].reverse());
    site.reload({ [kind]: text });
    await eventually('the class fails', async () => {
      await site.request('/');
      return (await site.classStatus('failing'))?.state === 'failed';
    });
    const { exitCode, wrong } = await doctor([...at, ...own, '--only', 'class-state']);
    t.equal(exitCode, 1);
    t.match(
      wrong,
      /^class-state: failing(?: is failed|: its last start failed) \[exited-with-error\]/m,
    );
  });

  if (isRoot) {
    await site.check('what an ordinary user cannot see is skipped, not well', async (t) => {
      const user = { uid: uidOf('nobody'), gid: uidOf('nobody') };
      const { findings } = await doctor([...at, '--only', 'manager', 'runtime-view'], user);
      t.match(
        findings.find(({ check }) => check === 'manager'),
        { status: 'skipped', what: 'another user’s manager' },
      );
      t.notOk(findings.some(({ status }) => status === 'ok'));
    });
  }

  await site.check('a server whose manager was stopped', async (t) => {
    const { status } = await usherCommand(site.runtimeDir, 'stop', '--force');
    t.equal(status, 0);
    const { exitCode, wrong } = await doctor([...at, ...own, '--only', 'manager']);
    t.equal(exitCode, 1);
    t.match(
      wrong,
      new RegExp(`^manager: a web server runs \\(pid ${site.pid}\\) without a manager`, 'm'),
    );
  });
}
