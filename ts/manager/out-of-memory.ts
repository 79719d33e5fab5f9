// SPDX-License-Identifier: Apache-2.0
// Did the kernel kill a program for want of memory? It counts such kills, for the machine and for the
// control group that the manager is in, in which programs are as well unless they leave it.
import { readFileSync } from 'node:fs';

/** How many there have been; null = this kernel, or this container, does not tell. */
export interface OomKills {
  machine: number | null;
  group: number | null;
}

/** `group`: in our own control group; `machine`: somewhere on the machine, which may have been another's. */
export type OomVerdict = 'group' | 'machine' | null;

/** @param before When the program was started. */
export function oomVerdict(before: OomKills, after: OomKills): OomVerdict {
  if (hasGrown(before.group, after.group)) return 'group';
  return hasGrown(before.machine, after.machine) ? 'machine' : null;
}

function hasGrown(before: number | null, after: number | null): boolean {
  return before !== null && after !== null && after > before;
}

export class OomCounters {
  #root: string;
  #groupFiles: readonly string[];

  /** @param root Of the file system; with its last slash. */
  constructor(root = '/') {
    this.#root = root;
    this.#groupFiles = groupFilesOf(read(`${root}proc/self/cgroup`)).map((path) => root + path);
  }

  read(): OomKills {
    return {
      machine: counterIn(read(`${this.#root}proc/vmstat`)),
      group:
        this.#groupFiles.map((path) => counterIn(read(path))).find((one) => one !== null) ?? null,
    };
  }
}

/** Version 2 has one tree, version 1 one for memory. Inside a container the path may begin at its own
 * root. */
function groupFilesOf(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const [, controllers, path = ''] = /^\d+:([^:]*):\/?(.*)$/.exec(line) ?? [];
    if (controllers === '') {
      return [`sys/fs/cgroup/${path}/memory.events`, 'sys/fs/cgroup/memory.events'];
    }
    if (controllers?.split(',').includes('memory') !== true) return [];
    const tree = 'sys/fs/cgroup/memory';
    return [`${tree}/${path}/memory.oom_control`, `${tree}/memory.oom_control`];
  });
}

function counterIn(text: string): number | null {
  const [, digits] = /^oom_kill (\d+)$/m.exec(text) ?? [];
  return digits === undefined ? null : Number(digits);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // not there, or not for us
  }
}
