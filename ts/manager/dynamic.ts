// SPDX-License-Identifier: Apache-2.0
// May this server have this path started as a dynamic class? The rules, and what to answer if not.
import type { Registration } from '../config/dialect.ts';
import type { OptionValue } from '../native/native.ts';
import { LauncherError } from '../process/launcher.ts';
import { type ClassConfig, dynamicConfig } from './class-config.ts';
import { ownerOf } from './desired.ts';

export interface Refusal {
  /** HTTP status for the requests that ask. */
  status: 403 | 404 | 503;
  reason: string;
}

export type DynamicAnswer = { config: ClassConfig } | { refusal: Refusal };

/**
 * @param key What a worker asked for: not to be believed.
 * @param resolvePath Launcher.resolve for the registration's server: who looks may go everywhere and
 * follows the server's roots.
 */
export async function resolveDynamic(
  key: string,
  registration: Registration,
  resolvePath: (path: string) => Promise<string>,
): Promise<DynamicAnswer> {
  const broken = registration.broken.find(({ name }) => name === key);
  if (broken) return refuse(503, `class ${key} cannot be used: ${broken.reason}`);
  if (!key.startsWith('/')) {
    return refuse(503, `no class named "${key}" is configured`);
  }
  const { brokenDynamic } = registration;
  try {
    await resolvePath(key);
  } catch (error) {
    if (!(error instanceof LauncherError)) throw error;
    if (error.step === 'missing') return refuse(404, error.message);
    if (brokenDynamic === undefined) return refuse(403, error.message);
  }
  if (brokenDynamic !== undefined) return refuse(503, `cannot start ${key}: ${brokenDynamic}`);
  return { config: dynamicConfig(key, dynamicOptions(registration), ownerOf(registration)) };
}

function dynamicOptions(registration: Registration): Record<string, OptionValue> {
  return registration.dynamic?.options ?? {};
}

function refuse(status: Refusal['status'], reason: string): DynamicAnswer {
  return { refusal: { status, reason } };
}
