// SPDX-License-Identifier: Apache-2.0
// What the manager remembers of one instance.
import type { InstanceState, Journey } from '../control/messages.ts';
import type { Ref } from '../native/native.ts';
import type { OomKills } from './out-of-memory.ts';
import type { Revision } from './revision.ts';

/** Where an instance listens. */
export interface Endpoint {
  /** The launcher's id. */
  endpointId: number;
  /** Inode of the listening socket, for its accept queue. */
  inode: number;
  ref: Ref;
  /** Servers whose workers can reach the socket. */
  linked: Set<string>;
  /** A public address: `ref` is the instance's share of it, the socket is the class's. */
  isShared: boolean;
  /** A former launcher's socket, on which nothing new can be started. */
  isDetached: boolean;
}

export interface Instance extends Endpoint {
  /** The launcher's id of the process. */
  id: number;
  revision: Revision;
  pid: number;
  state: InstanceState;
  startedAtMs: number;
  startedAt: string;
  journey: Journey;
  /** When its start began, with its endpoint: what the steps of its journey count from. */
  beganMs: number;
  /** When it was started. */
  oomKills: OomKills;
  /** Requests that had ended at its endpoint before it was there. */
  servedBefore: number;
  /** Its journey tells of its first answer. */
  hasAnswered: boolean;
  /** It was seen waiting for a connection. */
  wasReady: boolean;
  /** Why it is to be replaced though its revision is today's: "served 500 requests" …; '' = it is not. */
  worn: string;
  /** A request timed out there: it takes no more, and is killed. */
  isHung: boolean;
  /** Draining: it is stopped now even if requests are still there. */
  drainDeadlineMs: number;
  /** Draining: when it is looked at next, in case that the requests which are counted there are none. */
  lookAtMs: number;
  /** When the next, harder signal follows; Infinity = no signal was sent. */
  stopDeadlineMs: number;
  /** Those that follow, one at each deadline. */
  harderSignals: number[];
  /** It did not become ready in time and is being killed. */
  timedOut: boolean;
  /** The launcher is finding out whether it has nothing to do at this moment. */
  isLookedAt: boolean;
}

/** Takes requests, or will. */
export function isServing(instance: Instance): boolean {
  return instance.state === 'ready' || instance.state === 'starting';
}
