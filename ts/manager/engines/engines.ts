// SPDX-License-Identifier: Apache-2.0
// The servlet engines of one class: started together, replaced one after the other. They run while the
// class has gateways, or is to have some.
import type { EngineStatus, Journey } from '../../control/messages.ts';
import type { EngineProbe } from '../../gateways/ajp/engine-probe.ts';
import type { Activation, BackendConfig, EngineView } from '../../gateways/link.ts';
import type { Exit, StartFacts } from '../../process/launcher.ts';
import type { ClassContext } from '../context.ts';
import { treeRssBytes } from '../proc.ts';
import { wornBy } from '../wear.ts';
import { Engine, type EngineHost, type KeptEngine, type SavedEngine } from './engine.ts';
import { type EnginesConfig, hashOf } from './engine-config.ts';

/** Age and memory are looked at this often. */
const INSPECT_MS = 1_000;

/** What engines need of their class. */
export interface EnginesOwner {
  readonly context: ClassContext;
  readonly label: string;
  /** @param run Engine's hash, in the place of the instances' one. */
  tagOf(engine: { name: string; run: string; epoch: number }): string;
  own(id: number): void;
  note: EngineHost['note'];
  isDrained(name: string): boolean;
  answered(name: string): number;
  /** Gateways are to be told of states(); members: of other backends as well. */
  onChange(what: 'states' | 'members'): void;
  onUp(): void;
  onFailed(journey: Journey): void;
}

/** What gateways are told of one. */
export interface EngineFacts extends EngineView {
  name: string;
  /** null = what the configuration and administrators say. */
  activation: Activation | null;
}

/** None of the engines can be had. */
export class EngineError extends Error {
  readonly step = 'engine';
  #journey: Journey | null;

  /** @param journey Of the engine that failed last; null = that was under another manager. */
  constructor(message: string, journey: Journey | null) {
    super(message);
    this.#journey = journey;
  }

  /** What is told in the place of the gateway's journey, which did not get far. */
  tell(gateway: Journey): Journey {
    return { ...(this.#journey ?? gateway), explanation: this.message };
  }
}

interface Waiter {
  resolve(): void;
  reject(error: Error): void;
}

interface UpWaiter extends Waiter {
  /** Those that may come up. */
  names: Set<string>;
}

/** Of the world outside. */
export interface EngineTools {
  probe: EngineProbe;
  shutDown(address: string): void;
}

export class Engines implements EngineHost {
  readonly context: ClassContext;
  readonly label: string;
  readonly probe: EngineProbe;
  config: EnginesConfig;
  epoch = 0;
  #owner: EnginesOwner;
  #engines = new Map<string, Engine>();
  #inspectedAtMs = 0;
  #told = '';
  #lastJourney: Journey | null = null;
  #upWaiters: UpWaiter[] = [];
  #updateWaiters: Waiter[] = [];

  constructor(owner: EnginesOwner, config: EnginesConfig) {
    this.#owner = owner;
    this.context = owner.context;
    this.label = owner.label;
    this.probe = owner.context.engineTools.probe;
    this.config = config;
    this.configure(config);
  }

  configure(config: EnginesConfig): void {
    this.config = config;
    const names = new Set(config.backends.map(({ name }) => name));
    for (const backend of config.backends) {
      const known = this.#engines.get(backend.name);
      if (known) {
        known.backend = backend;
        known.isLeaving = false;
        if (known.hash !== hashOf(config.program, backend)) known.forget();
      } else this.#engines.set(backend.name, new Engine(this, backend));
    }
    for (const engine of this.#engines.values()) engine.isLeaving = !names.has(engine.name);
  }

  /** Of engines that are to end, and may have requests still. */
  get leaving(): readonly BackendConfig[] {
    const leaving = [...this.#engines.values()].filter(({ isLeaving }) => isLeaving);
    return leaving.map(({ backend }) => ({ ...backend, activation: 'stopped' }));
  }

  get facts(): readonly EngineFacts[] {
    return [...this.#engines.values()].map(({ name, activation, view }) => {
      return { name, activation, ...view };
    });
  }

  get pids(): number[] {
    return [...this.#engines.values()].map(({ pid }) => pid).filter((pid) => pid > 0);
  }

  /** None has a process. */
  get areGone(): boolean {
    return [...this.#engines.values()].every(({ state }) => state === 'off');
  }

  get dueMs(): number {
    return Math.min(...[...this.#engines.values()].map(({ dueMs }) => dueMs));
  }

  statusOf(name: string): EngineStatus | null {
    return this.#engines.get(name)?.status ?? null;
  }

  /** @param wanted The class has gateways, or is to have some. */
  pass(nowMs: number, wanted: boolean): void {
    if (!wanted) this.#release();
    for (const engine of this.#engines.values()) {
      if (engine.isLeaving && wanted) {
        engine.drain('is not configured any more', this.#sessionsMs(engine));
      }
      engine.pass(nowMs, wanted);
    }
    this.#removeGone();
    this.#inspect(nowMs);
    if (wanted) this.#roll();
    this.#tell();
  }

  /** One of them takes requests. Rejects with an EngineError when none can be had. */
  async whenUp(): Promise<void> {
    const engines = this.#members();
    if (engines.length === 0 || engines.some(({ state }) => state === 'up')) return;
    const now = this.context.now();
    const pending = engines.filter((engine) => engine.isPending(now));
    if (pending.length === 0) throw this.#nobody();
    const names = new Set(pending.map(({ name }) => name));
    await new Promise<void>((resolve, reject) => this.#upWaiters.push({ resolve, reject, names }));
  }

  /** Replace all of them, one after the other. Rejects when one cannot start: then the others go on. */
  restart(): Promise<void> {
    this.epoch += 1;
    this.retry();
    return new Promise((resolve, reject) => this.#updateWaiters.push({ resolve, reject }));
  }

  /** Those that failed may be tried at once. */
  retry(): void {
    for (const engine of this.#engines.values()) engine.forget();
  }

  // ---- of a former manager

  save(): SavedEngine[] {
    return [...this.#engines.values()].flatMap((engine) => engine.save() ?? []);
  }

  restore(saved: readonly SavedEngine[]): void {
    for (const one of saved) this.#engines.get(one.name)?.restore(one);
  }

  /** False when that engine is not configured, or there is one already. */
  adopt(name: string, kept: KeptEngine): boolean {
    const engine = this.#engines.get(name);
    if (engine?.id !== 0) return false;
    this.epoch = Math.max(this.epoch, kept.epoch);
    engine.adopt(kept);
    this.own(kept.id);
    return true;
  }

  // ---- what the launcher says; false = it is none of ours

  onStarted(id: number, pid: number, facts: StartFacts): boolean {
    const engine = this.#byId(id);
    engine?.onStarted(pid, facts);
    return engine !== undefined;
  }

  onOutput(id: number, text: string): boolean {
    const engine = this.#byId(id);
    if (!engine) return false;
    const { name, pid } = engine;
    this.context.output({ class: this.label, engine: name, pid }, text);
    return true;
  }

  onSnapshot(id: number, text: string): boolean {
    const engine = this.#byId(id);
    if (!engine) return false;
    const { name, pid } = engine;
    this.context.log('warn', 'engine.snapshot', { class: this.label, engine: name, pid, text });
    return true;
  }

  onExited(id: number, exit: Exit): boolean {
    const engine = this.#byId(id);
    if (!engine) return false;
    this.context.launcher.forget(id);
    engine.onExited(exit);
    this.#tell();
    return true;
  }

  // ---- for engines

  tagOf({ name, hash, epoch }: Engine): string {
    return this.#owner.tagOf({ name, run: hash, epoch });
  }

  own(id: number): void {
    this.#owner.own(id);
  }

  shutDown(address: string): void {
    this.context.engineTools.shutDown(address);
  }

  note: EngineHost['note'] = (level, event, fields, text) => {
    this.#owner.note(level, event, fields, text);
  };

  isDrained(name: string): boolean {
    return this.#owner.isDrained(name);
  }

  answered(name: string): number {
    return this.#owner.answered(name);
  }

  onUp(): void {
    this.#tell();
    for (const { resolve } of this.#upWaiters.splice(0)) resolve();
    this.#owner.onUp();
  }

  onFailed(engine: Engine, journey: Journey): void {
    this.#lastJourney = journey;
    this.#owner.onFailed(journey);
    const text = `engine ${engine.name} ${journey.explanation}`;
    for (const { reject } of this.#updateWaiters.splice(0)) {
      reject(new EngineError(`${text}; the others go on serving`, journey));
    }
    for (const waiter of [...this.#upWaiters]) {
      waiter.names.delete(engine.name);
      if (waiter.names.size > 0) continue;
      this.#upWaiters.splice(this.#upWaiters.indexOf(waiter), 1);
      waiter.reject(this.#nobody());
    }
  }

  // ---- one after the other

  #members(): Engine[] {
    return [...this.#engines.values()].filter(({ isLeaving }) => !isLeaving);
  }

  #byId(id: number): Engine | undefined {
    return [...this.#engines.values()].find((engine) => engine.id === id);
  }

  /** Sessions have nowhere to go on where nobody else is. */
  #sessionsMs(engine: Engine): number {
    const hasOther = this.#members().some((one) => one !== engine && one.state === 'up');
    return hasOther ? this.config.sessionDrainMs : 0;
  }

  #roll(): void {
    const members = this.#members();
    const outdated = members.filter((engine) => engine.isOutdated());
    for (const engine of outdated) {
      if (engine.state === 'starting' && !engine.isAdopted) engine.stop('is replaced');
    }
    if (members.some(({ state }) => state !== 'up')) return;
    const [next] = outdated;
    if (next === undefined) {
      for (const { resolve } of this.#updateWaiters.splice(0)) resolve();
    } else next.drain(next.worn || 'is replaced', this.#sessionsMs(next));
  }

  #removeGone(): void {
    for (const engine of this.#engines.values()) {
      if (!engine.isLeaving || engine.state !== 'off') continue;
      this.#engines.delete(engine.name);
      this.#owner.onChange('members');
    }
  }

  #inspect(nowMs: number): void {
    const { maxLifetimeMs, memoryLimitBytes } = this.config;
    if (maxLifetimeMs === 0 && memoryLimitBytes === 0) return;
    if (nowMs - this.#inspectedAtMs < INSPECT_MS) return;
    this.#inspectedAtMs = nowMs;
    for (const engine of this.#members()) {
      if (engine.state !== 'up' || engine.worn !== '') continue;
      engine.worn = wornBy(
        {
          requests: this.answered(engine.name),
          livedMs: nowMs - engine.startedAtMs,
          rssBytes: memoryLimitBytes > 0 ? treeRssBytes(engine.pid) : 0,
        },
        { maxRequests: 0, maxLifetimeMs, memoryLimitBytes },
      );
    }
  }

  /** What has changed since the last time. */
  #tell(): void {
    const told = JSON.stringify(this.facts);
    if (told === this.#told) return;
    this.#told = told;
    this.#owner.onChange('states');
  }

  /** They end, and will begin as what is configured then. */
  #release(): void {
    for (const { resolve } of this.#updateWaiters.splice(0)) resolve();
    for (const { reject } of this.#upWaiters.splice(0)) {
      reject(new EngineError('the class ends', null));
    }
  }

  #nobody(): EngineError {
    const causes = this.#members().map(({ name, text }) => `engine ${name} ${text}`);
    return new EngineError(causes.join('; '), this.#lastJourney);
  }
}
