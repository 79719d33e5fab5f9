// SPDX-License-Identifier: Apache-2.0
// Memory and processor time of a class's instances, read from /proc when somebody asks.
import { treeCpuS, treeRssBytes } from './proc.ts';

export interface Used {
  rssBytes: number;
  /** Never falls: what ended instances have used counts on. */
  cpuS: number;
}

export class Usage {
  #endedCpuS = 0;
  /** At the last look, by the instance's id. */
  #seenCpuS = new Map<number, number>();

  read(instances: readonly { id: number; pid: number }[]): Used {
    for (const { id, pid } of instances) {
      this.#seenCpuS.set(id, Math.max(this.#seenCpuS.get(id) ?? 0, treeCpuS(pid)));
    }
    return {
      rssBytes: sum(instances.map(({ pid }) => treeRssBytes(pid))),
      cpuS: this.#endedCpuS + sum([...this.#seenCpuS.values()]),
    };
  }

  /** The instance has ended.
   * @param cpuS What the kernel says that it used in all; null = it did not say. Children that it left
   * behind are not in it: what was seen of them counts. */
  end(id: number, cpuS: number | null): void {
    this.#endedCpuS += Math.max(this.#seenCpuS.get(id) ?? 0, cpuS ?? 0);
    this.#seenCpuS.delete(id);
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
