// SPDX-License-Identifier: Apache-2.0
// What differs between AJP 1.3 and 1.2, as the rest of the gateway sees it.
import type { Socket } from 'node:net';
import type { BackendAddress } from './address.ts';
import type { Backend } from './backend.ts';
import type { BackendConnection } from './connection.ts';
import type { PreparedRequest } from './forward-request.ts';
import type { PoolOptions } from './pool.ts';
import type { BodyCoding } from './request-body.ts';

export interface Dialect {
  /** Bodies of unknown length are held until their length is known. */
  readonly needsLength: boolean;
  readonly body: BodyCoding;
  readonly pool: PoolOptions;
  /** Throws ProtocolError for what cannot be sent. */
  encode(prepared: PreparedRequest, backend: Backend): Buffer;
  connector(backend: Backend, address: BackendAddress): Connector;
  /** The backend takes so many bytes of a body. */
  onWanted(backend: Backend, bytes: number): void;
  /**
   * The backend turned the connection down together with the request; what is known of the reason, as
   * a line for the error log.
   *
   * @param sentBytes Of the longest packet that it was sent.
   */
  explain(backend: Backend, status: number, sentBytes: number): string | null;
  /** Whether it may have to be explained, when the answer has ended. */
  isSuspect(status: number, sentBytes: number): boolean;
}

/** Makes a connection that is not open yet; it tells by `onLost` that it has ended while it was idle. */
export type Connector = (onLost: (connection: BackendConnection) => void) => BackendConnection;

export interface DialectEnvironment {
  secret: Buffer | undefined;
  now: () => number;
  isQuiet: (socket: Socket) => boolean;
  warn: (event: string, text: string) => void;
}
