// SPDX-License-Identifier: Apache-2.0
// A terminal as `usher top` needs it: a screen of its own, keys as they are pressed; and all as it was
// before, however the program ends.
import { writeSync } from 'node:fs';

export interface Terminal {
  readonly columns: number;
  readonly rows: number;
  write(text: string): void;
  /** Until `leave`: the alternate screen, no cursor, keys to `onKey`, `onResize` when its size changed.
   * `onEnd`: the terminal has gone, or a signal asked us to end. */
  enter(onKey: (key: string) => void, onResize: () => void, onEnd: () => void): void;
  leave(): void;
}

const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l';
const endings: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];

/** This process's own. */
export function processTerminal(): Terminal {
  const { stdin, stdout } = process;
  let restore: (() => void) | null = null;
  const leave = (): void => {
    restore?.();
    restore = null;
  };
  return {
    get columns() {
      return stdout.columns || 80;
    },
    get rows() {
      return stdout.rows || 24;
    },
    write: (text) => void stdout.write(text),
    enter(onKey, onResize, onEnd) {
      const onData = (text: string): void => {
        for (const key of keysOf(text)) onKey(key);
      };
      const wasRaw = stdin.isTTY && stdin.isRaw;
      restore = () => {
        if (stdin.isTTY) stdin.setRawMode(wasRaw);
        stdin.off('data', onData).off('end', onEnd).pause();
        stdout.off('resize', onResize).off('error', onEnd);
        for (const signal of endings) process.off(signal, onEnd);
        process.off('SIGCONT', onContinued).off('exit', leave);
        writeNow(LEAVE);
      };
      const onContinued = (): void => {
        if (stdin.isTTY) stdin.setRawMode(true);
        writeNow(ENTER);
        onResize();
      };
      writeNow(ENTER);
      if (stdin.isTTY) stdin.setRawMode(true);
      stdin.setEncoding('utf8').on('data', onData).on('end', onEnd).resume();
      stdout.on('resize', onResize).on('error', onEnd);
      for (const signal of endings) process.on(signal, onEnd);
      process.on('SIGCONT', onContinued).on('exit', leave); // also after an exception
    },
    leave,
  };
}

/** At once: at the end of the process nothing else is. */
function writeNow(text: string): void {
  try {
    writeSync(1, text);
  } catch {
    // the terminal has gone
  }
}

/** What was typed, key by key: those that send several characters by their names. */
export function keysOf(text: string): string[] {
  const keys: string[] = [];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: Escape begins them
  for (const [key] of text.matchAll(/\x1b\[[\d;]*[A-Za-z~]|\x1bO[A-Z]|[\s\S]/gu)) {
    keys.push(names[key] ?? key);
  }
  return keys;
}

const names: Readonly<Record<string, string>> = {
  ...{ '\x1b[A': 'up', '\x1bOA': 'up', '\x1b[B': 'down', '\x1bOB': 'down' },
  ...{ '\x1b[5~': 'page-up', '\x1b[6~': 'page-down', '\x1b[H': 'home', '\x1b[F': 'end' },
  ...{ '\x1b[1~': 'home', '\x1b[4~': 'end', '\x1bOH': 'home', '\x1bOF': 'end' },
  ...{ '\x1b': 'escape', '\r': 'enter', '\n': 'enter', '\x03': 'ctrl-c', '\x0c': 'ctrl-l' },
  ...{ '\x04': 'ctrl-d', '\x1b[C': 'right', '\x1bOC': 'right', '\x1b[D': 'left', '\x1bOD': 'left' },
};
