// SPDX-License-Identifier: Apache-2.0
// A web server's end of a FastCGI connection, for tests: every record is made and read here by hand,
// so that it shares no mistake with ts/protocols.
import { connect, type Socket } from 'node:net';

const type = { begin: 1, abort: 2, end: 3, params: 4, stdin: 5, stdout: 6, stderr: 7 } as const;

export interface Answer {
  stdout: Buffer;
  stderr: string;
  /** Exit status of FCGI_END_REQUEST; null: the connection ended without. */
  status: number | null;
  protocolStatus: number | null;
  /** In the order they came. */
  records: string[];
}

export interface Sent {
  params: Record<string, string>;
  body?: string | Buffer;
  keepConn?: boolean;
  role?: number;
}

export function record(kind: number, id: number, content: Buffer): Buffer {
  const padding = (8 - (content.length % 8)) % 8;
  const header = Buffer.from([1, kind, id >> 8, id & 255, 0, 0, padding, 0]);
  header.writeUInt16BE(content.length, 4);
  return Buffer.concat([header, content, Buffer.alloc(padding)]);
}

function stream(kind: number, id: number, content: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < content.length; at += 32_000) {
    records.push(record(kind, id, content.subarray(at, at + 32_000)));
  }
  return records;
}

function pair(name: string, value: string): Buffer {
  const parts = [Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')];
  const lengths = parts.map((part) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE((part.length | 0x80000000) >>> 0);
    return part.length < 128 ? Buffer.from([part.length]) : length;
  });
  return Buffer.concat([...lengths, ...parts]);
}

/** BEGIN_REQUEST and the parameters with their end. */
export function requestHead(id: number, { params, keepConn = false, role = 1 }: Sent): Buffer {
  const begin = Buffer.from([0, role, keepConn ? 1 : 0, 0, 0, 0, 0, 0]);
  const pairs = Buffer.concat(Object.entries(params).map(([name, value]) => pair(name, value)));
  return Buffer.concat([
    record(type.begin, id, begin),
    ...stream(type.params, id, pairs),
    record(type.params, id, Buffer.alloc(0)),
  ]);
}

export function requestBody(id: number, body: Buffer): Buffer {
  return Buffer.concat([...stream(type.stdin, id, body), record(type.stdin, id, Buffer.alloc(0))]);
}

export class TestClient {
  readonly socket: Socket;
  #buffered: Buffer = Buffer.alloc(0);
  #stdout: Buffer[] = [];
  #answer: Answer = TestClient.#empty();
  #waiting: ((answer: Answer) => void)[] = [];
  #answers: Answer[] = [];
  #outputWaiters: (() => void)[] = [];
  /** For tests of large answers: bytes are counted, not kept. */
  isCounting = false;
  stdoutBytes = 0;
  isClosed = false;

  static #empty(): Answer {
    return { stdout: Buffer.alloc(0), stderr: '', status: null, protocolStatus: null, records: [] };
  }

  constructor(path: string) {
    this.socket = connect(path);
    this.socket.on('data', (chunk) => this.#onData(chunk));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.isClosed = true;
      this.#finish();
    });
  }

  send(sent: Sent, id = 1): void {
    const body = Buffer.from(sent.body ?? '');
    this.socket.write(Buffer.concat([requestHead(id, sent), requestBody(id, body)]));
  }

  sendHead(sent: Sent, id = 1): void {
    this.socket.write(requestHead(id, sent));
  }

  sendBody(bytes: Buffer, id = 1): boolean {
    return this.socket.write(Buffer.concat(stream(type.stdin, id, bytes)));
  }

  endBody(id = 1): void {
    this.socket.write(record(type.stdin, id, Buffer.alloc(0)));
  }

  abort(id = 1): void {
    this.socket.write(record(type.abort, id, Buffer.alloc(0)));
  }

  /** The next answer, or what there was of it when the connection ended. */
  async answer(): Promise<Answer> {
    const answer = this.#answers.shift();
    if (answer !== undefined) return answer;
    return await new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves when the answer under way has so much output. */
  async output(text: string): Promise<void> {
    while (!this.outputSoFar().includes(text) && !this.isClosed) {
      await new Promise<void>((resolve) => this.#outputWaiters.push(resolve));
    }
  }

  async closed(): Promise<void> {
    if (!this.isClosed) await new Promise((resolve) => this.socket.once('close', resolve));
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Of the answer under way, stderr behind stdout. */
  outputSoFar(): string {
    return Buffer.concat(this.#stdout).toString('latin1') + this.#answer.stderr;
  }

  #onData(chunk: Buffer): void {
    this.#buffered = this.#buffered.length > 0 ? Buffer.concat([this.#buffered, chunk]) : chunk;
    while (this.#buffered.length >= 8) {
      const length = this.#buffered.readUInt16BE(4);
      const whole = 8 + length + this.#buffered.readUInt8(6);
      if (this.#buffered.length < whole) break;
      this.#onRecord(this.#buffered.readUInt8(1), this.#buffered.subarray(8, 8 + length));
      this.#buffered = this.#buffered.subarray(whole);
    }
    for (const waiter of this.#outputWaiters.splice(0)) waiter();
  }

  #onRecord(kind: number, content: Buffer): void {
    if (kind === type.stdout) {
      this.#answer.records.push(`stdout ${content.length}`);
      this.stdoutBytes += content.length;
      if (!this.isCounting) this.#stdout.push(content);
    } else if (kind === type.stderr) {
      this.#answer.records.push(`stderr ${content.length}`);
      this.#answer.stderr += content.toString('utf8');
    } else if (kind === type.end) {
      this.#answer.records.push('end');
      this.#answer.status = content.readUInt32BE(0);
      this.#answer.protocolStatus = content.readUInt8(4);
      this.#finish();
    } else {
      this.#answer.records.push(`type ${kind}`);
    }
  }

  #finish(): void {
    this.#answer.stdout = Buffer.concat(this.#stdout);
    for (const waiter of this.#outputWaiters.splice(0)) waiter();
    if (this.isClosed && this.#answer.records.length === 0 && this.#waiting.length === 0) return;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) waiting(this.#answer);
    else this.#answers.push(this.#answer);
    this.#answer = TestClient.#empty();
    this.#stdout = [];
  }
}
