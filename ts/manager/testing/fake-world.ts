// SPDX-License-Identifier: Apache-2.0
// A channel and a launcher that only remember, and a clock that stands still: a class can be driven
// through its life step by step.

import type { EngineLook } from '../../gateways/ajp/engine-probe.ts';
import type {
  Address,
  Channel,
  ClassState,
  EndpointState,
  Load,
  Ref,
} from '../../native/native.ts';
import {
  type Exit,
  type Launcher,
  LauncherError,
  noFacts,
  type ServiceSpec,
  type StartFacts,
  type StartSpec,
} from '../../process/launcher.ts';
import { type ClassConfig, dynamicConfig, staticConfig } from '../class-config.ts';
import type { ClassContext } from '../context.ts';
import { ManagedClass } from '../managed-class.ts';
import type { OomKills } from '../out-of-memory.ts';
import { Programs } from '../programs.ts';

const nothing: Load = {
  arrivals: 0,
  admitted: 0,
  finished: 0,
  failed: 0,
  aborted: 0,
  refused: 0,
  waitingUs: 0,
  servingUs: 0,
  waiting: 0,
  inFlight: 0,
};

export interface PublishedClass {
  state: ClassState;
  verdict: number;
  retryAfterS: number;
  reason: string;
}

export class FakeWorld {
  nowMs = 1_000;
  load: Load = { ...nothing };
  published: PublishedClass = { state: 'cold', verdict: 0, retryAfterS: 0, reason: '' };
  /** Its waiting requests need not ring. */
  isFull = false;
  readonly endpoints = new Map<number, EndpointState>();
  readonly busy = new Map<number, number>();
  /** Requests that ended, and that timed out, at an endpoint. */
  readonly served = new Map<number, number>();
  readonly hung = new Map<number, number>();
  readonly snapshots: number[] = [];
  /** So often the class wanted the next pass soon. */
  roused = 0;
  readonly signals: [id: number, signal: number][] = [];
  readonly started: { id: number; spec: StartSpec }[] = [];
  /** Servlet engines that were started. */
  readonly services: { id: number; spec: ServiceSpec }[] = [];
  /** What is found at an address; nobody where none is named. */
  readonly looks = new Map<string, EngineLook>();
  /** Engines that were told to end in AJP's words. */
  readonly shutDowns: string[] = [];
  readonly closed: number[] = [];
  readonly events: string[] = [];
  /** The manager's ends of the links of gateways that are started. */
  readonly linkFds: number[] = [];
  /** What the launcher tells of every start. */
  facts: StartFacts = noFacts;
  oomKills: OomKills = { machine: 0, group: 0 };
  /** Connections that wait in every socket. */
  acceptQueue = 0;
  /** At the public address. */
  connections = { waiting: 0, accepted: 0 };
  readonly bound: string[] = [];
  readonly refused: string[] = [];
  /** Error pages that were put somewhere; null = taken away. */
  readonly pages: { servers: string[]; html: string | null }[] = [];
  /** Instances that a look finds without a connection. */
  readonly idle = new Set<number>();
  /** Set to make the public address unavailable. */
  failBind: { step: string; errno: number; text: string } | null = null;
  /** Set to make the next start fail at this step. */
  failStep: { step: string; errno: number; text: string } | null = null;
  readonly managed: ManagedClass;
  readonly memories = new Map<string, string>();
  #programs = new Programs(async () => '');
  #nextId = 1;
  #nextRef = 1;

  constructor(config: ClassConfig) {
    this.managed = new ManagedClass(this.#context(), config.key, null, config, {
      index: 0,
      generation: 1,
    });
  }

  static static(options: Record<string, string | number | boolean>): FakeWorld {
    return new FakeWorld(staticConfig('app', { command: '/bin/app', ...options }, owner, 'x:1'));
  }

  static dynamic(options: Record<string, string | number | boolean> = {}): FakeWorld {
    return new FakeWorld(dynamicConfig('/srv/app.fcgi', options, owner));
  }

  /** Requests now waiting and at instances. */
  demand(waiting: number, inFlight = 0): void {
    this.load = { ...this.load, arrivals: this.load.arrivals + 1, waiting, inFlight };
  }

  async pass(advanceMs = 0): Promise<void> {
    this.nowMs += advanceMs;
    this.managed.pass(true);
    await settled();
  }

  async ready(): Promise<void> {
    const last = this.started.at(-1);
    if (last) this.managed.onReady(last.id);
    await settled();
  }

  async exit(id: number, exit: Partial<Exit>): Promise<void> {
    this.managed.onExited(id, {
      exitCode: null,
      exitSignal: null,
      livedMs: 0,
      rssBytes: 0,
      cpuS: null,
      output: '',
      ...exit,
    });
    await settled();
  }

  #context(): ClassContext {
    return {
      channel: this.#channel() as Channel,
      launcher: this.#launcher() as Launcher,
      log: (_level, event) => this.events.push(event),
      output: () => this.events.push('output'),
      now: () => this.nowMs,
      acceptQueue: () => this.acceptQueue,
      connections: () => this.connections,
      remember: (asker, memory) => this.memories.set(asker.label, memory),
      programIdentity: (path) => this.#programs.identity(path),
      engineTools: {
        probe: async ({ address }) => {
          return this.looks.get(address) ?? { outcome: 'down', error: 'connection refused' };
        },
        shutDown: (address) => this.shutDowns.push(address),
      },
      nextId: () => this.#nextId++,
      oomKills: () => this.oomKills,
      own: () => undefined,
      rouse: () => {
        this.roused += 1;
      },
      disown: () => undefined,
      serversOf: () => ['web'],
      tagOf: () => 'tag',
      engineTagOf: (_asker, { name }) => `engine ${name}`,
      admitDynamic: () => true,
      poolFacts: () => ({ instances: 0, min: 0, max: 50 }),
      spareDynamic: () => 100,
    };
  }

  #channel(): Partial<Channel> {
    return {
      load: () => this.load,
      loadAndTimes: () => ({ ...this.load, waitingHistogram: [], servingHistogram: [] }),
      repairHints: () => 0,
      setLimits: () => undefined,
      setFull: (_ref, isFull) => {
        this.isFull = isFull;
      },
      setClass: (_ref, state, verdict, retryAfterS, reason) => {
        this.published = { state, verdict, retryAfterS, reason };
      },
      addEndpoint: (_class: Ref, _address: Address, _places, state) => {
        const ref = { index: this.#nextRef++, generation: 1 };
        this.endpoints.set(ref.index, state);
        return ref;
      },
      setEndpoint: (ref, state) => this.endpoints.set(ref.index, state),
      removeEndpoint: (ref) => this.endpoints.delete(ref.index),
      inFlight: (ref) => this.busy.get(ref.index) ?? 0,
      served: (ref) => this.served.get(ref.index) ?? 0,
      hung: (ref) => this.hung.get(ref.index) ?? 0,
    };
  }

  #launcher(): Partial<Launcher> {
    return {
      bind: async () => 1,
      bindPublic: async (_id, _name, _tag, listen) => {
        const failure = this.failBind;
        if (failure) throw new LauncherError(failure.step, failure.errno, failure.text);
        this.bound.push(listen);
        return 1;
      },
      refuseWaiting: (_id, { reason }) => {
        this.refused.push(reason);
      },
      look: (id, signal, onLooked) => {
        const isIdle = this.idle.has(id);
        if (isIdle) this.signals.push([id, signal]);
        onLooked(isIdle);
      },
      start: async (id: number, spec: StartSpec) => {
        this.started.push({ id, spec });
        const failure = this.failStep;
        if (failure) throw new LauncherError(failure.step, failure.errno, failure.text);
        this.managed.onStarted(id, 40_000 + id, this.facts);
        return { linkFd: this.linkFds.shift() ?? null };
      },
      startService: async (id: number, spec: ServiceSpec) => {
        this.services.push({ id, spec });
        const failure = this.failStep;
        if (failure) throw new LauncherError(failure.step, failure.errno, failure.text);
        this.managed.onStarted(id, 40_000 + id, this.facts);
        return { pid: 40_000 + id };
      },
      signal: (id: number, signal: number) => {
        this.signals.push([id, signal]);
      },
      snapshot: (id: number) => {
        this.snapshots.push(id);
      },
      forget: () => undefined,
      page: (_ref, servers, html) => this.pages.push({ servers: [...servers], html }),
      linkServer: async () => undefined,
      closeEndpoint: async (id, refusal) => {
        this.closed.push(id);
        if (refusal) this.refused.push(refusal.reason);
      },
    };
  }
}

export const owner = { user: 'www-data', group: 'www-data', roots: ['/srv'], pathCheck: 'suexec' };

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
