// SPDX-License-Identifier: Apache-2.0
// The numbers of AJP 1.3: packet types, and the tables of methods, header names and attributes.

/** First two bytes of a packet from the web server, and from the container. */
export const MAGIC_CLIENT = 0x1234;
export const MAGIC_SERVER = 0x4142;

/** Magic and length of the payload. */
export const HEAD_BYTES = 4;

export const FORWARD_REQUEST = 2;
export const SEND_BODY_CHUNK = 3;
export const SEND_HEADERS = 4;
export const END_RESPONSE = 5;
export const GET_BODY_CHUNK = 6;
export const CPONG_REPLY = 9;
export const CPING_REQUEST = 10;

/** A string that is null: no bytes and no NUL follow. */
export const NULL_LENGTH = 0xffff;

/** From here on what stands in the place of a name's length is a code. */
export const CODE_FIRST = 0xa000;

/** The method's name is in the attribute stored_method. */
export const METHOD_STORED = 0xff;

/** By code; 0 is none. */
export const METHODS: readonly string[] = [
  ...['', 'OPTIONS', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'TRACE', 'PROPFIND', 'PROPPATCH'],
  ...['MKCOL', 'COPY', 'MOVE', 'LOCK', 'UNLOCK', 'ACL', 'REPORT', 'VERSION-CONTROL', 'CHECKIN'],
  ...['CHECKOUT', 'UNCHECKOUT', 'SEARCH', 'MKWORKSPACE', 'UPDATE', 'LABEL', 'MERGE'],
  ...['BASELINE-CONTROL', 'MKACTIVITY'],
];

/** By code less CODE_FIRST; 0 is none. */
export const REQUEST_HEADERS: readonly string[] = [
  ...['', 'accept', 'accept-charset', 'accept-encoding', 'accept-language', 'authorization'],
  ...['connection', 'content-type', 'content-length', 'cookie', 'cookie2', 'host', 'pragma'],
  ...['referer', 'user-agent'],
];

export const RESPONSE_HEADERS: readonly string[] = [
  ...['', 'Content-Type', 'Content-Language', 'Content-Length', 'Date', 'Last-Modified'],
  ...['Location', 'Set-Cookie', 'Set-Cookie2', 'Servlet-Engine', 'Status', 'WWW-Authenticate'],
];

export const ATTRIBUTE = {
  context: 1,
  servletPath: 2,
  remoteUser: 3,
  authType: 4,
  queryString: 5,
  route: 6,
  sslCert: 7,
  sslCipher: 8,
  sslSession: 9,
  other: 10,
  sslKeySize: 11,
  secret: 12,
  storedMethod: 13,
  end: 255,
} as const;

/** Method codes by name; case counts. */
export const METHOD_CODES: ReadonlyMap<string, number> = new Map(
  METHODS.map((name, code) => [name, code] as const).slice(1),
);

/** Codes of header names, by the spelling of the table and by those usual in HTTP/1.1 and HTTP/2. */
export function headerCodes(names: readonly string[]): ReadonlyMap<string, number> {
  const codes = new Map<string, number>();
  for (const [at, name] of names.entries()) {
    if (at === 0) continue;
    const lower = name.toLowerCase();
    const title = lower.replace(/\b[a-z]/g, (letter) => letter.toUpperCase());
    for (const spelling of [name, lower, title]) codes.set(spelling, CODE_FIRST + at);
  }
  return codes;
}

/** No name that has a code is longer. */
export const CODED_CHARACTERS_MAX = 16;
