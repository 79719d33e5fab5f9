// SPDX-License-Identifier: Apache-2.0
// Colours, where they are wanted.
import type { Context } from './context.ts';

export type Paint = (colour: Colour, text: string) => string;

const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36, reverse: 7 } as const;
export type Colour = keyof typeof codes;

export const plain: Paint = (_colour, text) => text;
const coloured: Paint = (colour, text) =>
  text === '' ? '' : `\x1b[${codes[colour]}m${text}\x1b[0m`;

/** On a terminal, and not where NO_COLOR is set (no-color.org) or the terminal cannot. */
export function paintFor({ terminal, env }: Context): Paint {
  const isWanted = terminal !== null && !env.NO_COLOR && env.TERM !== 'dumb';
  return isWanted ? coloured : plain;
}

const stateColours: Readonly<Record<string, Colour>> = {
  ready: 'green',
  up: 'green',
  starting: 'yellow',
  draining: 'yellow',
  stopping: 'yellow',
  failed: 'red',
  refused: 'red',
  down: 'red',
  cold: 'dim',
  removed: 'dim',
};

/** A word of state in its colour. */
export function paintState(paint: Paint, state: string): string {
  const colour = stateColours[state];
  return colour === undefined ? state : paint(colour, state);
}

export function unpainted(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replace(/\x1b\[\d+m/g, '');
}

/** As many as the terminal shows. */
export function widthOf(text: string): number {
  return text.includes('\x1b') ? unpainted(text).length : text.length;
}
