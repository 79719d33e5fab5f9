// SPDX-License-Identifier: Apache-2.0
// What the manager remembers of one instance.
import type { InstanceState, Journey } from '../control/messages.ts';
import type { Ref } from '../native/native.ts';
import type { ClassConfig } from './class-config.ts';

export interface Instance {
  /** The launcher's ids of the process and of its endpoint. */
  id: number;
  endpointId: number;
  /** Inode of the listening socket, for its accept queue. */
  inode: number;
  ref: Ref;
  /** Servers whose workers can reach the socket. */
  linked: Set<string>;
  config: ClassConfig;
  pid: number;
  state: InstanceState;
  startedAtMs: number;
  startedAt: string;
  journey: Journey;
  /** When the next, harder signal follows; Infinity = no signal was sent. */
  stopDeadlineMs: number;
  /** Those that follow, one at each deadline. */
  harderSignals: number[];
  /** It did not become ready in time and is being killed. */
  timedOut: boolean;
}
