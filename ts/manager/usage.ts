// SPDX-License-Identifier: Apache-2.0
// Memory and processor time of a class's instances, read from /proc when somebody asks.
import { treeCpuS, treeRssBytes } from './proc.ts';

export interface Used {
  rssBytes: number;
  /** Never falls: what ended instances had used when they were looked at last counts on. */
  cpuS: number;
}

export class Usage {
  #endedCpuS = 0;
  /** By the instance's id. */
  #cpuS = new Map<number, number>();

  read(instances: readonly { id: number; pid: number }[]): Used {
    const living = new Map<number, number>();
    for (const { id, pid } of instances) {
      living.set(id, Math.max(this.#cpuS.get(id) ?? 0, treeCpuS(pid)));
    }
    for (const [id, cpuS] of this.#cpuS) if (!living.has(id)) this.#endedCpuS += cpuS;
    this.#cpuS = living;
    return {
      rssBytes: sum(instances.map(({ pid }) => treeRssBytes(pid))),
      cpuS: this.#endedCpuS + sum([...living.values()]),
    };
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
