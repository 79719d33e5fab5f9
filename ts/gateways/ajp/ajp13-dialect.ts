// SPDX-License-Identifier: Apache-2.0
// AJP 1.3.
import {
  BODY_END,
  bodyBytesMax,
  dataHead,
  encodeForwardRequest,
} from '../../protocols/ajp13/client-encoder.ts';
import type { AjpOptions } from '../link.ts';
import type { BackendAddress } from './address.ts';
import { Advice } from './advice.ts';
import type { Backend } from './backend.ts';
import { AjpConnection } from './connection.ts';
import type { Connector, Dialect, DialectEnvironment } from './dialect.ts';
import type { PreparedRequest } from './forward-request.ts';
import type { BodyCoding } from './request-body.ts';
import { firstLine } from './secret.ts';

export class Ajp13Dialect implements Dialect {
  readonly needsLength = false;
  readonly body: BodyCoding;
  readonly pool: AjpOptions;
  readonly #environment: DialectEnvironment;
  readonly #secret: string | undefined;
  readonly #advice: Advice;

  constructor(options: AjpOptions, environment: DialectEnvironment) {
    const { packetBytes, attributes } = options;
    const { secret, warn, now } = environment;
    this.pool = options;
    this.body = { bytesMax: bodyBytesMax(packetBytes), head: dataHead, end: [BODY_END] };
    this.#environment = environment;
    this.#secret = secret && firstLine(secret);
    this.#advice = new Advice(
      { packetBytes, attributes, hasSecret: secret !== undefined },
      warn,
      now,
    );
  }

  encode({ request, attributes }: PreparedRequest): Buffer {
    if (this.#secret !== undefined) attributes.secret = this.#secret;
    return encodeForwardRequest(request, this.pool.packetBytes);
  }

  connector(_backend: Backend, address: BackendAddress): Connector {
    const { isQuiet } = this.#environment;
    const { packetBytes } = this.pool;
    return (onLost) => new AjpConnection({ address, packetBytes, onLost, isQuiet });
  }

  onWanted({ name }: Backend, bytes: number): void {
    this.#advice.wanted(name, bytes);
  }

  explain({ name }: Backend, status: number, sentBytes: number): string | null {
    return this.#advice.explain(name, status, sentBytes);
  }

  isSuspect(status: number, sentBytes: number): boolean {
    return this.#advice.isSuspect(status, sentBytes);
  }
}
