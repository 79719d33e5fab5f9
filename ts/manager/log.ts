// SPDX-License-Identifier: Apache-2.0
// One JSON line per event, to the log file that the launcher opened as stdout.
import { fstatSync } from 'node:fs';
import pino from 'pino';

export type Level = 'debug' | 'info' | 'warn' | 'error';

/** `event` is noun.verb (instance.ready); fields carry their units in their names. */
export type Log = (level: Level, event: string, fields: Readonly<Record<string, unknown>>) => void;

/** How the journal spells levels: it takes them off the line and keeps them as PRIORITY (sd-daemon(3)). */
const priorities: Readonly<Record<Level, string>> = {
  debug: '<7>',
  info: '<6>',
  warn: '<4>',
  error: '<3>',
};

/** @param env Its JOURNAL_STREAM says which file is the journal. */
export function createLog(fd = 1, env: NodeJS.ProcessEnv = process.env): Log {
  const destination = pino.destination({ fd, sync: true });
  const prefixes = isJournal(fd, env) ? priorities : null;
  let prefix = '';
  const logger = pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'text',
    },
    prefixes === null ? destination : { write: (line) => destination.write(prefix + line) },
  );
  return (level, event, fields) => {
    prefix = prefixes?.[level] ?? '';
    logger[level]({ event, ...fields });
  };
}

/** systemd says by its device and inode what it has connected to the journal. */
function isJournal(fd: number, { JOURNAL_STREAM: stream }: NodeJS.ProcessEnv): boolean {
  if (stream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}
