// SPDX-License-Identifier: Apache-2.0
// Random numbers that are the same in every run with the same seed.

/** Uniform in [0, 1). */
export type Random = () => number;

/** A 32-bit generator by mixing a counter; good enough for queues, and short. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
}

export function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random());
}

/** Lognormal with this mean and coefficient of variation (standard deviation ÷ mean). */
export function lognormal(random: Random, mean: number, variation: number): number {
  const variance = Math.log(1 + variation * variation);
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return mean * Math.exp(Math.sqrt(variance) * normal - variance / 2);
}

/** Pareto between `lowest` and `highest`. */
export function pareto(random: Random, shape: number, lowest: number, highest: number): number {
  const tail = (lowest / highest) ** shape;
  return lowest / (1 - random() * (1 - tail)) ** (1 / shape);
}
