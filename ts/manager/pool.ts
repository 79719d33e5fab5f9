// SPDX-License-Identifier: Apache-2.0
// All dynamic classes together: -maxProcesses and -minProcesses, and who goes when there is no room.
import type { PoolFacts } from '../policy/policy.ts';
import type { ManagedClass } from './managed-class.ts';

/** Who was refused a start so recently still wants it. */
const HUNGRY_MS = 300;

export class DynamicPool {
  #classes: () => ManagedClass[];
  #now: () => number;
  /** When a class was last refused a start. */
  #hungry = new Map<ManagedClass, number>();

  /** @param classes All dynamic classes. @param now CLOCK_MONOTONIC, ms. */
  constructor(classes: () => ManagedClass[], now: () => number) {
    this.#classes = classes;
    this.#now = now;
  }

  facts(asker: ManagedClass): PoolFacts {
    return {
      instances: sum(this.#classes().map((one) => one.instanceCount)),
      min: asker.config.poolMin,
      max: asker.config.poolMax,
    };
  }

  /** How many instances may be retired without falling below -minProcesses. */
  spare(asker: ManagedClass): number {
    return Math.max(0, sum(this.#classes().map(readyCount)) - asker.config.poolMin);
  }

  /**
   * May the class start one more? When there is no room somebody else's instance is drained: an idle
   * one of the class that has been idle longest, else one of a class that has more than its share.
   * Room goes to the class that has least.
   */
  admit(asker: ManagedClass): boolean {
    const now = this.#now();
    const classes = this.#classes();
    const room = asker.config.poolMax - sum(classes.map((one) => one.instanceCount));
    const poorer = this.#hungryOnes(classes, now).filter(
      (one) => one !== asker && one.instanceCount < asker.instanceCount,
    );
    if (room > poorer.length) {
      this.#hungry.delete(asker);
      return true;
    }
    this.#hungry.set(asker, now);
    if (room <= 0) this.#makeRoom(asker, classes, now);
    return false; // a later pass finds the room
  }

  #makeRoom(asker: ManagedClass, classes: readonly ManagedClass[], now: number): void {
    const leaving = sum(classes.map((one) => one.instances.length - servingCount(one)));
    const hungry = this.#hungryOnes(classes, now);
    if (leaving >= hungry.length) return; // on its way already
    const others = classes.filter((one) => one !== asker);
    const byIdleness = [...others].sort((a, b) => b.idleForMs - a.idleForMs);
    if (byIdleness.some((one) => one.giveUp('idle'))) return;
    const takers = classes.filter((one) => servingCount(one) > 0 || hungry.includes(one)).length;
    const share = Math.max(1, Math.floor(asker.config.poolMax / Math.max(1, takers)));
    if (asker.instanceCount >= share) return;
    const richest = [...others].sort((a, b) => servingCount(b) - servingCount(a))[0];
    if (richest && servingCount(richest) > share) richest.giveUp('any');
  }

  #hungryOnes(classes: readonly ManagedClass[], now: number): ManagedClass[] {
    for (const [one, sinceMs] of this.#hungry) {
      if (now - sinceMs > HUNGRY_MS || !classes.includes(one)) this.#hungry.delete(one);
    }
    return [...this.#hungry.keys()];
  }
}

function servingCount(one: ManagedClass): number {
  return one.instances.filter(({ state }) => state === 'ready' || state === 'starting').length;
}

function readyCount(one: ManagedClass): number {
  return one.instances.filter(({ state }) => state === 'ready').length;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
