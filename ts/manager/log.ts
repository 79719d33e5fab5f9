// SPDX-License-Identifier: Apache-2.0
// One JSON line per event, to the log file that the launcher opened as stdout.
import pino from 'pino';

export type Level = 'debug' | 'info' | 'warn' | 'error';

/** `event` is noun.verb (instance.ready); fields carry their units in their names. */
export type Log = (level: Level, event: string, fields: Readonly<Record<string, unknown>>) => void;

export function createLog(): Log {
  const logger = pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'text',
    },
    pino.destination({ fd: 1, sync: true }),
  );
  return (level, event, fields) => logger[level]({ event, ...fields });
}
