// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { afterEnd, backOffMs, type EndFacts } from './restart.ts';

const ended: EndFacts = {
  policy: 'adaptive',
  kind: 'dynamic',
  wasReady: true,
  couldNotStart: false,
  exitCode: 1,
  wasKilled: false,
  livedMs: 1_000,
  minServerLifeMs: 30_000,
  restartDelayMs: 5_000,
  failures: 0,
  sinceFailureMs: Number.POSITIVE_INFINITY,
  precedesFailure: false,
  siblings: 0,
  oldestSiblingMs: 0,
  isWanted: false,
  restart: false,
  keepsLast: true,
};

const end = (facts: Partial<EndFacts>) => afterEnd({ ...ended, ...facts });
/** So many failures already. */
const after = (failures: number): Partial<EndFacts> => ({ failures, sinceFailureMs: 70_000 });

t.test('after an end that nobody asked for', async (t) => {
  t.match(end({}), { action: 'leave', failures: 1 }, 'a dynamic instance is not restarted');
  t.match(end({ isWanted: true }), { action: 'replace' }, 'unless a request waits for it');
  t.match(end({ restart: true }), { action: 'delay', delayMs: 5_000 }, 'or -restart is set');
  t.match(end({ kind: 'static' }), { action: 'delay', delayMs: 5_000 }, 'a static one always is');
  t.match(
    end({ kind: 'static', isWanted: true, livedMs: 30_000, ...after(2) }),
    { action: 'replace', failures: 0 },
    'at once after a long life, which clears it of the failures before',
  );
  t.match(
    end({ exitCode: 0, isWanted: true, ...after(1) }),
    { action: 'replace', failures: 1, isNewFailure: false },
    'exit 0 recycles, and says nothing about the failures before',
  );
  t.match(end({ exitCode: 0 }), { action: 'leave' }, 'what nobody needs is not recycled');
  t.match(
    end({ kind: 'static', exitCode: 0, isWanted: true, livedMs: 20 }),
    { action: 'delay', delayMs: 980, failures: 0 },
    'a program that ends as soon as it is ready is started once a second',
  );
  t.match(
    end({ exitCode: 0, isWanted: true, livedMs: 20, siblings: 1 }),
    { action: 'replace' },
    'but not held up where there are others: it may have served its five hundred requests',
  );
});

t.test('after a start that failed', async (t) => {
  const failed = (facts: Partial<EndFacts>) => end({ wasReady: false, ...facts });
  t.match(
    failed({ isWanted: true }),
    { action: 'replace', failures: 1, isNewFailure: true },
    'it is tried once more',
  );
  t.match(
    failed({ isWanted: true, ...after(1) }),
    { action: 'fail', delayMs: 1_000, failures: 2 },
    'then the class has failed',
  );
  t.match(failed(after(3)), { action: 'fail', delayMs: 4_000 }, 'longer each time');
  t.match(
    failed({ couldNotStart: true, isWanted: true }),
    { action: 'fail', delayMs: 1_000, failures: 1 },
    'what no repetition mends is not repeated',
  );
  t.match(
    failed({ couldNotStart: true, isWanted: true, failures: 1, sinceFailureMs: 3 }),
    { action: 'fail', failures: 1, isNewFailure: false },
    'ten starts that fail together are one failure',
  );
  t.match(
    failed({ ...after(4), siblings: 2 }),
    { action: 'delay', delayMs: 8_000, failures: 5 },
    'while another instance serves, the class has not failed',
  );
  t.equal(backOffMs(1), 1_000);
  t.equal(backOffMs(100), 60_000, 'bounded');
});

t.test('an instance that somebody kills, again and again', async (t) => {
  const killed = { wasKilled: true, exitCode: null, isWanted: true };
  t.match(end({ ...killed, kind: 'static', ...after(7) }), { action: 'delay', failures: 8 });
  t.match(end({ ...killed, ...after(7) }), { action: 'replace', failures: 8 });
  t.match(end({ ...killed, wasReady: false, ...after(6) }), { action: 'replace', failures: 7 });
  for (const how of [{ kind: 'static' } as const, {}, { wasReady: false }]) {
    t.match(end({ ...killed, ...how, ...after(8) }), { action: 'fail', failures: 9 }, 'at last');
  }
});

t.test('an instance that becomes ready and dies young, again and again', async (t) => {
  t.match(
    end({ kind: 'static', ...after(1) }),
    { action: 'delay', delayMs: 5_000, failures: 2 },
    'static: -restart-delay first',
  );
  t.match(
    end({ kind: 'static', ...after(2) }),
    { action: 'fail', delayMs: 5_000, failures: 3 },
    'then it is a crash loop',
  );
  t.match(end({ kind: 'static', ...after(5) }), { action: 'fail', delayMs: 32_000 }, 'and slower');
  t.match(end({ kind: 'static', ...after(50) }), { action: 'fail', delayMs: 60_000 });
  t.match(
    end({ kind: 'static', restartDelayMs: 90_000, ...after(50) }),
    { action: 'fail', delayMs: 90_000 },
    'never faster than -restart-delay',
  );
  t.match(
    end({ kind: 'static', siblings: 1, ...after(5) }),
    { action: 'delay', delayMs: 32_000 },
    'while another instance serves, requests wait for that one',
  );
  t.match(end({ isWanted: true, ...after(1) }), { action: 'replace', failures: 2 }, 'dynamic');
  t.match(end({ isWanted: true, ...after(2) }), { action: 'fail', delayMs: 1_000, failures: 3 });
  t.match(end({ isWanted: true, ...after(4) }), { action: 'fail', delayMs: 4_000, failures: 5 });
  t.match(end(after(4)), { action: 'leave', failures: 5 }, 'not restarted when nobody asks');
  t.match(
    end({ isWanted: true, failures: 1, sinceFailureMs: 5, precedesFailure: true }),
    { action: 'replace', failures: 1, isNewFailure: false },
    'what one cause ends at one time is one failure',
  );
  t.match(
    end({ isWanted: true, siblings: 3, oldestSiblingMs: 30_000, ...after(9) }),
    { action: 'replace', failures: 1 },
    'an instance that lives long is proof that the program can',
  );
  t.match(
    end({ isWanted: true, failures: 9, sinceFailureMs: 600_000 }),
    { action: 'replace', failures: 1, isNewFailure: true },
    'after ten minutes the first failure is a first one again',
  );
});

t.test('under the classic policy', async (t) => {
  const classic = (facts: Partial<EndFacts>) => end({ policy: 'classic', ...facts });
  const young = { kind: 'static', livedMs: 1_000 } as const;
  t.match(
    classic(young),
    { action: 'delay', delayMs: 4_000 },
    '-restart-delay from the last start',
  );
  t.match(classic({ kind: 'static', livedMs: 6_000 }), { action: 'delay', delayMs: 0 });
  t.match(classic({ ...young, exitCode: 0, ...after(2) }), { failures: 2 }, 'exit 0 is free');
  t.match(classic({ ...young, exitCode: null, ...after(2) }), { failures: 3 }, 'a signal is not');
  t.match(
    classic({ ...young, ...after(3) }),
    { action: 'fail', delayMs: 600_000, failures: 3 },
    'more than three failures: 600 s, and again after one more',
  );
  t.match(
    classic({ ...young, siblings: 1, ...after(3) }),
    { action: 'delay', delayMs: 600_000, failures: 3 },
    'requests wait for an instance that serves',
  );
  t.match(
    classic({ ...young, oldestSiblingMs: 30_000, siblings: 1, ...after(3) }),
    { action: 'delay', delayMs: 4_000, failures: 0 },
    'a life longer than -min-server-life ends it',
  );
  t.match(classic({ siblings: 1 }), { action: 'leave' }, 'a dynamic instance is not restarted');
  t.match(classic({ siblings: 1, restart: true }), { action: 'delay' }, 'but with -restart');
  t.match(classic({ siblings: 1, isWanted: true }), { action: 'delay' }, 'or when a request waits');
  t.match(classic({}), { action: 'delay' }, 'or when it was the last and -singleThreshold is 0');
  t.match(classic({ keepsLast: false }), { action: 'leave' });
  t.match(
    classic({ wasReady: false, couldNotStart: true, livedMs: 0 }),
    { action: 'fail', delayMs: 5_000, failures: 1 },
    'what cannot be executed is said at once',
  );
});
