// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectTo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import type { BackendState, Down, Up } from '../gateways/link.ts';
import { ajpGateway } from './gateway-config.ts';
import { Gateways } from './gateways.ts';

const config = ajpGateway(
  { host: ['tomcat1:8009,route=a', 'tomcat2:8009,route=b,weight=2,activation=disabled'] },
  'ajp',
);

/** The two ends of a link. */
async function pair(t: Test): Promise<{ ours: Socket; theirs: Socket }> {
  const directory = mkdtempSync(join(tmpdir(), 'usher-'));
  const path = join(directory, 's');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const ours = connectTo(path);
  const theirs = await accepted;
  t.teardown(() => {
    server.close();
    ours.destroy();
    theirs.destroy();
    rmSync(directory, { recursive: true });
  });
  return { ours, theirs };
}

/** A gateway of which only the link is there. */
class FakeGateway {
  #socket: Socket;
  #lines: AsyncIterator<string>;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  async next(): Promise<Down> {
    const { value } = await this.#lines.next();
    return value === '' ? this.next() : JSON.parse(value as string);
  }

  say(up: Up): void {
    this.write(`${JSON.stringify(up)}\n`);
  }

  write(text: string): void {
    this.#socket.write(text);
  }
}

function stateOf(name: string, changes: Partial<BackendState> = {}): BackendState {
  return {
    ...{ name, activation: 'active', state: 'ok', lastError: '', busy: 0 },
    ...{ requests: 0, failures: 0, failedUntilMs: 0 },
    ...changes,
  } as BackendState;
}

async function begin(t: Test, count: number) {
  const events: string[] = [];
  const gateways = new Gateways('shop', config, (_level, event, text) =>
    events.push(`${event} ${text}`),
  );
  t.teardown(() => gateways.close());
  const fakes: FakeGateway[] = [];
  for (let id = 1; id <= count; id += 1) {
    const { ours, theirs } = await pair(t);
    gateways.attach(id, ours);
    const fake = new FakeGateway(theirs);
    t.match(await fake.next(), { type: 'configure', class: 'shop' }, `gateway ${id} is configured`);
    fakes.push(fake);
  }
  const until = async (test: () => boolean): Promise<void> => {
    while (!test()) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  return { gateways, fakes, events, until };
}

t.test('what one gateway knows of a backend the others hear', async (t) => {
  const { gateways, fakes, events, until } = await begin(t, 2);
  const [first, second] = fakes as [FakeGateway, FakeGateway];
  const failed = { state: 'failed', lastError: 'refused', failedUntilMs: 9_000 } as const;
  first.say({
    type: 'backends',
    backends: [
      stateOf('tomcat1:8009', { busy: 3, requests: 5, ...failed }),
      stateOf('tomcat2:8009'),
    ],
  });
  t.match(await second.next(), {
    type: 'backends',
    backends: [
      { name: 'tomcat1:8009', busyElsewhere: 3, failedUntilMs: 9_000, lastError: 'refused' },
      { name: 'tomcat2:8009', busyElsewhere: 0, failedUntilMs: 0, activation: 'disabled' },
    ],
  });
  t.match(await first.next(), { backends: [{ busyElsewhere: 0 }, { busyElsewhere: 0 }] });
  first.say({ type: 'log', level: 'warn', event: 'backend.down', text: 'tomcat1:8009: refused' });
  await until(() => events.length > 0);
  t.same(events, ['backend.down tomcat1:8009: refused'], 'it is told once, by who found out');
  t.match(gateways.status(8_000), [
    { address: 'tomcat1:8009', state: 'down', route: 'a', inFlight: 3, requests: 5 },
    { address: 'tomcat2:8009', state: 'draining', route: 'b', activation: 'disabled' },
  ]);
  t.match(gateways.status(9_000), [{ state: 'down' }, {}], 'until a request has found it there');

  second.say({ type: 'backends', backends: [stateOf('tomcat1:8009', { busy: 1, requests: 2 })] });
  await until(() => gateways.status(0)[0]?.requests === 7);
  t.equal(gateways.status(0)[0]?.inFlight, 4, 'what all of them serve');
  gateways.detach(1);
  t.match(
    gateways.status(0)[0],
    { requests: 7, inFlight: 1 },
    'an ended one has served all the same',
  );
});

t.test('an administrator changes a backend for all gateways', async (t) => {
  const { gateways, fakes } = await begin(t, 2);
  t.notOk(gateways.activate('tomcat3:8009', 'stopped'));
  t.ok(gateways.activate('tomcat1:8009', 'stopped'));
  t.ok(gateways.activate('tomcat2:8009', 'active'));
  for (const fake of fakes) {
    const change = { backends: [{ activation: 'stopped' }, { activation: 'disabled' }] };
    t.match(await fake.next(), change, 'each at once');
    t.match(await fake.next(), { backends: [{ activation: 'stopped' }, { activation: 'active' }] });
  }
  t.match(gateways.status(0), [{ state: 'disabled' }, { state: 'up' }]);
  const next = new Gateways('shop', config, () => undefined);
  next.restore(gateways.activations);
  t.match(next.status(0), [{ activation: 'stopped' }, { activation: 'active' }], 'over a restart');
  const { ours, theirs } = await pair(t);
  next.attach(1, ours);
  t.match(await new FakeGateway(theirs).next(), { backends: [{ activation: 'stopped' }, {}] });
  next.configure(ajpGateway({ host: 'tomcat2:8009' }, 'ajp'));
  t.match(next.activations, [['tomcat2:8009', 'active']], 'but not for one that is gone');
  next.close();
});

t.test('what makes no sense is passed over', async (t) => {
  const { fakes, events, until } = await begin(t, 1);
  const [fake] = fakes as [FakeGateway];
  fake.write('"type":"log","text":"the end of a line that a former manager began to read"}\n');
  for (const line of ['null', '[]', '{"type":"log"}', '{"type":"backends","backends":[{}]}', '{']) {
    fake.write(`${line}\n`);
  }
  const said = JSON.stringify({
    type: 'log',
    level: 'warn',
    event: 'ajp.packet',
    text: 'too small',
  });
  fake.write(said.slice(0, 20));
  await new Promise(setImmediate);
  fake.write(`${said.slice(20)}\n`);
  await until(() => events.length > 0);
  t.same(events, ['ajp.packet too small']);
});
