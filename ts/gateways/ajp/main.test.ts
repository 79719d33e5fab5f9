// SPDX-License-Identifier: Apache-2.0
// The gateway as the launcher starts it: a listening socket, a link, perhaps a secret.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, linkSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { AjpOptions, BackendConfig, Up } from '../link.ts';
import { TestClient } from '../testing/client.ts';
import { chunk, end, FakeBackend, head, whole } from './testing/fake-backend.ts';
import { ajpOptions, request } from './testing/world.ts';

const main = fileURLToPath(new URL('main.ts', import.meta.url));

class Process {
  readonly dir: string;
  readonly messages: Up[] = [];
  readonly link: Socket;
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  output = '';
  #onMessage: () => void = () => undefined;

  private constructor(dir: string, fd: number, secret: number | 'ignore') {
    this.dir = dir;
    this.child = spawn(process.execPath, ['--import', 'tsx', main], {
      stdio: [fd, 'pipe', 'pipe', 'pipe', secret],
      env: { PATH: '/usr/bin:/bin' },
    });
    this.link = this.child.stdio[3] as Socket;
    this.link.on('error', () => undefined);
    const lines = createInterface({ input: this.link });
    lines.on('error', () => undefined); // it has ended
    lines.on('line', (line) => {
      this.messages.push(JSON.parse(line) as Up);
      this.#onMessage();
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
    this.exited = new Promise((resolve) => this.child.once('close', resolve));
  }

  static async start(t: Test, secret?: string): Promise<Process> {
    const dir = mkdtempSync(join(tmpdir(), 'usher-ajp-'));
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(dir, 'bound'), resolve));
    linkSync(join(dir, 'bound'), join(dir, 'endpoint')); // the name that is left
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    let file: number | 'ignore' = 'ignore';
    if (secret !== undefined) {
      writeFileSync(join(dir, 'secret'), secret);
      file = openSync(join(dir, 'secret'), 'r');
    }
    const started = new Process(dir, fd, file);
    if (file !== 'ignore') closeSync(file);
    server.close();
    t.teardown(async () => {
      started.child.kill('SIGKILL');
      await started.exited;
      rmSync(dir, { recursive: true });
    });
    return started;
  }

  configure(names: string[], options: Partial<AjpOptions> = {}): void {
    const backends = names.map(
      (name): BackendConfig => ({
        name,
        route: null,
        weight: 1,
        activation: 'active',
        isBackup: false,
      }),
    );
    this.say({ type: 'configure', class: 'x', options: { ...ajpOptions, ...options }, backends });
  }

  say(message: unknown): void {
    this.link.write(`${JSON.stringify(message)}\n`);
  }

  async said(type: Up['type']): Promise<void> {
    while (!this.messages.some((message) => message.type === type)) {
      await new Promise<void>((resolve) => {
        this.#onMessage = resolve;
      });
    }
  }

  client(t: Test): TestClient {
    const client = new TestClient(join(this.dir, 'endpoint'));
    t.teardown(() => client.destroy());
    return client;
  }
}

async function backend(t: Test): Promise<FakeBackend> {
  const made = await FakeBackend.listen('127.0.0.1');
  t.teardown(() => made.close());
  return made;
}

t.test('configured, asked, configured again, drained', async (t) => {
  const [one, two] = [await backend(t), await backend(t)];
  one.onRequest = ({ attributes }, connection) => connection.send(whole(`1 ${attributes.secret}`));
  two.onRequest = (_, connection) => connection.send(whole('2'));
  const gateway = await Process.start(t, 'ge heim\r\nsecond line\n');
  gateway.configure([one.name]);
  await gateway.said('ready');
  const client = gateway.client(t);
  const ask = async () => {
    client.send({ params: request(), keepConn: true });
    return (await client.answer()).stdout.toString().split('\r\n\r\n')[1];
  };
  t.equal(await ask(), '1 ge heim', 'the first line of the secret');
  await gateway.said('backends');
  gateway.configure([two.name]);
  await one.connections[0]?.closed();
  t.equal(await ask(), '2', 'other backends');
  gateway.link.end();
  t.equal(await ask(), '2', 'without a manager it serves on');
  gateway.child.kill('SIGTERM');
  t.equal(await gateway.exited, 0);
  t.equal(gateway.output, '');
});

t.test('TERM while a request is served', async (t) => {
  const slow = await backend(t);
  const gateway = await Process.start(t);
  gateway.configure([slow.name]);
  const client = gateway.client(t);
  client.send({ params: request(), keepConn: true });
  const [, connection] = await slow.request();
  connection.send(head(), chunk('first'));
  await client.output('first');
  gateway.child.kill('SIGTERM');
  connection.send(chunk(' second'), end());
  t.match((await client.answer()).stdout.toString(), /first second$/);
  t.equal(await gateway.exited, 0);
});

t.test('what cannot work', async (t) => {
  const cases: [what: string, begin: (gateway: Process) => void, status: number, text: RegExp][] = [
    ['no manager', ({ link }) => link.end(), 1, /gone before it sent the options/],
    ['an address', (gateway) => gateway.configure(['tomcat']), 78, /backend tomcat: expected/],
    [
      'options of a CGI gateway',
      (gateway) => gateway.say({ type: 'configure', options: { protocol: 'cgi' }, backends: [] }),
      78,
      /another protocol/,
    ],
  ];
  for (const [what, begin, status, text] of cases) {
    const gateway = await Process.start(t);
    begin(gateway);
    t.equal(await gateway.exited, status, what);
    t.match(gateway.output, text);
    t.match(gateway.output, /^usher ajp gateway: .*\n$/);
  }
  const long = await Process.start(t, 'x'.repeat(65537));
  t.equal(await long.exited, 78);
  t.match(long.output, '-secret-file: more than 65536 bytes');
  const empty = await Process.start(t, '\nsecret\n');
  t.equal(await empty.exited, 78);
  t.match(empty.output, '-secret-file: its first line is empty');
});
