// SPDX-License-Identifier: Apache-2.0
// The marks of AJP 1.2 and the order of a request's strings.
import type { Ajp12Request, Signal } from './types.ts';

export const REQUEST = 1;
export const HEADER = 3;
export const END = 4;
export const ENVIRONMENT = 5;
export const SIGNAL = 0xfe;

export const NULL_LENGTH = 0xffff;

export const SIGNALS: ReadonlyMap<number, Signal> = new Map([
  [0, 'ping'],
  [1, 'restart'],
  [15, 'shutdown'],
]);

export type TextName = Exclude<keyof Ajp12Request, 'serverPort' | 'environment' | 'fields'>;

/**
 * What follows the mark of a request. `port` is the server's port in digits, at `copy` again (for JServ a
 * remote port, but web servers never had one to send); `method` stands twice; `none` were DNs of TLS.
 */
export const STRINGS: readonly (TextName | 'port' | 'copy' | 'none')[] = [
  ...(['method', 'zone', 'servlet', 'engineHost', 'documentRoot', 'pathInfo'] as const),
  ...(['pathTranslated', 'queryString', 'remoteAddr', 'remoteHost', 'remoteUser'] as const),
  ...(['authType', 'copy', 'method', 'requestUri', 'scriptFilename', 'scriptName'] as const),
  ...(['serverName', 'port', 'serverProtocol', 'serverSignature', 'serverSoftware'] as const),
  ...(['route', 'none', 'none'] as const),
];
