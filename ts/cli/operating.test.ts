// SPDX-License-Identifier: Apache-2.0
// What administrators see of a running manager: logs, scale, reload, top; and which manager is meant.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ClassStatus, ScaleAsked } from '../control/messages.ts';
import { ControlError, type ControlHandlers } from '../control/server.ts';
import {
  listenAsManager,
  makeRuntimeDir,
  sampleClass,
  sampleFailure,
  sampleLines,
  sampleStatus,
} from '../control/testing/sample.ts';
import { findManagers } from './managers.ts';
import { paintFor, plain, widthOf } from './paint.ts';
import { keysOf, type Terminal } from './terminal.ts';
import { now, usher } from './testing/usher.ts';
import { drawTop, pressKey, ratesOf, startTop, type TopState } from './top-view.ts';
import { apacheArgs, nginxArgs } from './web-server.ts';

async function startManager(t: Test, handlers: Partial<ControlHandlers> = {}) {
  const runtimeDir = makeRuntimeDir(t);
  const server = await listenAsManager(runtimeDir, handlers);
  t.teardown(() => server.close());
  return { runtimeDir, at: ['--runtime-dir', runtimeDir] };
}

t.test('logs', async (t) => {
  const { at } = await startManager(t);
  const first = '2025-01-02 03:04:05.000 4242: first\n';
  const second = '2025-01-02 03:05:05.000 4242: second\ufffd[2J\n';
  const third = '2025-01-02 03:08:00.000 4243: third\n';
  t.match(await usher(['logs', 'app', ...at]), {
    exitCode: 0,
    out: first + second + third,
    err: /lines from before 2025-01-02T03:04:00.000Z are in \/run\/usher\/usher.log/,
  });
  t.match(await usher(['logs', 'app', '-n', '2', ...at]), { out: second + third, err: '' });
  t.match(await usher(['logs', 'app', '-n', '0', ...at]), { out: '' });
  t.match(await usher(['logs', 'app', '--since', '1m', ...at]), { out: third, err: '' });
  t.match(await usher(['logs', 'app', '--since', '2025-01-02T03:05Z', ...at]), {
    out: second + third,
  });
  const json = await usher(['logs', 'app', '--json', ...at]);
  t.same(
    json.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    sampleLines(),
  );
  t.match(await usher(['logs', 'app', '--since', 'lately', ...at]), { exitCode: 2 });
  t.match(await usher(['logs', 'app', '-n', '1001', ...at]), { exitCode: 2 });
});

t.test('logs -f goes on until the class is gone for good', async (t) => {
  let asked = 0;
  const { at } = await startManager(t, {
    logs: async ({ after }) => {
      asked += 1;
      if (asked === 4) throw new ControlError(500, 'internal', 'that was it');
      const lines = sampleLines().filter(({ id }) => id > after);
      return { class: 'app', lines: lines.slice(0, 1), since: '', log: null, files: [] };
    },
  });
  const run = await usher(['logs', '-f', 'app', ...at]);
  t.match(run, { exitCode: 1, err: 'usher: that was it\n' });
  t.same(
    run.out.split('\n').map((line) => line.split(': ')[1]),
    ['first', 'second\ufffd[2J', 'third', undefined],
    'each line once',
  );
});

t.test('scale', async (t) => {
  const asked: ScaleAsked[] = [];
  const { at } = await startManager(t, {
    scale: async (request) => {
      asked.push(request);
      return { class: request.class, pids: [7, 8], replaced: [] };
    },
  });
  t.match(await usher(['scale', 'app', '2', ...at]), {
    exitCode: 0,
    out: 'app: 2 instances; running: pid 7, pid 8\n',
  });
  t.match(await usher(['scale', 'app', '2', '--no-wait', ...at]), {
    out: 'app: 2 instances; scaling\n',
  });
  t.match(await usher(['scale', 'app', '--reset', ...at]), { out: /^app: as configured again;/ });
  t.same(asked, [
    { class: 'app', instances: 2, wait: true },
    { class: 'app', instances: 2, wait: false },
    { class: 'app', instances: null, wait: true },
  ]);
  for (const words of [['app'], ['app', '2', '--reset'], ['app', '0'], ['app', 'x']]) {
    t.match(await usher(['scale', ...words, ...at]), { exitCode: 2 });
  }
});

t.test('reopen-logs and reload', async (t) => {
  const { at } = await startManager(t, { status: () => sampleStatus({ servers: [] }) });
  t.match(await usher(['reopen-logs', ...at]), { out: '/run/usher/usher.log: begun anew\n' });
  t.match(await usher(['reload', ...at]), {
    exitCode: 0,
    out: /no web server is registered[\s\S]*no class has changed\n/,
  });
  const stranger = await startManager(t);
  t.match(await usher(['reload', ...stranger.at]), {
    exitCode: 1,
    out: /^nginx-0badcafe: failed: no master of ours was found/,
  });
});

t.test('which manager is meant', async (t) => {
  const one = await startManager(t);
  const two = await startManager(t);
  const found = (runtimeDir: string, uid: number) => ({ runtimeDir, pid: 1, uid });
  const managers = () => [found(one.runtimeDir, 0), found(two.runtimeDir, 0)];
  const list = await usher(['status'], { managers });
  t.equal(list.exitCode, 0);
  t.match(list.out, `${one.runtimeDir}  pid 99, version 0.1.0, up 4 min, 1 servers, 1 classes`);
  t.match(list.out, two.runtimeDir);
  const json = JSON.parse((await usher(['status', '--json'], { managers })).out) as {
    managers: { runtimeDir: string }[];
  };
  t.same(
    json.managers.map(({ runtimeDir }) => runtimeDir),
    [one.runtimeDir, two.runtimeDir],
  );
  t.match(await usher(['restart', 'app'], { managers }), {
    exitCode: 2,
    err: `2 managers run here; say which one is meant:\n  --runtime-dir ${one.runtimeDir}`,
  });
  t.match(await usher(['status', ...two.at], { managers }), { out: /^manager/ });
  const mixed = () => [found(one.runtimeDir, 0), found(two.runtimeDir, 1234)];
  t.match(await usher(['status'], { managers: mixed }), { out: /^manager/ }, 'our own');
  const dead = () => [found(one.runtimeDir, 0), found('/nowhere', 0)];
  t.match((await usher(['status'], { managers: dead })).out, /\/nowhere +no manager: nothing/);
});

t.test('managers are found by their launchers', async (t) => {
  const runtimeDir = makeRuntimeDir(t);
  const folder = t.testdir({});
  const launcher = join(folder, 'usher-launcher');
  symlinkSync('/bin/sleep', launcher);
  const script = `exec -a ${launcher} ${process.execPath} -e 'setTimeout(() => {}, 60000)' x --runtime-dir ${runtimeDir}`;
  const child = spawn('/bin/bash', ['-c', script], { stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
  t.same(
    findManagers().filter((one) => one.runtimeDir === runtimeDir),
    [],
    'nobody listens there',
  );
  writeFileSync(join(runtimeDir, 'control.sock'), '');
  let found = findManagers().find((one) => one.runtimeDir === runtimeDir);
  while (found === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    found = findManagers().find((one) => one.runtimeDir === runtimeDir);
  }
  t.same(found, { runtimeDir, pid: child.pid, uid: process.getuid?.() });
  const proc = t.testdir({ proc: {} });
  mkdirSync(join(proc, '77'));
  t.same(findManagers(proc), [], 'a process that has just ended');
});

t.test('what masters are started with', async (t) => {
  t.same(nginxArgs('nginx: master process /usr/sbin/nginx -g daemon on; master_process on;'), [
    '-g',
    'daemon on; master_process on;',
  ]);
  t.same(nginxArgs('nginx: master process nginx -p /srv/x -c /etc/a.conf -e /dev/null'), [
    ...['-p', '/srv/x', '-c', '/etc/a.conf', '-e', '/dev/null'],
  ]);
  t.same(nginxArgs('nginx: master process nginx'), []);
  t.same(apacheArgs(['-d', '/srv', '-k', 'start', '-f', '/etc/h.conf']), [
    ...['-d', '/srv', '-f', '/etc/h.conf'],
  ]);
});

t.test('colours', async (t) => {
  const terminal = {} as Terminal;
  const paint = (env: NodeJS.ProcessEnv, on: Terminal | null) =>
    paintFor({ env, terminal: on } as Parameters<typeof paintFor>[0])('red', 'x');
  t.equal(paint({}, terminal), '\x1b[31mx\x1b[0m');
  t.equal(paint({ NO_COLOR: '1' }, terminal), 'x');
  t.equal(paint({ TERM: 'dumb' }, terminal), 'x');
  t.equal(paint({}, null), 'x');
  t.equal(widthOf('\x1b[31mab\x1b[0m'), 2);
});

// ---- top

function state(classes: ClassStatus[], changes: Partial<TopState> = {}): TopState {
  const sample = { status: sampleStatus({ classes }), atMs: 1000 };
  return { ...startTop(), sample, ...changes };
}

const many = Array.from({ length: 50 }, (_, i) =>
  sampleClass({
    name: `/srv/www/site-${String(i).padStart(2, '0')}.example/app.fcgi`,
    waiting: i === 7 ? 9 : 0,
    state: i === 3 ? 'failed' : 'ready',
    lastFailure: i === 3 ? sampleFailure() : null,
  }),
);

t.test('top fits, however small the terminal is', async (t) => {
  const paint = (_colour: string, text: string) => `\x1b[31m${text}\x1b[0m`;
  const views: Partial<TopState>[] = [
    {},
    { view: 'help' },
    { view: 'details', selected: many[3]?.name ?? '' },
    { view: 'details', selected: 'gone' },
    { error: new Error(`${'long '.repeat(40)}`) },
    { sample: null },
  ];
  for (const columns of [1, 10, 40, 50, 80, 200]) {
    for (const rows of [1, 2, 10, 24, 100]) {
      for (const view of views) {
        const lines = drawTop(state(many, view), { columns, rows }, now, paint);
        const isRight =
          lines.length <= rows &&
          lines.every((line) => widthOf(line) <= columns && !/\n/.test(line));
        if (!isRight) t.fail(`${columns}x${rows} ${Object.keys(view)}: ${JSON.stringify(lines)}`);
      }
    }
  }
  const small = drawTop(state(many), { columns: 40, rows: 10 }, now, plain);
  t.equal(small[0], 'usher 0.1.0 up 4 min, 50 classes, 1 fail');
  t.equal(small[1], ' NAME         STATE  RUN BUSY WAIT REQ/S');
  t.match(small[2], /^>.*fcgi ready +1 +1 +0 +0$/);
  t.equal(small.length, 10);
});

t.test('keys of top', async (t) => {
  const size = { columns: 80, rows: 10 };
  const press = (from: TopState, ...keys: string[]): TopState | null =>
    keys.reduce<TopState | null>((at, key) => at && pressKey(at, key, size), from);
  const at = (one: TopState | null) => many.findIndex(({ name }) => name === one?.selected);
  const begin = state(many);
  t.equal(at(press(begin, 'down', 'j', 'up')), 1);
  t.equal(at(press(begin, 'up')), 0);
  t.equal(at(press(begin, 'G')), 49);
  t.equal(at(press(begin, 'end', 'home')), 0);
  t.equal(at(press(begin, 'page-down', ' ')), 16);
  t.equal(press(begin, 'q'), null);
  t.equal(press(begin, 'ctrl-c'), null);
  t.equal(press(begin, 'enter', 'ctrl-c'), null);
  t.match(press(begin, 'down', 'enter'), { view: 'details', selected: many[1]?.name });
  t.match(press(begin, 'enter', 'q'), { view: 'list' }, 'q leads back first');
  t.match(press(begin, '?', 'escape'), { view: 'list' });
  t.match(press(begin, 'enter', 'down', 'down', 'up'), { scroll: 1 });
  const sorted = drawTop(press(begin, 'w') ?? begin, size, now, plain);
  t.match(sorted[2], /site-07/, 'who waits most comes first');
  t.match(press(state([]), 'enter', 'down'), { view: 'list', selected: null }, 'no class');
  t.same(keysOf('j\x1b[A\x1bOB\x1b[5~\r\x1bq'), [
    ...['j', 'up', 'down', 'page-up', 'enter', 'escape', 'q'],
  ]);
});

t.test('requests a second', async (t) => {
  const totals = (finished: number) => ({ ...sampleClass().totals, finished });
  const sample = (finished: number, atMs: number) => ({
    status: sampleStatus({ classes: [sampleClass({ totals: totals(finished) })] }),
    atMs,
  });
  t.equal(ratesOf(sample(10, 0), sample(60, 2_000)).get('hello'), 25);
  t.equal(ratesOf(sample(60, 0), sample(3, 2_000)).get('hello'), 0, 'another manager');
  t.equal(ratesOf(sample(1, 5), sample(3, 5)).get('hello'), 0, 'no time');
});

class FakeTerminal implements Terminal {
  columns = 40;
  rows = 10;
  text = '';
  isEntered = false;
  press: (key: string) => void = () => undefined;
  resize: () => void = () => undefined;
  end: () => void = () => undefined;
  write(text: string): void {
    this.text += text;
  }
  enter(onKey: (key: string) => void, onResize: () => void, onEnd: () => void): void {
    Object.assign(this, { press: onKey, resize: onResize, end: onEnd, isEntered: true });
  }
  leave(): void {
    this.isEntered = false;
  }
  /** Until the last frame shows it. */
  async shows(what: RegExp): Promise<void> {
    while (!what.test(this.text.split('\x1b[H').at(-1) ?? '')) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

t.test('top on a terminal', async (t) => {
  const { at } = await startManager(t);
  const terminal = new FakeTerminal();
  const env = { NO_COLOR: '1' };
  const run = usher(['top', '-d', '0.1', ...at], { terminal, env });
  await terminal.shows(/>?hell?o? .*ready/);
  terminal.press('enter');
  await terminal.shows(/pid 4242/);
  terminal.press('q');
  await terminal.shows(/BUSY WAIT/);
  terminal.columns = 100;
  terminal.resize();
  await terminal.shows(/REFUSED/);
  t.ok(terminal.isEntered);
  terminal.press('q');
  t.match(await run, { exitCode: 0, err: '' });
  t.notOk(terminal.isEntered, 'the terminal is left as it was');
});

t.test('top while the manager is away, and when the terminal goes', async (t) => {
  const terminal = new FakeTerminal();
  const run = usher(['top', '-d', '0.1', '--runtime-dir', '/nowhere'], { terminal });
  await terminal.shows(/no manager/);
  terminal.end();
  t.match(await run, { exitCode: 1, err: /no manager: nothing listens/ });
  t.notOk(terminal.isEntered);
});

t.test('top without a terminal', async (t) => {
  const { at } = await startManager(t);
  const run = await usher(['top', '-d', '0.1', ...at]);
  t.match(run, { exitCode: 0, out: /^usher 0.1.0 up [\s\S]*\nNAME .* REFUSED\nhello .*\n$/ });
  const json = JSON.parse((await usher(['top', '--json', '-d', '0.1', ...at])).out) as {
    classes: unknown[];
  };
  t.match(json.classes, [{ name: 'hello', requestsPerSecond: 0 }]);
});

t.test('docs/cli.md', async (t) => {
  const text = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');
  const help = await usher(['--help']);
  const names = [...help.out.matchAll(/^ {2}([a-z-]+)(?: |$)/gm)].map(([, name]) => name ?? '');
  t.ok(names.includes('top') && names.length > 10, names.join(' '));
  const unnamed = names.filter((name) => name !== 'help' && !text.includes(`usher ${name}`));
  t.same(unnamed, [], 'names every command');
  const { runtimeDir } = await startManager(t, { status: () => sampleStatus({ servers: [] }) });
  const lines = [...text.matchAll(/^\$ usher (.*)$/gm)].map(([, line]) => line ?? '');
  t.ok(lines.length > 5);
  for (const line of lines.filter((line) => !line.startsWith('request'))) {
    const run = await usher(line.split(' '), { env: { USHER_RUNTIME_DIR: runtimeDir } });
    t.equal(run.exitCode, 0, `usher ${line}: ${run.err}`);
  }
  for (const name of names.filter((name) => name !== 'help')) {
    const words = name === 'config' ? ['config', 'check'] : [name];
    const { out } = await usher([...words, '--help']);
    t.match(out, /Examples:\n {2}(sudo )?usher /, `usher ${name} --help has examples`);
  }
});
