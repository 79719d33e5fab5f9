// SPDX-License-Identifier: Apache-2.0
// Instances for `usher request`: kept from the web servers, never taken from them.
import t from 'tap';
import type { Ref } from '../native/native.ts';
import type { Instance } from './instance.ts';
import { Lending } from './lending.ts';

function make(concurrency = 1) {
  const published: string[] = [];
  const inFlight = new Map<number, number>();
  /** What happens just when the endpoint is taken. */
  const world = { race: (): void => undefined };
  const lending = new Lending({
    inFlight: ({ index }: Ref) => inFlight.get(index) ?? 0,
    setEndpoint: (ref, state) => {
      published.push(`${ref.index} ${state}`);
      world.race();
    },
  });
  const instance = (index: number): Instance =>
    ({
      ...{ id: index, endpointId: index, pid: 100 + index, state: 'ready', isShared: false },
      ref: { index, generation: 1 },
      revision: { config: { concurrency } },
    }) as Instance;
  return { published, inFlight, world, lending, instances: [instance(1), instance(2)] };
}

t.test('one that serves one request at a time is kept from the others', async (t) => {
  const { published, inFlight, lending, instances } = make();
  inFlight.set(1, 1);
  t.same(lending.lend('a', instances, 0), { pid: 102, socket: 'e2', isReserved: true });
  t.same(published, ['2 draining'], 'the idle one');
  t.equal(lending.lend('b', instances, 0), null, 'nobody else is free');
  t.ok(lending.giveBack('a'));
  t.same(published, ['2 draining', '2 ready']);
  t.notOk(lending.giveBack('a'), 'once only');
});

t.test('a request that was quicker keeps its place', async (t) => {
  const { published, inFlight, world, lending, instances } = make();
  world.race = () => inFlight.set(1, 1);
  t.match(lending.lend('a', instances, 0), { pid: 102 });
  t.same(published, ['1 draining', '1 ready', '2 draining']);
});

t.test('one that serves many at once is only named', async (t) => {
  const { published, lending, instances } = make(10);
  t.match(lending.lend('a', instances, 0), { pid: 101, isReserved: false });
  t.match(lending.lend('b', instances, 0), { pid: 101 });
  t.ok(lending.giveBack('b'));
  t.same(published, []);
});

t.test('one that drains by now is not brought back', async (t) => {
  const { published, lending, instances } = make();
  lending.lend('a', instances, 0);
  for (const one of instances) one.state = 'draining';
  lending.giveBack('a');
  t.same(published, ['1 draining']);
  t.equal(lending.lend('b', instances, 0), null);
});

t.test('what nobody gives back is replaced', async (t) => {
  const { lending, instances } = make();
  lending.lend('a', instances, 0);
  t.same(lending.takeOverdue(599_999), []);
  t.same(lending.takeOverdue(600_000), instances.slice(0, 1));
  t.same(lending.takeOverdue(600_000), [], 'told once');
});
