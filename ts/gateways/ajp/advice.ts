// SPDX-License-Identifier: Apache-2.0
// Settings that must agree at both ends, and what a backend's behaviour says of those that do not. AJP
// has no word for it: a connector just turns requests down.
import { PACKET_BYTES } from '../../protocols/ajp13/types.ts';

/** Of one kind and backend, a warning a minute. */
const REPEAT_MS = 60_000;
/** What connectors answer to a packet that is too long for them, or we in their place. */
const SIZE_REFUSALS = new Set([400, 500, 502]);
/** In a data packet before the bytes. */
const DATA_HEAD_BYTES = 6;

export interface AdviceOptions {
  packetBytes: number;
  hasSecret: boolean;
  /** FastCGI parameters that are passed on as request attributes. */
  attributes: readonly string[];
}

export class Advice {
  readonly #options: AdviceOptions;
  readonly #warn: (event: string, text: string) => void;
  readonly #now: () => number;
  readonly #saidMs = new Map<string, number>();
  readonly #askedFor = new Map<string, number>();

  constructor(
    options: AdviceOptions,
    warn: (event: string, text: string) => void,
    now: () => number,
  ) {
    this.#options = options;
    this.#warn = warn;
    this.#now = now;
  }

  /**
   * A connector that refuses a request itself, before a servlet sees it, does not keep the connection;
   * a servlet's own answer with this status does.
   *
   * @param status 502: there was no answer.
   * @param sentBytes Of the longest packet that it was sent.
   */
  explain(backend: string, status: number, sentBytes: number): string | null {
    const text = this.#reason(status, sentBytes);
    if (text === null) return null;
    this.#say('backend.refused', backend, text);
    return `backend ${backend}: ${text}`;
  }

  /** Whether there may be something to explain when the answer ends. */
  isSuspect(status: number, sentBytes: number): boolean {
    return status === 403 || (sentBytes > PACKET_BYTES && SIZE_REFUSALS.has(status));
  }

  #reason(status: number, sentBytes: number): string | null {
    if (!this.isSuspect(status, sentBytes)) return null;
    const { hasSecret, attributes, packetBytes } = this.#options;
    if (status === 403) {
      const secret = hasSecret
        ? 'what -secret-file holds is not the `secret` of its AJP connector'
        : 'its AJP connector has a `secret`: put it into a file and name that in -secret-file';
      if (attributes.length === 0) return `the request was refused: ${secret}`;
      return `the request was refused: ${secret}, or its \`allowedRequestAttributesPattern\` does not have ${attributes.join(', ')} of -request-attribute`;
    }
    return `it was sent a packet of ${sentBytes} bytes: \`packetSize\` of its AJP connector may be less than -max-packet-size ${packetBytes}`;
  }

  /** Containers ask for as much as fits one of their packets. */
  wanted(backend: string, bytes: number): void {
    if (this.#askedFor.get(backend) === bytes) return;
    this.#askedFor.set(backend, bytes);
    const theirs = bytes + DATA_HEAD_BYTES;
    const { packetBytes } = this.#options;
    if (theirs === packetBytes || theirs < PACKET_BYTES) return;
    const effect =
      theirs > packetBytes
        ? 'larger: parts of answers that are longer than -max-packet-size are refused'
        : 'smaller: heads of requests that are longer are refused there';
    this.#say(
      'backend.packet-size',
      backend,
      `\`packetSize\` of its AJP connector seems to be ${theirs}, -max-packet-size is ${packetBytes}; it is ${effect}`,
    );
  }

  #say(event: string, backend: string, text: string): void {
    const key = `${event} ${backend}`;
    const nowMs = this.#now();
    if (nowMs - (this.#saidMs.get(key) ?? Number.NEGATIVE_INFINITY) < REPEAT_MS) return;
    this.#saidMs.set(key, nowMs);
    this.#warn(event, `backend ${backend}: ${text}`);
  }
}
