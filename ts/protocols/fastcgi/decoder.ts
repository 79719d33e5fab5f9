// SPDX-License-Identifier: Apache-2.0
// The application's end of a FastCGI connection: pieces of the stream in, events out. One request at a
// time, as a responder or an authorizer. Source: FastCGI 1.0.
import { ProtocolError } from '../protocol-error.ts';
import { answerRecords, endWithoutOutput, getValuesResult, unknownType } from './encoder.ts';
import { GatheredBytes } from './gathered-bytes.ts';
import { decodeParams } from './params.ts';
import {
  BEGIN_REQUEST_BYTES,
  HEADER_BYTES,
  KEEP_CONN,
  MANAGEMENT_ID,
  protocolStatus,
  recordType,
  VERSION,
} from './records.ts';
import type { FastcgiEvents, FastcgiLimits, FastcgiServer, Role } from './types.ts';

/** Where the request is; ended: its body is over, aborted: nothing more of it is told. */
type Phase = 'none' | 'params' | 'body' | 'ended' | 'aborted';

/** What becomes of a record's content. */
type Use = 'drop' | 'begin' | 'values' | 'params' | 'body';

const roles: readonly (Role | undefined)[] = [undefined, 'responder', 'authorizer'];

export class FastcgiDecoder implements FastcgiServer {
  readonly #events: FastcgiEvents;
  readonly #limits: FastcgiLimits;

  readonly #header = Buffer.alloc(HEADER_BYTES);
  /** Bytes of a header that came with earlier chunks. */
  #headerBytes = 0;
  #use: Use = 'drop';
  #contentLeft = 0;
  #paddingLeft = 0;
  /** Of the record. */
  #recordId = 0;
  /** Content of management records and of FCGI_BEGIN_REQUEST. */
  readonly #control = new GatheredBytes();

  #phase: Phase = 'none';
  #id = 0;
  #role: Role = 'responder';
  #keepConn = false;
  readonly #params = new GatheredBytes();

  /** Bytes of all chunks before this one. */
  #offset = 0;
  #failure: ProtocolError | null = null;

  constructor(events: FastcgiEvents, limits: FastcgiLimits) {
    this.#events = events;
    this.#limits = limits;
  }

  push(chunk: Buffer): void {
    if (this.#failure !== null) throw this.#failure;
    try {
      this.#read(chunk);
    } catch (error) {
      if (error instanceof ProtocolError) this.#failure = error;
      throw error;
    }
    this.#params.own();
    this.#control.own();
    this.#offset += chunk.length;
  }

  end(id: number): void {
    if (this.#phase === 'none' || this.#id !== id) return;
    this.#phase = 'none';
    this.#params.clear();
  }

  #read(chunk: Buffer): void {
    const length = chunk.length;
    let at = 0;
    while (at < length) {
      if (this.#contentLeft > 0) {
        const start = at;
        at = Math.min(at + this.#contentLeft, length);
        this.#contentLeft -= at - start;
        this.#takeContent(chunk, start, at);
      } else if (this.#paddingLeft > 0) {
        const skipped = Math.min(this.#paddingLeft, length - at);
        this.#paddingLeft -= skipped;
        at += skipped;
      } else if (this.#headerBytes === 0 && length - at >= HEADER_BYTES) {
        at += HEADER_BYTES;
        this.#beginRecord(chunk, at - HEADER_BYTES, at);
      } else {
        const copied = chunk.copy(this.#header, this.#headerBytes, at);
        at += copied;
        this.#headerBytes += copied;
        if (this.#headerBytes < HEADER_BYTES) return;
        this.#headerBytes = 0;
        this.#beginRecord(this.#header, 0, at);
      }
    }
  }

  /** @param end Where the header ends in the chunk. */
  #beginRecord(header: Buffer, at: number, end: number): void {
    const version = header.readUInt8(at);
    if (version !== VERSION) {
      const place = this.#offset + end - HEADER_BYTES;
      throw new ProtocolError(
        `FastCGI: a record of version ${version} at byte ${place} of the connection; only ${VERSION} is known`,
      );
    }
    const type = header.readUInt8(at + 1);
    const length = header.readUInt16BE(at + 4);
    this.#recordId = header.readUInt16BE(at + 2);
    this.#contentLeft = length;
    this.#paddingLeft = header.readUInt8(at + 6);
    this.#use =
      this.#recordId === MANAGEMENT_ID
        ? this.#useOfManagement(type)
        : this.#useOfRequest(type, length);
    if (length === 0) this.#endRecord();
  }

  #useOfManagement(type: number): Use {
    if (type === recordType.getValues) return 'values';
    // An answer to an answer could go on for ever.
    if (type !== recordType.getValuesResult && type !== recordType.unknownType) {
      this.#events.onReply(unknownType(type), false);
    }
    return 'drop';
  }

  #useOfRequest(type: number, length: number): Use {
    if (type === recordType.beginRequest) {
      if (length === BEGIN_REQUEST_BYTES) return 'begin';
      throw this.#broken(
        `FCGI_BEGIN_REQUEST has ${length} bytes of content, not ${BEGIN_REQUEST_BYTES}`,
      );
    }
    if (this.#phase === 'none' || this.#recordId !== this.#id) return 'drop';
    if (type === recordType.params) return this.#useOfParams(length);
    if (type === recordType.stdin) return this.#useOfBody(length);
    if (type === recordType.abortRequest) this.#abort();
    return 'drop';
  }

  #useOfParams(length: number): Use {
    if (this.#phase === 'params') {
      if (this.#params.length + length <= this.#limits.paramsBytes) return 'params';
      this.#refuseParams();
    } else if (this.#phase !== 'aborted' && length > 0) {
      throw this.#broken('FCGI_PARAMS after the end of the parameters');
    }
    return 'drop';
  }

  #useOfBody(length: number): Use {
    if (this.#phase === 'params') throw this.#broken('FCGI_STDIN before the end of the parameters');
    if (this.#phase === 'body') return 'body';
    if (this.#phase === 'ended' && length > 0 && this.#role === 'responder') {
      throw this.#broken('FCGI_STDIN after the end of the body');
    }
    return 'drop';
  }

  #takeContent(chunk: Buffer, start: number, end: number): void {
    switch (this.#use) {
      case 'body':
        if (this.#phase === 'body') this.#events.onBody(this.#id, chunk.subarray(start, end));
        return;
      case 'params':
        if (this.#phase === 'params') this.#params.add(chunk, start, end);
        return;
      case 'begin':
      case 'values':
        this.#control.add(chunk, start, end);
        if (this.#contentLeft === 0) this.#endRecord();
        return;
      case 'drop':
        return;
    }
  }

  /** The content is there. Streams end with an empty record. */
  #endRecord(): void {
    switch (this.#use) {
      case 'begin':
        this.#begin(this.#control.take());
        return;
      case 'values':
        this.#answerValues(decodeParams(this.#control.take()));
        return;
      case 'params':
        this.#endParams();
        return;
      case 'body':
        this.#phase = 'ended';
        this.#events.onBodyEnd(this.#id);
        return;
      case 'drop':
        return;
    }
  }

  #begin(content: Buffer): void {
    const id = this.#recordId;
    if (this.#phase !== 'none') {
      if (id === this.#id) throw this.#broken('FCGI_BEGIN_REQUEST of a request that is not ended');
      this.#events.onReply(endWithoutOutput(id, protocolStatus.cantMultiplex), false);
      return;
    }
    const keepConn = (content.readUInt8(2) & KEEP_CONN) !== 0;
    const role = roles[content.readUInt16BE(0)];
    if (role === undefined) {
      this.#events.onReply(endWithoutOutput(id, protocolStatus.unknownRole), !keepConn);
      return;
    }
    this.#phase = 'params';
    this.#id = id;
    this.#role = role;
    this.#keepConn = keepConn;
  }

  #endParams(): void {
    const id = this.#id;
    const params = decodeParams(this.#params.take());
    // An authorizer gets no body, and servers differ in whether they say that it ends.
    const isResponder = this.#role === 'responder';
    this.#phase = isResponder ? 'body' : 'ended';
    this.#events.onRequest({ id, role: this.#role, keepConn: this.#keepConn, params });
    if (!isResponder && this.#phase === 'ended') this.#events.onBodyEnd(id);
  }

  #abort(): void {
    if (this.#phase === 'aborted') return;
    if (this.#phase === 'params') {
      this.#phase = 'none';
      this.#params.clear();
      const ended = endWithoutOutput(this.#id, protocolStatus.requestComplete);
      this.#events.onReply(ended, !this.#keepConn);
      return;
    }
    this.#phase = 'aborted';
    this.#events.onAbort(this.#id);
  }

  #refuseParams(): void {
    this.#phase = 'none';
    this.#params.clear();
    const answer = Buffer.from(
      'Status: 431 Request Header Fields Too Large\r\nContent-Type: text/plain\r\n\r\n' +
        `The request's parameters are longer than ${this.#limits.paramsBytes} bytes.\n`,
    );
    this.#events.onReply(answerRecords(this.#id, answer), !this.#keepConn);
  }

  #answerValues(asked: ReadonlyMap<string, string>): void {
    const { maxConnections } = this.#limits;
    const known: [name: string, value: string][] = [['FCGI_MPXS_CONNS', '0']];
    if (maxConnections !== undefined) {
      known.push(['FCGI_MAX_CONNS', `${maxConnections}`], ['FCGI_MAX_REQS', `${maxConnections}`]);
    }
    this.#events.onReply(getValuesResult(known.filter(([name]) => asked.has(name))), false);
  }

  #broken(what: string): ProtocolError {
    return new ProtocolError(`FastCGI: request ${this.#recordId}: ${what}`);
  }
}
