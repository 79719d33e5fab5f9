// SPDX-License-Identifier: Apache-2.0
// Paths of URLs, in bytes as Latin-1 characters.

/** "http://host/a?b" → "/a?b". */
export function pathOfAbsolute(uri: string): string {
  const origin = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(uri)?.[0] ?? '';
  const path = uri.slice(origin.length);
  return path.startsWith('/') ? path : `/${path}`;
}

/** The path of a URL, decoded; no query. */
export function decodedPath(url: string): string {
  const path = (url.startsWith('/') ? url : pathOfAbsolute(url)).split(/[?#]/, 1)[0] ?? '';
  return path.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/** A decoded path as a URL has it. */
export function encodePath(path: string): string {
  return path.replace(/[^A-Za-z0-9\-._~!$&'()*+,;=:@/]/g, escaped);
}

/** One that may be encoded already: only what cannot stand in a URL is. */
export function repairPath(path: string): string {
  return path.replace(/[^\x21\x24-\x3b\x3d\x40-\x7e]/g, escaped);
}

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  return `%${(code < 16 ? '0' : '') + code.toString(16).toUpperCase()}`;
}
