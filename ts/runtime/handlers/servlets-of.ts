// SPDX-License-Identifier: Apache-2.0
// Several applications in one program: which one a request is for.
import type { RequestHead, Servlet } from '../exchange.ts';
import type { RequestMetadata } from '../metadata.ts';
import { PlacedMetadata } from './placed-metadata.ts';
import { type Handler, type HandlerStyle, servletOf } from './servlet-of.ts';

interface Chosen {
  servlet: Servlet;
  /** What metadata says of it; null: as the web server has it. */
  metadata: RequestMetadata | null;
}

/**
 * Keys are names of servlets or paths.
 *
 *   "NAME", "ZONE/NAME"   of the web server (AJP 1.2), a name with its zone before one without; and where it
 *                         names none: NAME behind "/servlets/" or "/servlet/" in the path
 *   "/path"               of the URL, the longest first; "/" is all
 *
 * @throws TypeError naming the key
 */
export function servletsOf(
  handlers: Readonly<Record<string, Handler>>,
  style: HandlerStyle | null,
): Servlet {
  const names = new Map<string, Servlet>();
  const mounts = new Map<string, Servlet>();
  for (const [key, handler] of Object.entries(handlers)) {
    const servlet = servletOf(handler, style, `the handler of "${key}"`);
    const place = key.startsWith('/') ? mounts : names;
    const name = place === mounts ? mountOf(key) : nameOf(key);
    if (place.has(name)) throw new TypeError(`"${key}": there is a handler of this path already`);
    place.set(name, servlet);
  }
  if (names.size + mounts.size === 0) {
    throw new TypeError(
      'there are no handlers; allowed are { NAME: handler }, { "/path": handler }',
    );
  }
  const there = Object.keys(handlers).join(', ');
  const byLength = [...mounts].sort(([a], [b]) => b.length - a.length);
  return (exchange) => {
    const { head } = exchange;
    const chosen = byName(names, head) ?? byPath(names, byLength, head);
    if (chosen === null) {
      const { zone, servlet } = head.metadata;
      const asked =
        servlet === null ? '' : ` (servlet ${zone === null ? '' : `${zone}/`}${servlet})`;
      const log = `no handler for ${head.method} ${head.url}${asked}; there are: ${there}`;
      exchange.refuse({ status: 404, reason: 'Nothing is here.', log });
      return;
    }
    if (chosen.metadata !== null) head.metadata = chosen.metadata;
    chosen.servlet(exchange);
  };
}

/** "" for "/": what begins with it and goes on with "/" or ends. */
function mountOf(key: string): string {
  return bytesOf(key.replace(/\/+$/, ''));
}

function nameOf(key: string): string {
  if (/^[^/]+(\/[^/]+)?$/.test(key)) return bytesOf(key);
  throw new TypeError(`"${key}" is no key of a handler; allowed are "NAME", "ZONE/NAME", "/path"`);
}

function byName(names: ReadonlyMap<string, Servlet>, head: RequestHead): Chosen | null {
  const { zone, servlet: name } = head.metadata;
  if (name === null) return null;
  const servlet = (zone === null ? undefined : names.get(`${zone}/${name}`)) ?? names.get(name);
  return servlet === undefined ? null : { servlet, metadata: null };
}

function byPath(
  names: ReadonlyMap<string, Servlet>,
  mounts: readonly [string, Servlet][],
  head: RequestHead,
): Chosen | null {
  const path = pathOf(head.url);
  const { metadata } = head;
  if (metadata.servlet === null && names.size > 0) {
    const match = /^(.*?\/servlets?\/([^/;]+))(?:;[^/]*)?(\/.*)?$/.exec(path);
    const [, scriptName = '', name = '', pathInfo = ''] = match ?? [];
    const servlet = names.get(name);
    if (servlet !== undefined) {
      return { servlet, metadata: new PlacedMetadata(metadata, scriptName, pathInfo, name) };
    }
  }
  for (const [mount, servlet] of mounts) {
    if (!path.startsWith(mount)) continue;
    const rest = path.slice(mount.length);
    if (rest !== '' && !rest.startsWith('/')) continue;
    return { servlet, metadata: new PlacedMetadata(metadata, mount, rest) };
  }
  return null;
}

/** Decoded, without "//", "." and "..", as web servers look at it when they decide who may have it. */
function pathOf(url: string): string {
  const end = url.indexOf('?');
  const raw = end === -1 ? url : url.slice(0, end);
  const path = raw.includes('%') ? raw.replaceAll(/%([0-9a-f]{2})/gi, byteOf) : raw;
  if (!/\/[./]/.test(path)) return path;
  const segments: string[] = [];
  const parts = path.split('/');
  for (const part of parts) {
    if (part === '..') segments.pop();
    else if (part !== '' && part !== '.') segments.push(part);
  }
  const isFolder = ['', '.', '..'].includes(parts.at(-1) as string) && segments.length > 0;
  return `/${segments.join('/')}${isFolder ? '/' : ''}`;
}

function byteOf(_: string, hex: string): string {
  return String.fromCharCode(Number.parseInt(hex, 16));
}

/** UTF-8 as bytes. */
function bytesOf(key: string): string {
  return Buffer.from(key).toString('latin1');
}
