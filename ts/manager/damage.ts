// SPDX-License-Identifier: Apache-2.0
// Tells that something is damaged which web servers' workers can write. Nothing is to be done about
// it here: native/channel/hints.c makes it right again, or passes over it.
import type { Channel, Damage } from '../native/native.ts';
import type { Log } from './log.ts';

/** What goes on is told once in so long. */
const TELL_MS = 10_000;

const meanings: Readonly<Record<Damage['what'], string>> = {
  count: 'a worker counts more requests than it can have',
  cells: 'workers found their counts changed by another process, and restored them',
  load: 'load data went back or jumped, and was left out',
  worker: 'a worker is in a state that does not exist',
  slots: 'the number of worker slots shrank or is too high',
  asked: 'a start request is not whole, and was dropped',
  hint: 'a place or queue shared by all servers counts more than it can',
};

interface Source {
  readonly name: string | null;
  readonly handle: number | null;
}

interface Told {
  atMs: number;
  /** Since then. */
  times: number;
  latest: Damage | null;
}

export class DamageWatch {
  #channel: Channel;
  #log: Log;
  #told = new Map<string | null, Told>();

  constructor(channel: Channel, log: Log) {
    this.#channel = channel;
    this.#log = log;
  }

  look(servers: Iterable<{ readonly name: string; readonly handle: number }>, nowMs: number): void {
    this.#lookAt({ name: null, handle: null }, nowMs);
    for (const server of servers) this.#lookAt(server, nowMs);
  }

  #lookAt({ name, handle }: Source, nowMs: number): void {
    const told = this.#told.get(name) ?? { atMs: -TELL_MS, times: 0, latest: null };
    const damage = this.#channel.damage(handle);
    if (damage) {
      told.latest = damage;
      told.times += damage.times;
      this.#told.set(name, told);
    }
    if (!told.latest || nowMs - told.atMs < TELL_MS) return;
    const { what, where } = told.latest;
    const { times } = told;
    this.#told.set(name, { atMs: nowMs, times: 0, latest: null });
    this.#log('error', 'channel.damaged', {
      ...(name === null ? {} : { server: name }),
      what,
      where,
      times,
      text: `${meanings[what]}: a worker of ${name ?? 'some server'} is broken or hostile`,
    });
  }
}
