// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import t from 'tap';
import { adaptive } from './adaptive.ts';
import type { ClassFacts } from './policy.ts';
import { afterEnd, backOffMs, type EndFacts } from './restart.ts';

const idle: ClassFacts = {
  min: 0,
  max: 10,
  concurrency: 1,
  ready: 0,
  starting: 0,
  inFlight: 0,
  waiting: 0,
  arrivals: 0,
  completed: 0,
  servingMs: 0,
  startMs: 0,
  classic: {
    updateIntervalMs: 300_000,
    killIntervalMs: 300_000,
    gain: 0.5,
    singleThreshold: 0,
    multiThreshold: 50,
    processSlack: 5,
  },
  pool: null,
  coldForMs: 0,
  idleForMs: 0,
  idleStopMs: 300_000,
  startDelayMs: 3_000,
};

function wanted(facts: Partial<ClassFacts>, memory = adaptive.initial(0, 0), now = 0) {
  return adaptive.decide({ ...idle, ...facts }, memory, now).wanted;
}

t.test('adaptive', async (t) => {
  t.equal(wanted({}), 0, 'nothing is started for nobody');
  t.equal(wanted({ min: 3 }), 3, 'the minimum always runs');
  t.equal(wanted({ waiting: 200 }), 1, 'a cold class gets one instance, whoever waits');
  t.equal(
    wanted({ waiting: 200, starting: 1, coldForMs: 2_999 }),
    1,
    'still one before -startDelay has passed',
  );
  t.equal(wanted({ waiting: 200, starting: 1, coldForMs: 3_000 }), 2, 'another after -startDelay');
  t.equal(wanted({ waiting: 1, starting: 1, coldForMs: 9_000 }), 1, 'never more than requests');
  t.equal(
    wanted({ ready: 1, inFlight: 1, waiting: 6 }),
    7,
    'a warm class covers what waits at once',
  );
  t.equal(wanted({ ready: 1, inFlight: 1, waiting: 60 }), 10, 'up to its limit');
  t.equal(wanted({ ready: 1, inFlight: 4, waiting: 5, concurrency: 4 }), 3, 'by places');
  t.equal(wanted({ ready: 1, idleForMs: 299_999 }), 1, 'the last one stays until -idle-stop');
  t.equal(wanted({ ready: 1, idleForMs: 300_000 }), 0, 'and then goes');
  t.equal(wanted({ ready: 1, idleForMs: 1e9, idleStopMs: 0 }), 1, '-idle-stop 0 means never');
});

t.test('adaptive shrinks slowly', async (t) => {
  let memory = adaptive.initial(0, 0);
  const step = (facts: Partial<ClassFacts>, now: number) => {
    const decision = adaptive.decide({ ...idle, ...facts }, memory, now);
    memory = decision.memory;
    return decision.wanted;
  };
  t.equal(step({ ready: 1, waiting: 8 }, 0), 8);
  t.equal(step({ ready: 8 }, 9_999), 8, 'held for ten seconds');
  t.equal(step({ ready: 8 }, 10_000), 7, 'then one by one');
  t.equal(step({ ready: 7 }, 10_500), 7);
  t.equal(step({ ready: 7 }, 11_000), 6);
  t.equal(step({ ready: 6, waiting: 4, inFlight: 5 }, 11_100), 9, 'and grows again at once');
});

t.test('adaptive never leaves its bounds', async () => {
  const facts = fc.record({
    min: fc.nat(5),
    max: fc.integer({ min: 5, max: 40 }),
    concurrency: fc.integer({ min: 1, max: 8 }),
    ready: fc.nat(40),
    starting: fc.nat(40),
    inFlight: fc.nat(500),
    waiting: fc.nat(500),
    coldForMs: fc.nat(100_000),
    idleForMs: fc.nat(1_000_000),
    idleStopMs: fc.nat(500_000),
    startDelayMs: fc.integer({ min: 1, max: 10_000 }),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(facts, fc.nat(30_000))), (history) => {
      let memory = adaptive.initial(0, 0);
      let now = 0;
      for (const [one, passed] of history) {
        now += passed;
        const decision = adaptive.decide({ ...idle, ...one }, memory, now);
        memory = decision.memory;
        if (decision.wanted < one.min || decision.wanted > one.max) return false;
        const needed = Math.ceil((one.inFlight + one.waiting) / one.concurrency);
        // What requests need now is never given up.
        if (one.ready > 0 && decision.wanted < Math.min(one.max, needed)) return false;
      }
      return true;
    }),
  );
});

const ended: EndFacts = {
  kind: 'dynamic',
  wasReady: true,
  couldNotStart: false,
  exitCode: 1,
  livedMs: 1_000,
  minServerLifeMs: 30_000,
  restartDelayMs: 5_000,
  failures: 0,
  isWanted: false,
  restart: false,
};

t.test('after an end that nobody asked for', async (t) => {
  const end = (facts: Partial<EndFacts>) => afterEnd({ ...ended, ...facts });
  t.match(end({}), { action: 'leave', failures: 1 }, 'a dynamic instance is not restarted');
  t.match(end({ isWanted: true }), { action: 'replace' }, 'unless a request waits for it');
  t.match(end({ restart: true }), { action: 'delay', delayMs: 5_000 }, 'or -restart is set');
  t.match(end({ kind: 'static' }), { action: 'delay', delayMs: 5_000 }, 'a static one always is');
  t.match(
    end({ kind: 'static', isWanted: true, livedMs: 30_000 }),
    { action: 'replace', failures: 0 },
    'at once after a long life',
  );
  t.match(
    end({ exitCode: 0, isWanted: true }),
    { action: 'replace', failures: 0 },
    'exit 0 recycles',
  );
  t.match(
    end({ wasReady: false, isWanted: true }),
    { action: 'replace', failures: 1 },
    'a start that failed is tried once more',
  );
  t.match(
    end({ wasReady: false, isWanted: true, failures: 1 }),
    { action: 'fail', delayMs: 1_000, failures: 2 },
    'then the class has failed',
  );
  t.match(
    end({ wasReady: false, failures: 3 }),
    { action: 'fail', delayMs: 4_000 },
    'longer each time',
  );
  t.match(
    end({ wasReady: false, couldNotStart: true, isWanted: true }),
    { action: 'fail', failures: 1 },
    'what no repetition mends is not repeated',
  );
  t.equal(backOffMs(1), 1_000);
  t.equal(backOffMs(100), 60_000, 'bounded');
});
