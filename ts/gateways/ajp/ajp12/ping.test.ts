// SPDX-License-Identifier: Apache-2.0
// Pings to AJP 1.2 engines.
import t, { type Test } from 'tap';
import { parseAddress } from '../address.ts';
import { type EngineOptions, FakeEngine } from '../testing/fake-engine.ts';
import { type PingOptions, pingEngine } from './ping.ts';

const key = Buffer.from('a key\n');

/** What came of it: '' or the error. */
async function asked(engine: FakeEngine, options: Partial<PingOptions> = {}): Promise<string> {
  const address = parseAddress(engine.name);
  const times = { connectTimeoutMs: 60_000, answerTimeoutMs: 60_000 };
  return await new Promise((resolve) => {
    const all = { address, key: engine.key, ...times, ...options };
    pingEngine(all, (error) => resolve(error?.message ?? ''));
  });
}

async function engine(t: Test, options?: EngineOptions): Promise<FakeEngine> {
  return FakeEngine.listen(t, options);
}

t.test('a ping', async (t) => {
  for (const options of [{}, { key }]) {
    const there = await engine(t, options);
    t.equal(await asked(there), '');
    t.same(there.connections[0]?.signal, ['ping', options.key !== undefined]);
    await there.until(() => there.connections[0]?.isClosed);
  }
  const mute = await engine(t);
  mute.answersPings = false;
  const late = await asked(mute, { answerTimeoutMs: 30 });
  t.equal(late, 'no answer to a ping within 0.03 s');
  const gone = await engine(t);
  gone.close();
  t.match(await asked(gone), /ECONNREFUSED/);
  const strict = await engine(t, { key });
  t.match(await asked(strict, { key: Buffer.from('b') }), /may not be its secret key/);
});

t.test('called off', async (t) => {
  const mute = await engine(t);
  mute.answersPings = false;
  const times = { connectTimeoutMs: 60_000, answerTimeoutMs: 60_000 };
  const cancel = pingEngine({ address: parseAddress(mute.name), key: null, ...times }, () =>
    t.fail('nobody waits for it any more'),
  );
  await mute.until(() => mute.pings === 1);
  cancel();
  await mute.until(() => mute.connections[0]?.isClosed);
});
