// SPDX-License-Identifier: Apache-2.0
// The parts of the AJP gateway together, for one configuration.
import type { Socket } from 'node:net';
import type { Exchange, RequestHandler } from '../connections.ts';
import type { AjpOptions, BackendConfig, SharedBackend, Up } from '../link.ts';
import { parseAddress } from './address.ts';
import { Ajp12Dialect } from './ajp12/dialect.ts';
import { Ajp13Dialect } from './ajp13-dialect.ts';
import { Backend } from './backend.ts';
import { Balancer } from './balancer.ts';
import type { BackendConnection } from './connection.ts';
import type { Dialect } from './dialect.ts';
import type { Failure } from './failure.ts';
import { Pool } from './pool.ts';
import { Relay, type RelayContext } from './relay.ts';
import { PathMapping } from './request-path.ts';
import { StateReport } from './state-report.ts';

export interface GatewayEnvironment {
  /** What is in the secret file. */
  secret: Buffer | undefined;
  /** CLOCK_MONOTONIC, ms. */
  now: () => number;
  send: (message: Up) => void;
  isQuiet: (socket: Socket) => boolean;
}

interface Member {
  backend: Backend;
  pool: Pool<BackendConnection>;
  fields: string;
}

export class Gateway implements RelayContext {
  readonly options: AjpOptions;
  readonly mapping: PathMapping;
  readonly dialect: Dialect;
  readonly #environment: GatewayEnvironment;
  readonly #members = new Map<Backend, Member>();
  readonly #byName = new Map<string, Member>();
  readonly #balancer: Balancer;
  readonly #failStatuses: ReadonlySet<number>;
  readonly #report: StateReport;
  /** Which backends have failed, as it was logged. */
  readonly #failed = new Set<Backend>();
  /** Requests that nobody can take before an engine has been started. */
  readonly #waiting = new Set<Relay>();
  /** The one before this configuration, while it has requests. */
  #former: Gateway | null = null;
  #successor: Gateway | null = null;

  /** Throws for a configuration that cannot be used. */
  constructor(
    options: AjpOptions,
    backends: readonly BackendConfig[],
    environment: GatewayEnvironment,
  ) {
    this.options = options;
    this.mapping = new PathMapping(options.mount, options.context);
    this.#environment = environment;
    this.#failStatuses = new Set(options.failOnStatus);
    const dialect = options.protocol === 'ajp12' ? Ajp12Dialect : Ajp13Dialect;
    this.dialect = new dialect(options, {
      ...environment,
      warn: (event, text) => this.#log('warn', event, text),
    });
    this.#report = new StateReport(() => this.#sendStates());
    for (const config of backends) this.#add(config);
    this.#balancer = new Balancer([...this.#members.keys()], options, environment.now());
    this.#report.touch(); // what the manager knows is of the configuration before
  }

  /** What web servers ask for. */
  serve(web: Exchange): RequestHandler {
    const relay = new Relay(this, web);
    relay.begin();
    return relay;
  }

  /** What the manager tells of the class's other gateways and of the administrator's wishes. */
  share(shared: readonly SharedBackend[]): void {
    const nowMs = this.#environment.now();
    for (const one of shared) {
      const member = this.#byName.get(one.name);
      if (member === undefined) continue;
      const { backend, pool } = member;
      const wasActive = backend.activation === 'active' && backend.isThere;
      const wasOk = backend.state === 'ok' && backend.isThere;
      backend.share(one, nowMs);
      if (!wasActive && backend.activation === 'active') this.#balancer.catchUp(backend);
      if (wasOk && (backend.state !== 'ok' || !backend.isThere)) pool.closeIdle();
    }
    for (const relay of [...this.#waiting]) relay.onChange();
  }

  /** No request comes any more. @param successor Gets those that wait. */
  close(successor: Gateway | null = null): void {
    this.#successor = successor;
    if (successor !== null) successor.#former = this;
    for (const relay of [...this.#waiting]) relay.onChange();
    for (const { pool } of this.#members.values()) pool.close();
    this.#report.close();
  }

  #add(config: BackendConfig): void {
    const { now } = this.#environment;
    const backend = new Backend(config, this.options, (changed) => this.#onChange(changed));
    const connect = this.dialect.connector(backend, parseAddress(config.name));
    const pool = new Pool<BackendConnection>(
      backend,
      this.dialect.pool,
      (own) => connect((connection) => own.lost(connection)),
      now,
    );
    const route = config.route === null ? '' : `X-Usher-Route: ${config.route}\r\n`;
    const member = { backend, pool, fields: `X-Usher-Backend: ${config.name}\r\n${route}` };
    this.#members.set(backend, member);
    this.#byName.set(config.name, member);
  }

  #onChange(backend: Backend): void {
    this.#touch();
    const { name, state, lastError } = backend;
    if (state === 'failed' && !this.#failed.has(backend)) {
      this.#failed.add(backend);
      this.#log('warn', 'backend.down', `backend ${name}: ${lastError}`);
    } else if (state === 'ok' && this.#failed.delete(backend)) {
      this.#log('info', 'backend.up', `backend ${name} serves again`);
    }
  }

  #touch(): void {
    if (this.#successor !== null) this.#successor.#touch();
    else this.#report.touch();
  }

  #sendStates(): void {
    if (this.#former?.isIdle === true) this.#former = null;
    const backends = [...this.#members.keys()].map((backend) => {
      return { ...backend.snapshot(), busy: this.#busyOf(backend.name) };
    });
    this.#environment.send({ type: 'backends', backends });
  }

  /** It has no request, neither has the one before it. */
  get isIdle(): boolean {
    const isIdle = [...this.#members.keys()].every(({ busy }) => busy === 0);
    return isIdle && this.#former?.isIdle !== false;
  }

  #busyOf(name: string): number {
    const before = this.#former === null ? 0 : this.#former.#busyOf(name);
    return before + (this.#byName.get(name)?.backend.busy ?? 0);
  }

  #log(level: 'info' | 'warn', event: string, text: string): void {
    this.#environment.send({ type: 'log', level, event, text });
  }

  // ---- for relays ----------------------------------------------------------------------------

  now(): number {
    return this.#environment.now();
  }

  choose(routes: readonly string[], tried: readonly Backend[]): Backend | Failure {
    return this.#balancer.choose(routes, tried, this.#environment.now());
  }

  get successor(): RelayContext | null {
    return this.#successor;
  }

  /** Requests that wait for an engine. */
  get waiting(): number {
    return this.#waiting.size;
  }

  await(relay: Relay): void {
    this.#waiting.add(relay);
  }

  forget(relay: Relay): void {
    this.#waiting.delete(relay);
  }

  poolOf(backend: Backend): Pool<BackendConnection> {
    return (this.#members.get(backend) as Member).pool;
  }

  fieldsOf(backend: Backend): string {
    return (this.#members.get(backend) as Member).fields;
  }

  isFailure(status: number): boolean {
    return this.#failStatuses.has(status);
  }
}
