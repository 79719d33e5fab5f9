// SPDX-License-Identifier: Apache-2.0
// AJP 1.3 as both sides see it. Bytes of strings are Latin-1 characters, one each. The client is the
// web server's side, the server the servlet container's.

/** Bytes of a packet with its head, and the most that is possible. */
export const PACKET_BYTES = 8192;
export const PACKET_BYTES_MAX = 65536;

export type Field = readonly [name: string, value: string];

export interface ForwardRequest {
  /** Any token; those without a code go as stored_method. */
  method: string;
  protocol: string;
  /** Path, encoded; no query. */
  uri: string;
  remoteAddr: string;
  remoteHost: string | null;
  serverName: string;
  serverPort: number;
  isSsl: boolean;
  fields: readonly Field[];
  attributes: RequestAttributes;
}

export interface RequestAttributes {
  context?: string;
  servletPath?: string;
  remoteUser?: string;
  authType?: string;
  queryString?: string;
  route?: string;
  /** PEM. */
  sslCert?: string;
  sslCipher?: string;
  sslSession?: string;
  /** Bits. */
  sslKeySize?: number;
  secret?: string;
  /** AJP_REMOTE_PORT, AJP_LOCAL_ADDR, AJP_SSL_PROTOCOL, JK_LB_ACTIVATION, and what is configured. */
  others?: readonly Field[];
}

/** How the request's body goes: decided once, from its head (bodyModeOf). At a server `chunked` is any
 * body whose length is not known, which may be none at all: it comes when it is asked for. */
export type BodyMode = { kind: 'none' } | { kind: 'length'; bytes: number } | { kind: 'chunked' };

/** What the client's decoder (AjpClientDecoder) tells of the server's packets. */
export interface AjpClientEvents {
  onHead(status: number, reason: string, fields: Field[]): void;
  /** A view of what was pushed, part of a chunk or a whole one; empty = flush. */
  onBody(bytes: Buffer): void;
  /** The server wants up to so many bytes of the request's body, at least 1: one data packet is due,
   * the empty one when there is no more. */
  onGetBody(wanted: number): void;
  /** reuse: the connection may serve another request. Nothing may follow until the next request. */
  onEnd(reuse: boolean): void;
  onPong(): void;
}

/** What the server's decoder (AjpServerDecoder) tells of the client's packets. */
export interface AjpServerEvents {
  onRequest(request: ForwardRequest, body: BodyMode): void;
  /** A view of what was pushed: part of a data packet, or a whole one. */
  onBody(bytes: Buffer): void;
  /** The packet that ends a body, or the last byte of a known length; not for `none`. */
  onBodyEnd(): void;
  onPing(): void;
  /** The data packet that finish() had to wait for has come: END may go out. */
  onDrained(): void;
}
