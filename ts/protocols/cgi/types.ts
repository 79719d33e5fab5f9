// SPDX-License-Identifier: Apache-2.0
// CGI/1.1 (RFC 3875): what a program's head says. Bytes are Latin-1 characters.

export type CgiHead =
  /** Status and header fields for the client; Status, Location … are as the program wrote them. */
  | { kind: 'document'; status: number; reason: string; fields: [name: string, value: string][] }
  /** Location with a path and nothing else: the server is to answer that path instead. */
  | { kind: 'local-redirect'; location: string }
  /** Location with an absolute URI. */
  | { kind: 'client-redirect'; status: number; reason: string; fields: [string, string][] }
  /** A whole HTTP answer, status line first (programs whose name begins with nph-). */
  | { kind: 'nph'; status: number; reason: string; fields: [string, string][] };
