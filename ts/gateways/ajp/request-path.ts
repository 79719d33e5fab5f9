// SPDX-License-Identifier: Apache-2.0
// The path that a backend gets. It is made of the one the web server has normalised and decided by,
// never of the request line: what the two sides read differently would walk around the server's rules.
import { Failure } from './failure.ts';

type Params = ReadonlyMap<string, string>;

/** What needs no escape in a path (RFC 3986, pchar and '/'). */
const PLAIN = /^[A-Za-z0-9\-._~!$&'()*+,;=:@/]*$/;
const ESCAPED = /[^A-Za-z0-9\-._~!$&'()*+,;=:@/]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\x00-\x1f\x7f]/;
/** Only with one of these can a segment be more than it seems. */
const SUSPICIOUS = /[;\\]|\/\./;

/** Decoded and normalised, as the web server matched it: bytes as Latin-1 characters. */
export function serverPath(params: Params): string {
  const path =
    params.get('DOCUMENT_URI') ||
    (params.get('SCRIPT_NAME') ?? '') + (params.get('PATH_INFO') ?? '');
  if (path === '*' && params.get('REQUEST_METHOD') === 'OPTIONS') return path;
  if (CONTROL.test(path)) throw new Failure(400, 'the path has a control character');
  if (!path.startsWith('/')) {
    throw new Failure(
      400,
      path === ''
        ? 'no path: the web server gave neither DOCUMENT_URI nor SCRIPT_NAME and PATH_INFO'
        : `the path ${shown(path)} does not begin with '/'`,
    );
  }
  const collapsed = path.includes('//') ? path.replace(/\/{2,}/g, '/') : path;
  if (SUSPICIOUS.test(collapsed)) checkSegments(collapsed);
  return collapsed;
}

/**
 * A servlet container cuts ';…' from segments before it resolves '.' and '..', web servers do not: to
 * one of them `/a/..;/b` is below /a, to the other one it is /b. Some take '\' for '/'.
 */
function checkSegments(path: string): void {
  for (const segment of path.slice(1).split(/[/\\]/)) {
    const name = segment.split(';', 1)[0];
    if (name === '.' || name === '..') {
      throw new Failure(400, `the path ${shown(path)} has a segment '${name}'`);
    }
    if (name === '' && segment !== '') {
      throw new Failure(400, `the path ${shown(path)} has a segment that is only a parameter`);
    }
  }
}

export function escapePath(path: string): string {
  if (PLAIN.test(path)) return path;
  return path.replace(
    ESCAPED,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}

/** For messages. */
export function shown(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/**
 * -mount and -context: what the path begins with at the web server, and at the backend. Without
 * -context, or with equal ones, paths are the same on both sides.
 */
export class PathMapping {
  readonly isIdentity: boolean;
  readonly #mount: string;
  readonly #context: string;

  constructor(mount: string, context: string) {
    this.#mount = withoutSlash(mount);
    this.#context = context === '' ? this.#mount : withoutSlash(context);
    this.isIdentity = this.#mount === this.#context;
  }

  /** Locations may be wider than -mount, which holds also when it is the same as -context. */
  toBackend(path: string): string {
    if (path === '*') return path;
    const rest = below(path, this.#mount);
    // '?' and '#' are escaped here and go on as part of a name, of another application's perhaps.
    if (rest === undefined || !/^($|[/;])/.test(rest)) {
      throw new Failure(404, `the path ${shown(path)} is not below -mount ${this.#mount}`);
    }
    if (this.isIdentity) return path;
    return this.#context === '' && !rest.startsWith('/') ? `/${rest}` : this.#context + rest;
  }

  /** A path in an answer; those that are not the application's stay as they are. */
  toServer(path: string): string {
    if (this.isIdentity) return path;
    const rest = below(path, this.#context);
    return rest === undefined ? path : this.#mount + rest || '/';
  }
}

function withoutSlash(prefix: string): string {
  return prefix.replace(/\/+$/, '');
}

/** What follows the prefix; undefined where the path is not below it. */
function below(path: string, prefix: string): string | undefined {
  if (!path.startsWith(prefix)) return undefined;
  const rest = path.slice(prefix.length);
  return rest === '' || /^[/;?#]/.test(rest) ? rest : undefined;
}
