// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { background, cutBackground, finishBackground } from './background.ts';
import { refuseSharedMemory, sharedBuffers, sharedMemory } from './shared-memory.ts';

t.test('tasks are finished, also those that tasks begin', async (t) => {
  const done: string[] = [];
  background(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    background(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      done.push('second');
    });
    done.push('first');
  });
  t.same(done, []);
  await finishBackground(600_000);
  t.same(done, ['first', 'second']);
  await finishBackground(0);
});

t.test('tasks are cut when it takes too long', async (t) => {
  let reason: unknown = null;
  background(async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    reason = signal.reason;
    throw reason;
  });
  await finishBackground(1);
  t.match(reason, { name: 'AbortError', message: 'the time for background tasks is over' });
  cutBackground('again, to no effect');
  let wasCut = false;
  background(async (signal) => {
    wasCut = signal.aborted;
  });
  await finishBackground(0);
  t.ok(wasCut, 'as are those that begin later');
});

t.test('memory by name', async (t) => {
  const buffer = sharedMemory('counters', 16);
  t.equal(buffer.byteLength, 16);
  t.equal(sharedMemory('counters', 16), buffer);
  t.throws(() => sharedMemory('counters', 8), /"counters" has 16 bytes; 8 were asked for/);
  t.throws(() => sharedMemory('other', 0), /0 bytes; allowed are 1 and more/);
  t.equal(sharedBuffers().get('counters'), buffer);
  t.throws(() => refuseSharedMemory(), /"counters": the workers of this model are processes/);
  t.throws(() => sharedMemory('other', 1), /"thread-pool" has threads/);
});
