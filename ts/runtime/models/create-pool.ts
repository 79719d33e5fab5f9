// SPDX-License-Identifier: Apache-2.0
// The pools of serve(): their rules, and workers that run this program again.
import { logLine } from '../log-line.ts';
import type { ServeSettings } from '../options.ts';
import { refuseSharedMemory, sharedBuffers } from '../shared-memory.ts';
import { Pool } from './pool.ts';
import { type PoolKind, poolRules } from './pool-rules.ts';
import { type Program, startProcess, thisProgram } from './process-worker.ts';
import { startThread } from './thread-worker.ts';

/** @throws Error when the model cannot run this program */
export function createPool(
  settings: ServeSettings,
  kind: PoolKind,
  program: Program = thisProgram(),
): Pool {
  const rules = poolRules(settings, kind);
  if (kind === 'thread-pool') {
    const start = () => startThread(program, settings.maxMemoryMb, sharedBuffers());
    return new Pool(rules, start, { log: logLine });
  }
  if (settings.model === 'forking' || settings.model === 'process-pool') refuseSharedMemory();
  return new Pool(rules, () => startProcess(program, kind === 'forking'), { log: logLine });
}
