// SPDX-License-Identifier: Apache-2.0
// A program that is its own master: KIND ("forking" …), then "answers" to ask itself twice, or "waits" to
// have a request that never ends; "shared" with memory in common.
import { writeSync } from 'node:fs';
import type { ServeSettings } from '../../options.ts';
import { sharedMemory } from '../../shared-memory.ts';
import { createPool } from '../create-pool.ts';
import type { PoolKind } from '../pool-rules.ts';
import { startWorkerSide, workerKind } from '../worker-side.ts';
import { RecordedExchange } from './recorded-exchange.ts';

const [, , kind = '', task = '', memory = ''] = process.argv;
const settings: ServeSettings = {
  listen: null,
  model: kind === 'reload' ? 'concurrent' : (kind as ServeSettings['model']),
  processes: 1,
  maxProcesses: 1,
  threads: 1,
  backlog: 128,
  deadlineMs: 0,
  maxRequests: 0,
  maxMemoryMb: 0,
  stopMs: 10_000,
  style: null,
  reload: null,
};

function say(line: string): void {
  writeSync(1, `${line}\n`);
}

async function answer(): Promise<string> {
  const exchange = new RecordedExchange('/');
  pool.run(exchange);
  await exchange.whenOver;
  return `${exchange.status} ${exchange.text}`;
}

async function lead(): Promise<void> {
  await pool.start();
  if (task === 'waits') {
    await answer();
    return;
  }
  say(`${await answer()} ${await answer()}`);
  await pool.stop(10_000);
}

if (memory === 'shared') sharedMemory('counter', 4);
const isWorker = workerKind() !== null;
const pool = isWorker ? (null as never) : createPool(settings, kind as PoolKind);
if (isWorker) {
  startWorkerSide(
    (exchange) => {
      exchange.open({
        onBody: () => undefined,
        onBodyEnd: () => undefined,
        onAbort: ({ message }) => say(`onAbort: ${message}`),
        onDrain: () => undefined,
      });
      if (task === 'waits') {
        say('running');
        return;
      }
      exchange.begin(200, '', []);
      exchange.end(Buffer.from(kind));
    },
    { onWorkerStop: () => (task === 'waits' ? say('onWorkerStop') : undefined) },
    settings,
  );
} else {
  void lead();
}
