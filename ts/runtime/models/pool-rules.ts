// SPDX-License-Identifier: Apache-2.0
// What makes a pool the one or the other model.
import type { ServeSettings } from '../options.ts';

export interface PoolRules {
  /** Workers that are always there, busy or not. */
  minWorkers: number;
  /** Most workers that can take requests. */
  maxWorkers: number;
  /** Most of all, with those that finish their last requests. */
  maxTotal: number;
  /** Workers that are there beyond those that are needed now. */
  spares: number;
  /** Of a worker: 1, or Infinity. */
  requestsAtATime: number;
  /** After so many a worker gets no other one: 1, or Infinity. */
  requestsPerLife: number;
  /** Requests that may wait; beyond that 503. */
  backlog: number;
  /** Requests that may wait or run, all together; beyond that 503. */
  maxRequestsAtOnce: number;
  /** A worker that had nothing to do for so long ends, when there are more than needed. */
  idleMs: number;
  /** 0 = none. */
  deadlineMs: number;
  /** After so many another worker takes its place, as soon as that one is ready; 0 = no limit. */
  maxRequests: number;
  /** What a worker has to answer a ping, which follows each abort: one that computes cannot. */
  pingMs: number;
  /** What a worker that is replaced has for its requests and background tasks. */
  stopMs: number;
}

/** "reload": one process, for development. */
export type PoolKind = 'forking' | 'process-pool' | 'thread-pool' | 'reload';

const IDLE_MS = 30_000;
const PING_MS = 1000;

export function poolRules(settings: ServeSettings, kind: PoolKind): PoolRules {
  const { processes, maxProcesses, threads, backlog, deadlineMs, maxRequests, stopMs } = settings;
  const common = {
    maxTotal: Infinity,
    spares: 0,
    requestsAtATime: 1,
    requestsPerLife: Infinity,
    backlog,
    maxRequestsAtOnce: Infinity,
    idleMs: IDLE_MS,
    deadlineMs,
    maxRequests,
    pingMs: PING_MS,
    stopMs,
  };
  switch (kind) {
    case 'process-pool':
      return { ...common, minWorkers: processes, maxWorkers: Math.max(processes, maxProcesses) };
    case 'thread-pool':
      return { ...common, minWorkers: threads, maxWorkers: threads };
    case 'reload': {
      const requestsAtATime = settings.model === 'sequential' ? 1 : Infinity;
      return { ...common, requestsAtATime, minWorkers: 1, maxWorkers: 1 };
    }
    case 'forking': {
      const most = maxProcesses + processes;
      return {
        ...common,
        minWorkers: 0,
        maxWorkers: most,
        maxTotal: most,
        spares: processes,
        requestsPerLife: 1,
        backlog: Infinity,
        maxRequestsAtOnce: maxProcesses,
      };
    }
  }
}
