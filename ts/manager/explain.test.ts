// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { sampleClass, sampleFailure } from '../control/testing/sample.ts';
import { type Explainable, explain } from './explain.ts';

const now = new Date('2025-01-02T03:08:05.000Z');

function classOf(label: string, changes: Partial<Explainable> = {}): Explainable {
  return {
    label,
    config: { key: label.replace(/@.*/, '') },
    journeys: [],
    refusal: null,
    status: () => sampleClass({ name: label }),
    ...changes,
  };
}

const broken = classOf('broken', {
  journeys: [sampleFailure({ id: 'k2' }), sampleFailure({ id: 'k1' })],
  refusal: { reason: 'x', retryAfterS: 3, leftMs: 2500 },
  status: () => sampleClass({ name: 'broken', state: 'failed', instances: [] }),
});
const all = [classOf('hello'), broken, classOf('two@nginx'), classOf('two@apache')];

t.test('a class', async (t) => {
  const { now: requests, ...explained } = explain(all, 'broken', now);
  t.match(explained, { class: 'broken', state: 'failed', ready: 0, id: null });
  t.equal(requests, 'get 503 at once, with Retry-After: 3');
  t.equal(explained.nextTryAt, '2025-01-02T03:08:07.500Z');
  t.same(
    explained.journeys.map(({ id }) => id),
    ['k2', 'k1'],
  );
  t.match(explain(all, 'hello', now), { now: 'are served by 1 instance', nextTryAt: null });
  t.match(explain(all, 'two@nginx', now), { class: 'two@nginx' });
  t.throws(() => explain(all, 'two', now), { code: 'ambiguous', message: /two@nginx, two@apache/ });
});

t.test('a start', async (t) => {
  t.match(explain(all, 'k1', now), { id: 'k1', class: 'broken', journeys: [{ id: 'k1' }] });
  t.throws(() => explain(all, 'k9', now), {
    ...{ code: 'unknown', httpStatus: 404 },
    message:
      'no class and no start that is remembered is called "k9"; classes: hello, broken, two@nginx, two@apache; starts: k2, k1',
  });
  const many = Array.from({ length: 30 }, (_, i) => classOf(`c${i}`));
  t.throws(() => explain(many, 'x', now), /c19 and 10 more; starts: none/);
});

t.test('what requests get', async (t) => {
  const of = (changes: Parameters<typeof sampleClass>[0]) =>
    explain([classOf('a', { status: () => sampleClass(changes) })], 'a', now).now;
  t.match(of({ state: 'cold' }), /start an instance/);
  t.match(of({ state: 'starting' }), /wait/);
  t.match(of({ state: 'removed' }), /404/);
  t.match(of({ kind: 'external' }), /503/, 'nobody is up');
});
