// SPDX-License-Identifier: Apache-2.0
// FastCGI 1.0, the application's side: what a decoder tells, in the order of the stream. Bytes of names
// and values are Latin-1 characters here, one each.

export type Role = 'responder' | 'authorizer' | 'filter';

export interface RequestHead {
  /** 1 to 65535, unique among the unfinished requests of its connection. */
  id: number;
  role: Role;
  /** The web server keeps the connection for its next request. */
  keepConn: boolean;
  /** The last value counts where a name comes twice; of USHER_… the first, which is our modules'. */
  params: ReadonlyMap<string, string>;
}

export interface FastcgiEvents {
  /** All parameters are there; the body follows. */
  onRequest(head: RequestHead): void;
  /** A view of the chunk given to push(): copy what is kept. */
  onBody(id: number, bytes: Buffer): void;
  onBodyEnd(id: number): void;
  /** Only for a request that has begun and has not been ended by end(). */
  onAbort(id: number): void;
  /** To be written at once: answers to management records, and to requests that are turned down
   * (a second one at a time on a connection: FCGI_CANT_MPX_CONN; another role: FCGI_UNKNOWN_ROLE; too
   * many parameters: an answer 431). isLast: the web server does not keep the connection; it is to be
   * closed once they are written. From a peer that does not read them nothing more is to be read. */
  onReply(bytes: Buffer, isLast: boolean): void;
}

export interface FastcgiLimits {
  /** Bytes of all parameters of a request. */
  paramsBytes: number;
  /** Connections, with one request each, that are taken at once, for who asks by FCGI_GET_VALUES;
   * without it there is no answer to that. */
  maxConnections?: number;
}

/**
 * push() and end() of a FastcgiDecoder; the encoders are functions:
 *
 *   stdoutHeader(id, length): Buffer         8 bytes that go before `length` ≤ 65535 bytes of output
 *   stdoutRecords(id, bytes): Buffer[]       any length, to be written one after the other
 *   stderrRecords(id, text): Buffer[]
 *   endRecords(id, status, protocol): Buffer ends stdout, then FCGI_END_REQUEST
 *   endWithoutOutput(id, protocol): Buffer   FCGI_END_REQUEST alone, to turn a request down
 *   answerRecords(id, bytes): Buffer         a whole small answer with its end, in one piece
 *   answerInOne(id, head, body): Buffer      the same, its head as text, its body as text or bytes
 */
export interface FastcgiServer {
  /** Any piece of the stream. Throws ProtocolError; nothing may follow then. */
  push(chunk: Buffer): void;
  /** The request was answered: what still comes of it is dropped. */
  end(id: number): void;
}
