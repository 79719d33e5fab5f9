// SPDX-License-Identifier: Apache-2.0
// How the program was started, where serve() was not told what to listen to.
import { fstatSync, readFileSync, readlinkSync } from 'node:fs';
import { checkOptions } from './check-options.ts';
import type { ListenOptions, ListenProtocol } from './options.ts';

export type StartedAs =
  | { kind: 'cgi' }
  /** isDevelopment: nobody said anything: HTTP for who tries the program. */
  | { kind: 'listen'; listen: ListenOptions[]; isDevelopment: boolean };

const FIRST_SYSTEMD_FD = 3;
const DEVELOPMENT_PORT = '8080';

const protocols: Record<string, ListenProtocol> = {
  fastcgi: 'fastcgi',
  ajp: 'ajp13',
  ajp13: 'ajp13',
  ajp12: 'ajp12',
  http: 'http',
};

/** What of this process counts; a parameter for tests. */
export interface Start {
  env: Readonly<Record<string, string | undefined>>;
  pid: number;
  /** What descriptor 0 is: a socket that waits for connections, one that may be or not, another thing. */
  stdin: 'listening' | 'socket' | 'other';
}

/**
 * The first that fits:
 *
 *   USHER_LISTEN=PROTOCOL:ADDRESS,…   said so; or an array of ListenOptions as JSON
 *   descriptor 0 listens              FastCGI: a process manager has started it, or cgi-fcgi
 *   GATEWAY_INTERFACE=CGI/…           CGI
 *   LISTEN_FDS, LISTEN_PID            systemd's sockets; LISTEN_FDNAMES with protocols, else FastCGI
 *   USHER_ADDRESS                     an engine of a class: AJP 1.3 or, with USHER_PROTOCOL=ajp12, 1.2
 *   nothing                           HTTP at HOST, PORT: 127.0.0.1:8080
 *
 * USHER_SECRET_FILE is the secretFile of AJP. Throws TypeError for words that cannot be understood.
 */
export function startedAs(start: Start = ofThisProcess()): StartedAs {
  const { env, stdin } = start;
  if (env.USHER_LISTEN) return listenTo(listed(env.USHER_LISTEN, env));
  const isCgi = /^CGI\//.test(env.GATEWAY_INTERFACE ?? '');
  if (stdin === 'listening' || (stdin === 'socket' && !isCgi)) {
    return listenTo([{ protocol: 'fastcgi', address: 'fd:0' }]);
  }
  if (isCgi) return { kind: 'cgi' };
  const activated = ofSystemd(start);
  if (activated.length > 0) return listenTo(activated);
  if (env.USHER_ADDRESS) {
    const address = env.USHER_ADDRESS.replace(/^unix:/, '');
    return listenTo([said(`${env.USHER_PROTOCOL || 'ajp'}:${address}`, env, 'USHER_PROTOCOL')]);
  }
  const host = env.HOST || '127.0.0.1';
  const port = env.PORT || DEVELOPMENT_PORT;
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return { kind: 'listen', listen: [{ protocol: 'http', address }], isDevelopment: true };
}

function listed(text: string, env: Start['env']): ListenOptions[] {
  if (!text.startsWith('[')) return text.split(',').map((word) => said(word, env));
  try {
    return checkOptions({ listen: JSON.parse(text) }).listen as ListenOptions[];
  } catch (error) {
    throw new TypeError(`USHER_LISTEN: ${error instanceof Error ? error.message : error}`);
  }
}

function listenTo(listen: ListenOptions[]): StartedAs {
  return { kind: 'listen', listen, isDevelopment: false };
}

function said(word: string, env: Start['env'], variable = 'USHER_LISTEN'): ListenOptions {
  const [, name = '', address = ''] = /^\s*(\w+):(.+?)\s*$/.exec(word) ?? [];
  const protocol = protocols[name];
  if (protocol === undefined) {
    const known = Object.keys(protocols).join(', ');
    throw new TypeError(`${variable}: "${word}" is not PROTOCOL:ADDRESS; protocols: ${known}`);
  }
  return { protocol, address, ...secretOf(protocol, env) };
}

function secretOf(
  protocol: ListenProtocol,
  env: Start['env'],
): Pick<ListenOptions, 'secretFile'> | undefined {
  const isAjp = protocol === 'ajp13' || protocol === 'ajp12';
  return isAjp && env.USHER_SECRET_FILE ? { secretFile: env.USHER_SECRET_FILE } : undefined;
}

function ofSystemd({ env, pid }: Start): ListenOptions[] {
  const count = Number(env.LISTEN_FDS ?? 0);
  if (!(count > 0) || env.LISTEN_PID !== String(pid)) return [];
  const names = (env.LISTEN_FDNAMES ?? '').split(':');
  return Array.from({ length: count }, (_, index) => {
    const protocol = protocols[names[index] ?? ''] ?? 'fastcgi';
    return { protocol, address: `fd:${FIRST_SYSTEMD_FD + index}`, ...secretOf(protocol, env) };
  });
}

function ofThisProcess(): Start {
  return { env: process.env, pid: process.pid, stdin: stdinOfThisProcess() };
}

/** CGI programs may have a connected socket there as well (mod_cgid's have). */
function stdinOfThisProcess(): Start['stdin'] {
  try {
    if (!fstatSync(0).isSocket()) return 'other';
    const inode = /\d+/.exec(readlinkSync('/proc/self/fd/0'))?.[0] ?? '';
    return isListening(inode) ? 'listening' : 'socket';
  } catch {
    return 'other'; // closed
  }
}

/** The kernel's lists are read in pieces, and what is there may be missed while others come and go. */
const READINGS_MAX = 10;

/** Of a Unix socket: flag 0x10000 (__SO_ACCEPTCON); of TCP: state 0A. */
function isListening(inode: string): boolean {
  for (let i = 0; i < READINGS_MAX; i++) {
    const unix = linesOf('/proc/self/net/unix').find((words) => words[6] === inode);
    if (unix !== undefined) return (Number.parseInt(unix[3] ?? '', 16) & 0x10000) !== 0;
    const all = [...linesOf('/proc/self/net/tcp'), ...linesOf('/proc/self/net/tcp6')];
    const tcp = all.find((words) => words[9] === inode);
    if (tcp !== undefined) return tcp[3] === '0A';
  }
  return false;
}

function linesOf(file: string): string[][] {
  try {
    const lines = readFileSync(file, 'latin1').split('\n');
    return lines.map((line) => line.trim().split(/\s+/));
  } catch {
    return []; // no IPv6
  }
}
