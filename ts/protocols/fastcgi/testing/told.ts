// SPDX-License-Identifier: Apache-2.0
// What a decoder tells, as lines; pieces of a body that follow each other are one.
import { FastcgiDecoder } from '../decoder.ts';
import type { FastcgiEvents, FastcgiLimits } from '../types.ts';

export interface Options {
  limits?: FastcgiLimits;
  /** Ends each request when its body is there, as a program does that answers at once. */
  endsRequests?: boolean;
}

export class Told {
  readonly lines: string[] = [];
  readonly decoder: FastcgiDecoder;
  #bodyOf: number | null = null;

  constructor({ limits = { paramsBytes: 65536 }, endsRequests = false }: Options = {}) {
    const events: FastcgiEvents = {
      onRequest: ({ id, role, keepConn, params }) => {
        const pairs = [...params].map(([name, value]) => `${name}=${value}`).join('&');
        this.#tell(`request ${id} ${role}${keepConn ? ' kept' : ''} ${pairs}`);
      },
      onBody: (id, bytes) => {
        const text = bytes.toString('latin1');
        if (this.#bodyOf === id) this.lines.push(`${this.lines.pop()}${text}`);
        else this.#tell(`body ${id} ${text}`);
        this.#bodyOf = id;
      },
      onBodyEnd: (id) => {
        this.#tell(`body end ${id}`);
        if (endsRequests) this.decoder.end(id);
      },
      onAbort: (id) => this.#tell(`abort ${id}`),
      onReply: (bytes, isLast) =>
        this.#tell(`reply ${bytes.toString('hex')}${isLast ? ' last' : ''}`),
    };
    this.decoder = new FastcgiDecoder(events, limits);
  }

  push(...chunks: Uint8Array[]): this {
    for (const chunk of chunks) {
      // A chunk of its own that is gone afterwards: what is kept must have been copied.
      const own = Buffer.from(chunk);
      this.decoder.push(own);
      own.fill(0xdd);
    }
    return this;
  }

  #tell(line: string): void {
    this.#bodyOf = null;
    this.lines.push(line);
  }
}
