// SPDX-License-Identifier: Apache-2.0
// What each class had to do within the last hour, a sample every ten seconds. A class that was never
// used costs nothing, any other one 4 kB; the sum of all classes is kept as if it were one.
import type { LoadHistory } from '../control/messages.ts';

export const INTERVAL_MS = 10_000;
const SAMPLES = 360;
/** Of requests within an interval; one less is the most that is told. */
const GAP = 0xffffffff;
const MOST = 0xffff;
/** inFlight, waiting, instances. */
const LEVELS = 3;

export interface LoadSample {
  /** That ended since the manager knows the class. */
  requests: number;
  /** The most at one moment since the last sample. */
  inFlight: number;
  waiting: number;
  /** Ready now. */
  instances: number;
}

export interface Sampled {
  readonly label: string;
  sample(): LoadSample;
}

/** One class's ring; place i of it is sample number i modulo its length. */
class Series {
  /** The number of its first sample. */
  readonly since: number;
  #before: number;
  #requests: Uint32Array | null = null;
  #levels: Uint16Array | null = null;

  /** @param before Requests of the class so far. */
  constructor(since: number, before: number) {
    this.since = since;
    this.#before = before;
  }

  /** @returns What was added, for the sum. */
  put(number: number, sample: LoadSample): LoadSample {
    // A class that began anew counts from 0.
    const requests =
      sample.requests < this.#before ? sample.requests : sample.requests - this.#before;
    this.#before = sample.requests;
    const added = { ...sample, requests };
    this.#store(number, added);
    return added;
  }

  #store(number: number, { requests, inFlight, waiting, instances }: LoadSample): void {
    if (!this.#requests || !this.#levels) {
      if (requests + inFlight + waiting + instances === 0) return;
      this.#requests = new Uint32Array(SAMPLES);
      this.#levels = new Uint16Array(SAMPLES * LEVELS);
    }
    const at = number % SAMPLES;
    this.#requests[at] = Math.min(requests, GAP - 1);
    for (const [i, level] of [inFlight, waiting, instances].entries()) {
      this.#levels[at * LEVELS + i] = Math.min(level, MOST);
    }
  }

  /** Nobody looked when this sample was due. */
  skip(number: number): void {
    if (this.#requests) this.#requests[number % SAMPLES] = GAP;
  }

  at(number: number): LoadSample | null {
    if (!this.#requests || !this.#levels) {
      return { requests: 0, inFlight: 0, waiting: 0, instances: 0 };
    }
    const at = number % SAMPLES;
    const requests = this.#requests[at] ?? 0;
    if (requests === GAP) return null;
    const [inFlight = 0, waiting = 0, instances = 0] = this.#levels.subarray(at * LEVELS);
    return { requests, inFlight, waiting, instances };
  }
}

export class LoadRecorder {
  #classes = new Map<string, Series>();
  #sum = new Series(0, 0);
  /** Requests of all classes so far. */
  #requests = 0;
  #taken = 0;
  #dueMs: number;
  #takenAt = new Date();

  /** @param nowMs CLOCK_MONOTONIC, as all times here. */
  constructor(nowMs: number) {
    this.#dueMs = nowMs + INTERVAL_MS;
  }

  /** Takes a sample when one is due. */
  pass(nowMs: number, classes: Iterable<Sampled>, today: () => Date = () => new Date()): void {
    if (nowMs < this.#dueMs) return;
    const missed = Math.min(Math.floor((nowMs - this.#dueMs) / INTERVAL_MS), SAMPLES);
    for (let i = 0; i < missed; i += 1) this.#skip();
    this.#dueMs += INTERVAL_MS * (Math.floor((nowMs - this.#dueMs) / INTERVAL_MS) + 1);
    this.#take(classes);
    this.#takenAt = today();
  }

  /** @param label null = all classes together; empty for one of which no sample was taken. */
  of(label: string | null): LoadHistory {
    const series = label === null ? this.#sum : this.#classes.get(label);
    const history: LoadHistory = {
      schema: 1,
      class: label,
      until: this.#takenAt.toISOString(),
      intervalMs: INTERVAL_MS,
      ...{ requests: [], inFlight: [], waiting: [], instances: [] },
    };
    if (!series) return history;
    for (let i = Math.max(series.since, this.#taken - SAMPLES); i < this.#taken; i += 1) {
      const sample = series.at(i);
      history.requests.push(sample?.requests ?? null);
      history.inFlight.push(sample?.inFlight ?? null);
      history.waiting.push(sample?.waiting ?? null);
      history.instances.push(sample?.instances ?? null);
    }
    return history;
  }

  #skip(): void {
    this.#sum.skip(this.#taken);
    for (const series of this.#classes.values()) series.skip(this.#taken);
    this.#taken += 1;
  }

  #take(classes: Iterable<Sampled>): void {
    const all = { requests: 0, inFlight: 0, waiting: 0, instances: 0 };
    const known = new Map<string, Series>();
    for (const one of classes) {
      const series = this.#classes.get(one.label) ?? new Series(this.#taken, 0);
      known.set(one.label, series);
      const added = series.put(this.#taken, one.sample());
      for (const key of ['requests', 'inFlight', 'waiting', 'instances'] as const) {
        all[key] += added[key];
      }
    }
    this.#classes = known; // without those that have gone
    this.#requests += all.requests;
    this.#sum.put(this.#taken, { ...all, requests: this.#requests });
    this.#taken += 1;
  }
}
