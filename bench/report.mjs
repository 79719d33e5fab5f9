// SPDX-License-Identifier: Apache-2.0
// What a benchmark leaves: a table to read, a JSON file in bench/results/ to compare.

import { mkdirSync, writeFileSync } from 'node:fs';
import { root } from '../scripts/run.mjs';

/** Rows of texts under their headings; the first column to the left, the others to the right. */
export function table(headings, rows) {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column].length)),
  );
  const line = (cells) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
      )
      .join('   ')
      .trimEnd();
  return [line(headings), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join(
    '\n',
  );
}

export const range = ({ min, max }, digits = 0) => `${min.toFixed(digits)}–${max.toFixed(digits)}`;

/** How a number stands to what it must reach; `better` says in which direction it improves. */
export function verdict(value, { atLeast, aim, better }) {
  const reaches = (goal) => (better === 'higher' ? value >= goal : value <= goal);
  if (Number.isNaN(value)) return 'nothing measured';
  if (!reaches(atLeast)) return 'MISSED';
  return aim === undefined || reaches(aim) ? 'reached' : 'reached, aim not';
}

/** Writes the result as JSON and returns where, relative to the checkout. */
export function save(name, result) {
  const directory = 'bench/results';
  const at = result.conditions.startedAt.replace(/[:.]/g, '-');
  const file = `${directory}/${name}-${at}.json`;
  mkdirSync(`${root}/${directory}`, { recursive: true });
  writeFileSync(`${root}/${file}`, `${JSON.stringify(result, null, 2)}\n`);
  return file;
}
