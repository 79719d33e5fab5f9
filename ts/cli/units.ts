// SPDX-License-Identifier: Apache-2.0
// Numbers, times and tables for people.
import { widthOf } from './paint.ts';

/** "0.2 ms", "31 ms", "4.0 s", "12 min", "3 h", "5 d". */
export function showDuration(ms: number): string {
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 100) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 6000) return `${Math.round(s / 60)} min`;
  const h = s / 3600;
  return h < 48 ? `${Math.round(h)} h` : `${Math.round(h / 24)} d`;
}

/** From an ISO 8601 time to `now`. */
export function showSince(time: string, now: Date): string {
  return showDuration(Math.max(0, now.getTime() - Date.parse(time)));
}

/** "512 B", "3.0 MB". */
export function showBytes(bytes: number): string {
  let value = bytes;
  let unit = 'B';
  for (const next of ['kB', 'MB', 'GB']) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return unit === 'B'
    ? `${value} B`
    : `${value < 100 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** Without what could move a terminal's cursor or change its colours: programs wrote it. */
export function printable(text: string): string {
  if (!control.test(text)) return text;
  return text.replace(/\t/g, '  ').replace(controls, '\ufffd');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const control = /[\x00-\x1f\x7f-\x9f]/;
const controls = new RegExp(control, 'g');

/** Columns as wide as their widest cell; those named in `right` are flush right. */
export function showTable(rows: string[][], right: number[] = []): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      const width = widthOf(cell);
      if (width > (widths[i] ?? -1)) widths[i] = width;
    });
  }
  const pads = widths.map((width, i) => {
    return (cell: string): string => {
      const length = width + cell.length - widthOf(cell);
      return right.includes(i) ? cell.padStart(length) : cell.padEnd(length);
    };
  });
  return rows.map((row) => {
    return row
      .map((cell, i) => pads[i]?.(cell) ?? '')
      .join('  ')
      .trimEnd();
  });
}
