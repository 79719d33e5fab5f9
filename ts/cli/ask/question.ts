// SPDX-License-Identifier: Apache-2.0
// A request of `usher request`, and what came of it: what both protocols share.
import type { Socket } from 'node:net';

export interface Question {
  method: string;
  /** Path, and a query behind a question mark. */
  uri: string;
  headers: [name: string, value: string][];
  body: Buffer;
  /** Of FastCGI; above those made from the rest. */
  params: [name: string, value: string][];
  /** File that the program is asked for; '' = it has no file. */
  program: string;
}

export interface Answer {
  status: number;
  headers: [name: string, value: string][];
  body: Buffer;
  /** What the program wrote to its error stream. */
  errors: string;
  /** Since the request was begun; null = it did not come. */
  connectedMs: number | null;
  firstByteMs: number | null;
  endMs: number;
  /** How FastCGI says that it ended; null = another protocol. */
  appStatus: number | null;
}

/** The program did not answer, or not as it should. */
export class NoAnswerError extends Error {
  override name = 'NoAnswerError';
}

/** Milliseconds since it was made. */
export function stopwatch(): () => number {
  const begin = performance.now();
  return () => Math.round((performance.now() - begin) * 10) / 10;
}

/**
 * Resolves when `done` was called, rejects when the connection breaks, `talk` throws or the time is over.
 * @param talk Is called once, and sets what bytes of the program are given to.
 */
export function converse(
  socket: Socket,
  timeoutMs: number,
  talk: (done: () => void) => { onBytes(bytes: Buffer): void; onEnd(): void },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (message: string): void => {
      socket.destroy();
      reject(new NoAnswerError(message));
    };
    const guard = (action: () => void): void => {
      try {
        action();
      } catch (error) {
        fail(`its answer cannot be read: ${error instanceof Error ? error.message : error}`);
      }
    };
    const timer = setTimeout(() => fail(`no answer within ${timeoutMs / 1000} s`), timeoutMs);
    socket.once('close', () => clearTimeout(timer));
    socket.on('error', (error) => fail(error.message));
    socket.once('connect', () => {
      guard(() => {
        const { onBytes, onEnd } = talk(() => {
          socket.destroy();
          resolve();
        });
        socket.on('data', (bytes) => guard(() => onBytes(bytes)));
        socket.on('end', () => guard(onEnd));
      });
    });
  });
}
