// SPDX-License-Identifier: Apache-2.0
// AJP 1.2: each request has a connection, and whether an engine is there is asked on another one.
import { encodeRequest } from '../../../protocols/ajp12/client-encoder.ts';
import type { AjpOptions } from '../../link.ts';
import type { BackendAddress } from '../address.ts';
import type { Backend } from '../backend.ts';
import type { Connector, Dialect, DialectEnvironment } from '../dialect.ts';
import type { PreparedRequest } from '../forward-request.ts';
import type { PoolOptions } from '../pool.ts';
import type { BodyCoding } from '../request-body.ts';
import { Ajp12Connection } from './connection.ts';
import { ajp12Request } from './request.ts';
import { Zones } from './zones.ts';

const BODY_BYTES_MAX = 65536;

export class Ajp12Dialect implements Dialect {
  readonly needsLength = true;
  readonly body: BodyCoding = {
    bytesMax: BODY_BYTES_MAX,
    head: () => null,
    end: [],
  };
  readonly pool: PoolOptions;
  readonly #options: AjpOptions;
  readonly #environment: DialectEnvironment;
  readonly #zones: Zones;
  readonly #addresses = new Map<Backend, BackendAddress>();

  constructor(options: AjpOptions, environment: DialectEnvironment) {
    this.#options = options;
    this.#environment = environment;
    this.#zones = new Zones(options.zones);
    // No connection waits for a request, and none can be asked.
    this.pool = { ...options, poolMin: 0, pingConnectMs: 0, pingPrepostMs: 0, pingIntervalMs: 0 };
  }

  encode({ request, path, serverSoftware }: PreparedRequest, backend: Backend): Buffer {
    const address = this.#addresses.get(backend);
    const engineHost = address !== undefined && 'host' in address ? address.host : '';
    const named = this.#zones.servletAt(path);
    return encodeRequest(ajp12Request(request, named, engineHost, serverSoftware));
  }

  connector(backend: Backend, address: BackendAddress): Connector {
    this.#addresses.set(backend, address);
    const { secret, now } = this.#environment;
    const key = secret ?? null;
    let heardMs: number | null = null;
    const onHeard = (): void => {
      heardMs = now();
    };
    const pingMs = (): number => this.#pingMs(backend, heardMs);
    return () =>
      new Ajp12Connection({ address, key, pingMs, onHeard, bodyBytesMax: BODY_BYTES_MAX });
  }

  /** An engine is asked before each request; or when nobody knows it, when it had failed, and when
   * nothing was heard of it for a while. */
  #pingMs({ state }: Backend, heardMs: number | null): number {
    const { pingConnectMs, pingPrepostMs, pingIntervalMs, pingTimeoutMs } = this.#options;
    if (pingPrepostMs > 0) return pingPrepostMs;
    if (heardMs === null || state !== 'ok') return pingConnectMs;
    const silenceMs = this.#environment.now() - heardMs;
    return pingIntervalMs > 0 && silenceMs > pingIntervalMs ? pingTimeoutMs : 0;
  }

  onWanted(): void {
    // There is room in its socket: says nothing of the backend.
  }

  /** It closes the connection after every request. */
  explain(): null {
    return null;
  }

  isSuspect(): boolean {
    return false;
  }
}
