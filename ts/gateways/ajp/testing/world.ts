// SPDX-License-Identifier: Apache-2.0
// For tests: a gateway between web servers and backends that tests play.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { native } from '../../../native/native.ts';
import { Connections } from '../../connections.ts';
import type { AjpOptions, BackendConfig, BackendState, Up } from '../../link.ts';
import { TestClient } from '../../testing/client.ts';
import { Gateway } from '../gateway.ts';
import { isQuiet } from '../quiet.ts';
import { FakeBackend } from './fake-backend.ts';

export const ajpOptions: AjpOptions = {
  protocol: 'ajp',
  packetBytes: 8192,
  poolMax: 100,
  poolMin: 0,
  poolIdleMs: 0,
  acquireTimeoutMs: 10_000,
  socketConnectTimeoutMs: 5000,
  pingConnectMs: 0,
  pingPrepostMs: 0,
  pingIntervalMs: 0,
  pingTimeoutMs: 10_000,
  replyTimeoutMs: 0,
  requestTimeoutMs: 0,
  method: 'busyness',
  stickySession: true,
  stickyForce: false,
  sessionCookie: 'JSESSIONID',
  sessionPath: 'jsessionid',
  recoverTimeMs: 60_000,
  errorEscalationMs: 30_000,
  failOnStatus: [],
  retries: 2,
  engineWaitMs: 30_000,
  mount: '',
  context: '',
  attributes: [],
  zones: [],
};

export interface WorldOptions {
  options?: Partial<AjpOptions>;
  /** One backend each; those without a name get a fake one. */
  backends?: Partial<BackendConfig>[];
  secret?: string;
}

export class World {
  readonly dir = mkdtempSync(join(tmpdir(), 'usher-ajp-'));
  readonly backends: FakeBackend[] = [];
  readonly ups: Up[] = [];
  readonly connections: Connections;
  #gateway: Gateway | undefined;
  #secret: string | undefined;
  readonly #clients: TestClient[] = [];
  #onUp: () => void = () => undefined;

  private constructor() {
    this.connections = new Connections({
      onRequest: (web) => this.gateway.serve(web),
      onBroken: () => undefined,
      onError: () => undefined,
    });
  }

  static async begin(t: Test, given: WorldOptions = {}): Promise<World> {
    const world = new World();
    t.teardown(() => world.#end());
    const configs: BackendConfig[] = [];
    for (const [i, config] of (given.backends ?? [{}]).entries()) {
      let { name } = config;
      if (name === undefined) {
        const backend = await FakeBackend.listen(join(world.dir, `b${i}`));
        world.backends.push(backend);
        name = backend.name;
      }
      const defaults = { route: null, weight: 1, activation: 'active', isBackup: false } as const;
      configs.push({ ...defaults, ...config, name });
    }
    world.#secret = given.secret;
    world.configure(configs, given.options);
    await world.connections.listen({ path: join(world.dir, 'web') });
    return world;
  }

  /** As the manager does it, at first and when something has changed. */
  configure(configs: readonly BackendConfig[], options: Partial<AjpOptions> = {}): void {
    const former = this.#gateway;
    this.#gateway = new Gateway({ ...ajpOptions, ...options }, configs, {
      secret: this.#secret === undefined ? undefined : Buffer.from(this.#secret, 'latin1'),
      now: () => native.nowMs(),
      send: (message) => {
        this.ups.push(message);
        this.#onUp();
      },
      isQuiet,
    });
    former?.close(this.#gateway);
  }

  get gateway(): Gateway {
    return this.#gateway as Gateway;
  }

  get backend(): FakeBackend {
    return this.backends[0] as FakeBackend;
  }

  client(): TestClient {
    const client = new TestClient(join(this.dir, 'web'));
    this.#clients.push(client);
    return client;
  }

  /** A client that has sent a request. */
  request(params: Record<string, string> = {}, body?: string | Buffer): TestClient {
    const client = this.client();
    client.send({ params: request(params, body), keepConn: true, body: body ?? '' });
    return client;
  }

  /** What the manager was told last of a backend, once it says so. */
  async state(i: number, is: (state: BackendState) => boolean): Promise<BackendState> {
    for (;;) {
      const last = this.ups.findLast((up) => up.type === 'backends');
      const state = last?.backends[i];
      if (state !== undefined && is(state)) return state;
      await new Promise<void>((resolve) => {
        this.#onUp = resolve;
      });
    }
  }

  logs(event: string): string[] {
    return this.ups.flatMap((up) => (up.type === 'log' && up.event === event ? [up.text] : []));
  }

  async #end(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    for (const backend of this.backends) backend.close();
    await this.connections.drain();
    this.#gateway?.close();
    rmSync(this.dir, { recursive: true });
  }
}

/** Parameters of a request. */
export function request(
  params: Record<string, string> = {},
  body?: string | Buffer,
): Record<string, string> {
  const method = body === undefined ? 'GET' : 'POST';
  const length = body === undefined ? '' : String(Buffer.byteLength(body));
  return {
    REQUEST_METHOD: method,
    DOCUMENT_URI: '/',
    SERVER_PROTOCOL: 'HTTP/1.1',
    CONTENT_LENGTH: length,
    ...params,
  };
}
