// SPDX-License-Identifier: Apache-2.0
// Runs command lines in this process.
import type { Context } from '../context.ts';
import { runProgram } from '../program.ts';

export const now = new Date('2025-01-02T03:08:05.000Z');

export interface Run {
  exitCode: number;
  out: string;
  err: string;
}

/** Without a terminal, on a host where no other manager runs; what is printed goes to `run`. */
export function contextFor(run: Run, changes: Partial<Context> = {}): Context {
  return {
    out: (text) => {
      run.out += typeof text === 'string' ? text : Buffer.from(text).toString('utf8');
    },
    err: (text) => {
      run.err += text;
    },
    env: {},
    uid: 0,
    now: () => now,
    exists: () => true,
    managers: () => [],
    findMaster: async () => null,
    terminal: null,
    foreground: async () => ({ exitCode: 0 }),
    capture: async () => ({ exitCode: 0, output: '{"classes":0}' }),
    ...changes,
  };
}

export async function usher(words: string[], changes: Partial<Context> = {}): Promise<Run> {
  const run: Run = { exitCode: -1, out: '', err: '' };
  run.exitCode = await runProgram(words, contextFor(run, changes));
  return run;
}
