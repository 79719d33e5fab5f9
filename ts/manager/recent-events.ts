// SPDX-License-Identifier: Apache-2.0
// The last events of all classes and of the manager, as the log tells them.
import type { Event, Events } from '../control/messages.ts';
import type { Level, Log } from './log.ts';

const EVENTS_MAX = 500;
const TEXT_MAX = 500;
/** What programs print, and what is said of their insides: there may be any amount of it. */
const notTold = new Set(['instance.output', 'instance.snapshot']);

export class RecentEvents {
  readonly #startedAt: string;
  /** Oldest first. */
  readonly #events: Event[] = [];
  #number = 0;

  /** @param startedAt Of the manager: another one counts from 1 again. */
  constructor(startedAt: string) {
    this.#startedAt = startedAt;
  }

  /** The same log, remembered. */
  recording(log: Log): Log {
    return (level, event, fields) => {
      log(level, event, fields);
      if (level !== 'debug' && !notTold.has(event)) this.#add(level, event, fields);
    };
  }

  /** Those with a greater number than `after`, oldest first. */
  after(after: number): Events {
    const events = this.#events.filter(({ number }) => number > after);
    return { schema: 1, startedAt: this.#startedAt, events };
  }

  #add(level: Exclude<Level, 'debug'>, event: string, fields: Readonly<Record<string, unknown>>) {
    this.#number += 1;
    this.#events.push({
      number: this.#number,
      at: new Date().toISOString(),
      level,
      event,
      class: textOf(fields.class),
      server: textOf(fields.server),
      text: (textOf(fields.text) ?? describe(fields)).slice(0, TEXT_MAX),
    });
    if (this.#events.length > EVENTS_MAX) this.#events.shift();
  }
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

/** "address 10.0.0.5:9000, error connection refused". */
function describe(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .filter(([name, value]) => name !== 'class' && name !== 'server' && value !== null)
    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join(', ');
}
