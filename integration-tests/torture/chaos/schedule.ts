// SPDX-License-Identifier: Apache-2.0
// What happens when, worked out beforehand from a number: the same number gives the same run again,
// as far as the machine lets it.

/** Numbers that depend on the seed alone. */
export class Draw {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** At least 0, below 1. */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number, at least `least`, at most `most`. */
  between(least: number, most: number): number {
    return least + Math.floor(this.fraction() * (most - least + 1));
  }

  /** One of these; undefined when there are none. */
  oneOf<T>(all: readonly T[]): T | undefined {
    return all[Math.floor(this.fraction() * all.length)];
  }

  isTrue(): boolean {
    return this.fraction() < 0.5;
  }

  shuffled<T>(all: readonly T[]): T[] {
    const rest = [...all];
    return all.map(() => rest.splice(Math.floor(this.fraction() * rest.length), 1)[0] as T);
  }
}

export interface Step<T> {
  /** From 1. */
  number: number;
  /** From the beginning of the run; later when what came before took its time. */
  atMs: number;
  action: T;
  /** For whatever the action leaves to chance. */
  seed: number;
}

/** All actions in any order, then again in another one, until the time is over; each at least once. */
export function scheduleOf<T>(seed: number, actions: readonly T[], lastsMs: number): Step<T>[] {
  const draw = new Draw(seed);
  const gapMs = Math.min(1500, lastsMs / actions.length);
  const steps: Step<T>[] = [];
  for (let atMs = 0; atMs < lastsMs || steps.length < actions.length; ) {
    for (const action of draw.shuffled(actions)) {
      atMs += draw.between(gapMs / 10, 1.9 * gapMs);
      if (atMs >= lastsMs && steps.length >= actions.length) break;
      steps.push({ number: steps.length + 1, atMs, action, seed: draw.between(0, 2 ** 31) });
    }
  }
  return steps;
}
