// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { sampleFailure } from '../control/testing/sample.ts';
import { History } from './history.ts';

const failure = (number: number, output = '') =>
  sampleFailure({
    id: `f${number}`,
    startedAt: new Date(1e12 + number * 1000).toISOString(),
    output,
    snapshot: 'threads',
  });

t.test('a class that fails again and again', async (t) => {
  const history = new History();
  t.equal(history.lastFailure, null);
  t.same(history.journeys, []);
  for (let number = 1; number <= 9; number += 1) history.failed(failure(number, 'x'.repeat(4096)));
  t.same(
    history.journeys.map(({ id }) => id),
    ['f9', 'f8', 'f7', 'f6'],
    'the last ones, newest first',
  );
  t.equal(history.lastFailure?.output.length, 4096, 'the last one whole');
  t.equal(history.journeys[1]?.output.length, 513, 'of the others the end');
  t.equal(history.journeys[1]?.snapshot, undefined);
  t.equal(history.find('f7')?.id, 'f7');
  t.equal(history.find('f1'), null, 'older ones are forgotten');
});

t.test('more is known of a failure, and a success', async (t) => {
  const history = new History();
  history.failed(failure(1));
  history.failed({ ...failure(1), explanation: 'more' });
  t.equal(history.journeys.length, 1, 'the same start is there once');
  t.equal(history.lastFailure?.explanation, 'more');
  history.succeeded({ ...failure(2), outcome: 'ready' });
  t.same(
    history.journeys.map(({ id }) => id),
    ['f2', 'f1'],
  );
  history.succeeded({ ...failure(3), outcome: 'ready' });
  t.same(
    history.journeys.map(({ id }) => id),
    ['f3', 'f1'],
    'one success is enough',
  );
  history.failed(failure(3));
  t.same(
    history.journeys.map(({ id }) => id),
    ['f3', 'f1'],
    'one that fails later was none',
  );
});
