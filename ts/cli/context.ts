// SPDX-License-Identifier: Apache-2.0
// What commands need from the world, handed in so that tests can run them in one process.
import type { ServerStatus } from '../control/messages.ts';
import type { Ending } from './launch.ts';
import type { ManagerFound } from './managers.ts';
import type { Terminal } from './terminal.ts';
import type { MasterFound } from './web-server.ts';

export interface Context {
  /** Standard output and error. */
  out(text: string | Uint8Array): void;
  err(text: string): void;
  env: NodeJS.ProcessEnv;
  /** -1 where there are no user ids. */
  uid: number;
  now(): Date;
  exists(path: string): boolean;
  /** That run on this host. */
  managers(): ManagerFound[];
  /** Of a registered web server; null = it was not found. */
  findMaster(runtimeDir: string, server: ServerStatus): Promise<MasterFound | null>;
  /** Standard output; null = it is no terminal. */
  terminal: Terminal | null;
  /** Runs a program in the foreground, signals passed on, until it ends. */
  foreground(program: string, args: string[]): Promise<Ending>;
  /** Runs a program and keeps its standard output. */
  capture(program: string, args: string[]): Promise<Ending & { output: string }>;
}

export const exitCodes = { done: 0, failed: 1, usage: 2, noManager: 3 } as const;

/** A command line that makes no sense: exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** A failure that has been reported already. */
export class SilentExit extends Error {
  override name = 'SilentExit';
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}
