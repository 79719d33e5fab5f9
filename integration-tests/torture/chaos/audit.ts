// SPDX-License-Identifier: Apache-2.0
// What must be as it was when a chaos is over and nobody asks any more: counts, processes, sockets,
// files, descriptors, mappings, memory.

import { existsSync, readdirSync } from 'node:fs';
import { eventually } from '../../servers/eventually.ts';
import {
  childrenOf,
  descriptorCount,
  listenedTo,
  mappingCount,
  memoryBytes,
  parentOf,
  processesOf,
} from '../../servers/processes.ts';
import { type Arena, patienceMs } from './arena.ts';

export interface Size {
  descriptors: number;
  mappings: number;
  memoryBytes: number;
}

/** By role: "manager", "nginx master"; of several workers the largest. */
export type Sizes = Map<string, Size>;

function sizeOf(pid: number, directory: string): Size {
  return {
    descriptors: descriptorCount(pid),
    mappings: mappingCount(pid, directory),
    memoryBytes: memoryBytes(pid),
  };
}

function largest(sizes: Size[]): Size {
  const most = (of: keyof Size): number => Math.max(...sizes.map((size) => size[of]));
  return {
    descriptors: most('descriptors'),
    mappings: most('mappings'),
    memoryBytes: most('memoryBytes'),
  };
}

export async function sizesIn(arena: Arena): Promise<Sizes> {
  const { launcher, manager } = await eventually('launcher and manager run', () => {
    const found = arena.processes();
    return found.launcher !== undefined && found.manager !== undefined && found;
  });
  const size = (pid: number | undefined): Size => sizeOf(pid ?? 0, arena.runtimeDir);
  const sizes: Sizes = new Map([
    ['launcher', size(launcher)],
    ['manager', size(manager)],
  ]);
  for (const { site } of arena.contestants) {
    const { name } = site.server;
    sizes.set(`${name} master`, size(site.pid));
    sizes.set(`${name} worker`, largest(site.workers.map(size)));
  }
  return sizes;
}

/**
 * How much more there may be at the end than after the warm-up, and why. Descriptors: a manager has
 * those of an answer that is being written and of its timers; a launcher five for an instance more;
 * workers those of connections that are about to close. Mappings: tables of a former Usher are let go
 * when they are next looked for.
 */
const allowed: Record<'launcher' | 'manager' | 'master' | 'worker', Size> = {
  launcher: { descriptors: 10, mappings: 0, memoryBytes: 1 << 20 },
  // The heap of Node grows until it is collected: a leak shows above that.
  manager: { descriptors: 4, mappings: 1, memoryBytes: 48 << 20 },
  master: { descriptors: 2, mappings: 1, memoryBytes: 4 << 20 },
  // A worker that has not had its share of requests yet is smaller than one that has.
  worker: { descriptors: 6, mappings: 2, memoryBytes: 16 << 20 },
};

function growth(before: Sizes, after: Sizes): string[] {
  return [...after].flatMap(([role, size]) => {
    const was = before.get(role);
    const limit = allowed[(role.split(' ').at(-1) ?? role) as keyof typeof allowed];
    if (was === undefined) return [];
    return (['descriptors', 'mappings', 'memoryBytes'] as const)
      .filter((of) => size[of] > was[of] + limit[of])
      .map((of) => `${role}: ${of} grew from ${was[of]} to ${size[of]}`);
  });
}

/** Waits until nothing is under way and as many instances are left as at the beginning. */
export async function quiet(arena: Arena): Promise<void> {
  await arena.recovered();
  await eventually(
    'no request is in flight or waits, and what comes and goes has gone',
    async () => {
      const { classes } = await arena.status();
      const busy = classes.filter(({ inFlight, waiting }) => inFlight !== 0 || waiting !== 0);
      const passing = arena.classes.filter(({ isKept }) => !isKept).map(({ key }) => key);
      const there = classes.filter(
        ({ name, instances, wanted }) =>
          instances.length !== wanted || (passing.includes(name) && wanted > 0),
      );
      if (busy.length + there.length === 0) return true;
      const told = busy.map((c) => `${c.name}: ${c.inFlight} in flight, ${c.waiting} waiting`);
      const left = there.map((c) => `${c.name}: ${c.instances.length} instances of ${c.wanted}`);
      throw new Error([...told, ...left].join('; '));
    },
    patienceMs,
  );
}

/** Processes of this chaos that nobody answers for. */
async function strays(arena: Arena): Promise<string[]> {
  const { launcher, manager, standby } = arena.processes();
  const instances = (await arena.instances()).map(({ pid }) => pid);
  const servers = arena.contestants.flatMap(({ site }) => [site.pid, ...childrenOf(site.pid)]);
  const known = new Set([
    ...[launcher, manager, standby].filter((pid) => pid !== undefined),
    ...[...instances, ...servers, arena.externalPid],
  ]);
  const isKnown = (pid: number): boolean => known.has(pid) || known.has(parentOf(pid));
  const dirs = [arena.runtimeDir, ...arena.contestants.map(({ site }) => site.dir)];
  const tied = new Map(dirs.flatMap(processesOf).map((process) => [process.pid, process]));
  return [...tied.values()]
    .filter(({ pid }) => !isKnown(pid))
    .map(({ pid, command, tie }) => `process ${pid} ${command} (${tie})`);
}

/** Sockets that no instance listens on, and instances whose socket is gone. */
async function socketProblems(arena: Arena): Promise<string[]> {
  const instances = (await arena.instances()).map(({ pid }) => pid);
  const listened = listenedTo(instances, arena.sockets);
  const paths = existsSync(arena.sockets)
    ? readdirSync(arena.sockets).map((name) => `${arena.sockets}/${name}`)
    : [];
  return [
    ...paths.filter((path) => !listened.has(path)).map((path) => `${path}: nobody listens`),
    ...[...listened].filter((path) => !paths.includes(path)).map((path) => `${path}: is gone`),
  ];
}

/** Whatever is not as it was; waits for what takes a moment. */
export async function audit(arena: Arena, before: Sizes): Promise<string[]> {
  const look = async (): Promise<string[]> => [
    ...(await strays(arena)),
    ...(await socketProblems(arena)),
    ...growth(before, await sizesIn(arena)),
  ];
  let found: string[] = [];
  const isWell = async (): Promise<boolean> => {
    found = await look();
    return found.length === 0;
  };
  await eventually('all is as it was', isWell).catch((error: Error) => {
    if (found.length === 0) found = [error.message];
  });
  return found;
}
