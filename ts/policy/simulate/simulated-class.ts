// SPDX-License-Identifier: Apache-2.0
// One class in virtual time: requests take a place at an instance or wait in one line, first come
// first served; instances take their time to start; rules say how many there are.
import { Events } from './events.ts';
import { seeded } from './random.ts';
import {
  type Action,
  type ClassView,
  isIdle,
  type Rules,
  type SimulatedInstance,
} from './rules.ts';
import type { Request, Scenario } from './scenario.ts';
import { type Result, Tally } from './tally.ts';

/** A request with its place; taken before it is served where the instance is just starting. */
interface Served {
  request: Request;
  instance: SimulatedInstance;
  takenMs: number;
}

type Event =
  | { kind: 'arrival'; index: number }
  | { kind: 'ready'; instance: SimulatedInstance }
  | { kind: 'end'; served: Served }
  | { kind: 'pass'; number: number };

const PASS_MS = 100;
/** While requests wait somebody rings again soon. */
const WAITING_PASS_MS = 10;
/** Between two passes, however often the doorbell rings. */
const REST_MS = 5;
const START_VARIATION = 0.2;

/** @returns What came of the scenario under the rules; the same for the same seed. */
export function simulate(scenario: Scenario, rules: Rules, seed: number): Result {
  return new SimulatedClass(scenario, rules, seed).run();
}

class SimulatedClass implements ClassView {
  readonly instances: SimulatedInstance[] = [];
  readonly concurrency: number;
  readonly max: number;
  ready = 0;
  inFlight = 0;
  arrivals = 0;
  completed = 0;
  servingMs = 0;
  startMs = 0;
  /** The line, from #lineHead on. */
  #line: Request[] = [];
  #lineHead = 0;
  #lent: Served[] = [];
  #scenario: Scenario;
  #rules: Rules;
  #requests: readonly Request[];
  #random: () => number;
  #events = new Events<Event>();
  #tally: Tally;
  #nowMs = 0;
  #passedMs = Number.NEGATIVE_INFINITY;
  #nextPassMs = Number.POSITIVE_INFINITY;
  #passNumber = 0;

  constructor(scenario: Scenario, rules: Rules, seed: number) {
    this.#scenario = scenario;
    this.#rules = rules;
    this.#requests = scenario.requests(seed);
    // Starts have their own numbers: how many there are must not change the requests.
    this.#random = seeded(seed + 1_000_003);
    this.#tally = new Tally(scenario.warmUpMs, scenario.durationMs);
    this.concurrency = scenario.concurrency;
    this.max = scenario.max;
  }

  get waiting(): number {
    return this.#line.length - this.#lineHead;
  }

  line(): readonly Request[] {
    return this.#line.slice(this.#lineHead);
  }

  run(): Result {
    this.#expect(0);
    this.#passBy(0);
    for (;;) {
      const next = this.#events.take();
      if (!next || next.atMs > this.#scenario.durationMs) break;
      this.#nowMs = next.atMs;
      this.#happen(next.event);
    }
    // Those still in the line have waited as well.
    for (const request of this.line()) this.#tally.waited(request, this.#scenario.durationMs);
    return this.#tally.result();
  }

  #happen(event: Event): void {
    switch (event.kind) {
      case 'arrival':
        this.#arrive(event.index);
        break;
      case 'ready':
        this.#becomeReady(event.instance);
        break;
      case 'end':
        this.#end(event.served);
        break;
      case 'pass':
        if (event.number === this.#passNumber) this.#pass();
        break;
    }
  }

  #expect(index: number): void {
    const request = this.#requests[index];
    if (request) this.#events.put(request.atMs, { kind: 'arrival', index });
  }

  #arrive(index: number): void {
    this.#expect(index + 1);
    const request = this.#requests[index] as Request;
    this.arrivals += 1;
    const instance = this.#place();
    if (instance) {
      this.#take(request, instance);
      return;
    }
    if (this.waiting >= this.#scenario.queueLimit) {
      this.#tally.refused(request);
      return;
    }
    this.#line.push(request);
    this.#passBy(this.#nowMs);
  }

  /** The least loaded ready instance with a free place, of equals the one used last; without a ready
   * one a starting one lends its places. */
  #place(): SimulatedInstance | undefined {
    const isCold = this.ready === 0;
    let best: SimulatedInstance | undefined;
    for (const one of this.instances) {
      if (one.isReady === isCold || one.inFlight >= this.concurrency) continue;
      const isBetter =
        !best ||
        one.inFlight < best.inFlight ||
        (one.inFlight === best.inFlight && one.idleSinceMs > best.idleSinceMs);
      if (isBetter) best = one;
    }
    return best;
  }

  #take(request: Request, instance: SimulatedInstance): void {
    const served = { request, instance, takenMs: this.#nowMs };
    instance.inFlight += 1;
    this.inFlight += 1;
    if (instance.isReady) this.#serve(served);
    else this.#lent.push(served);
  }

  #serve(served: Served): void {
    this.#tally.waited(served.request, this.#nowMs);
    this.#events.put(this.#nowMs + served.request.serviceMs, { kind: 'end', served });
  }

  #end({ instance, takenMs }: Served): void {
    instance.inFlight -= 1;
    instance.idleSinceMs = this.#nowMs;
    this.inFlight -= 1;
    this.completed += 1;
    this.servingMs += this.#nowMs - takenMs;
    this.#serveLine();
  }

  #serveLine(): void {
    while (this.#lineHead < this.#line.length) {
      const instance = this.#place();
      if (!instance) return;
      const request = this.#line[this.#lineHead] as Request;
      this.#lineHead += 1;
      this.#take(request, instance);
    }
    this.#line = [];
    this.#lineHead = 0;
  }

  #becomeReady(instance: SimulatedInstance): void {
    instance.isReady = true;
    this.ready += 1;
    instance.idleSinceMs = this.#nowMs;
    this.startMs = this.#nowMs - instance.startedMs;
    for (const served of this.#lent) if (served.instance === instance) this.#serve(served);
    this.#lent = this.#lent.filter((served) => served.instance !== instance);
    this.#serveLine();
    this.#pass();
  }

  #passBy(atMs: number): void {
    const due = Math.max(atMs, this.#passedMs + REST_MS);
    if (due >= this.#nextPassMs) return;
    this.#nextPassMs = due;
    this.#passNumber += 1;
    this.#events.put(due, { kind: 'pass', number: this.#passNumber });
  }

  #pass(): void {
    this.#passedMs = this.#nowMs;
    this.#nextPassMs = Number.POSITIVE_INFINITY;
    this.#carryOut(this.#rules.act(this, this.#nowMs));
    this.#passBy(this.#nowMs + (this.waiting > 0 ? WAITING_PASS_MS : PASS_MS));
  }

  #carryOut({ start, stop }: Action): void {
    for (let started = 0; started < start; started += 1) this.#start();
    for (const instance of stop) {
      const at = this.instances.indexOf(instance);
      if (at < 0 || !isIdle(instance)) throw new Error('only an idle instance can be stopped');
      this.instances.splice(at, 1);
      this.ready -= 1;
      this.#tally.ended(this.#nowMs);
    }
  }

  #start(): void {
    const instance = {
      startedMs: this.#nowMs,
      isReady: false,
      inFlight: 0,
      idleSinceMs: this.#nowMs,
    };
    this.instances.push(instance);
    this.#tally.started(this.#nowMs);
    const variation = 1 + START_VARIATION * (2 * this.#random() - 1);
    const readyMs = this.#nowMs + this.#scenario.startMs * variation;
    this.#events.put(readyMs, { kind: 'ready', instance });
    this.#serveLine();
  }
}
