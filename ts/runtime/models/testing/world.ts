// SPDX-License-Identifier: Apache-2.0
// Pools of tests, over real processes and threads that run program.ts.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import type { Test } from 'tap';
import type { ServeSettings } from '../../options.ts';
import { Pool } from '../pool.ts';
import { type PoolKind, type PoolRules, poolRules } from '../pool-rules.ts';
import { type Program, startProcess } from '../process-worker.ts';
import { startThread } from '../thread-worker.ts';
import type { ProgramSettings } from './program.ts';

/** Machines are slow: who does not want to see somebody killed waits. */
const PATIENCE_MS = 600_000;

export const defaults: ServeSettings = {
  listen: null,
  model: 'process-pool',
  processes: 1,
  maxProcesses: 1,
  threads: 1,
  backlog: 128,
  deadlineMs: 0,
  maxRequests: 0,
  maxMemoryMb: 0,
  stopMs: 60_000,
  style: null,
  reload: null,
};

function temporary(): string {
  return mkdtempSync(`${tmpdir()}/usher-pool-`);
}

const built = new Set<string>();
const builds = temporary();
process.once('exit', () => rmSync(builds, { recursive: true, force: true }));

/** A program of this directory in one file of JavaScript, which starts sooner. */
export function builtProgram(
  name: 'program' | 'whole-program' = 'program',
  format: 'esm' | 'cjs' = 'esm',
): string {
  const outfile = `${builds}/${name}.${format === 'cjs' ? 'js' : 'mjs'}`;
  if (!built.has(outfile)) {
    const source = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
    buildSync({ entryPoints: [source], outfile, format, bundle: true, platform: 'node' });
    built.add(outfile);
  }
  return outfile;
}

export interface World {
  pool: Pool;
  lines: string[];
  directory: string;
  /** Names of files that the program has left. */
  traces(): string[];
}

export interface Wish {
  settings?: Partial<ServeSettings>;
  program?: ProgramSettings;
  rules?: Partial<PoolRules>;
  shared?: ReadonlyMap<string, SharedArrayBuffer>;
  file?: string;
  execArgv?: string[];
}

/** A pool that is started; it is stopped with the test. */
export async function makeWorld(t: Test, kind: PoolKind, wish: Wish = {}): Promise<World> {
  const directory = temporary();
  const settings = { ...defaults, ...wish.settings };
  const program: Program = {
    file: wish.file ?? builtProgram(),
    args: [JSON.stringify({ traces: directory, ...wish.program })],
    execArgv: wish.execArgv ?? [],
  };
  const lines: string[] = [];
  const start = () =>
    kind === 'thread-pool'
      ? startThread(program, settings.maxMemoryMb, wish.shared ?? new Map())
      : startProcess(program);
  const rules = { ...poolRules(settings, kind), pingMs: PATIENCE_MS, ...wish.rules };
  const pool = new Pool(rules, start, { log: (line) => lines.push(line) });
  t.teardown(async () => {
    await pool.stop(0);
    rmSync(directory, { recursive: true });
  });
  await pool.start();
  return { pool, lines, directory, traces: () => readdirSync(directory) };
}

export async function eventually(condition: () => boolean, what = 'it'): Promise<void> {
  const untilMs = performance.now() + 120_000;
  while (!condition()) {
    if (performance.now() > untilMs) throw new Error(`${what} did not come`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
