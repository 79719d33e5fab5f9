// SPDX-License-Identifier: Apache-2.0
// Which bytes may stand where, for both directions: what goes out of here becomes lines of HTTP or of
// CGI at the other end.

/** Method and header name: a token of RFC 9110. */
export const TOKEN = 1;
/** One line: no control character but HTAB; bytes from 80 on are opaque. */
export const LINE = 2;
/** As LINE, and CR and LF: certificates as PEM. */
export const LINES = 4;
/** Path or query: as LINE without blanks and `"`, `#`, `<`, `>`, which neither RFC 3986 nor browsers allow. */
export const URI = 8;

export type TextKind = typeof TOKEN | typeof LINE | typeof LINES | typeof URI;

const kinds = new Uint8Array(256);
for (let code = 0; code < 256; code++) {
  const character = String.fromCharCode(code);
  if (/^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/.test(character)) kinds[code] = TOKEN;
  const isPrinted = code >= 0x20 && code !== 0x7f;
  if (isPrinted || code === 0x09) kinds[code] = (kinds[code] ?? 0) | LINE | LINES;
  if (code === 0x0a || code === 0x0d) kinds[code] = LINES;
  if (isPrinted && !/["#<> ]/.test(character)) kinds[code] = (kinds[code] ?? 0) | URI;
}

/** Of one byte or character. */
export function isForbidden(code: number, kind: TextKind): boolean {
  return code > 0xff || ((kinds[code] as number) & kind) === 0;
}

/** Where the first byte of [at, end) that `kind` forbids is; -1 = nowhere. */
export function forbiddenByte(bytes: Uint8Array, at: number, end: number, kind: TextKind): number {
  for (let i = at; i < end; i++) {
    if (((kinds[bytes[i] as number] as number) & kind) === 0) return i;
  }
  return -1;
}

/** The same for a string; characters beyond Latin-1 are forbidden everywhere. */
export function forbiddenCharacter(text: string, kind: TextKind): number {
  for (let i = 0; i < text.length; i++) {
    if (isForbidden(text.charCodeAt(i), kind)) return i;
  }
  return -1;
}

/** "byte 0a", for errors. */
export function byteName(code: number): string {
  return `byte ${code.toString(16).padStart(2, '0')}`;
}
