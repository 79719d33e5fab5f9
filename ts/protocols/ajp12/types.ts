// SPDX-License-Identifier: Apache-2.0
// AJP 1.2 as both sides see it: a connection carries one request, or one signal. Bytes of strings are
// Latin-1 characters, one each; '' is a string that is not there.

export type Field = readonly [name: string, value: string];

export interface Ajp12Request {
  /** Any token. */
  method: string;
  /** JServ's, where the mount names them. */
  zone: string;
  servlet: string;
  /** Of the engine, as the web server knows it. */
  engineHost: string;
  documentRoot: string;
  pathInfo: string;
  pathTranslated: string;
  queryString: string;
  remoteAddr: string;
  remoteHost: string;
  remoteUser: string;
  authType: string;
  requestUri: string;
  scriptFilename: string;
  scriptName: string;
  serverName: string;
  serverPort: number;
  serverProtocol: string;
  serverSignature: string;
  serverSoftware: string;
  /** What the engine appends to the ids of sessions. */
  route: string;
  /** ApJServEnvVar, JkEnvVar; HTTPS=on marks TLS. */
  environment: readonly Field[];
  fields: readonly Field[];
}

/** What may come in place of a request. */
export type Signal = 'ping' | 'restart' | 'shutdown';

/** What the engine's decoder (Ajp12ServerDecoder) tells. */
export interface Ajp12ServerEvents {
  onRequest(request: Ajp12Request, bodyBytes: number): void;
  /** A view of what was pushed. */
  onBody(bytes: Buffer): void;
  /** Once for each request, also for one without a body. */
  onBodyEnd(): void;
  /** `isAuthenticated`: the peer knew the secret. Others than ping are no more than a wish: whoever can
   * connect may send them. */
  onSignal(signal: Signal, isAuthenticated: boolean): void;
}

/** What the web server's decoder (Ajp12ClientDecoder) tells. */
export interface Ajp12ClientEvents {
  /** To be written first; then the request or the signal. */
  onChallenge(answer: Buffer): void;
  /** `servletError`: why the engine failed, for the log; '' = it did not. */
  onHead(status: number, reason: string, fields: Field[], servletError: string): void;
  /** A view of what was pushed. */
  onBody(bytes: Buffer): void;
  /** The engine closed the connection, after as much as it had promised. */
  onEnd(): void;
  onPong(): void;
}
