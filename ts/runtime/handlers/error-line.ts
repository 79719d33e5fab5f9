// SPDX-License-Identifier: Apache-2.0
// What a handler threw, as one line for the log.
import { inspect } from 'node:util';

const FRAMES = 3;
const CHARACTERS_MAX = 1000;

/** Message and first frames of the stack: "TypeError: … at f (file:1:2) at …". */
export function errorLine(error: unknown): string {
  const text = (error instanceof Error ? String(error) : inspect(error))
    .slice(0, CHARACTERS_MAX)
    .replaceAll(/[\s\p{Cc}]+/gu, ' ');
  if (!(error instanceof Error)) return text;
  const frames = (error.stack ?? '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('at '));
  return [text, ...frames.slice(0, FRAMES)].join(' ');
}
