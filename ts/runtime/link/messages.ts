// SPDX-License-Identifier: Apache-2.0
// What master and worker tell each other, over a socketpair (process-link.ts) or a MessagePort
// (thread-link.ts). `id`: of an exchange, from 1 up, of a link's life. Each direction of each exchange has a
// window: a sender has at most WINDOW_BYTES under way that were not granted again.
import type { FieldList, RequestHead } from '../exchange.ts';

export const WINDOW_BYTES = 256 << 10;

export type MasterMessage =
  | { type: 'request'; id: number; head: RequestHead }
  | { type: 'body'; id: number; bytes: Buffer }
  | { type: 'body-end'; id: number }
  /** Nobody wants the answer; the worker answers with `over`. */
  | { type: 'abort'; id: number; reason: string }
  /** So many bytes of the answer went on. */
  | { type: 'grant'; id: number; bytes: number }
  /** Is the event loop alive? Answered by `pong`. */
  | { type: 'ping' }
  /** No more requests come: finish, run the hooks, end. */
  | { type: 'stop'; stopMs: number };

export type WorkerMessage =
  /** onWorkerStart is through: requests may come. */
  | { type: 'ready' }
  /** The worker cannot start; it ends. */
  | { type: 'failed'; reason: string }
  | { type: 'head'; id: number; status: number; reason: string; fields: FieldList }
  /** Head and end together: an answer of which nothing was sent before. */
  | {
      type: 'answer';
      id: number;
      status: number;
      reason: string;
      fields: FieldList;
      last: Buffer | null;
    }
  | { type: 'body'; id: number; bytes: Buffer }
  | { type: 'flush'; id: number }
  | { type: 'end'; id: number; last: Buffer | null }
  | { type: 'break'; id: number }
  /** The worker has no more to do with an aborted exchange. */
  | { type: 'over'; id: number }
  | { type: 'grant'; id: number; bytes: number }
  | { type: 'report'; id: number; line: string }
  | { type: 'pong' }
  /** After its answers to what it has: it wants another one in its place. */
  | { type: 'retire'; reason: string };

/**
 * Nothing follows that should go with it: a request without a body. Or its handler may go on to compute, or
 * to exit: the end of an answer.
 */
export function isUrgent(message: MasterMessage | WorkerMessage): boolean {
  const { type } = message;
  if (type === 'request') return message.head.bodyBytes === 0;
  return type === 'answer' || type === 'end' || type === 'flush';
}

export interface Link<Sent, Received> {
  send(message: Sent): void;
  /** Set once, before the first message can come. */
  onMessage: (message: Received) => void;
  /** The other end is gone, or broke the protocol. Once; nothing comes after. */
  onClose: (error: Error | null) => void;
  close(): void;
}

export type MasterLink = Link<MasterMessage, WorkerMessage>;
export type WorkerLink = Link<WorkerMessage, MasterMessage>;
