// SPDX-License-Identifier: Apache-2.0
// This process is a CGI program: one request from its environment and standard input, answered to its
// standard output. Source: RFC 3875.
import { createWriteStream, fstatSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { ProtocolError } from '../../protocols/protocol-error.ts';
import { Exchange, type FieldList, type RequestHead } from '../exchange.ts';
import { cgiHead } from './answer-fields.ts';
import { cgiRequest } from './cgi-request.ts';
import { refusalOf } from './refusals.ts';

export interface CgiProcess {
  variables: ReadonlyMap<string, string>;
  /** Opened when the body is wanted. */
  openInput(): Readable;
  output: Writable;
  report(line: string): void;
}

/** Resolves when the request is answered, and the answer is written or nobody reads it any more. */
export async function runCgi(
  run: (exchange: Exchange) => void,
  cgi: CgiProcess = thisProcess(),
): Promise<void> {
  const { head, error } = cgiRequest('cgi', 'responder', cgi.variables);
  const exchange = new CgiExchange(head, cgi);
  if (error === null) run(exchange);
  else exchange.refuse(refusalOf(error));
  await exchange.whenWritten;
}

/** With standard input, output and error, which may be pipes, sockets or files. */
export function thisProcess(): CgiProcess {
  return {
    variables: environment(),
    openInput: () => process.stdin,
    output: standardOutput(),
    report: (line) => process.stderr.write(`${line}\n`),
  };
}

/** As bytes in Latin-1 characters. process.env has texts, in which bytes that are no UTF-8 are lost. */
function environment(): Map<string, string> {
  const variables = new Map<string, string>();
  let hasLost = false;
  for (const [name, value = ''] of Object.entries(process.env)) {
    hasLost ||= value.includes('\ufffd');
    variables.set(name, Buffer.from(value).toString('latin1'));
  }
  if (hasLost) {
    for (const entry of readFileSync('/proc/self/environ', 'latin1').split('\0')) {
      const end = entry.indexOf('=');
      if (end > 0) variables.set(entry.slice(0, end), entry.slice(end + 1));
    }
  }
  return variables;
}

/** Not process.stdout, which would stop the whole process while a web server is slow to read a pipe. */
function standardOutput(): Writable {
  const stats = fstatSync(1);
  if (stats.isFIFO() || stats.isSocket()) return new Socket({ fd: 1, readable: false });
  if (stats.isFile()) return createWriteStream('', { fd: 1, autoClose: false });
  return process.stdout;
}

class CgiExchange extends Exchange {
  readonly whenWritten: Promise<void>;
  readonly #cgi: CgiProcess;
  #written: () => void = () => undefined;
  #heldHead: string | null = null;
  #input: Readable | null = null;
  /** Of the body; null: it goes to the end of the input. */
  #left: number | null;
  #isFlowing = false;
  #hasEnded = false;

  constructor(head: RequestHead, cgi: CgiProcess) {
    super(head);
    this.#cgi = cgi;
    this.#left = head.bodyBytes;
    this.whenWritten = new Promise((resolve) => {
      this.#written = resolve;
    });
    const { output } = cgi;
    output.on('error', () => {
      this.abort(new Error('the web server has closed our output'));
      this.#close();
    });
    output.on('close', () => this.#close());
    output.on('finish', () => this.#close());
    output.on('drain', () => this.listener?.onDrain());
  }

  override report(line: string): void {
    this.#cgi.report(line);
  }

  override pauseBody(): void {
    this.#isFlowing = false;
    this.#input?.pause();
  }

  override resumeBody(): void {
    if (this.state === 'over' || this.#isFlowing) return;
    this.#isFlowing = true;
    if (this.#input !== null) {
      this.#input.resume();
    } else if (this.#left === 0) {
      process.nextTick(() => this.#endBody());
    } else {
      this.#input = this.#cgi.openInput();
      this.#input.on('data', (bytes: Buffer) => this.#onInput(bytes));
      this.#input.on('end', () => this.#onInputEnd());
      this.#input.on('error', () => this.#onInputEnd());
    }
  }

  protected override sendHead(status: number, reason: string, fields: FieldList): void {
    this.#heldHead = cgiHead(status, reason, fields);
  }

  protected override sendBody(bytes: Buffer): boolean {
    this.#sendHeld();
    return this.#cgi.output.write(bytes);
  }

  protected override sendNow(): void {
    this.#sendHeld();
  }

  protected override sendEnd(last: Buffer | null): void {
    const head = this.#heldHead;
    if (head !== null && last !== null) {
      this.#heldHead = null;
      const bytes = Buffer.concat([Buffer.from(head, 'latin1'), last]);
      this.#cgi.output.write(bytes);
    } else {
      this.#sendHeld();
      if (last !== null) this.#cgi.output.write(last);
    }
    this.#cgi.output.end();
    this.#dropInput();
  }

  /** CGI has no other way to say it than the exit status, and web servers differ in what they make of
   * that. Without a head they answer 500. */
  protected override sendBreak(): void {
    process.exitCode = 1;
    this.#cgi.output.end();
    this.#dropInput();
  }

  #sendHeld(): void {
    if (this.#heldHead === null) return;
    this.#cgi.output.write(Buffer.from(this.#heldHead, 'latin1'));
    this.#heldHead = null;
  }

  #close(): void {
    this.#dropInput();
    this.#written();
  }

  /** It would keep the process alive; a web server that still writes to it knows of programs that end. */
  #dropInput(): void {
    this.#input?.destroy();
  }

  #onInput(bytes: Buffer): void {
    if (this.state === 'over' || this.#hasEnded) return;
    const left = this.#left;
    if (left === null) {
      this.listener?.onBody(bytes);
      return;
    }
    // No more than CONTENT_LENGTH, which RFC 3875 forbids to read beyond.
    const part = bytes.length > left ? bytes.subarray(0, left) : bytes;
    this.#left = left - part.length;
    this.listener?.onBody(part);
    if (this.#left === 0) this.#endBody();
  }

  /** onBodyEnd is told between resumeBody() and pauseBody() as well. */
  #endBody(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.listener?.onBodyEnd();
  }

  #onInputEnd(): void {
    if (this.#hasEnded || this.state === 'over') return;
    if (this.#left === null) {
      this.#endBody();
      return;
    }
    const text = `the body ends ${this.#left} bytes before its Content-Length`;
    this.giveUp(refusalOf(new ProtocolError(text, 400)));
  }
}
