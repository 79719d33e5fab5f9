// SPDX-License-Identifier: Apache-2.0
// Backends whose engines the manager starts: it says when they are there.
import t from 'tap';
import type { BackendConfig, EngineView, SharedBackend } from '../link.ts';
import type { Answer } from '../testing/client.ts';
import { whole } from './testing/fake-backend.ts';
import { World } from './testing/world.ts';

const text = ({ stdout }: Answer): string => stdout.toString('latin1');
const body = (answer: Answer): string => text(answer).split('\r\n\r\n').slice(1).join('\r\n\r\n');

const up: EngineView = { isUp: true, isAwaited: false, text: '' };
const starting: EngineView = { isUp: false, isAwaited: true, text: 'is being started' };
const broken: EngineView = { isUp: false, isAwaited: false, text: 'exited with status 1' };

function shared(name: string, engine: EngineView): SharedBackend {
  const rest = { activation: 'active', busyElsewhere: 0, failedUntilMs: 0, lastError: '' } as const;
  return { name, engine, ...rest };
}

async function waiting(w: World, count: number): Promise<void> {
  while (w.gateway.waiting !== count) await new Promise((resolve) => setTimeout(resolve, 2));
}

function serve(w: World): void {
  for (const backend of w.backends) {
    backend.onRequest = (_, connection) => connection.send(whole(backend.name));
  }
}

t.test('a request waits for an engine that is being started', async (t) => {
  const w = await World.begin(t, { backends: [{ engine: starting }] });
  serve(w);
  const { name } = w.backend;
  const client = w.request();
  await waiting(w, 1);
  t.equal(w.backend.connections.length, 0);
  w.gateway.share([shared(name, starting)]);
  await waiting(w, 1);
  w.gateway.share([shared(name, up)]);
  t.equal(body(await client.answer()), name);
});

t.test('it does not wait for one that is broken', async (t) => {
  const w = await World.begin(t, { backends: [{ engine: broken }] });
  const answer = await w.request().answer();
  t.match(text(answer), /^Status: 503 /);
  t.equal(answer.stderr, `no backend: ${w.backend.name} exited with status 1`);
});

t.test('nor for ever', async (t) => {
  const options = { engineWaitMs: 50 };
  const w = await World.begin(t, { options, backends: [{ engine: starting }] });
  const answer = await w.request().answer();
  t.match(text(answer), /^Status: 503 /);
  t.equal(answer.stderr, `no backend: ${w.backend.name} is being started`);
  const none = await World.begin(t, {
    options: { engineWaitMs: 0 },
    backends: [{ engine: starting }],
  });
  t.match(text(await none.request().answer()), /^Status: 503 /);
});

t.test('an engine that has died before anybody says so', async (t) => {
  const w = await World.begin(t, { backends: [{ engine: up }], options: { retries: 0 } });
  serve(w);
  const { name } = w.backend;
  await w.backend.stop();
  const client = w.request();
  await w.state(0, ({ failures }) => failures > 0);
  w.gateway.share([shared(name, starting)]);
  await w.backend.restart();
  w.gateway.share([shared(name, up)]);
  t.equal(body(await client.answer()), name);
  await w.state(0, ({ state }) => state === 'ok');
  t.pass('what failed was another process');
});

t.test('others serve meanwhile, also its sessions', async (t) => {
  const backends = [{ route: 'a', engine: starting }, { engine: up }];
  const w = await World.begin(t, { backends });
  serve(w);
  const [first, second] = w.backends.map(({ name }) => name) as [string, string];
  const session = { HTTP_COOKIE: 'JSESSIONID=1.a' };
  t.equal(body(await w.request().answer()), second);
  t.equal(body(await w.request(session).answer()), second);
  w.gateway.share([shared(first, up), shared(second, up)]);
  t.equal(body(await w.request(session).answer()), first);

  const forced = await World.begin(t, { backends, options: { stickyForce: true } });
  serve(forced);
  const client = forced.request(session);
  await waiting(forced, 1);
  forced.gateway.share([shared(forced.backend.name, up)]);
  t.equal(body(await client.answer()), forced.backend.name, 'unless they may not');
});

t.test('a client that leaves while it waits', async (t) => {
  const w = await World.begin(t, { backends: [{ engine: starting }] });
  serve(w);
  const client = w.request();
  await waiting(w, 1);
  client.destroy();
  await waiting(w, 0);
  w.gateway.share([shared(w.backend.name, up)]);
  t.equal(body(await w.request().answer()), w.backend.name);
  t.equal(w.backend.connections.length, 1);
});

t.test('another configuration', async (t) => {
  const w = await World.begin(t, { backends: [{ engine: starting }, { engine: up }] });
  const [first, second] = w.backends as [World['backend'], World['backend']];
  const slow = w.request();
  const [, connection] = await second.request();
  const base = { route: null, weight: 1, activation: 'active', isBackup: false } as const;
  const config = (name: string, engine: EngineView): BackendConfig => ({ ...base, name, engine });
  w.configure([
    config(first.name, starting),
    config(second.name, { ...starting, text: 'is replaced' }),
  ]);
  t.match(
    await w.state(1, ({ activation }) => activation === 'stopped'),
    { busy: 1 },
    'what had begun counts',
  );
  const held = w.request();
  await waiting(w, 1);
  w.configure([config(first.name, up), config(second.name, starting)]);
  first.onRequest = (_, one) => one.send(whole('first'));
  t.equal(body(await held.answer()), 'first', 'who waits goes on with the next one');
  connection.send(whole('second'));
  t.equal(body(await slow.answer()), 'second');
  t.match(await w.state(1, ({ busy }) => busy === 0), { activation: 'stopped' });
});

t.test('an engine that goes loses its idle connections', async (t) => {
  const w = await World.begin(t, { backends: [{ engine: up }] });
  serve(w);
  await w.request().answer();
  w.gateway.share([shared(w.backend.name, starting)]);
  await w.backend.connections[0]?.closed();
  t.pass();
});
