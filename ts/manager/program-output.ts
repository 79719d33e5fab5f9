// SPDX-License-Identifier: Apache-2.0
// What programs write: each line into the log, the last ones of each class in memory for `usher logs`.
// A program that writes without end costs its own lines only: they are counted, and that is logged.
import { statfsSync } from 'node:fs';
import type { OutputLine } from '../control/messages.ts';
import type { Log } from './log.ts';

/** Of each class, and of all together. */
const LINES_KEPT = 1_000;
const BYTES_KEPT = 131_072;
const ALL_BYTES_KEPT = 16 << 20;
/** What a class may write at once, and for ever. */
const BURST_BYTES = 1 << 20;
const BYTES_PER_S = 32_768;
/** Where that is used up, lines are taken again from here on. */
const RESUME_BYTES = 65_536;
/** A line costs this much beside its bytes, in the log and to write it. */
const LINE_BYTES = 100;
const TELL_MS = 10_000;
/** Programs' lines leave the log's file system this much. */
const LEAST_FREE_BYTES = 64 << 20;
const LEAST_FREE_PART = 20;
const LOOK_MS = 1_000;

export interface OutputSource {
  /** Label of the class. */
  class: string;
  pid: number;
  /** Of a servlet engine. */
  engine?: string;
}

interface Kept {
  lines: OutputLine[];
  bytes: number;
  /** When nothing older is there any more. */
  since: string;
  credit: number;
  creditAtMs: number;
  isFlooding: boolean;
  droppedBytes: number;
  toldAtMs: number;
}

export class ProgramOutput {
  #log: Log;
  #now: () => number;
  #hasSpace: () => boolean;
  #kept = new Map<string, Kept>();
  /** Labels of classes of which something dropped was not told yet. */
  #untold = new Set<string>();
  #bytes = 0;
  #startedAt = new Date().toISOString();
  /** Later managers count on from a higher number: clocks go forward. */
  #nextId = Date.now() * 1000;
  #waiters = new Set<() => void>();

  /** @param now CLOCK_MONOTONIC, ms. @param hasSpace Is there room where the log is? */
  constructor(log: Log, now: () => number, hasSpace: () => boolean = logHasSpace(now)) {
    this.#log = log;
    this.#now = now;
    this.#hasSpace = hasSpace;
  }

  add(source: OutputSource, text: string): void {
    const now = this.#now();
    const kept = this.#of(source.class);
    earn(kept, now);
    if (kept.isFlooding || !this.#hasSpace()) {
      this.dropped(source.class, Buffer.byteLength(text));
      return;
    }
    for (const line of text.split('\n')) {
      if (line !== '') this.#addLine(kept, source, line);
    }
    this.#shrink();
    this.#wake();
  }

  /** Of the class, before the manager got to see it. */
  dropped(label: string, bytes: number): void {
    this.#of(label).droppedBytes += bytes;
    this.#untold.add(label);
  }

  /** Say what was dropped. Called now and then. */
  tell(): void {
    const now = this.#now();
    for (const label of this.#untold) {
      const kept = this.#of(label);
      if (now - kept.toldAtMs < TELL_MS) continue;
      this.#untold.delete(label);
      const bytes = kept.droppedBytes;
      kept.toldAtMs = now;
      kept.droppedBytes = 0;
      const text = `${bytes} bytes of output dropped: more than the log takes`;
      this.#log('warn', 'output.dropped', { class: label, bytes, text });
      this.#keep(kept, { pid: 0, text, droppedBytes: bytes });
      this.#wake();
    }
  }

  /** Lines with numbers above `after`, the newest of them at most. */
  read(label: string, after: number, lines: number): OutputLine[] {
    const kept = this.#kept.get(label)?.lines ?? [];
    return kept.filter(({ id }) => id > after).slice(-lines);
  }

  /** Older lines than of this time are not kept. */
  since(label: string): string {
    return this.#kept.get(label)?.since ?? this.#startedAt;
  }

  /** Resolves when there is something new, of whatever class, or after the time. */
  next(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => done(), waitMs);
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      this.#waiters.add(done);
    });
  }

  forget(label: string): void {
    this.#bytes -= this.#kept.get(label)?.bytes ?? 0;
    this.#kept.delete(label);
    this.#untold.delete(label);
  }

  #of(label: string): Kept {
    const known = this.#kept.get(label);
    if (known) return known;
    const kept: Kept = {
      ...{ lines: [], bytes: 0, since: this.#startedAt },
      ...{ credit: BURST_BYTES, creditAtMs: this.#now(), isFlooding: false },
      ...{ droppedBytes: 0, toldAtMs: Number.NEGATIVE_INFINITY },
    };
    this.#kept.set(label, kept);
    return kept;
  }

  #addLine(kept: Kept, source: OutputSource, line: string): void {
    const bytes = Buffer.byteLength(line);
    if (kept.isFlooding) {
      this.dropped(source.class, bytes + 1);
      return;
    }
    kept.credit -= bytes + LINE_BYTES;
    kept.isFlooding = kept.credit < 0;
    const event = source.engine === undefined ? 'instance.output' : 'engine.output';
    this.#log('info', event, { ...source, line });
    this.#keep(kept, { pid: source.pid, text: line });
  }

  #keep(kept: Kept, line: Omit<OutputLine, 'id' | 'at'>): void {
    kept.lines.push({ id: this.#nextId++, at: new Date().toISOString(), ...line });
    this.#count(kept, costOf(line));
    while (kept.lines.length > LINES_KEPT || kept.bytes > BYTES_KEPT) this.#dropFirst(kept);
  }

  #dropFirst(kept: Kept): void {
    const first = kept.lines.shift();
    if (first === undefined) return;
    this.#count(kept, -costOf(first));
    kept.since = first.at;
  }

  #count(kept: Kept, bytes: number): void {
    kept.bytes += bytes;
    this.#bytes += bytes;
  }

  /** Who keeps most gives half of it. */
  #shrink(): void {
    while (this.#bytes > ALL_BYTES_KEPT) {
      const [first, ...others] = this.#kept.values();
      if (first === undefined) return;
      const largest = others.reduce((a, b) => (b.bytes > a.bytes ? b : a), first);
      const half = largest.bytes / 2;
      while (largest.bytes > half) this.#dropFirst(largest);
    }
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }
}

function earn(kept: Kept, nowMs: number): void {
  const earned = ((nowMs - kept.creditAtMs) * BYTES_PER_S) / 1000;
  kept.credit = Math.min(BURST_BYTES, kept.credit + earned);
  kept.creditAtMs = nowMs;
  if (kept.credit >= RESUME_BYTES) kept.isFlooding = false;
}

function costOf({ text }: { text: string }): number {
  return text.length + LINE_BYTES;
}

/** Of the file that stdout is; true where it is none. Looked at once a second at most. */
function logHasSpace(now: () => number): () => boolean {
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  let hasSpace = true;
  return () => {
    if (now() - lookedAtMs < LOOK_MS) return hasSpace;
    lookedAtMs = now();
    hasSpace = isRoomy('/proc/self/fd/1');
    return hasSpace;
  };
}

function isRoomy(path: string): boolean {
  try {
    const { bavail, blocks, bsize } = statfsSync(path);
    const least = Math.min(LEAST_FREE_BYTES, (blocks / LEAST_FREE_PART) * bsize);
    return bavail * bsize >= least;
  } catch {
    return true; // it cannot be told
  }
}
