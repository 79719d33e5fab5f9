// SPDX-License-Identifier: Apache-2.0
// What the manager does, seen without the weight of a command: its status over the control socket, and
// the events in its log as they come.

import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import http from 'node:http';
import type { ClassStatus, Status } from '../servers/usher.ts';

/** Rejects when no manager answers. */
export function managerStatus(runtimeDir: string): Promise<Status> {
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath: `${runtimeDir}/control.sock`, path: '/v1/status' });
    request.setTimeout(10_000, () => request.destroy(new Error('no status within 10 s')));
    request.once('error', reject);
    request.once('response', (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.once('error', reject);
      response.once('end', () => {
        const text = Buffer.concat(pieces).toString();
        if (response.statusCode === 200) resolve(JSON.parse(text) as Status);
        else reject(new Error(`status ${response.statusCode}: ${text}`));
      });
    });
  });
}

export function readyPidsIn(status: Status, className: string): number[] {
  const known = status.classes.find(({ name }) => name === className);
  return pidsIn(known, 'ready');
}

export function pidsIn(known: ClassStatus | undefined, state: string): number[] {
  const instances = known?.instances ?? [];
  return instances
    .filter((instance) => instance.state === state)
    .map(({ pid }) => pid)
    .sort((a, b) => a - b);
}

/** How often each event has been logged since this was made. */
export class EventCounts {
  readonly #path: string;
  #offset = 0;
  #rest = '';
  #counts = new Map<string, number>();

  constructor(runtimeDir: string) {
    this.#path = `${runtimeDir}/usher.log`;
    this.#read();
    this.#counts.clear();
  }

  of(event: string): number {
    this.#read();
    return this.#counts.get(event) ?? 0;
  }

  #read(): void {
    if (!existsSync(this.#path)) return;
    const file = openSync(this.#path, 'r');
    const piece = Buffer.alloc(1 << 20);
    try {
      for (;;) {
        const length = readSync(file, piece, 0, piece.length, this.#offset);
        if (length === 0) return;
        this.#offset += length;
        this.#take(piece.subarray(0, length).toString('latin1'));
      }
    } finally {
      closeSync(file);
    }
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const event = /"event":"([^"]+)"/.exec(line)?.[1];
      if (event !== undefined) this.#counts.set(event, (this.#counts.get(event) ?? 0) + 1);
    }
  }
}
