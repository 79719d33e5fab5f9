// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { formatMemory, parseMemory } from './class-memory.ts';
import { Failures } from './failures.ts';

t.test('a class that has failed stays so under the next manager', async (t) => {
  const before = new Failures();
  t.equal(
    formatMemory({
      failures: before.save(),
      lastFailure: null,
      scaledTo: null,
      activations: [],
      engines: [],
    }),
    '',
  );
  before.fail('no such table', 'k41x', '1.2.3', 9_000);
  const memory = parseMemory(
    formatMemory({
      failures: before.save(),
      lastFailure: null,
      scaledTo: null,
      activations: [],
      engines: [],
    }),
  );
  const after = new Failures();
  if (memory?.failures) after.restore(memory.failures);
  t.equal(after.untilMs, 9_000);
  t.notOk(after.mayStart(8_999));
  t.notOk(after.hasOtherProgram('1.2.3'));
  t.ok(after.hasOtherProgram('1.2.4'));
  t.match(after.refusal('app', 8_000), {
    reason: '[k41x] class "app": no such table',
    retryAfterS: 1,
  });
  after.expire(9_000);
  t.ok(after.mayStart(9_000));
});

t.test('how many instances were asked for', async (t) => {
  const memory = { failures: null, lastFailure: null, activations: [], engines: [] };
  t.same(parseMemory(formatMemory({ ...memory, scaledTo: 3 })), { ...memory, scaledTo: 3 });
  const former = JSON.stringify(memory);
  t.same(parseMemory(former), { ...memory, scaledTo: null }, 'of a version that did not know it');
  t.equal(parseMemory(JSON.stringify({ ...memory, scaledTo: 0 })), null);
});

t.test('what another version wrote is not believed', async (t) => {
  for (const text of ['', 'x', '[]', '{}', '7', 'null', '{"failures":{"count":"1"}}']) {
    t.equal(parseMemory(text), null, text);
  }
});
