// SPDX-License-Identifier: Apache-2.0
// A web server's end of an AJP 1.3 connection, for tests.
import { connect, type Socket } from 'node:net';
import { AjpClientDecoder } from '../../../protocols/ajp13/client-decoder.ts';
import {
  bodyBytesMax,
  CPING,
  encodeBody,
  encodeForwardRequest,
} from '../../../protocols/ajp13/client-encoder.ts';
import { request } from '../../../protocols/ajp13/testing/peers.ts';
import type { Field, ForwardRequest } from '../../../protocols/ajp13/types.ts';
import { eventually } from './servlets.ts';

export interface Ajp13Answer {
  status: number;
  reason: string;
  fields: Field[];
  body: Buffer;
  reuse: boolean | null;
}

export class Ajp13Client {
  readonly socket: Socket;
  isClosed = false;
  pongs = 0;
  /** Packets of the body that were asked for. */
  asked = 0;
  /** Chunks that say: go out now. */
  flushes = 0;
  bodyBytes = 0;
  error: Error | null = null;
  /** What is left of the body; null: nothing is sent by itself. */
  #body: Buffer | null = null;
  #decoder: AjpClientDecoder;
  #head: Omit<Ajp13Answer, 'body' | 'reuse'> = { status: 0, reason: '', fields: [] };
  #parts: Buffer[] = [];
  readonly #answers: Ajp13Answer[] = [];

  constructor(address: string, packetBytes = 8192) {
    const [host = '', port] = address.split(':');
    this.socket = connect({ host, port: Number(port), noDelay: true });
    this.#decoder = new AjpClientDecoder(
      {
        onHead: (status, reason, fields) => {
          this.#head = { status, reason, fields };
        },
        onBody: (bytes) => {
          if (bytes.length === 0) this.flushes++;
          this.bodyBytes += bytes.length;
          this.#parts.push(Buffer.from(bytes));
        },
        onGetBody: (wanted) => {
          this.asked++;
          if (this.#body !== null) this.sendPart(Math.min(wanted, bodyBytesMax(packetBytes)));
        },
        onEnd: (reuse) => this.#answered(reuse),
        onPong: () => this.pongs++,
      },
      packetBytes,
    );
    this.socket.on('data', (chunk) => {
      try {
        this.#decoder.push(chunk);
      } catch (error) {
        this.error = error as Error;
        this.socket.destroy();
      }
    });
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.isClosed = true;
    });
  }

  /** @param body null: none is sent by itself */
  send(changes: Partial<ForwardRequest>, body: Buffer | string | null = ''): void {
    this.#decoder.begin();
    this.#parts = [];
    this.#body = body === null ? null : Buffer.from(body as string);
    const fields = [...(changes.fields ?? [])];
    const hasBody = this.#body !== null && this.#body.length > 0;
    if (hasBody) fields.push(['Content-Length', `${this.#body?.length}`]);
    this.socket.write(encodeForwardRequest(request({ ...changes, fields })));
    if (hasBody) this.sendPart(8186);
  }

  sendPart(bytes: number): void {
    const body = this.#body ?? Buffer.alloc(0);
    const part = body.subarray(0, bytes);
    this.#body = body.subarray(part.length);
    for (const piece of encodeBody(part)) this.socket.write(piece);
  }

  ping(): void {
    this.#decoder.ping();
    this.socket.write(CPING);
  }

  async answer(): Promise<Ajp13Answer> {
    await eventually(() => this.#answers.length > 0 || this.isClosed);
    return (
      this.#answers.shift() ?? { ...this.#head, body: Buffer.concat(this.#parts), reuse: null }
    );
  }

  #answered(reuse: boolean): void {
    this.#answers.push({ ...this.#head, body: Buffer.concat(this.#parts), reuse });
    this.#parts = [];
    this.#head = { status: 0, reason: '', fields: [] };
  }
}
