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
