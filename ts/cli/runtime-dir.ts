// SPDX-License-Identifier: Apache-2.0
// Which manager a command means.
import { join, resolve } from 'node:path';
import { ControlClient } from '../control/client.ts';
import { type Context, UsageError } from './context.ts';
import type { ManagerFound } from './managers.ts';
import type { ManagerOptions } from './options.ts';

/** Where a manager is, or is to be. @param chosen Of --runtime-dir. */
export function findRuntimeDir(chosen: string | undefined, context: Context): string {
  const configured = chosen ?? context.env.USHER_RUNTIME_DIR;
  if (configured !== undefined && configured !== '') return resolve(configured);
  return defaultRuntimeDir(context);
}

/** To the manager that a command means. @throws UsageError where that is not clear. */
export function connectTo(options: ManagerOptions, context: Context): ControlClient {
  const timeoutMs = options.answerTimeout * 1000;
  return new ControlClient(chooseManager(options.runtimeDir, context), { timeoutMs });
}

/**
 * The one manager that runs here, or that was chosen.
 * @param chosen Of --runtime-dir.
 * @throws UsageError with a list where several run.
 */
function chooseManager(chosen: string | undefined, context: Context): string {
  const managers = runningManagers(chosen, context);
  const [first, ...others] = managers;
  if (first === undefined) return findRuntimeDir(chosen, context);
  if (others.length === 0) return first.runtimeDir;
  const list = managers.map(({ runtimeDir }) => `\n  --runtime-dir ${runtimeDir}`).join('');
  throw new UsageError(`${managers.length} managers run here; say which one is meant:${list}`);
}

/** Of this user, else of whomever: what is to be chosen from where nothing was chosen. */
export function runningManagers(chosen: string | undefined, context: Context): ManagerFound[] {
  if (chosen !== undefined || context.env.USHER_RUNTIME_DIR) return [];
  const all = context.managers();
  const own = all.filter(({ uid }) => uid === context.uid);
  return own.length > 0 ? own : all;
}

/** The one the web-server modules take when they are told nothing (native/registration). */
function defaultRuntimeDir({ env, uid }: Context): string {
  if (uid === 0) return '/run/usher';
  if (env.XDG_RUNTIME_DIR) return join(env.XDG_RUNTIME_DIR, 'usher');
  throw new UsageError(
    'which manager? XDG_RUNTIME_DIR is not set: give --runtime-dir DIR or set USHER_RUNTIME_DIR',
  );
}
