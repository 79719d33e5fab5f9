// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { INTERVAL_MS, LoadRecorder, type LoadSample } from './load-recorder.ts';

const idle: LoadSample = { requests: 0, inFlight: 0, waiting: 0, instances: 0 };

class World {
  nowMs = 0;
  readonly recorder = new LoadRecorder(0);
  readonly classes = new Map<string, LoadSample>();

  next(intervals = 1): void {
    this.nowMs += INTERVAL_MS * intervals;
    this.pass();
  }

  pass(): void {
    const all = [...this.classes].map(([label, sample]) => ({ label, sample: () => sample }));
    this.recorder.pass(this.nowMs, all, () => new Date(this.nowMs));
  }
}

t.test('samples of classes and their sum', async (t) => {
  const world = new World();
  t.match(world.recorder.of(null), { requests: [], instances: [] }, 'none at first');
  world.classes.set('a', { requests: 5, inFlight: 2, waiting: 1, instances: 1 });
  world.next();
  world.pass();
  world.classes.set('b', idle);
  world.classes.set('a', { requests: 12, inFlight: 1, waiting: 0, instances: 2 });
  world.next();
  world.classes.set('b', { requests: 3, inFlight: 3, waiting: 9, instances: 1 });
  world.next();
  t.same(world.recorder.of('a'), {
    ...{ schema: 1, class: 'a', until: '1970-01-01T00:00:30.000Z', intervalMs: INTERVAL_MS },
    ...{ requests: [5, 7, 0], inFlight: [2, 1, 1], waiting: [1, 0, 0], instances: [1, 2, 2] },
  });
  t.match(world.recorder.of('b'), { requests: [0, 3], inFlight: [0, 3], waiting: [0, 9] });
  t.match(world.recorder.of(null), { requests: [5, 7, 3], inFlight: [2, 1, 4] });
  t.match(world.recorder.of(null), { waiting: [1, 0, 9], instances: [1, 2, 3] });
});

t.test('a class that goes, and one of its name that comes', async (t) => {
  const world = new World();
  world.classes.set('a', { ...idle, requests: 9 });
  world.next();
  world.classes.delete('a');
  world.next();
  t.same(world.recorder.of('a').requests, [], 'is forgotten');
  world.classes.set('a', { ...idle, requests: 2 });
  world.next();
  t.same(world.recorder.of('a').requests, [2]);
  t.same(world.recorder.of(null).requests, [9, 0, 2], 'but counts in the sum');
  world.classes.set('a', { ...idle, requests: 1 });
  world.next();
  t.same(world.recorder.of('a').requests, [2, 1], 'one whose counts begin anew');
});

t.test('an hour, and times when nobody looked', async (t) => {
  const world = new World();
  for (let i = 1; i <= 400; i += 1) {
    world.classes.set('a', { ...idle, requests: i * i });
    world.next();
  }
  const { requests } = world.recorder.of('a');
  t.equal(requests.length, 360);
  t.same([requests[0], requests.at(-1)], [2 * 41 - 1, 2 * 400 - 1]);
  world.next(3);
  t.same(world.recorder.of('a').requests.slice(-3), [null, null, 0]);
  t.same(world.recorder.of(null).instances.slice(-3), [null, null, 0]);
  world.next(1_000);
  t.equal(world.recorder.of('a').requests.length, 360);
  t.equal(world.recorder.of('a').requests.filter((one) => one !== null).length, 1);
});

t.test('more than there is room for', async (t) => {
  const world = new World();
  world.classes.set('a', { requests: 2 ** 33, inFlight: 70_000, waiting: 1e9, instances: 3 });
  world.next();
  t.match(world.recorder.of('a'), { requests: [2 ** 32 - 2], inFlight: [65_535] });
});
