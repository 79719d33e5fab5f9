// SPDX-License-Identifier: Apache-2.0
// Numbers as each module writes them, to numbers as Usher's options take them.

/** Of options in seconds; null = it is no time. */
export function seconds(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)(ms|mi?n?|s|h|hour|d|y|M|w)?$/.exec(text.trim());
  if (match === null) return null;
  const factors: Record<string, number> = {
    ...{ ms: 0.001, s: 1, m: 60, mi: 60, min: 60, mn: 60, h: 3600, hour: 3600, d: 86_400 },
    ...{ w: 604_800, M: 2_592_000, y: 31_536_000 },
  };
  return Number(match[1]) * (factors[match[2] ?? 's'] ?? 1);
}

/** nginx's times: several parts, 1h 30m. */
export function nginxSeconds(text: string): number | null {
  const parts = text.trim().match(/\d+(?:ms|[smhdwMy])?/g);
  if (parts === null || parts.join('') !== text.replace(/\s+/g, '')) return null;
  const all = parts.map((part) => seconds(part));
  return all.every((one) => one !== null)
    ? all.reduce<number>((sum, one) => sum + (one ?? 0), 0)
    : null;
}

const longest = 168 * 3600;

/** As options take it: seconds, or milliseconds where they are no whole seconds. */
export function showTime(secondsOf: number): string {
  const within = Math.min(secondsOf, longest);
  return Number.isInteger(within) ? `${within}` : `${Math.max(1, Math.round(within * 1000))}ms`;
}

export function milliseconds(text: string): string | null {
  return /^\d+$/.test(text) ? showTime(Number(text) / 1000) : null;
}

/** Bytes of 8k, 1m, 1g. */
export function bytes(text: string): number | null {
  const match = /^(\d+)([kmg]?)b?$/i.exec(text.trim());
  if (match === null) return null;
  const factor =
    { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[(match[2] ?? '').toLowerCase()] ?? 1;
  return Number(match[1]) * factor;
}

export function count(text: string): number | null {
  return /^-?\d{1,15}$/.test(text.trim()) ? Number(text) : null;
}
