// SPDX-License-Identifier: Apache-2.0
// CGI/1.1 (RFC 3875): what a program's head says. Bytes are Latin-1 characters.

export type Field = [name: string, value: string];

/** Names are as the program wrote them, without Status and what concerns a connection only. A Location
 * is among the fields. The reason is empty where the program gave none. */
export type CgiHead =
  /** Status and header fields for the client; a Location beside a status that is no redirect is one of
   * them. */
  | { kind: 'document'; status: number; reason: string; fields: Field[] }
  /** Location with a path and nothing else: the server is to answer that path instead. */
  | { kind: 'local-redirect'; location: string }
  /** Any other Location: an absolute URI, a path beside other fields, a status 3xx; 302 without one. */
  | { kind: 'client-redirect'; status: number; reason: string; fields: Field[] }
  /** A whole HTTP answer, status line first (programs whose name begins with nph-). */
  | { kind: 'nph'; status: number; reason: string; fields: Field[] };

export interface CgiHeadLimits {
  /** Bytes of the whole head, its last empty line included. */
  headBytes: number;
  fields: number;
}
