// SPDX-License-Identifier: Apache-2.0
// The command bin/usher, and what its `status --json` says.

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { usher } from './checkout.ts';

export interface InstanceStatus {
  pid: number;
  state: string;
  requests: number;
  rssBytes: number;
}

export interface BackendStatus {
  address: string;
  route: string | null;
  activation: string;
  state: string;
  lastError: string | null;
  inFlight: number;
  requests: number;
  failures: number;
  /** Of the engine that the class starts there. */
  engine: { pid: number | null; state: string; starts: number; failures: number } | null;
}

export interface ClassStatus {
  name: string;
  kind: string;
  protocol: string;
  state: string;
  wanted: number;
  inFlight: number;
  waiting: number;
  instances: InstanceStatus[];
  backends: BackendStatus[];
  lastEvent: unknown;
  totals: { finished: number };
  lastFailure: { startedAt: string; explanation: string } | null;
}

export interface Status {
  manager: { pid: number; version: string; startedAt: string };
  servers: { name: string; kind: string; pid: number; workers: number }[];
  classes: ClassStatus[];
}

/**
 * What the programs under test see of our environment: nothing of the test runner, which puts itself
 * into the NODE_OPTIONS of everything it sees started.
 */
export const clean = ['/usr/bin/env', '-i', `PATH=${process.env.PATH}`, 'LANG=C.UTF-8'];

export interface Outcome {
  status: number;
  output: string;
}

/**
 * Runs a command to its end; what it printed on both channels, and its exit status. What it prints
 * goes into a file: something it leaves in the background does not hold us up.
 */
export function run(
  command: string[],
  { withinMs = 60_000, ...options }: { uid?: number; gid?: number; withinMs?: number } = {},
): Promise<Outcome> {
  const [program = '', ...args] = [...clean, ...command];
  const directory = mkdtempSync('/tmp/usher-run-');
  const output = openSync(`${directory}/output`, 'w');
  return new Promise((resolve) => {
    const ended = (status: number, reason: string): void => {
      closeSync(output);
      resolve({ status, output: reason + readFileSync(`${directory}/output`, 'utf8') });
      rmSync(directory, { recursive: true });
    };
    const child = spawn(program, args, {
      stdio: ['ignore', output, output],
      ...options,
    });
    const timeout = setTimeout(() => child.kill('SIGKILL'), withinMs);
    child.once('error', (error) => ended(-1, `${error.message}\n`));
    child.once('exit', (status, signal) => {
      clearTimeout(timeout);
      ended(status ?? -1, signal === null ? '' : `ended by ${signal}\n`);
    });
  });
}

export async function usherCommand(runtimeDir: string, ...args: string[]): Promise<Outcome> {
  return run([usher, ...args, '--runtime-dir', runtimeDir]);
}

/** What `usher status --json` says; throws when it cannot say anything. */
export async function status(runtimeDir: string): Promise<Status> {
  const { status, output } = await usherCommand(runtimeDir, 'status', '--json');
  if (status !== 0) throw new Error(`usher status ended with ${status}: ${output}`);
  return JSON.parse(output) as Status;
}

/** A program that runs until the test ends it. */
export function startInBackground(command: string[]): ChildProcess {
  const [program = '', ...args] = [...clean, ...command];
  return spawn(program, args, { stdio: 'ignore' });
}
