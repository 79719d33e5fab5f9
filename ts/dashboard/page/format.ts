// SPDX-License-Identifier: Apache-2.0
// Numbers and times for people.

const number = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export function showNumber(value: number): string {
  return number.format(value);
}

/** "1.2K" where there is little room. */
export function showShort(value: number): string {
  return value < 10_000 ? number.format(Math.round(value * 10) / 10) : short.format(value);
}

export function showBytes(bytes: number): string {
  let value = bytes;
  let unit = 'B';
  for (const next of ['kB', 'MB', 'GB', 'TB']) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${value >= 100 || unit === 'B' ? Math.round(value) : value.toFixed(1)} ${unit}`;
}

export function showDuration(ms: number): string {
  if (ms < 1) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 100) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 6000) return `${Math.round(s / 60)} min`;
  return s < 172_800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86_400)} d`;
}

export function showSince(time: string, nowMs: number): string {
  return showDuration(Math.max(0, nowMs - Date.parse(time)));
}

/** Hours, minutes and seconds here. */
export function showTime(time: string): string {
  return new Date(time).toLocaleTimeString('en-GB');
}

/** "not-ready-in-time" → "not ready in time". */
export function showWords(word: string): string {
  return word.replaceAll('-', ' ');
}
