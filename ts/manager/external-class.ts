// SPDX-License-Identifier: Apache-2.0
// A class that somebody else runs: its addresses are endpoints with places, and nothing is started.
// The shims share out the requests; here it is decided which addresses take part.
import type {
  Activation,
  BackendState,
  BackendStatus,
  ClassEvent,
  ClassState,
  ClassStatus,
} from '../control/messages.ts';
import { type Channel, type EndpointState, native, type Ref } from '../native/native.ts';
import { readHost, type Target, unixTarget } from './backends-address.ts';
import { Health } from './backends-health.ts';
import { HostName, type Resolve, resolveName } from './backends-names.ts';
import { createProbe, type Probe } from './backends-probe.ts';
import { type ClassConfig, optionsHash } from './class-config.ts';
import type { LoadSample } from './load-recorder.ts';
import type { Level, Log } from './log.ts';
import type { ClassFigures } from './metrics.ts';
import { totalsOf } from './totals.ts';

/** What the class needs of the world outside the channel. */
export interface Outside {
  /** CLOCK_MONOTONIC, ms. */
  now(): number;
  probe: Probe;
  resolve: Resolve;
}

const outside: Outside = { now: native.nowMs, probe: createProbe(), resolve: resolveName };

/** Bytes of a verdict's reason that the addresses' errors may fill. */
const REASON_BYTES = 220;

interface Wanted {
  target: Target;
  /** The configured name it was found under; null: it was configured itself. */
  name: string | null;
  isBackup: boolean;
}

interface Backend extends Wanted {
  /** null when the table had no room for it. */
  ref: Ref | null;
  concurrency: number;
  health: Health;
  published: EndpointState;
}

export class ExternalClass {
  readonly label: string;
  readonly server: string | null;
  readonly ref: Ref;
  config: ClassConfig;
  isRetiring = false;
  /** Nothing of it is started here. */
  readonly journeys = [];
  readonly refusal = null;
  #channel: Channel;
  #log: Log;
  #outside: Outside;
  #names = new Map<string, HostName>();
  #backends = new Map<string, Backend>();
  #draining: Backend[] = [];
  #drainDeadlineMs = Number.POSITIVE_INFINITY;
  /** Requests were at its endpoints when we looked last. */
  #isBusy = false;
  #state: ClassState = 'starting';
  #published = '';
  #lastEvent: ClassEvent | null = null;

  constructor(
    channel: Channel,
    log: Log,
    label: string,
    server: string | null,
    config: ClassConfig,
    ref: Ref,
    parts: Outside = outside,
  ) {
    this.#channel = channel;
    this.#log = log;
    this.label = label;
    this.server = server;
    this.config = config;
    this.ref = ref;
    this.#outside = parts;
    channel.setFull(ref, true); // nobody can start more of them
    this.#apply();
  }

  /** Until then only what workers count makes another look worth while. */
  get dueMs(): number {
    if (this.isRetiring || this.#isBusy || this.#draining.length > 0) return 0;
    const now = this.#outside.now();
    const waits = [...this.#backends.values()].map(({ health }) => health.dueInMs(now));
    for (const name of this.#names.values()) waits.push(name.dueInMs(now));
    return now + Math.min(...waits);
  }

  get isGone(): boolean {
    return this.isRetiring && this.#backends.size === 0 && this.#draining.length === 0;
  }

  /** Addresses that stay keep their endpoints and counts. */
  reconfigure(config: ClassConfig): void {
    this.config = config;
    this.#channel.setLimits(this.ref, config.limits);
    this.#apply();
  }

  /** @param drainMs What still runs then is left to itself. */
  retire(drainMs = Number.POSITIVE_INFINITY): void {
    this.isRetiring = true;
    this.#drainDeadlineMs = this.#outside.now() + drainMs;
    for (const backend of this.#backends.values()) this.#drain(backend);
    this.#backends.clear();
  }

  /** @param changed Requests came, ended or failed since the last pass. */
  pass(changed = false): void {
    const now = this.#outside.now();
    this.#finishDraining(now);
    if (this.isRetiring) return;
    if (changed || this.#isBusy) this.#observe(now);
    // Somebody wants it: it should not have to wait for a long pause to end.
    if (changed && this.#state === 'failed') this.#hurry(now);
    for (const name of this.#names.values()) {
      if (name.isDue(now)) void this.#refresh(name);
    }
    for (const backend of this.#backends.values()) {
      if (backend.health.isDue(now)) void this.#look(backend, now);
    }
  }

  status(): ClassStatus {
    const load = this.#channel.load(this.ref);
    return {
      name: this.label,
      kind: 'external',
      protocol: 'fastcgi',
      state: this.isRetiring ? 'removed' : this.#state,
      wanted: 0,
      scaledTo: null,
      source: this.config.source,
      options: optionsHash(this.config),
      inFlight: load.inFlight,
      waiting: load.waiting,
      instances: [],
      backends: this.#backendStatus(),
      lastEvent: this.#lastEvent,
      totals: totalsOf(load),
      lastFailure: null,
    };
  }

  /** For metrics. */
  figures(): ClassFigures {
    return { status: this.status(), load: this.#channel.loadAndTimes(this.ref), own: null };
  }

  /** For the history of its load. */
  sample(): LoadSample {
    const { finished, failed, aborted, inFlight, waiting } = this.#channel.load(this.ref);
    return { requests: finished + failed + aborted, inFlight, waiting, instances: 0 };
  }

  // ---- which addresses there should be

  /** Make the backends fit configuration and names. */
  #apply(): void {
    const wanted = this.#wanted();
    const { concurrency } = this.config;
    for (const [text, backend] of this.#backends) {
      const still = wanted.get(text);
      if (still && backend.concurrency === concurrency) Object.assign(backend, still);
      else {
        this.#backends.delete(text);
        this.#drain(backend);
      }
    }
    for (const [text, one] of wanted) {
      if (!this.#backends.has(text)) this.#backends.set(text, this.#revive(one) ?? this.#add(one));
    }
    this.#publish();
  }

  /** By text. An address that stands there twice is what its first place says; -down wins. */
  #wanted(): Map<string, Wanted> {
    const { config } = this;
    const disabled = new Set(config.downs.flatMap((text) => this.#targetsOf(text)).map(textOf));
    const wanted = new Map<string, Wanted>();
    const names = new Map<string, HostName>();
    const want = (target: Target, name: string | null, isBackup: boolean): void => {
      if (disabled.has(target.text) || wanted.has(target.text)) return;
      wanted.set(target.text, { target, name, isBackup });
    };
    if (config.socket !== null) want(unixTarget(config.socket), null, false);
    for (const [texts, isBackup] of [
      [config.hosts, false] as const,
      [config.backups, true] as const,
    ]) {
      for (const text of texts) {
        const host = readHost(text);
        if ('target' in host) want(host.target, null, isBackup);
        else {
          const known = this.#names.get(text) ?? new HostName(text, host.name, host.port);
          names.set(text, known);
          for (const target of known.targets ?? []) want(target, text, isBackup);
        }
      }
    }
    this.#names = names;
    return wanted;
  }

  #targetsOf(text: string): Target[] {
    const host = readHost(text);
    return 'target' in host ? [host.target] : (this.#names.get(text)?.targets ?? []);
  }

  #add(wanted: Wanted): Backend {
    const { concurrency } = this.config;
    const backend: Backend = {
      ...wanted,
      ref: null,
      concurrency,
      health: new Health(this.#outside.now()),
      published: 'down',
    };
    try {
      const { address } = wanted.target;
      backend.ref = this.#channel.addEndpoint(this.ref, address, concurrency, 'down', 0);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.#note('error', 'backend.not-added', { address: wanted.target.text, error: text });
    }
    return backend;
  }

  /** One that was on its way out and is wanted again. */
  #revive(wanted: Wanted): Backend | null {
    const at = this.#draining.findIndex(
      ({ target, concurrency }) =>
        target.text === wanted.target.text && concurrency === this.config.concurrency,
    );
    const [backend] = at < 0 ? [] : this.#draining.splice(at, 1);
    return backend ? Object.assign(backend, wanted) : null;
  }

  #drain(backend: Backend): void {
    this.#set(backend, 'draining');
    this.#draining.push(backend);
  }

  #finishDraining(now: number): void {
    const isLate = now >= this.#drainDeadlineMs;
    this.#draining = this.#draining.filter(({ ref }) => {
      if (ref === null) return false;
      if (!isLate && this.#channel.inFlight(ref) > 0) return true;
      this.#channel.removeEndpoint(ref);
      return false;
    });
  }

  // ---- who is there

  #observe(now: number): void {
    this.#isBusy = false;
    for (const { ref, health } of this.#backends.values()) {
      if (ref === null) continue;
      const inFlight = this.#channel.inFlight(ref);
      const unreached = this.#channel.unreached(ref);
      health.observe({ inFlight, unreached, served: this.#channel.served(ref) }, now);
      if (inFlight > 0) this.#isBusy = true;
    }
  }

  #hurry(now: number): void {
    for (const { health } of this.#backends.values()) health.hurry(now);
    for (const name of this.#names.values()) {
      if (name.targets === null) name.hurry(now);
    }
  }

  async #look(backend: Backend, now: number): Promise<void> {
    const { health, target, name } = backend;
    health.begin(now);
    const look = await this.#outside.probe(target.address);
    const changed = health.end(look, this.#outside.now());
    if (this.#backends.get(target.text) !== backend) return; // drained meanwhile
    if (changed && health.isUp) {
      this.#note('info', 'backend.up', { address: target.text });
    } else if (changed) {
      this.#note('warn', 'backend.down', { address: target.text, error: health.lastError });
      if (name !== null) this.#names.get(name)?.hurry(this.#outside.now());
    }
    this.#publish();
  }

  async #refresh(name: HostName): Promise<void> {
    const before = name.error;
    const changed = await name.refresh(this.#outside.resolve, this.#outside.now);
    if (this.isRetiring || this.#names.get(name.text) !== name || !changed) return;
    const addresses = name.targets?.map(textOf) ?? [];
    if (name.error === null) this.#note('info', 'backend.resolved', { name: name.text, addresses });
    else if (name.error !== before) {
      this.#note('error', 'backend.unresolved', { name: name.text, error: name.error });
    }
    this.#apply();
  }

  // ---- what the shims see

  #publish(): void {
    if (this.isRetiring) return;
    const backends = [...this.#backends.values()];
    const isHostUp = backends.some((one) => !one.isBackup && isUsable(one));
    for (const backend of backends) {
      if (!isUsable(backend)) this.#set(backend, 'down');
      else this.#set(backend, backend.isBackup && isHostUp ? 'draining' : 'ready');
    }
    const isUnknown = [...this.#names.values()].some((name) => name.isUnknown);
    const isReady = backends.some(({ published }) => published === 'ready');
    this.#publishClass(isReady ? 'ready' : isUnknown ? 'starting' : 'failed');
  }

  #publishClass(state: 'ready' | 'starting' | 'failed'): void {
    const now = this.#outside.now();
    const isFailed = state === 'failed';
    const waits = [...this.#backends.values()].map(({ health }) => health.dueInMs(now));
    for (const name of this.#names.values()) waits.push(name.dueInMs(now));
    const retryS = isFailed ? Math.max(1, Math.ceil(Math.min(...waits, 5_000) / 1000)) : 0;
    const reason = isFailed ? this.#reason() : '';
    const text = `${state} ${retryS} ${reason}`;
    if (text === this.#published) return;
    this.#published = text;
    this.#channel.setClass(this.ref, state, isFailed ? 503 : 0, retryS, reason);
    const before = this.#state;
    this.#state = state;
    if (state === before) return;
    if (isFailed) this.#note('error', 'class.failed', {}, reason);
    else if (before === 'failed') this.#note('info', 'class.ready', {}, 'a host is up');
  }

  /** Each address and its error, as many as there is room for. */
  #reason(): string {
    const troubles = [...this.#troubles()];
    const parts: string[] = [];
    let left = REASON_BYTES;
    for (const trouble of troubles) {
      left -= Buffer.byteLength(trouble) + 2;
      if (left < 0) break;
      parts.push(trouble);
    }
    const more = troubles.length - parts.length;
    if (more > 0) parts.push(parts.length > 0 ? `${more} more` : `${more} addresses`);
    return `no host is up: ${parts.join('; ')}`;
  }

  *#troubles(): Generator<string> {
    for (const { target, ref, health } of this.#backends.values()) {
      const error = ref === null ? 'no room in the channel' : health.lastError;
      yield `${target.text}: ${error ?? 'not looked at yet'}`;
    }
    for (const { text, targets, error } of this.#names.values()) {
      if (targets === null && error !== null) yield `${text}: ${error}`;
    }
  }

  #set(backend: Backend, state: EndpointState): void {
    if (backend.ref === null || backend.published === state) return;
    backend.published = state;
    this.#channel.setEndpoint(backend.ref, state, 0);
  }

  // ---- status

  #backendStatus(): BackendStatus[] {
    const describe = (backend: Backend, state: BackendState): BackendStatus => ({
      address: backend.target.text,
      name: backend.name,
      state,
      isBackup: backend.isBackup,
      lastError: backend.health.lastError,
      inFlight: backend.ref === null ? 0 : this.#channel.inFlight(backend.ref),
      requests: backend.ref === null ? 0 : this.#channel.served(backend.ref),
      failures: backend.ref === null ? 0 : this.#channel.unreached(backend.ref),
      route: null,
      activation: 'active',
      engine: null,
    });
    const unresolved = [...this.#names.values()].filter(({ targets }) => targets === null);
    const idle = {
      ...{ isBackup: false, inFlight: 0, name: null, requests: 0, failures: 0, route: null },
      activation: 'active' as Activation,
      engine: null,
    };
    return [
      ...[...this.#backends.values()].map((one) => {
        const described = describe(one, stateOf(one));
        const isLeaving = described.state === 'standby' && described.inFlight > 0;
        return isLeaving ? { ...described, state: 'draining' as const } : described;
      }),
      ...this.#draining.map((one) => describe(one, 'draining')),
      ...unresolved.map(({ text, error }) => ({
        ...{ ...idle, address: text, state: 'down' as const, lastError: error },
      })),
      ...this.config.downs.map((address) => ({
        ...{ ...idle, address, state: 'disabled' as const, lastError: null },
        activation: 'stopped' as const,
      })),
    ];
  }

  #note(level: Level, event: string, fields: Record<string, unknown>, text?: string): void {
    const said = text ?? Object.values(fields).flat().join(': ');
    this.#log(level, event, {
      class: this.label,
      ...fields,
      ...(text === undefined ? {} : { text }),
    });
    this.#lastEvent = { at: new Date().toISOString(), event, text: said };
  }
}

function isUsable({ ref, health }: Backend): boolean {
  return ref !== null && health.isUp;
}

function stateOf(backend: Backend): BackendState {
  if (backend.published === 'ready') return 'up';
  return isUsable(backend) ? 'standby' : 'down';
}

function textOf({ text }: Target): string {
  return text;
}
