// SPDX-License-Identifier: Apache-2.0
// The gateway as the launcher starts it: a listening socket, a link, arguments.
import { type ChildProcess, spawn } from 'node:child_process';
import { linkSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { CgiOptions, Up } from '../link.ts';
import { TestClient } from '../testing/client.ts';
import { eventually, isAlive, parts, Site } from './testing/site.ts';

const main = fileURLToPath(new URL('main.ts', import.meta.url));
const text = 'printf "Content-Type: text/plain\\r\\n\\r\\n"';

/** A listening socket that the child alone accepts from. */
async function startMain(t: Test, site: Site, args: string[]) {
  const bound = join(site.dir, 'bound');
  const path = join(site.dir, 'endpoint');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(bound, resolve));
  linkSync(bound, path); // the name that is left when the server here is closed
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  const child: ChildProcess = spawn(process.execPath, ['--import', 'tsx', main, ...args], {
    stdio: [fd, 'pipe', 'pipe', 'pipe'],
    env: { PATH: '/usr/bin:/bin', OF_CLASS: 'ä' },
  });
  server.close();
  t.teardown(() => child.kill('SIGKILL'));
  const link = child.stdio[3] as Socket;
  const messages: Up[] = [];
  let partial = '';
  link.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (partial + chunk).split('\n');
    partial = lines.pop() ?? '';
    messages.push(...lines.map((line) => JSON.parse(line) as Up));
  });
  link.on('error', () => undefined);
  let output = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
  });
  const exited = new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (code, signal) => resolve([code, signal])),
  );
  const configure = (options: Partial<CgiOptions> = {}) =>
    link.write(
      `${JSON.stringify({
        type: 'configure',
        class: 'usher-cgi',
        options: { ...site.options, ...options },
        backends: [],
      })}\n`,
    );
  const client = () => {
    const made = new TestClient(path);
    t.teardown(() => made.destroy());
    return made;
  };
  return { child, link, messages, exited, configure, client, output: () => output };
}

t.test('configured, asked, drained', async (t) => {
  const site = new Site(t);
  site.program('hello.cgi', `${text}; echo "$OF_CLASS"; ls /proc/self/fd | wc -l`);
  site.program('slow.cgi', `${text}; echo ready; sleep 0.5; echo done`);
  const gateway = await startMain(t, site, ['--path-check', 'suexec', '--root', site.dir]);
  gateway.configure();
  await eventually(() => gateway.messages.length > 0);
  t.same(gateway.messages, [{ type: 'ready' }]);
  const one = gateway.client();
  one.send({ params: site.params('hello.cgi'), keepConn: true });
  const ä = Buffer.from('ä').toString('latin1');
  t.equal(
    parts(await one.answer())[1],
    `${ä}\n4\n`,
    'the environment of the class; no descriptors',
  );

  gateway.configure({ maxOutputBytes: 10 });
  gateway.link.end();
  await eventually(() => gateway.link.destroyed);
  one.send({ params: site.params('hello.cgi'), keepConn: true });
  t.match(
    parts(await one.answer())[0],
    'Status: 502',
    'without a manager it serves on as told last',
  );
  gateway.child.kill('SIGTERM');
  t.same(await gateway.exited, [0, null]);
});

t.test('TERM while a request is served, KILL', async (t) => {
  const site = new Site(t);
  site.program('slow.cgi', `${text}; echo ready; sleep 0.3; echo done`);
  site.program(
    'long.cgi',
    `trap "" TERM; ${text}; echo $$; sleep 1000 & echo $!; wait; sleep 1000`,
  );
  const args = ['--path-check', 'roots', '--root', site.dir];
  const gateway = await startMain(t, site, args);
  gateway.configure();
  const slow = gateway.client();
  slow.send({ params: site.params('slow.cgi'), keepConn: true });
  await slow.output('ready');
  gateway.child.kill('SIGTERM');
  t.equal(parts(await slow.answer())[1], 'ready\ndone\n');
  t.same(await gateway.exited, [0, null]);

  const other = new Site(t);
  other.program(
    'long.cgi',
    `trap "" TERM; ${text}; echo $$; sleep 1000 & echo $!; wait; sleep 1000`,
  );
  const killed = await startMain(t, other, ['--path-check', 'roots', '--root', other.dir]);
  killed.configure();
  const long = killed.client();
  long.send({ params: other.params('long.cgi') });
  await long.output('\r\n\r\n');
  let pids: number[] = [];
  await eventually(() => {
    pids = long.outputSoFar().match(/^\d+$/gm)?.map(Number) ?? [];
    return pids.length === 2;
  });
  t.ok(pids.every(isAlive));
  killed.child.kill('SIGKILL');
  await eventually(() => !pids.some(isAlive));
  t.pass('a gateway that is killed leaves no program behind');
});

t.test('what cannot work', async (t) => {
  const site = new Site(t);
  const wrong = await startMain(t, site, ['--program']);
  wrong.configure();
  t.same(await wrong.exited, [78, null]);
  t.match(wrong.output(), /usher cgi gateway: --program: a value is missing; usage: /);
  const alone = await startMain(t, new Site(t), ['--root', '/srv']);
  alone.link.end();
  t.same(await alone.exited, [1, null]);
  t.match(alone.output(), /the manager has gone before it sent the options/);
  const foreign = await startMain(t, new Site(t), ['--root', '/srv']);
  foreign.configure({ protocol: 'ajp' as 'cgi' });
  t.same(await foreign.exited, [78, null]);
});
