// SPDX-License-Identifier: Apache-2.0
// Does somebody accept connections at an address? Connects and closes; no byte is sent, so a program
// sees a client that left at once.
import { connect } from 'node:net';
import { getSystemErrorMap } from 'node:util';
import type { Address } from '../native/native.ts';

/**
 * `timeout`: no answer, which a busy host may be guilty of once; `unknown`: we could not look, which
 * says nothing about the host.
 */
export type Look = { outcome: 'up' } | { outcome: 'down' | 'timeout' | 'unknown'; error: string };

export type Probe = (address: Address) => Promise<Look>;

const TIMEOUT_MS = 2_000;
/** Looks under way at once, those of all classes together. */
const PROBES_MAX = 32;
/** We have no descriptor or memory left; or the socket is for the web server's user, not for ours. */
const OUR_OWN = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EACCES', 'EPERM']);

/** Looks at most `max` addresses at once; the others wait for their turn. */
export function createProbe(max = PROBES_MAX, timeoutMs = TIMEOUT_MS): Probe {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (address) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await look(address, timeoutMs);
    } finally {
      const next = waiting.shift(); // takes over our turn
      if (next) next();
      else running--;
    }
  };
}

function look(address: Address, timeoutMs: number): Promise<Look> {
  return new Promise((resolve) => {
    const socket = connect(
      'host' in address
        ? { host: address.host, port: address.port }
        : { path: 'path' in address ? address.path : address.name },
    );
    const done = (result: Look): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(
      () => done({ outcome: 'timeout', error: `no answer within ${timeoutMs / 1000} s` }),
      timeoutMs,
    );
    socket.once('connect', () => done({ outcome: 'up' }));
    socket.on('error', (error: NodeJS.ErrnoException) => done(judge(error)));
  });
}

function judge(error: NodeJS.ErrnoException): Look {
  const code = error.code ?? '';
  if (code === 'EAGAIN') return { outcome: 'up' }; // a UNIX socket with a full backlog: somebody is there
  const text = sentenceOf(error);
  if (code === 'ETIMEDOUT') return { outcome: 'timeout', error: text };
  return { outcome: OUR_OWN.has(code) ? 'unknown' : 'down', error: text };
}

/** "connection refused" for ECONNREFUSED. */
function sentenceOf(error: NodeJS.ErrnoException): string {
  const known = error.errno === undefined ? undefined : getSystemErrorMap().get(error.errno);
  return known?.[1] ?? error.message;
}
