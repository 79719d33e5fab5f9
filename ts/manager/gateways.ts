// SPDX-License-Identifier: Apache-2.0
// The gateways of one class: each is told the class's options, and what the others know of the
// backends; administrators change a backend's activation for all of them.
import type { Socket } from 'node:net';
import type { BackendStatus } from '../control/messages.ts';
import type {
  Activation,
  BackendConfig,
  BackendState,
  EngineView,
  SharedBackend,
  Up,
} from '../gateways/link.ts';
import type { EngineFacts } from './engines/engines.ts';
import type { GatewayConfig } from './gateway-config.ts';
import { GatewayLink } from './gateway-link.ts';

/** The others hear of a change after this, all changes meanwhile at once. */
const SHARE_MS = 100;

interface Gateway {
  link: GatewayLink;
  states: readonly BackendState[];
}

type Log = (level: 'info' | 'warn' | 'error', event: string, text: string) => void;

export class Gateways {
  #label: string;
  #config: GatewayConfig;
  #log: Log;
  /** By the instance's id. */
  #gateways = new Map<number, Gateway>();
  /** What an administrator said, by the backend's name. */
  #activations = new Map<string, Activation>();
  /** Where the manager starts the engines; by the backend's name. */
  #engines = new Map<string, EngineFacts>();
  #timer: NodeJS.Timeout | null = null;
  #requests = new Map<string, { requests: number; failures: number }>();

  constructor(label: string, config: GatewayConfig, log: Log) {
    this.#label = label;
    this.#config = config;
    this.#log = log;
  }

  /** @param socket The manager's end of its link. */
  attach(id: number, socket: Socket): void {
    this.detach(id);
    const link = new GatewayLink(
      socket,
      (up) => this.#hear(id, up),
      () => {
        if (this.#gateways.get(id)?.link === link) this.detach(id);
      },
    );
    this.#gateways.set(id, { link, states: [] });
    link.send(this.#configuration());
  }

  /** The instance has ended, or its link has. */
  detach(id: number): void {
    const gateway = this.#gateways.get(id);
    if (!gateway) return;
    this.#gateways.delete(id);
    gateway.link.close();
    for (const { name, requests, failures } of gateway.states) this.#add(name, requests, failures);
    this.#share();
  }

  configure(config: GatewayConfig): void {
    this.#config = config;
    const names = new Set(config.backends.map(({ name }) => name));
    for (const name of this.#activations.keys()) {
      if (!names.has(name)) this.#activations.delete(name);
    }
    for (const { link } of this.#gateways.values()) link.send(this.#configuration());
  }

  /** False when there is no such backend. */
  activate(name: string, activation: Activation): boolean {
    const known = this.#config.backends.find((one) => one.name === name);
    if (!known) return false;
    if (known.activation === activation) this.#activations.delete(name);
    else this.#activations.set(name, activation);
    this.#shareNow(); // a script goes on and stops the backend
    return true;
  }

  /** What administrators have changed: for the next manager, and from the former one. */
  get activations(): readonly (readonly [name: string, activation: Activation])[] {
    return [...this.#activations];
  }

  restore(activations: readonly (readonly [string, Activation])[]): void {
    this.#activations = new Map(activations);
  }

  /** What became of the engines. Gateways hear of it at once. */
  tellEngines(facts: readonly EngineFacts[]): void {
    this.#engines = new Map(facts.map((one) => [one.name, one]));
    if (this.#gateways.size > 0) this.#shareNow();
  }

  /** No gateway has a request at the backend, and none will send one there. */
  isDrained(name: string): boolean {
    return this.#statesOf(name).every(({ activation, busy }) => {
      return activation === 'stopped' && busy === 0;
    });
  }

  /** Requests that the backend has answered. */
  answered(name: string): number {
    const before = this.#requests.get(name) ?? { requests: 0, failures: 0 };
    return (
      before.requests -
      before.failures +
      sum(this.#statesOf(name), ({ requests, failures, busy }) => requests - failures - busy)
    );
  }

  status(nowMs: number): BackendStatus[] {
    return this.#config.backends.map((backend) => this.#statusOf(backend, nowMs));
  }

  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
    for (const { link } of this.#gateways.values()) link.close();
    this.#gateways.clear();
  }

  #configuration() {
    const { options } = this.#config;
    const backends = this.#config.backends.map((one) => {
      return { ...one, activation: this.#activationOf(one), engine: this.#engineOf(one.name) };
    });
    return { type: 'configure', class: this.#label, options, backends } as const;
  }

  #activationOf({ name, activation }: BackendConfig): Activation {
    const said = this.#activations.get(name) ?? activation;
    return said === 'stopped' ? said : (this.#engines.get(name)?.activation ?? said);
  }

  #engineOf(name: string): EngineView | null {
    const facts = this.#engines.get(name);
    if (!facts) return null;
    const { isUp, isAwaited, text } = facts;
    return { isUp, isAwaited, text };
  }

  #statesOf(name: string): BackendState[] {
    return [...this.#gateways.values()].flatMap(({ states }) => find(states, name));
  }

  #hear(id: number, up: Up): void {
    const gateway = this.#gateways.get(id);
    if (!gateway) return;
    if (up.type === 'log') this.#log(up.level, up.event, up.text);
    if (up.type !== 'backends') return;
    gateway.states = up.backends;
    if (this.#gateways.size > 1) this.#share();
  }

  /** Tell all of them soon. */
  #share(): void {
    if (this.#gateways.size === 0) return;
    this.#timer ??= setTimeout(() => this.#shareNow(), SHARE_MS).unref();
  }

  #shareNow(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    for (const [id, { link }] of this.#gateways) {
      link.send({ type: 'backends', backends: this.#seenBy(id) });
    }
  }

  /** What the other gateways know. */
  #seenBy(id: number): SharedBackend[] {
    const others = [...this.#gateways].filter(([one]) => one !== id);
    return this.#config.backends.map((backend) => {
      const states = others.flatMap(([, { states }]) => find(states, backend.name));
      const last = latest(states);
      return {
        name: backend.name,
        activation: this.#activationOf(backend),
        busyElsewhere: sum(states, ({ busy }) => busy),
        failedUntilMs: last?.failedUntilMs ?? 0,
        lastError: last?.lastError ?? '',
        engine: this.#engineOf(backend.name),
      };
    });
  }

  #statusOf(backend: BackendConfig, nowMs: number): BackendStatus {
    const { name, route, isBackup } = backend;
    const states = this.#statesOf(name);
    const engine = this.#engines.get(name);
    const activation = this.#activationOf(backend);
    // One whose time is over is down until a request has found it there again.
    const isDown =
      states.some(({ failedUntilMs }) => failedUntilMs > nowMs) ||
      (states.length > 0 && states.every(({ state }) => state !== 'ok')) ||
      engine?.isUp === false;
    const before = this.#requests.get(name) ?? { requests: 0, failures: 0 };
    const up = activation === 'active' ? 'up' : activation === 'disabled' ? 'draining' : 'disabled';
    return {
      address: name,
      name: null,
      route,
      activation,
      state: isDown && activation !== 'stopped' ? 'down' : up,
      isBackup,
      lastError:
        (isDown && (engine?.isUp === false ? engine.text : latest(states)?.lastError)) || null,
      inFlight: sum(states, ({ busy }) => busy),
      requests: before.requests + sum(states, ({ requests }) => requests),
      failures: before.failures + sum(states, ({ failures }) => failures),
      engine: null,
    };
  }

  #add(name: string, requests: number, failures: number): void {
    const before = this.#requests.get(name) ?? { requests: 0, failures: 0 };
    this.#requests.set(name, {
      requests: before.requests + requests,
      failures: before.failures + failures,
    });
  }
}

function find(states: readonly BackendState[], name: string): BackendState[] {
  return states.filter((one) => one.name === name);
}

/** The one that failed last. */
function latest(states: readonly BackendState[]): BackendState | undefined {
  return [...states].sort((a, b) => b.failedUntilMs - a.failedUntilMs)[0];
}

function sum(states: readonly BackendState[], of: (state: BackendState) => number): number {
  return states.reduce((total, state) => total + of(state), 0);
}
