// SPDX-License-Identifier: Apache-2.0
// Command lines against a sample manager on a real socket.
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { controlSocketName } from '../control/client.ts';
import type { StopRequest } from '../control/messages.ts';
import { ControlError, type ControlHandlers } from '../control/server.ts';
import {
  listenAsManager,
  makeRuntimeDir,
  sampleClass,
  sampleExplanation,
  sampleFailure,
  sampleStatus,
} from '../control/testing/sample.ts';
import type { Context } from './context.ts';
import { showExplanation } from './explain-text.ts';
import { installed } from './installed.ts';
import { capture, foreground } from './launch.ts';
import { showStatus } from './status-text.ts';
import { now, usher } from './testing/usher.ts';
import { printable, showBytes, showDuration } from './units.ts';

async function startManager(t: Test, handlers: Partial<ControlHandlers> = {}) {
  const runtimeDir = makeRuntimeDir(t);
  const server = await listenAsManager(runtimeDir, handlers);
  t.teardown(() => server.close());
  return { runtimeDir, server };
}

t.test('status', async (t) => {
  const { runtimeDir } = await startManager(t);
  const run = await usher(['status', '--runtime-dir', runtimeDir]);
  t.match(run, { exitCode: 0, err: '' });
  t.equal(run.out, showStatus(sampleStatus(), now));

  const json = await usher(['status', '--json', '--runtime-dir', runtimeDir]);
  t.same(JSON.parse(json.out), sampleStatus());

  const byEnvironment = await usher(['status'], { env: { USHER_RUNTIME_DIR: runtimeDir } });
  t.equal(byEnvironment.out, run.out);
});

t.test('restart and retry', async (t) => {
  const asked: unknown[] = [];
  const { runtimeDir } = await startManager(t, {
    restart: async (request) => {
      asked.push(request);
      if (request.class !== 'broken') return { class: 'app', pids: [7, 8], replaced: [5, 6] };
      throw new ControlError(409, 'restart-failed', 'exited with status 1');
    },
  });
  const at = ['--runtime-dir', runtimeDir];
  t.match(await usher(['restart', 'app', ...at]), {
    exitCode: 0,
    out: 'app: replaced pid 5, pid 6; running: pid 7, pid 8\n',
  });
  t.match(await usher(['restart', 'app', '--no-wait', ...at]), { out: 'app: restarting\n' });
  t.same(asked, [
    { class: 'app', wait: true },
    { class: 'app', wait: false },
  ]);
  const json = await usher(['restart', 'app', '--json', ...at]);
  t.same(JSON.parse(json.out), { class: 'app', pids: [7, 8], replaced: [5, 6], isDone: true });
  t.match(await usher(['restart', 'broken', ...at]), {
    exitCode: 1,
    err: 'usher: exited with status 1\n',
  });
  t.match(await usher(['restart', ...at]), { exitCode: 2 }, 'the class must be named');
  t.match(await usher(['restart', '', ...at]), { exitCode: 1, err: /"class" must be a text/ });
  t.match(await usher(['retry', 'app', ...at]), { exitCode: 0, out: 'app: running: pid 201\n' });
});

t.test('backend', async (t) => {
  const { runtimeDir } = await startManager(t, {
    backend: (request) => {
      if (request.backend === 'a:8009') return request;
      throw new ControlError(404, 'no-such-backend', 'there is no backend "b:8009"');
    },
  });
  const at = ['--runtime-dir', runtimeDir];
  const stop = ['backend', 'shop', 'a:8009', 'stopped', ...at];
  t.match(await usher(stop), { exitCode: 0, out: 'shop: a:8009 is stopped\n' });
  t.same(JSON.parse((await usher([...stop, '--json'])).out), {
    ...{ class: 'shop', backend: 'a:8009', activation: 'stopped' },
  });
  t.match(await usher(['backend', 'shop', 'b:8009', 'active', ...at]), {
    exitCode: 1,
    err: 'usher: there is no backend "b:8009"\n',
  });
  t.match(await usher(['backend', 'shop', 'a:8009', 'off', ...at]), {
    exitCode: 2,
    err: /expected active, disabled or stopped/,
  });
});

t.test('upgrade waits for the next manager', async (t) => {
  let pid = 99;
  const { runtimeDir } = await startManager(t, {
    ping: () => ({ pid, version: pid === 99 ? '0.1.0' : '0.2.0' }),
    upgrade: ({ layoutVersion }) => {
      t.equal(layoutVersion, 3, 'of the installed version');
      setTimeout(() => {
        pid = 100;
      }, 30);
      return { pid, version: '0.1.0' };
    },
  });
  const at = ['--runtime-dir', runtimeDir];
  const world = { capture: async () => ({ exitCode: 0, output: '3\n' }) };
  t.match(await usher(['upgrade', ...at], world), {
    exitCode: 0,
    out: 'replaced manager 99 (version 0.1.0) by manager 100 (version 0.2.0)\n',
  });
  const stuck = await startManager(t, {});
  t.match(await usher(['upgrade', '--timeout', '0.2', '--runtime-dir', stuck.runtimeDir], world), {
    exitCode: 1,
    err: /no new manager answered/,
  });
});

t.test('status for people', (t) => {
  const status = sampleStatus({
    classes: [
      sampleClass(),
      sampleClass({
        name: 'broken',
        state: 'failed',
        instances: [],
        lastFailure: sampleFailure(),
      }),
      sampleClass({
        name: 'tomcat',
        kind: 'external',
        instances: [],
        backends: [
          {
            address: '127.0.0.1:9000',
            name: null,
            state: 'down',
            isBackup: false,
            lastError: 'connection refused',
            inFlight: 0,
            requests: 0,
            failures: 3,
            route: null,
            activation: 'active',
            engine: null,
          },
          {
            address: '10.0.0.5:9000',
            name: 'spare:9000',
            state: 'up',
            isBackup: true,
            lastError: null,
            inFlight: 2,
            requests: 17,
            failures: 0,
            route: 'b',
            activation: 'active',
            engine: {
              pid: 4711,
              state: 'up',
              startedAt: '2025-01-02T03:04:05.000Z',
              rssBytes: 300 << 20,
              starts: 1,
              failures: 0,
            },
          },
        ],
      }),
    ],
  });
  t.equal(
    showStatus(status, now),
    `manager   pid 99, version 0.1.0, up 4 min

servers
  nginx-0badcafe  pid 77  4 workers  generation 2  /etc/nginx/nginx.conf

classes
  NAME    KIND      STATE   RUNNING  WANTED  SERVING  WAITING  DONE  FAILED  REFUSED
  hello   static    ready         1       1        1        0    16       1        2
    pid 4242  ready  up 4 min  17 requests  3.0 MB
  broken  static    failed        0       1        1        0    16       1        2
    last failure, 4 min ago: exited with status 3 30 ms after its start
      command: /srv/broken.fcgi --fast
      steps:   endpoint 0.2 ms, exec 1.4 ms, ready 31 ms: exited
      output:
        | loading
        | cannot open database
  tomcat  external  ready         -       -        1        0    16       1        2
    127.0.0.1:9000              down                 0 serving  0 requests   connection refused
    10.0.0.5:9000 (spare:9000)  up, backup, route b  2 serving  17 requests  engine pid 4711 up for 4 min, 300 MB
`,
  );
  t.equal(
    showStatus(sampleStatus({ servers: [], classes: [] }), now),
    `manager   pid 99, version 0.1.0, up 4 min

servers   none

classes   none
`,
  );
  t.end();
});

t.test('what a program said', (t) => {
  const show = (changes: Parameters<typeof sampleFailure>[0]): string =>
    showStatus(
      sampleStatus({ classes: [sampleClass({ lastFailure: sampleFailure(changes) })] }),
      now,
    );
  t.match(show({ output: '' }), 'output:  none');
  t.match(show({ output: '\x1b[2Jhello\t!\x07' }), '| \ufffd[2Jhello  !\ufffd');
  const long = Array.from({ length: 30 }, (_, i) => `line ${i}`).join('\n');
  t.match(show({ output: long }), '| line 29');
  t.notMatch(show({ output: long }), '| line 19');
  t.end();
});

t.test('jserv', async (t) => {
  const file = join(t.testdir({ 'jserv.properties': '' }), 'jserv.properties');
  writeFileSync(
    file,
    'wrapper.bin=/usr/bin/java\nwrapper.bin.parameters=-Dx="a b"\nwrapper.classpath=/opt/jserv.jar\n' +
      'wrapper.env.copy=TZ\nwrapper.env.copyall=true\nbindaddress=::1\nport=8010\nsecurity.secretKey=/etc/key\nzones=root\n',
  );
  t.match(await usher(['jserv', file, '--name', 'old']), {
    exitCode: 0,
    out: `AppClass old \\
    -protocol ajp12 \\
    -command "/usr/bin/java '-Dx=\\"a' 'b\\"' org.apache.jserv.JServ ${file}" \\
    -host [::1]:8010 \\
    -initial-env CLASSPATH=/opt/jserv.jar \\
    -initial-env TZ \\
    -secret-file /etc/key
`,
    err: /wrapper\.env\.copyall: .*\n.*zones=root: .*\n.*\/etc\/key must belong to root/,
  });
  t.match(await usher(['jserv', file, '--server', 'nginx']), {
    out: /^usher_app jserv\n {4}protocol=ajp12\n {4}"command=\/usr.*\n.*\n.*\n.*\n {4}secret_file=\/etc\/key;\n$/,
  });
  writeFileSync(file, 'security.authentication=false\nport=none\n');
  t.match(await usher(['jserv', file]), { exitCode: 1, err: /jserv\.properties:2: port=none/ });
  t.match(await usher(['jserv', `${file}.not`]), { exitCode: 1, err: /ENOENT/ });
  t.match(await usher(['jserv', file, '--server', 'lighttpd']), { exitCode: 2 });
});

t.test('stop', async (t) => {
  const stops: StopRequest[] = [];
  const { runtimeDir, server } = await startManager(t, {
    stop: (request) => {
      stops.push(request);
      if (request.force) setTimeout(() => server.close(), 50); // then it is gone
      return { pid: 99, instances: 2 };
    },
  });
  const place = ['--runtime-dir', runtimeDir];
  const early = await usher(['stop', '--no-wait', '--json', ...place]);
  t.match(early, { exitCode: 0, out: '{"pid":99,"instances":2,"isDone":false}\n' });

  const late = await usher(['stop', '--timeout', '0.1', ...place]);
  t.match(late, { exitCode: 1, err: /^usher: .* is still there after 0\.1 s\n$/ });

  const done = await usher(['stop', '--force', ...place]);
  t.match(done, { exitCode: 0, out: 'stopped manager 99 with 2 instances\n' });
  t.same(stops, [{ force: false }, { force: false }, { force: true }]);

  t.match(await usher(['stop', '--timeout', 'soon', ...place]), { exitCode: 2 });
});

t.test('no manager', async (t) => {
  const runtimeDir = makeRuntimeDir(t);
  for (const command of ['status', 'stop']) {
    t.match(await usher([command, '--runtime-dir', runtimeDir]), {
      exitCode: 3,
      out: '',
      err: `usher: no manager: nothing listens on ${join(runtimeDir, controlSocketName)}\n`,
    });
  }
});

t.test('which manager', async (t) => {
  const env = { XDG_RUNTIME_DIR: makeRuntimeDir(t) };
  const own = await usher(['status'], { uid: 1000, env });
  t.match(own.err, join(env.XDG_RUNTIME_DIR, 'usher', controlSocketName));
  t.match(await usher(['status'], { uid: 1000 }), {
    exitCode: 2,
    err: /XDG_RUNTIME_DIR is not set/,
  });
});

t.test('usage', async (t) => {
  t.match(await usher(['--help']), { exitCode: 0, out: /status .*stop /s });
  t.match(await usher(['--version']), { exitCode: 0, out: /^\d+\.\d+\.\d+\n$/ });
  t.match(await usher([]), { exitCode: 2, err: /Usage: usher/ });
  t.match(await usher(['stats']), { exitCode: 2, err: /unknown command 'stats'/ });
  t.match(await usher(['status', '--xml']), { exitCode: 2, err: /unknown option '--xml'/ });
  t.match(await usher(['run']), { exitCode: 2, err: /missing required argument 'file'/ });
});

t.test('run', async (t) => {
  const launcher = installed('build/usher-launcher');
  const launched: string[][] = [];
  const world: Partial<Context> = {
    capture: async () => ({
      exitCode: 0,
      output: '{"classes":1,"runtimeDir":"/run/own","log":"/var/log/x"}',
    }),
    foreground: async (program, args) => {
      launched.push([program, ...args]);
      return { exitCode: 0 };
    },
  };
  t.match(await usher(['run', '/etc/usher.conf'], world), { exitCode: 0, out: '', err: '' });
  t.same(launched, [
    [
      ...[launcher, '--mode', 'run', '--runtime-dir', '/run/own', '--config', '/etc/usher.conf'],
      ...['--node', process.execPath, '--usherd', installed('bin/usherd'), '--log', '/var/log/x'],
    ],
  ]);

  await usher(['run', 'usher.conf', '--runtime-dir', '/run/x'], world);
  t.equal(launched[1]?.[4], '/run/x', 'the command line goes before the file');

  const foreground = async () => ({ exitCode: 143 });
  t.match(await usher(['run', 'x'], { ...world, foreground }), { exitCode: 1 });

  for (const exitCode of [2, 1]) {
    const refusing = async () => ({ exitCode, output: '' });
    const run = await usher(['run', 'x'], { ...world, capture: refusing });
    t.match(run, { exitCode, err: '' }, 'the checking program has said why');
  }
  t.equal(launched.length, 2);

  const missing = await usher(['run', 'x'], { ...world, exists: () => false });
  t.match(missing, { exitCode: 1, err: `usher: ${launcher} is missing: run "npm run setup"\n` });
});

t.test('config check', async (t) => {
  const world = { capture: async () => ({ exitCode: 0, output: '{"classes":3}' }) };
  const text = await usher(['config', 'check', 'u.conf'], world);
  t.match(text, { exitCode: 0, out: 'u.conf: 3 classes, no error\n' });
  const json = await usher(['config', 'check', 'u.conf', '--json'], world);
  t.equal(json.out, '{"classes":3}\n');
});

t.test('programs that are started', async (t) => {
  const script = join(t.testdir(), 'script.mjs');
  const node = process.execPath;
  writeFileSync(script, 'console.log("out"); process.exitCode = Number(process.argv[2]);');
  t.same(await capture(node, [script, '7']), { exitCode: 7, output: 'out\n' });
  t.same(await foreground(node, ['-e', 'process.exitCode = 5']), { exitCode: 5 });
  await t.rejects(foreground('/nonexistent', []), { code: 'ENOENT' });
  await t.rejects(capture('/nonexistent', []), { code: 'ENOENT' });

  const waiting = foreground(node, ['-e', 'setInterval(() => {}, 1000)']);
  process.kill(process.pid, 'SIGTERM');
  t.same(await waiting, { exitCode: 128 + 15 }, 'a signal is passed on');
});

t.test('units', (t) => {
  const durations: [number, string][] = [
    [0.21, '0.2 ms'],
    [3, '3 ms'],
    [31.4, '31 ms'],
    [1500, '1.5 s'],
    [64_000, '64 s'],
    [240_000, '4 min'],
    [3 * 3_600_000, '3 h'],
    [72 * 3_600_000, '3 d'],
  ];
  for (const [ms, text] of durations) t.equal(showDuration(ms), text);
  t.equal(showBytes(12), '12 B');
  t.equal(showBytes(3_145_728), '3.0 MB');
  t.equal(showBytes(300 * 1024), '300 kB');
  t.equal(printable('a\tb\u0085é'), 'a  b\ufffdé');
  t.end();
});

t.test('snapshot', async (t) => {
  const built = {
    ...{ program: '/app.ts', snapshot: '/app.snapshot', bytes: 3 << 20, isNew: true },
    ...{ reason: null, files: 2, warnings: ['/app.ts:1:1: careful'], executable: null },
  };
  const orders: unknown[] = [];
  const world = (answer: object): Partial<Context> => ({
    capture: async (_program, [, order = '']) => {
      orders.push(JSON.parse(order));
      return { exitCode: 0, output: `${JSON.stringify(answer)}\n` };
    },
  });
  t.match(await usher(['snapshot', '/app.ts'], world(built)), {
    ...{ exitCode: 0, out: '/app.snapshot: 3.0 MB\n', err: 'usher: /app.ts:1:1: careful\n' },
  });
  const words = ['--executable', '/a.cgi', '--depends', '/b', '--depends', '/c', '--if-stale'];
  const old = { ...built, isNew: false, warnings: [] };
  t.match(
    await usher(
      ['snapshot', '/app.ts', ...words, '--timeout', '2', '--node-option=--stack-size=9'],
      world(old),
    ),
    { exitCode: 0, out: '/app.snapshot: 3.0 MB, made before\n' },
  );
  t.match(orders, [
    { program: '/app.ts', depends: [], nodeOptions: [], onlyIfStale: false, timeoutMs: 120_000 },
    {
      ...{ executable: '/a.cgi', depends: ['/b', '/c'], nodeOptions: ['--stack-size=9'] },
      ...{ onlyIfStale: true, timeoutMs: 2000 },
    },
  ]);
  const json = await usher(['snapshot', '/app.ts', '--json'], world(built));
  t.same(JSON.parse(json.out), built);
  const check = ['snapshot', '/app.ts', '--check'];
  t.match(await usher(check, world({ reason: null })), { exitCode: 0, out: /can be used/ });
  t.match(await usher(check, world({ reason: '/b has changed' })), {
    ...{ exitCode: 1, out: '/app.ts: /b has changed\n' },
  });
  t.match(await usher(['snapshot']), { exitCode: 2 });
  const file = `${t.testdir({ 'app.ts': 'export {};' })}/app.ts`;
  t.match(await usher(['snapshot', file], { capture }), { exitCode: 1, out: '' }, 'it says why');
});

t.test('explain: a class that has failed', async (t) => {
  const explained = sampleExplanation({
    journeys: [
      sampleFailure({
        startedAt: '2025-01-02T03:08:00.000Z',
        rssBytes: 3_145_728,
        output: 'loading\x1b[2J\ncannot open database\r\n',
        steps: [
          { name: 'endpoint', ms: 0.2, did: 'bound' },
          { name: 'exec', ms: 1.4, error: 'exec /srv/broken.fcgi: none' },
        ],
      }),
      sampleFailure({ id: 'k41earlier', explanation: 'exited with status 2' }),
    ],
  });
  const asked: string[] = [];
  const { runtimeDir } = await startManager(t, {
    explain: ({ of }) => {
      asked.push(of);
      return explained;
    },
  });
  const words = ['explain', '/srv/broken.fcgi?a b', '--runtime-dir', runtimeDir];
  const run = await usher(words);
  t.equal(run.exitCode, 0);
  t.same(asked, ['/srv/broken.fcgi?a b']);
  t.equal(
    run.out,
    `class     /srv/broken.fcgi (dynamic, fastcgi): failed
requests  get 503 at once, with Retry-After: 7
next try  in 7.0 s when it is wanted; at once: usher retry /srv/broken.fcgi

start k41x2mz3q, 5.0 s ago: failed (exited-with-error)
  what       exited with status 3 30 ms after its start
  hint       Read its last lines of output.
  command    /srv/broken.fcgi --fast
  user       www-data (33), group www-data (33)
  directory  /srv
  limits     nofile=1024
  memory     3.0 MB at most
  steps      endpoint  0.2 ms  +0.2 ms  bound
             exec      1.4 ms  +1.2 ms  failed: exec /srv/broken.fcgi: none
  output     | loading\ufffd[2J
             | cannot open database
  variables  PATH=/usr/bin:/bin
             DB_PASSWORD=***

earlier
  k41earlier  4.0 min ago  exited-with-error  exited with status 2

One of them: usher explain ID
`.replace('4.0 min', '4 min'),
  );
  t.same(JSON.parse((await usher([...words, '--json'])).out), explained);
});

t.test('explain: a class that is well, and one start', async (t) => {
  const { cause: _, ...start } = sampleFailure({ outcome: 'ready', explanation: '', hint: '' });
  const well = sampleExplanation({
    ...{ state: 'ready', ready: 2, now: 'are served by 2 instances', nextTryAt: null },
    journeys: [sampleFailure({ id: 'k41failed' }), { ...start, cause: null }],
  });
  const text = showExplanation(well, now);
  t.match(text, 'requests  are served by 2 instances\n');
  t.notMatch(text, 'next try');
  t.match(
    text,
    /start k41x2mz3q, 4 min ago: it became ready, pid 4243\n {2}command/,
    'it comes first',
  );
  t.match(text, /earlier\n {2}k41failed /);
  const one = showExplanation({ ...well, id: 'k41failed', journeys: [sampleFailure()] }, now);
  t.match(one, /^\nstart k41x2mz3q/, 'of one start nothing about the class');
  t.match(showExplanation({ ...well, journeys: [] }, now), 'no start of it is remembered');
});

t.test('explain: nobody is called that', async (t) => {
  const { runtimeDir } = await startManager(t, {
    explain: () => {
      throw new ControlError(404, 'unknown', 'no class is called "x"; classes: hello');
    },
  });
  const run = await usher(['explain', 'x', '--runtime-dir', runtimeDir]);
  t.equal(run.exitCode, 1);
  t.match(run.err, 'classes: hello');
});

t.test('migrate', async (t) => {
  const dir = t.testdir({
    'nginx.conf': 'events {}\nhttp { server { location / { fastcgi_pass 10.0.0.1:9000; } } }\n',
    'httpd.conf': 'JkWorkerProperty worker.a.secret=hush-hush\nJkMount /* a\n',
    'broken.conf': 'http {\n',
    start: 'spawn-fcgi -p 9000 -- /bin/app\n',
  });
  const file = (name: string): string => join(dir, name);
  const run = await usher(['migrate', file('nginx.conf')]);
  t.match(run, { exitCode: 0, out: /usher_pass app-10\.0\.0\.1-9000;/ });
  t.match(run.err, /nginx\.conf:2: fastcgi_pass 10\.0\.0\.1:9000;\n {4}CHANGED .*\n {4}taken/);

  const json = JSON.parse(
    (await usher(['migrate', file('nginx.conf'), '--to', 'apache', '--json'])).out,
  );
  t.match(json, { from: 'nginx', to: 'apache', configuration: /ExternalAppClass/ });
  t.match(json.lines[0], { file: file('nginx.conf'), line: 2 });

  const output = file('new.conf');
  const secrets = ['--output', output, '--secrets', dir];
  const hidden = await usher(['migrate', file('httpd.conf'), ...secrets]);
  t.match(hidden, { exitCode: 0, out: '' });
  t.equal(readFileSync(file('a.secret'), 'utf8'), 'hush-hush\n');
  t.equal(statSync(file('a.secret')).mode & 0o777, 0o600);
  t.notMatch(hidden.err + readFileSync(output, 'utf8'), /hush-hush/);
  t.match(await usher(['migrate', file('httpd.conf'), ...secrets]), { exitCode: 1, err: /EEXIST/ });

  t.match(
    (await usher(['migrate', file('start')])).out,
    /usher_app app command=\/bin\/app processes=1;/,
  );
  t.match(await usher(['migrate', file('broken.conf')]), {
    exitCode: 1,
    err: /broken\.conf:1: the block is not closed/,
  });
  t.match(await usher(['migrate', file('none')]), { exitCode: 1, err: /ENOENT/ });
  t.match(await usher(['migrate', file('nginx.conf'), '--output', file('nginx.conf')]), {
    exitCode: 2,
    err: /it would replace what is read/,
  });
  t.match(await usher(['migrate']), { exitCode: 2 });
  t.match(await usher(['migrate', file('nginx.conf'), '--to', 'iis']), { exitCode: 2 });
});
