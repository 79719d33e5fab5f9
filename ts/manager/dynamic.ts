// SPDX-License-Identifier: Apache-2.0
// May this server have this path started as a dynamic class? The rules, and what to answer if not.
import { realpathSync, statSync } from 'node:fs';
import { sep } from 'node:path';
import type { Registration } from '../config/dialect.ts';
import type { OptionValue } from '../native/native.ts';
import { type ClassConfig, dynamicConfig } from './class-config.ts';
import { ownerOf } from './desired.ts';

export interface Refusal {
  /** HTTP status for the requests that ask. */
  status: 403 | 404 | 503;
  reason: string;
}

export type DynamicAnswer = { config: ClassConfig } | { refusal: Refusal };

/** `key` is what a worker asked for: not to be believed. */
export function resolveDynamic(key: string, registration: Registration): DynamicAnswer {
  const broken = registration.broken.find(({ name }) => name === key);
  if (broken) return refuse(503, `class ${key} cannot be used: ${broken.reason}`);
  if (!key.startsWith('/')) {
    return refuse(503, `no class named "${key}" is configured`);
  }
  const roots = rootsOf(registration);
  let path: string;
  try {
    path = realpathSync(key);
    const stats = statSync(path);
    if (stats.isDirectory()) return refuse(403, `${key} is a directory`);
    if (!stats.isFile()) return refuse(403, `${key} is not a regular file`);
    if ((stats.mode & 0o111) === 0) {
      return refuse(403, `${key} is not executable (mode ${(stats.mode & 0o777).toString(8)})`);
    }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    if (code === 'ENOENT' || code === 'ENOTDIR') return refuse(404, `${key} does not exist`);
    return refuse(403, `${key}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const { brokenDynamic } = registration;
  if (brokenDynamic !== undefined) return refuse(503, `cannot start ${key}: ${brokenDynamic}`);
  if (!roots.some((root) => isUnder(path, root))) {
    const allowed = roots.length > 0 ? roots.join(', ') : 'none';
    const where = path === key ? key : `${key} (${path})`;
    return refuse(403, `${where} lies outside the roots for dynamic classes: ${allowed}`);
  }
  return { config: dynamicConfig(key, dynamicOptions(registration), ownerOf(registration)) };
}

export function dynamicOptions(registration: Registration): Record<string, OptionValue> {
  return registration.dynamic?.options ?? {};
}

/** -dynamicRoot replaces the roots that the server has by itself. Real paths; missing ones are left out. */
function rootsOf(registration: Registration): string[] {
  const own = dynamicOptions(registration).dynamicRoot;
  const wished = Array.isArray(own) && own.length > 0 ? own : registration.roots;
  return wished.flatMap((root) => {
    try {
      return [realpathSync(root)];
    } catch {
      return []; // not there (yet): nothing lies under it
    }
  });
}

function isUnder(path: string, root: string): boolean {
  return path.startsWith(root.endsWith(sep) ? root : root + sep);
}

function refuse(status: Refusal['status'], reason: string): DynamicAnswer {
  return { refusal: { status, reason } };
}
