// SPDX-License-Identifier: Apache-2.0
// A Response on its way out.
import type { Exchange } from '../exchange.ts';

/** Sends it whole. An answer whose body is there at once (a text, bytes) goes out in one piece, with its
 * length; the head of another one waits for the first bytes no longer than a turn of the event loop. */
export class FetchAnswer {
  readonly #exchange: Exchange;
  readonly #response: Response;
  #reader: ReadableStreamDefaultReader<Uint8Array> | null = null;
  #held: Buffer | null = null;
  #hasBegun = false;
  #isBlocked = false;
  #onRoom: (() => void) | null = null;
  #immediate: NodeJS.Immediate | null = null;
  #error: unknown = null;

  /** @throws TypeError for what is no Response */
  constructor(exchange: Exchange, response: unknown) {
    if (!isResponse(response)) {
      throw new TypeError(
        `a handler returns a Response, or a promise of one, not ${kindOf(response)}`,
      );
    }
    this.#exchange = exchange;
    this.#response = response;
  }

  /** @throws what the body failed with, and for a Response that cannot be sent */
  async send(): Promise<void> {
    const response = this.#response;
    if (response.status < 200) {
      throw new RangeError(`status ${response.status}: a Response has one from 200 to 599`);
    }
    if (response.bodyUsed) throw new TypeError('the body of the Response was used before');
    const { body } = response;
    if (body === null || this.#exchange.head.method === 'HEAD') {
      this.#begin(body === null ? 0 : null);
      this.#exchange.end();
      await body?.cancel();
      return;
    }
    const reader = body.getReader();
    this.#reader = reader;
    this.#immediate = setImmediate(release, this);
    try {
      await this.#pump(reader);
    } catch (error) {
      reader.cancel(error).catch(() => undefined);
      throw error;
    } finally {
      this.#clearImmediate();
    }
  }

  async #pump(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    for (;;) {
      const { done, value } = await reader.read();
      if (this.#error !== null) throw this.#error;
      if (this.#exchange.state === 'over') return;
      if (done) break;
      this.#add(bytesOf(value));
      if (this.#isBlocked) await this.#room();
    }
    this.#begin(this.#held?.length ?? 0);
    this.#exchange.end(this.#held ?? undefined);
  }

  onDrain(): void {
    this.#isBlocked = false;
    const call = this.#onRoom;
    this.#onRoom = null;
    call?.();
  }

  /** Nobody wants it any more. */
  cancel(reason: unknown): void {
    this.#clearImmediate();
    this.#reader?.cancel(reason).catch(() => undefined);
    this.onDrain();
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      this.#onRoom = resolve;
    });
  }

  #add(bytes: Buffer): void {
    if (!this.#hasBegun && this.#held === null) {
      this.#held = bytes;
      return;
    }
    this.release();
    if (!this.#exchange.write(bytes)) this.#isBlocked = true;
  }

  /** Head and held bytes go out. */
  release(): void {
    this.#begin(null);
    const held = this.#held;
    this.#held = null;
    if (held === null) return;
    if (!this.#exchange.write(held)) this.#isBlocked = true;
  }

  releaseInTime(): void {
    this.#immediate = null;
    try {
      this.release();
      this.#exchange.flush();
    } catch (error) {
      this.#error = error;
      this.#reader?.cancel(error).catch(() => undefined);
    }
  }

  #clearImmediate(): void {
    if (this.#immediate === null) return;
    clearImmediate(this.#immediate);
    this.#immediate = null;
  }

  /** @param length of the whole body; null: nobody knows it yet */
  #begin(length: number | null): void {
    if (this.#hasBegun) return;
    const { status, statusText, headers } = this.#response;
    const fields: string[] = [];
    for (const [name, value] of headers) fields.push(name, value);
    const isBodiless = status === 204 || status === 304;
    if (length !== null && !isBodiless && !headers.has('content-length')) {
      fields.push('content-length', `${length}`);
    }
    this.#clearImmediate();
    this.#exchange.begin(status, statusText, fields);
    this.#hasBegun = true;
  }
}

function release(answer: FetchAnswer): void {
  answer.releaseInTime();
}

/** Also of other implementations than Node's own. */
function isResponse(value: unknown): value is Response {
  if (value instanceof Response) return true;
  if (typeof value !== 'object' || value === null) return false;
  const { status, headers, body } = value as Partial<Response>;
  return (
    typeof status === 'number' &&
    typeof headers?.has === 'function' &&
    Symbol.iterator in headers &&
    (body === null || typeof body?.getReader === 'function')
  );
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return `${value}`;
  return typeof value === 'object'
    ? `a ${value.constructor?.name ?? 'object'}`
    : `a ${typeof value}`;
}

function bytesOf(value: unknown): Buffer {
  if (Buffer.isBuffer(value)) return value;
  if (value instanceof Uint8Array) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
  throw new TypeError(`the body of a Response is Uint8Arrays, not ${kindOf(value)}`);
}
