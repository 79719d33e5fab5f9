// SPDX-License-Identifier: Apache-2.0
// What an administrator does with the command line, on a manager without a web server: how many
// instances, their output, logs that are moved away, and programs that write without end.

import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import type { Test } from 'tap';
import { usher } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import { nginx } from '../servers/nginx.ts';
import { childrenOf } from '../servers/processes.ts';
import { isRoot, Site } from '../servers/site.ts';
import { type Outcome, startInBackground, usherCommand } from '../servers/usher.ts';

interface LogLine {
  event: string;
  class?: string;
  line?: string;
  bytes?: number;
}

export async function operating(t: Test): Promise<void> {
  const site = await Site.create(t, nginx); // for its files only
  const program = site.program('bin/steady');
  const user = isRoot ? '-user www-data' : '';
  const counting = `i=0; while :; do i=$((i+1)); echo number $i; sleep 0.002; done`;
  const log = `${site.dir}/usher.log`;
  const configuration = site.file(
    'usher.conf',
    `UsherLog ${log}
AppClass steady -command ${program} -processes 1 ${user}
AppClass counting -command "/bin/sh -c '(${counting}) & exec ${program}'" -processes 1 ${user}
AppClass loud -command "/bin/sh -c 'yes ${'y'.repeat(100)} & exec ${program}'" -on-demand 1 ${user}
`,
  );
  const command = [usher, 'run', configuration, '--runtime-dir', site.runtimeDir];
  const running = startInBackground(command);
  t.teardown(() => running.kill('SIGTERM'));
  const ask = (...words: string[]): Promise<Outcome> => usherCommand(site.runtimeDir, ...words);
  const ready = (name: string, count: number): Promise<unknown> =>
    eventually(`${name} has ${count}`, async () => {
      const instances = (await site.classStatus(name))?.instances ?? [];
      return instances.length === count && instances.every(({ state }) => state === 'ready');
    });
  const logged = (): LogLine[] =>
    readdirSync(site.dir)
      .filter((name) => name.startsWith('usher.log'))
      .map((name) => readFileSync(`${site.dir}/${name}`, 'utf8'))
      .flatMap((text) => text.slice(0, text.lastIndexOf('\n') + 1).split('\n'))
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as LogLine);
  await eventually('the manager answers', async () => (await ask('status')).status === 0);

  await site.check('usher scale holds over a restart of the manager, until --reset', async (t) => {
    t.match(await ask('scale', 'steady', '3'), { status: 0, output: /^steady: 3 instances; / });
    await ready('steady', 3);
    const { manager } = await site.status();
    process.kill(manager.pid, 'SIGKILL');
    await eventually('another manager', async () => {
      const next = await site.status().catch(() => null);
      return next !== null && next.manager.pid !== manager.pid;
    });
    await ready('steady', 3);
    t.match((await ask('status')).output, / 3! /, 'status shows that somebody said so');
    t.match(await ask('scale', 'steady', '--reset'), { status: 0 });
    await ready('steady', 1);
  });

  await site.check('a manager that is stopped is told, by every kind of command', async (t) => {
    const { manager } = await site.status();
    process.kill(manager.pid, 'SIGSTOP');
    try {
      const patience = ['--answer-timeout', '0.5'];
      for (const words of [
        ['status', '--json'],
        ['restart', 'steady'],
        ['logs', 'steady'],
      ]) {
        const { status, output } = await ask(...words, ...patience);
        t.equal(status, 1, words.join(' '));
        t.match(output, /gave no answer within 0\.5 s: the manager is busy or stopped/);
        if (words.includes('--json')) t.match(output, /^\{"error":\{"code":"timeout",/m);
      }
    } finally {
      process.kill(manager.pid, 'SIGCONT');
    }
    t.match(await ask('status'), { status: 0 }, 'and then it answers again');
  });

  await site.check('no line is lost where logs are moved away', async (t) => {
    await ready('counting', 1);
    // what was on its way to a manager that was killed before is lost
    const from = Math.max(...numbersIn(logged()));
    const pids = [(await site.status()).manager.pid, await launcherOf(site)];
    for (let round = 0; round < 3; round++) {
      const begun = logged().filter(({ line }) => line?.startsWith('number')).length;
      renameSync(log, `${log}.${round}`);
      // as logrotate does, in each of the ways that are offered
      if (round % 3 === 0) t.match(await ask('reopen-logs'), { status: 0, output: /begun anew/ });
      else process.kill(pids[round % 3 === 1 ? 0 : 1] ?? 0, 'SIGUSR1');
      await eventually('a new file', () => readdirSync(site.dir).includes('usher.log'));
      await eventually('lines go on, and into it', () => {
        const count = logged().filter(({ line }) => line?.startsWith('number')).length;
        return count > begun + 20 && readFileSync(log, 'utf8').includes('"line":"number');
      });
    }
    const { pid } = (await site.classStatus('counting'))?.instances[0] ?? { pid: 0 };
    t.ok(pid > 0);
    const numbers = numbersIn(logged()).filter((number) => number >= from);
    const missing = numbers.filter((number, i) => i > 0 && number !== (numbers[i - 1] ?? 0) + 1);
    t.same(missing, [], `${numbers.length} lines`);
  });

  await site.check('usher logs shows them, and follows', async (t) => {
    const { output } = await ask('logs', 'counting', '-n', '3');
    t.match(output, /^(.* \d+: number \d+\n){3}/);
    // env -i: the test runner puts itself into what it sees started
    const words = ['-i', `PATH=${process.env.PATH}`, usher, 'logs', '-f', '-n', '0', 'counting'];
    const follower = spawn('/usr/bin/env', [...words, '--json', '--runtime-dir', site.runtimeDir], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    t.teardown(() => follower.kill('SIGKILL'));
    let text = '';
    follower.stdout.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
    await eventually('some lines', () => text.split('\n').length > 20);
    const { manager } = await site.status();
    process.kill(manager.pid, 'SIGKILL');
    await eventually('another manager', async () => {
      const next = await site.status().catch(() => null);
      return next !== null && next.manager.pid !== manager.pid;
    });
    const before = text.split('\n').length;
    await eventually(
      'more of them, of the next manager',
      () => text.split('\n').length > before + 20,
    );
    const ids = text
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { id: number }).id);
    t.same(
      ids,
      [...new Set(ids)].sort((a, b) => a - b),
      'each once, in order',
    );
  });

  await site.check(
    'a program that writes without end fills no disk and hangs nobody',
    async (t) => {
      const before = bytesOfLogs(site.dir);
      t.match(await ask('scale', 'loud', '1'), { status: 0 });
      await eventually('what was dropped is in the log', () => {
        const told = logged().filter(({ event, class: name }) => {
          return event === 'output.dropped' && name === 'loud';
        });
        return told.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0) > 1 << 20;
      });
      t.match(await ask('status'), { status: 0 }, 'the manager answers');
      t.match(await ask('restart', 'steady'), { status: 0 });
      const bytes = bytesOfLogs(site.dir) - before;
      t.ok(bytes < 16 << 20, `${bytes} bytes in the log`);
      t.match(await ask('scale', 'loud', '--reset'), { status: 0 });
    },
  );

  await site.check('usher top leaves a small terminal as it was, however it ends', async (t) => {
    const ends: [how: string, end: (script: ChildProcess) => void][] = [
      ['q', (script) => script.stdin?.write('q')],
      ...(['SIGTERM', 'SIGHUP'] as const).map(
        (signal): [string, (script: ChildProcess) => void] => [
          signal,
          (script) => {
            for (const shell of childrenOf(script.pid ?? 0)) {
              for (const pid of childrenOf(shell)) process.kill(pid, signal);
            }
          },
        ],
      ),
    ];
    for (const [how, end] of ends) {
      const top = `${usher} top --runtime-dir ${site.runtimeDir}`;
      const line = `trap '' HUP; stty cols 40 rows 10; ${top}; stty -a`;
      const words = ['-i', `PATH=${process.env.PATH}`, 'TERM=xterm', 'script', '-qefc', line];
      const script = spawn('/usr/bin/env', [...words, '/dev/null'], {
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      t.teardown(() => script.kill('SIGKILL'));
      let text = '';
      script.stdout.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      await eventually('a list of classes', () => /steady/.test(text));
      const frame = text.split('\x1b[H').at(-1) ?? '';
      t.ok(frame.split('\r\n').length <= 10, '10 rows');
      end(script);
      await eventually(`it ends by ${how}`, () => script.exitCode !== null);
      t.ok(text.includes('\x1b[?25h\x1b[?1049l'), `${how}: cursor and screen are back`);
      t.match(text.slice(text.lastIndexOf('1049l')), /[^-]icanon[\s\S]*[^-]echo /, 'and keys');
    }
  });

  await site.check('usher reload reads usher.conf again', async (t) => {
    const text = readFileSync(configuration, 'utf8');
    site.file('usher.conf', `${text}AppClass more -command ${program} -on-demand 1 ${user}\n`);
    t.match(await ask('reload'), { status: 0, output: /usher.conf: read\nadded: more\n/ });
    site.file('usher.conf', `${text}AppClass more -no-such-option\n`);
    t.match(await ask('reload'), { status: 2, output: /-no-such-option/ });
    t.ok(await site.classStatus('more'), 'what is wrong changes nothing');
    site.file('usher.conf', text.replace('-processes 1', '-processes 2'));
    t.match(await ask('reload'), { status: 0, output: /changed: steady\nremoved: more\n/ });
    await ready('steady', 2);
  });

  running.kill('SIGTERM');
  await eventually('usher run ends', () => running.exitCode !== null);
}

async function launcherOf(site: Site): Promise<number> {
  const { manager } = await site.status();
  const stat = readFileSync(`/proc/${manager.pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** What `counting` wrote, in order. */
function numbersIn(lines: LogLine[]): number[] {
  return lines
    .filter(({ class: name, line }) => name === 'counting' && line?.startsWith('number'))
    .map(({ line }) => Number(line?.slice(7)))
    .sort((a, b) => a - b);
}

function bytesOfLogs(directory: string): number {
  const names = readdirSync(directory).filter((name) => name.startsWith('usher.log'));
  return names.reduce((sum, name) => sum + statSync(`${directory}/${name}`).size, 0);
}
