// SPDX-License-Identifier: Apache-2.0
// Which configured classes should exist, given what all servers (and usher.conf) ask for.
import type { ClassDirective, Registration } from '../config/dialect.ts';
import {
  type ClassConfig,
  externalConfig,
  fingerprint,
  type Owner,
  staticConfig,
} from './class-config.ts';
import type { ProgramRoots } from './gateway-config.ts';
import type { Server } from './servers.ts';

export interface DesiredClass {
  /** The key, or key@server where servers disagree. */
  label: string;
  /** The only server that sees it; null = all. */
  server: string | null;
  config: ClassConfig;
}

export interface Disagreement {
  key: string;
  sources: string[];
}

export interface Desired {
  classes: Map<string, DesiredClass>;
  disagreements: Disagreement[];
}

interface Definition {
  server: string | null;
  config: ClassConfig;
  print: string;
}

/**
 * @param own The manager's own usher.conf, null when there is none.
 * @param checksPaths The launcher is root: else files of one user run as that user, wherever they are.
 */
export function desiredClasses(
  servers: Iterable<Server>,
  own: Registration | null,
  checksPaths = true,
): Desired {
  const byKey = new Map<string, Definition[]>();
  for (const server of servers) {
    // Oldest first, so that a newer generation's options win while both live.
    const merged = new Map<string, ClassConfig>();
    for (const [, registration] of [...server.generations].sort(([a], [b]) => a - b)) {
      for (const config of configsOf(registration, checksPaths)) merged.set(config.key, config);
    }
    for (const config of merged.values()) define(byKey, server.name, config);
  }
  if (own) for (const config of configsOf(own, checksPaths)) define(byKey, null, config);

  const desired: Desired = { classes: new Map(), disagreements: [] };
  for (const [key, definitions] of byKey) {
    const agreed = definitions.every((one) => one.print === definitions[0]?.print);
    if (!agreed) {
      desired.disagreements.push({ key, sources: definitions.map((one) => one.config.source) });
    }
    for (const { server, config } of agreed ? definitions.slice(0, 1) : definitions) {
      const label = agreed || server === null ? key : `${key}@${server}`;
      desired.classes.set(label, { label, server: agreed ? null : server, config });
    }
  }
  return desired;
}

export function ownerOf(registration: Registration, checksPaths = true): Owner {
  return {
    user: registration.server?.user ?? null,
    group: registration.server?.group ?? null,
    ...programRoots(registration, checksPaths),
  };
}

/** Where its programs may be: as the launcher has it from the same configuration. */
function programRoots({ dynamic, roots }: Registration, checksPaths: boolean): ProgramRoots {
  const { dynamicRoot, pathCheck } = dynamic?.options ?? {};
  const fallback = checksPaths ? 'suexec' : 'roots';
  const own = typeof dynamicRoot === 'string' ? [dynamicRoot] : dynamicRoot;
  return {
    roots: Array.isArray(own) ? own.map(String) : roots,
    pathCheck: typeof pathCheck === 'string' && checksPaths ? pathCheck.toLowerCase() : fallback,
  };
}

export function configsOf(registration: Registration, checksPaths = true): ClassConfig[] {
  const owner = ownerOf(registration, checksPaths);
  return registration.classes.map((directive: ClassDirective) =>
    directive.scope === 'static'
      ? staticConfig(directive.name, directive.options, owner, directive.source)
      : externalConfig(directive.name, directive.options, owner, directive.source),
  );
}

function define(
  byKey: Map<string, Definition[]>,
  server: string | null,
  config: ClassConfig,
): void {
  const definitions = byKey.get(config.key) ?? [];
  definitions.push({ server, config, print: fingerprint(config) });
  byKey.set(config.key, definitions);
}
