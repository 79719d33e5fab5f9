// SPDX-License-Identifier: Apache-2.0
// usher top: status, live.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import type { ControlClient } from '../../control/client.ts';
import type { Status } from '../../control/messages.ts';
import { type Context, exitCodes, SilentExit } from '../context.ts';
import { type ManagerOptions, withExamples, withManagerOptions } from '../options.ts';
import { paintFor, plain } from '../paint.ts';
import { connectTo } from '../runtime-dir.ts';
import type { Terminal } from '../terminal.ts';
import { drawTop, pressKey, ratesOf, type Sample, startTop, type TopState } from '../top-view.ts';

interface TopOptions extends ManagerOptions {
  once?: true;
  /** Seconds. */
  delay: number;
}

/** What one snapshot on something that is no terminal is wide and high. */
const PAGE = { columns: 100, rows: Number.POSITIVE_INFINITY };

export function addTop(program: Command, context: Context): void {
  const command = withManagerOptions(program.command('top'))
    .summary('show classes live: load, waiting requests, instances')
    .description(
      'Keys: up and down (or k and j) choose a class, Enter shows its details, n r b w m f sort by name, ' +
        'requests a second, busy, waiting, memory, failures; q ends, ? shows this. ' +
        'Without a terminal, or with --once, one snapshot is printed.',
    )
    .option('--once', 'print one snapshot and end')
    .option('-d, --delay <seconds>', 'between two looks', parseDelay, 1)
    .action(async (options: TopOptions) => {
      const client = connectTo(options, context);
      const { terminal } = context;
      if (options.once || options.json || terminal === null) await once(client, options, context);
      else await live(client, terminal, options, context);
    });
  withExamples(command, [
    ['usher top', 'until q is pressed'],
    ['usher top -d 5', 'look every five seconds'],
    ['usher top --once', 'one snapshot: rates of one second'],
  ]);
}

async function once(client: ControlClient, options: TopOptions, context: Context): Promise<void> {
  const first = sample(await client.status());
  await sleep(options.delay * 1000);
  const second = sample(await client.status());
  const rates = ratesOf(first, second);
  if (options.json) {
    const classes = second.status.classes.map((one) => ({
      ...one,
      requestsPerSecond: rates.get(one.name) ?? 0,
    }));
    context.out(`${JSON.stringify({ ...second.status, classes })}\n`);
    return;
  }
  const state = { ...startTop(), sample: second, rates, isPage: true };
  context.out(`${drawTop(state, PAGE, context.now(), plain).join('\n')}\n`);
}

/** Ends when the user says so; the terminal is as it was before. */
async function live(
  client: ControlClient,
  terminal: Terminal,
  options: TopOptions,
  context: Context,
): Promise<void> {
  const paint = paintFor(context);
  let state: TopState = startTop();
  let failure: Error | null = null;
  const draw = (): void => {
    const lines = drawTop(state, terminal, context.now(), paint);
    terminal.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join('\r\n')}\x1b[J`);
  };
  const ended = new AbortController();
  terminal.enter(
    (key) => {
      const next = pressKey(state, key, terminal);
      if (next === null) ended.abort();
      else state = next;
      if (next !== null) draw();
    },
    draw,
    () => ended.abort(),
  );
  try {
    while (!ended.signal.aborted) {
      state = await look(client, state);
      failure = state.error;
      draw();
      await sleep(options.delay * 1000, undefined, { signal: ended.signal }).catch(() => undefined);
    }
  } finally {
    terminal.leave();
  }
  if (failure === null) return;
  context.err(`usher: ${failure.message}\n`);
  throw new SilentExit(exitCodes.failed);
}

async function look(client: ControlClient, state: TopState): Promise<TopState> {
  try {
    const next = sample(await client.status());
    const rates = state.sample === null ? new Map() : ratesOf(state.sample, next);
    return { ...state, sample: next, rates, error: null };
  } catch (error) {
    return { ...state, error: error instanceof Error ? error : new Error(String(error)) };
  }
}

function sample(status: Status): Sample {
  return { status, atMs: performance.now() };
}

function parseDelay(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== '' && seconds >= 0.1 && seconds <= 3600) return seconds;
  throw new InvalidArgumentError('expected a number of seconds from 0.1 to 3600.');
}
