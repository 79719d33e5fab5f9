// SPDX-License-Identifier: Apache-2.0
// What a handler threw, as one line for the log.

const FRAMES = 3;

/** Message and first frames of the stack: "TypeError: … at f (file:1:2) at …". */
export function errorLine(error: unknown): string {
  if (!(error instanceof Error)) return `${error}`;
  const text = `${error}`.replaceAll(/\s*[\r\n]+\s*/g, ' ');
  const frames = (error.stack ?? '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('at '));
  return [text, ...frames.slice(0, FRAMES)].join(' ');
}
