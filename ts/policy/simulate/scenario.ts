// SPDX-License-Identifier: Apache-2.0
// What a class is asked to do: when requests come and how long each takes. Every policy gets the same
// requests.
import { exponential, lognormal, pareto, type Random, seeded } from './random.ts';

export interface Request {
  readonly atMs: number;
  readonly serviceMs: number;
}

export interface Scenario {
  readonly name: string;
  readonly text: string;
  readonly durationMs: number;
  /** What happens before this is not counted: all policies begin with a cold class. */
  readonly warmUpMs: number;
  /** From start to ready; each varies by a fifth. */
  readonly startMs: number;
  readonly max: number;
  readonly concurrency: number;
  readonly queueLimit: number;
  readonly requests: (seed: number) => Request[];
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const common = {
  durationMs: 60 * MINUTE,
  warmUpMs: 5 * MINUTE,
  startMs: 50,
  max: 40,
  concurrency: 1,
  queueLimit: 1024,
};

/** Requests by a rate that changes with time. @param rate Requests a second. */
function arrivals(
  random: Random,
  durationMs: number,
  highest: number,
  rate: (atMs: number) => number,
  serviceMs: (random: Random) => number,
): Request[] {
  const requests: Request[] = [];
  for (let atMs = 0; ; ) {
    atMs += exponential(random, SECOND / highest);
    if (atMs >= durationMs) return requests;
    // As many random numbers for a request that is left out, so that runs stay alike.
    const request = { atMs, serviceMs: serviceMs(random) };
    if (random() * highest < rate(atMs)) requests.push(request);
  }
}

function poisson(rate: number, service: (random: Random) => number) {
  return (seed: number) => arrivals(seeded(seed), common.durationMs, rate, () => rate, service);
}

const steady: Scenario = {
  ...common,
  name: 'steady',
  text: '40 requests/s, 100 ms each (exponential), start 50 ms',
  requests: poisson(40, (random) => exponential(random, 100)),
};

const burst: Scenario = {
  ...common,
  name: 'burst',
  text: '64 requests of 100 ms at once every 30 to 180 s, 2 requests/s between, start 50 ms',
  max: 32,
  requests(seed) {
    const random = seeded(seed);
    const requests = poisson(2, () => 100)(seed);
    for (let atMs = 0; ; ) {
      atMs += SECOND * (30 + 150 * random());
      if (atMs >= common.durationMs) break;
      for (let one = 0; one < 64; one += 1) requests.push({ atMs, serviceMs: 100 });
    }
    return requests.sort((a, b) => a.atMs - b.atMs);
  },
};

const diurnal: Scenario = {
  ...common,
  name: 'diurnal',
  text: '2 to 100 requests/s and back in 60 min, twice; 100 ms each (exponential), start 50 ms',
  durationMs: 120 * MINUTE,
  requests(seed) {
    const rate = (atMs: number) => 51 - 49 * Math.cos((2 * Math.PI * atMs) / (60 * MINUTE));
    const service = (random: Random) => exponential(random, 100);
    return arrivals(seeded(seed), 120 * MINUTE, 100, rate, service);
  },
};

const heavy: Scenario = {
  ...common,
  name: 'heavy-tailed',
  text: '20 requests/s, Pareto 1.5 from 70 ms to 60 s (mean 200 ms), start 50 ms',
  requests: poisson(20, (random) => pareto(random, 1.5, 70, 60 * SECOND)),
};

const mixed: Scenario = {
  ...common,
  name: 'lognormal',
  text: '30 requests/s, lognormal with mean 150 ms and variation 3, start 50 ms',
  requests: poisson(30, (random) => lognormal(random, 150, 3)),
};

const slowStart: Scenario = {
  ...common,
  name: 'slow-start',
  text: '10 requests/s, 50 every other 10 min; 100 ms each (exponential), start 8 s',
  startMs: 8 * SECOND,
  requests(seed) {
    const rate = (atMs: number) => (Math.floor(atMs / (10 * MINUTE)) % 2 === 0 ? 10 : 50);
    const service = (random: Random) => exponential(random, 100);
    return arrivals(seeded(seed), common.durationMs, 50, rate, service);
  },
};

export const scenarios: readonly Scenario[] = [steady, burst, diurnal, heavy, mixed, slowStart];
