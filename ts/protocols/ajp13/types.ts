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
  storedMethod?: string;
  /** AJP_REMOTE_PORT, AJP_LOCAL_ADDR, AJP_SSL_PROTOCOL, JK_LB_ACTIVATION, and what is configured. */
  others?: readonly Field[];
}

/** How the request's body goes: decided once, from its head. */
export type BodyMode = { kind: 'none' } | { kind: 'length'; bytes: number } | { kind: 'chunked' };

/** What the client's decoder tells of the server's packets. */
export interface AjpClientEvents {
  onHead(status: number, reason: string, fields: Field[]): void;
  /** A view; empty = flush. */
  onBody(bytes: Buffer): void;
  /** The server wants up to so many bytes of the request's body. */
  onGetBody(wanted: number): void;
  /** reuse: the connection may serve another request. Nothing may follow until the next request. */
  onEnd(reuse: boolean): void;
  onPong(): void;
}

/**
 * AjpClientDecoder(events, packetBytes): push(chunk) throws ProtocolError for anything the protocol
 * forbids where it stands: bytes after END, a second head, a body before the head, lengths beyond the
 * packet, strings without NUL, CR LF NUL in names or values. begin() before each request, isIdle after
 * END and before begin.
 *
 *   encodeForwardRequest(request, packetBytes): Buffer   throws ProtocolError 431 (head) when it does
 *                                                        not fit a packet, 400 for bytes that may not be sent
 *   encodeBody(bytes): Buffer[]        one data packet: its 6 bytes of head, then the bytes themselves
 *   bodyBytesMax(packetBytes): number  packetBytes - 6
 *   CPING: Buffer
 *
 * AjpServerDecoder(events, packetBytes) is its mirror, with encodeHead, encodeChunk, encodeGetBody,
 * encodeEnd, CPONG. Its rules are stricter than Tomcat's (docs/ajp.md).
 */
export interface AjpServerEvents {
  onRequest(request: ForwardRequest, body: BodyMode): void;
  /** A view of a data packet. */
  onBody(bytes: Buffer): void;
  /** The packet that ends a body, or the last byte of a known length. */
  onBodyEnd(): void;
  onPing(): void;
}
