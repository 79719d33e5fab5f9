// SPDX-License-Identifier: Apache-2.0
// Which manager a command means.
import { join, resolve } from 'node:path';
import { type Context, UsageError } from './context.ts';

/** @param chosen Of --runtime-dir. */
export function findRuntimeDir(chosen: string | undefined, context: Context): string {
  const configured = chosen ?? context.env.USHER_RUNTIME_DIR;
  if (configured !== undefined && configured !== '') return resolve(configured);
  return defaultRuntimeDir(context);
}

/** The one the web-server modules take when they are told nothing (native/registration). */
function defaultRuntimeDir({ env, uid }: Context): string {
  if (uid === 0) return '/run/usher';
  if (env.XDG_RUNTIME_DIR) return join(env.XDG_RUNTIME_DIR, 'usher');
  throw new UsageError(
    'which manager? XDG_RUNTIME_DIR is not set: give --runtime-dir DIR or set USHER_RUNTIME_DIR',
  );
}
