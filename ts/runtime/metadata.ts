// SPDX-License-Identifier: Apache-2.0
// What a web server tells about a request beside HTTP: the same over all protocols. Bytes are Latin-1
// characters.

export type ProtocolName = 'cgi' | 'fastcgi' | 'ajp13' | 'ajp12' | 'http';

export interface TlsMetadata {
  /** "TLSv1.3"; null where nobody tells, as all of the following. */
  protocol: string | null;
  cipher: string | null;
  sessionId: string | null;
  keyBits: number | null;
  /** PEM. */
  clientCertificate: string | null;
}

export interface RequestMetadata {
  readonly protocol: ProtocolName;
  /** An authorizer's answer 200 lets the request pass (FastCGI); all else are responders. */
  readonly role: 'responder' | 'authorizer';
  /** Whom the web server has authenticated, and how: "Basic" …; null = nobody. */
  readonly remoteUser: string | null;
  readonly authType: string | null;
  /** Of the client; '' where nobody tells. */
  readonly remoteAddress: string;
  readonly remotePort: number | null;
  readonly remoteHost: string | null;
  /** Of the web server. */
  readonly localAddress: string | null;
  readonly serverName: string;
  /** 0 where nobody tells. */
  readonly serverPort: number;
  readonly serverSoftware: string | null;
  readonly isSecure: boolean;
  /** null: not secure. */
  readonly tls: TlsMetadata | null;
  /** Where the program is mounted: '' or "/…", decoded; the rest of the path: '' or "/…", decoded. */
  readonly scriptName: string;
  readonly pathInfo: string;
  readonly pathTranslated: string | null;
  readonly scriptFilename: string | null;
  readonly documentRoot: string | null;
  /** What a session's id ends with, that its requests come here (AJP, USHER_ROUTE). */
  readonly route: string | null;
  /** AJP 1.2, as mod_jserv's mount names them. */
  readonly zone: string | null;
  readonly servlet: string | null;
  /** All that came: parameters of FastCGI, environment of CGI, attributes of AJP. */
  readonly variables: ReadonlyMap<string, string>;
}
