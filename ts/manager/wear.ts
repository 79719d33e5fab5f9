// SPDX-License-Identifier: Apache-2.0
// When an instance has served its time: -max-requests, -max-lifetime, -memory-limit.
import type { ClassConfig } from './class-config.ts';
import type { Instance } from './instance.ts';
import { treeRssBytes } from './proc.ts';

export interface WearFacts {
  requests: number;
  livedMs: number;
  /** Of its process group; 0 = not measured. */
  rssBytes: number;
}

type Limits = Pick<ClassConfig, 'maxRequests' | 'maxLifetimeMs' | 'memoryLimitBytes'>;

/** Why it is to be replaced, as the end of a sentence; '' = it is not. */
export function wornBy(facts: WearFacts, limits: Limits): string {
  const { maxRequests, maxLifetimeMs, memoryLimitBytes } = limits;
  if (maxRequests > 0 && facts.requests >= maxRequests) {
    return `has served ${facts.requests} requests (-max-requests ${maxRequests})`;
  }
  if (maxLifetimeMs > 0 && facts.livedMs >= maxLifetimeMs) {
    const seconds = Math.round(facts.livedMs / 100) / 10;
    return `has run for ${seconds} s (-max-lifetime ${maxLifetimeMs / 1000})`;
  }
  // One that has served nothing would be followed by another of the same size.
  if (memoryLimitBytes > 0 && facts.requests > 0 && facts.rssBytes > memoryLimitBytes) {
    return `uses ${facts.rssBytes} bytes of memory (-memory-limit ${memoryLimitBytes})`;
  }
  return '';
}

export function canWear(limits: Limits): boolean {
  return limits.maxRequests > 0 || limits.maxLifetimeMs > 0 || limits.memoryLimitBytes > 0;
}

/** Those that have served their time now; each is marked with why. `measures`: memory as well. */
export function findWorn(
  serving: readonly Instance[],
  limits: Limits,
  served: (instance: Instance) => number,
  nowMs: number,
  measures: boolean,
): Instance[] {
  return serving.filter((instance) => {
    if (instance.worn !== '') return false;
    instance.worn = wornBy(
      {
        // Who served what is not known where instances share a socket.
        requests: instance.isShared ? 1 : served(instance),
        livedMs: nowMs - instance.startedAtMs,
        rssBytes: measures && limits.memoryLimitBytes > 0 ? treeRssBytes(instance.pid) : 0,
      },
      instance.isShared ? { ...limits, maxRequests: 0 } : limits,
    );
    return instance.worn !== '';
  });
}
