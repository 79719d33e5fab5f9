// SPDX-License-Identifier: Apache-2.0
// What a class needs of the manager around it.
import type { Journey } from '../control/messages.ts';
import type { Channel } from '../native/native.ts';
import type { PoolFacts } from '../policy/policy.ts';
import type { Launcher } from '../process/launcher.ts';
import type { EngineTools } from './engines/engines.ts';
import type { Log } from './log.ts';
import type { ManagedClass } from './managed-class.ts';
import type { OomKills } from './out-of-memory.ts';
import type { OutputSource } from './program-output.ts';
import type { Revision } from './revision.ts';

export interface ClassContext {
  readonly channel: Channel;
  readonly launcher: Launcher;
  readonly log: Log;
  /** What a program of the class wrote. */
  output(source: OutputSource, text: string): void;
  /** CLOCK_MONOTONIC, ms. */
  now(): number;
  /** Connections waiting in accept() of the listening socket with this inode. */
  acceptQueue(inode: number): number;
  /** Of a listening socket: native.connections. */
  connections(
    inode: number,
    path: string,
    port: number,
    onlyWaiting: boolean,
  ): { waiting: number; accepted: number } | null;
  /** Have the launcher keep this for the next manager; '' = nothing. */
  remember(asker: ManagedClass, memory: string): void;
  /** Programs.identity. */
  programIdentity(path: string): string | null;
  /** How servlet engines are spoken to. */
  readonly engineTools: EngineTools;
  /** A new id for the launcher. */
  nextId(): number;
  /** Programs that the kernel killed for want of memory. */
  oomKills(): OomKills;
  /** Events of this instance go to the class; until disown. */
  own(id: number, owner: ManagedClass): void;
  disown(id: number): void;
  /** The next pass is due, however quiet everything was. */
  rouse(): void;
  /** Servers whose workers may connect to the class's instances. */
  serversOf(asker: ManagedClass): string[];
  /** What tells a restarted manager whose endpoint or instance it is. */
  tagOf(asker: ManagedClass, revision: Revision, journey?: Journey): string;
  /** The same of a servlet engine. @param run What it was started from. */
  engineTagOf(asker: ManagedClass, engine: { name: string; run: string; epoch: number }): string;
  /** May one more dynamic instance be started? Retires an idle one elsewhere when there is no room. */
  admitDynamic(asker: ManagedClass): boolean;
  /** All dynamic classes together, for the policy. */
  poolFacts(asker: ManagedClass): PoolFacts;
  /** How many dynamic instances may be retired without falling below -minProcesses. */
  spareDynamic(asker: ManagedClass): number;
}
