// SPDX-License-Identifier: Apache-2.0
// A request and its answer while they are under way, whatever protocol they go by.

export type Field = readonly [name: string, value: string];

export interface Question {
  method?: string;
  /** Path and query. */
  url: string;
  fields?: readonly Field[];
  /** Of the body that follows; null = nobody knows, undefined = none. */
  bodyBytes?: number | null;
  remoteUser?: string;
}

export interface Head {
  status: number;
  fields: readonly Field[];
}

export interface Answer extends Head {
  body: Buffer;
  text: string;
  /** Values of all fields of that name. */
  header(name: string): string[];
}

/** Of one request; clients extend it with what sends. */
export abstract class Call {
  readonly #pieces: Buffer[] = [];
  #head: Head | null = null;
  #isWhole = false;
  #failure: Error | null = null;
  #wake: () => void = () => undefined;

  /** More of the request's body. */
  abstract send(bytes: Buffer): void;
  /** There is no more of it. */
  abstract endBody(): void;
  /** The client leaves. */
  abstract leave(): void;

  async head(): Promise<Head> {
    while (this.#head === null) await this.#news();
    return this.#head;
  }

  /** The next piece of the answer's body; null = it is whole. @throws Error when it was cut off */
  async read(): Promise<Buffer | null> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) return piece;
      if (this.#isWhole) return null;
      await this.#news();
    }
  }

  /** Until the answer's body so far holds the text. */
  async until(text: string): Promise<string> {
    let seen = '';
    while (!seen.includes(text)) {
      const piece = await this.read();
      if (piece === null) throw new Error(`the answer ended before "${text}": ${seen}`);
      seen += piece.toString('latin1');
    }
    return seen;
  }

  async answer(): Promise<Answer> {
    const { status, fields } = await this.head();
    const pieces: Buffer[] = [];
    for (let piece = await this.read(); piece !== null; piece = await this.read()) {
      pieces.push(piece);
    }
    const body = Buffer.concat(pieces);
    return {
      status,
      fields,
      body,
      text: body.toString('latin1'),
      header: (name) =>
        fields
          .filter(([given]) => given.toLowerCase() === name.toLowerCase())
          .map(([, value]) => value),
    };
  }

  // ---- for clients

  protected gotHead(status: number, fields: readonly Field[]): void {
    this.#head = { status, fields };
    this.#wake();
  }

  protected gotBody(bytes: Buffer): void {
    if (bytes.length > 0) this.#pieces.push(Buffer.from(bytes));
    this.#wake();
  }

  protected gotEnd(): void {
    if (this.#head === null) this.gotFailure('the answer ended without a head');
    this.#isWhole = true;
    this.#wake();
  }

  /** Without effect after the end. */
  protected gotFailure(what: string): void {
    if (this.#isWhole) return;
    this.#failure ??= new Error(what);
    this.#wake();
  }

  async #news(): Promise<void> {
    if (this.#failure) throw this.#failure;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** What speaks one protocol with one program. */
export interface Client {
  open(question: Question): Promise<Call>;
  /** Connections that are kept are closed. */
  end(): void;
}

/** A whole request, and its whole answer. */
export async function ask(
  client: Client,
  url: string,
  more: Omit<Question, 'url'> & { body?: Buffer | string } = {},
): Promise<Answer> {
  const { body: given, ...rest } = more;
  const body = given === undefined ? undefined : Buffer.from(given);
  const length = body === undefined ? {} : { bodyBytes: body.length };
  const call = await client.open({ ...length, ...rest, url });
  if (body !== undefined) call.send(body);
  call.endBody();
  return call.answer();
}
