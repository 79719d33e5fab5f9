// SPDX-License-Identifier: Apache-2.0
// Which requests were lost, and whose doing that was. A request may be lost when what served it was
// killed: the program that had taken it, or the server's process that held its connection. Every
// other loss has no excuse.

import { readFileSync } from 'node:fs';
import type { Loss } from '../../servers/load.ts';

export interface Account {
  action: string;
  /** How often it was done. */
  count: number;
  /** Requests that were under way when it began, all times together. */
  underWay: number;
  explained: number;
  unexplained: number;
}

export interface Judged extends Loss {
  server: string;
  /** What the server's error log says of it. */
  reason: string;
  /** The number of the step that explains it; undefined: nothing does. */
  step: number | undefined;
  /** Of the step that explains it, else of the last one before its end. */
  action: string;
}

export interface Lost {
  server: string;
  loss: Loss;
  port: number | undefined;
  reason: string;
}

interface Deed {
  step: number;
  action: string;
  atMs: number;
}

interface Slain extends Deed {
  pid: number;
  /** Connections it had taken, and how many requests it had noted of those that were lost. */
  taken: number;
}

interface Cut extends Deed {
  server: string;
  port: number;
}

interface Scarcity extends Deed {
  untilMs: number;
  excuses: (loss: Loss, server: string, reason: string) => boolean;
}

const queryOf = ({ path }: Loss): string => path.slice(path.indexOf('?') + 1);

export class Accounts {
  readonly #deeds: (Deed & { underWay: number })[] = [];
  readonly #slain: Slain[] = [];
  readonly #unclaimed: (Deed & { connections: number })[] = [];
  readonly #cuts: Cut[] = [];
  readonly #scarcities: Scarcity[] = [];

  /** A step has begun. */
  began(step: number, action: string, underWay: number): void {
    this.#deeds.push({ ...this.#now(step, action), underWay });
  }

  /** A program was killed that had taken so many connections. */
  slew(step: number, action: string, pid: number, taken: number): void {
    this.#slain.push({ ...this.#now(step, action), pid, taken });
  }

  /** So many connections that no program had taken lost their socket. */
  closed(step: number, action: string, connections: number): void {
    this.#unclaimed.push({ ...this.#now(step, action), connections });
  }

  /** A server's process was killed that held the connections from these ports. */
  cut(step: number, action: string, server: string, ports: readonly number[]): void {
    for (const port of ports) this.#cuts.push({ ...this.#now(step, action), server, port });
  }

  /** From now until the end that is given back, some losses are no wonder. */
  scarce(step: number, action: string, excuses: Scarcity['excuses']): () => void {
    const scarcity = { ...this.#now(step, action), untilMs: Number.POSITIVE_INFINITY, excuses };
    this.#scarcities.push(scarcity);
    return () => {
      scarcity.untilMs = performance.now();
    };
  }

  /**
   * @param losses With the port that each was made from, and what the server's error log says of it.
   * @param notesPath Where the programs noted their process id and each query string.
   */
  judge(losses: readonly Lost[], notesPath: string): Judged[] {
    const takers = takersIn(readFileSync(notesPath, 'utf8'));
    const isNoted = ({ loss }: Lost): boolean => takers.has(queryOf(loss));
    // Those whose program is known come first: what is left over may be the others'.
    const inTurn = [...losses].sort((a, b) => Number(isNoted(b)) - Number(isNoted(a)));
    return inTurn.map(({ server, loss, port, reason }) => {
      const deed =
        this.#killerOf(loss, takers.get(queryOf(loss))) ??
        this.#cuts.find((cut) => cut.server === server && cut.port === port && within(loss, cut)) ??
        this.#scarcities.find(
          ({ atMs, untilMs, excuses }) =>
            loss.endedMs >= atMs && loss.beganMs <= untilMs && excuses(loss, server, reason),
        );
      const last = this.#deeds.findLast(({ atMs }) => atMs <= loss.endedMs);
      return {
        ...loss,
        server,
        reason,
        step: deed?.step,
        action: (deed ?? last)?.action ?? 'none',
      };
    });
  }

  accountsFor(judged: readonly Judged[]): Account[] {
    const actions = [...new Set(this.#deeds.map(({ action }) => action))].sort();
    return actions.map((action) => {
      const deeds = this.#deeds.filter((deed) => deed.action === action);
      const losses = judged.filter((loss) => loss.action === action);
      return {
        action,
        count: deeds.length,
        underWay: deeds.reduce((sum, deed) => sum + deed.underWay, 0),
        explained: losses.filter(({ step }) => step !== undefined).length,
        unexplained: losses.filter(({ step }) => step === undefined).length,
      };
    });
  }

  /** Whoever took it last must have been killed while it was under way; or nobody had noted it yet. */
  #killerOf(loss: Loss, takers: readonly number[] = []): Deed | undefined {
    const taker = takers.at(-1);
    if (taker !== undefined) {
      const killer = this.#slain.find((slain) => slain.pid === taker && within(loss, slain));
      if (killer !== undefined) killer.taken -= 1;
      return killer;
    }
    const slain = this.#slain.find((one) => one.taken > 0 && within(loss, one));
    if (slain !== undefined) {
      slain.taken -= 1;
      return slain;
    }
    const closed = this.#unclaimed.find((one) => one.connections > 0 && within(loss, one));
    if (closed !== undefined) closed.connections -= 1;
    return closed;
  }

  #now(step: number, action: string): Deed {
    return { step, action, atMs: performance.now() };
  }
}

const within = ({ beganMs, endedMs }: Loss, { atMs }: Deed): boolean =>
  beganMs <= atMs && atMs <= endedMs;

/** The processes that took each query, in order. */
function takersIn(notes: string): Map<string, number[]> {
  const takers = new Map<string, number[]>();
  for (const line of notes.split('\n')) {
    const at = line.indexOf(' ');
    if (at < 0) continue;
    const query = line.slice(at + 1);
    const known = takers.get(query);
    if (known === undefined) takers.set(query, [Number(line.slice(0, at))]);
    else known.push(Number(line.slice(0, at)));
  }
  return takers;
}
