// SPDX-License-Identifier: Apache-2.0
// A program that workers of tests run: what it does is said by the path of a request. Arguments are its
// settings, as JSON.
import { closeSync, openSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
import { background } from '../../background.ts';
import type { Exchange, ExchangeListener } from '../../exchange.ts';
import { sharedMemory } from '../../shared-memory.ts';
import { startWorkerSide } from '../worker-side.ts';

export interface ProgramSettings {
  maxMemoryMb?: number;
  /** onWorkerStart throws while this file is there. */
  failsWhile?: string;
  /** Where onWorkerStop and background tasks write that they were here. */
  traces?: string;
  isCounting?: boolean;
}

const settings: ProgramSettings = JSON.parse(process.argv[2] ?? '{}');
const kept: unknown[] = [];
let served = 0;

const name = () => `${process.pid}.${threadId}`;

function trace(word: string): void {
  if (settings.traces !== undefined) {
    writeFileSync(`${settings.traces}/${word}-${name()}`, '');
  }
}

function exists(path: string): boolean {
  try {
    closeSync(openSync(path, 'r'));
    return true;
  } catch {
    return false;
  }
}

function say(exchange: Exchange, text: string): void {
  exchange.begin(200, '', ['Content-Type', 'text/plain']);
  exchange.end(Buffer.from(text));
}

function spin(): void {
  for (;;) Math.random();
}

/** Opens descriptors until there are no more, and keeps them. */
function hoard(): number {
  let count = 0;
  try {
    for (; count < 5000; count++) openSync('/dev/null', 'r');
  } catch {
    // as was to be expected
  }
  return count;
}

function descriptors(): string {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // that of readdir
    }
  });
  return links.join('\n');
}

/** So many bytes, as long as there is room. */
function stream(exchange: Exchange, bytes: number): Partial<ExchangeListener> {
  let left = bytes;
  const more = () => {
    while (left > 0) {
      const size = Math.min(left, 50_000);
      left -= size;
      if (!exchange.write(Buffer.alloc(size, left & 0xff))) return;
    }
    exchange.end();
  };
  exchange.begin(200, '', []);
  setImmediate(more);
  return { onDrain: more };
}

function act(exchange: Exchange): Partial<ExchangeListener> {
  const [, word = '', argument = ''] = exchange.head.url.split('/');
  switch (word) {
    case 'name':
      say(exchange, name());
      return {};
    case 'served':
      served++;
      say(exchange, `${served}`);
      return {};
    case 'head':
      exchange.report('a line for the log');
      exchange.begin(201, 'Made', ['X-One', '\xe9', 'X-One', '2']);
      exchange.flush();
      exchange.write(Buffer.from('one '));
      exchange.end(
        Buffer.from(
          `${exchange.head.metadata.remoteUser} ${exchange.head.metadata.variables.get('X')}`,
          'latin1',
        ),
      );
      return {};
    case 'bad-head':
      try {
        exchange.begin(200, '', ['X', 'a\r\nb']);
      } catch (error) {
        say(exchange, (error as Error).message);
      }
      return {};
    case 'echo':
      exchange.begin(200, '', []);
      return {
        onBody: (bytes) => void exchange.write(bytes),
        onBodyEnd: () => exchange.end(),
      };
    case 'stream':
      return stream(exchange, Number(argument));
    case 'never':
      trace('running');
      return { onAbort: () => trace('aborted') };
    case 'half':
      exchange.begin(200, '', []);
      exchange.write(Buffer.from('half'));
      exchange.flush();
      return {};
    case 'wait': {
      // until the test removes a file
      const timer = setInterval(() => {
        if (exists(`${settings.traces}/${argument}`)) return;
        clearInterval(timer);
        say(exchange, name());
      }, 5);
      trace('waiting');
      return { onAbort: () => clearInterval(timer) };
    }
    case 'spin':
      trace('spinning');
      spin();
      return {};
    case 'spin-on-abort':
      trace('running');
      return { onAbort: spin };
    case 'exit':
      process.exit(Number(argument));
      return {};
    case 'answer-and-exit':
      say(exchange, 'all there is');
      process.exit(0);
      return {};
    case 'throw':
      throw new Error('a handler has thrown');
    case 'kill':
      process.kill(process.pid, 'SIGSEGV');
      return {};
    case 'signals':
      process.kill(process.pid, 'SIGTERM');
      process.kill(process.pid, 'SIGINT');
      setTimeout(() => say(exchange, 'here'), 5);
      return {};
    case 'hoard':
      say(exchange, `${hoard()}`);
      return {};
    case 'descriptors':
      say(exchange, descriptors());
      return {};
    case 'leak':
      kept.push(Array.from({ length: 500_000 }, (_, index) => ({ index })));
      say(exchange, name());
      return {};
    case 'background':
      background(async (signal) => {
        if (argument === 'endless') {
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          trace('cut');
          return;
        }
        await new Promise((resolve) => setImmediate(resolve));
        trace('background');
      });
      say(exchange, name());
      return {};
    case 'count': {
      const counter = new Int32Array(sharedMemory('counter', 4));
      say(exchange, `${Atomics.add(counter, 0, 1) + 1}`);
      return {};
    }
    default:
      exchange.begin(404, '', []);
      exchange.end();
      return {};
  }
}

if (settings.isCounting) sharedMemory('counter', 4);

startWorkerSide(
  (exchange) => {
    let events: Partial<ExchangeListener> = {};
    exchange.open({
      onBody: (bytes) => events.onBody?.(bytes),
      onBodyEnd: () => events.onBodyEnd?.(),
      onAbort: (reason) => events.onAbort?.(reason),
      onDrain: () => events.onDrain?.(),
    });
    events = act(exchange);
    if (exchange.head.url !== '/never/unread') exchange.resumeBody();
  },
  {
    onWorkerStart: () => {
      if (settings.failsWhile !== undefined && exists(settings.failsWhile)) {
        throw new Error('the test wants no worker');
      }
      trace('started');
    },
    onWorkerStop: () => trace('stopped'),
  },
  { model: 'concurrent', maxMemoryMb: settings.maxMemoryMb ?? 0, stopMs: 10_000 },
);
