// SPDX-License-Identifier: Apache-2.0
// Numbers of several runs in few: medians, percentiles, spreads.

/** The value below which `share` (0 … 1) of the values lie, between neighbours in proportion. */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)];
  return below + (sorted[Math.ceil(at)] - below) * (at - Math.floor(at));
}

export const median = (values) => percentile(values, 0.5);

export function spread(values) {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Two-sided quantiles of Student's distribution for 95 %, by degrees of freedom. */
const student = [12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14];

/**
 * Where the true ratio lies with 95 %, by ratios of several rounds: of their logarithms, as half and
 * double are equally far from one. Nothing is known after a single round.
 */
export function interval(ratios) {
  const logs = ratios.map(Math.log);
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  const degrees = logs.length - 1;
  if (degrees < 1) return { from: 0, to: Number.POSITIVE_INFINITY };
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / degrees;
  const reach = (student[degrees - 1] ?? 1.96 + 2.5 / degrees) * Math.sqrt(variance / logs.length);
  return { from: Math.exp(mean - reach), to: Math.exp(mean + reach) };
}
