// SPDX-License-Identifier: Apache-2.0
// usher logs: what programs of a class wrote to stdout and stderr.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { type ControlClient, NoManagerError, RequestFailedError } from '../../control/client.ts';
import type { ClassOutput, OutputLine } from '../../control/messages.ts';
import { type Context, UsageError } from '../context.ts';
import { type ManagerOptions, withExamples, withManagerOptions } from '../options.ts';
import { type Paint, paintFor } from '../paint.ts';
import { connectTo } from '../runtime-dir.ts';
import { printable } from '../units.ts';

interface LogsOptions extends ManagerOptions {
  follow?: true;
  lines: number;
  since?: string;
}

const LINES_MAX = 1000;
/** The manager holds back its answer so long. */
const WAIT_MS = 20_000;
/** A manager that is replaced is back within this. */
const ABSENT_MS = 30_000;
const RETRY_MS = 200;

export function addLogs(program: Command, context: Context): void {
  const command = withManagerOptions(program.command('logs <class>'))
    .summary('show what programs of a class wrote to stdout and stderr')
    .description(
      'Shows the last lines that the manager keeps of each class (1,000 lines, 128 kB). All lines are in ' +
        "the manager's log as well, as events instance.output, and in the file of -log.",
    )
    .option('-f, --follow', 'go on with new lines, until Ctrl-C')
    .option('-n, --lines <count>', 'the last so many lines', parseLines, 100)
    .option('--since <time>', 'not older: 10s, 5m, 2h, 1d, or a time such as 2025-01-31T14:00')
    .action(async (name: string, options: LogsOptions) => {
      const sinceMs = options.since === undefined ? 0 : parseTime(options.since, context.now());
      const client = connectTo(options, context);
      const output = await client.logs({ class: name, after: 0, lines: LINES_MAX, waitMs: 0 });
      const recent = output.lines.filter(({ at }) => Date.parse(at) >= sinceMs);
      const from = Math.max(0, recent.length - options.lines);
      show(recent.slice(from), options, context);
      if (options.follow)
        await follow(client, name, output.lines.at(-1)?.id ?? 0, options, context);
      else tellWhereMoreIs(output, recent.length, sinceMs, options, context);
    });
  withExamples(command, [
    ['usher logs php', 'the last 100 lines'],
    ['usher logs -f -n 0 php', 'only what comes from now on'],
    ['usher logs --since 10m --json php', 'one JSON object a line'],
  ]);
}

/** Over restarts of the manager; lines of the next one have higher numbers. */
async function follow(
  client: ControlClient,
  name: string,
  last: number,
  options: LogsOptions,
  context: Context,
): Promise<never> {
  let after = last;
  let absentSinceMs: number | null = null;
  for (;;) {
    try {
      const { lines } = await client.logs({
        class: name,
        after,
        lines: LINES_MAX,
        waitMs: WAIT_MS,
      });
      absentSinceMs = null;
      show(lines, options, context);
      after = lines.at(-1)?.id ?? after;
    } catch (error) {
      absentSinceMs ??= Date.now();
      if (!isPassing(error) || Date.now() - absentSinceMs > ABSENT_MS) throw error;
      await sleep(RETRY_MS);
    }
  }
}

/** The manager is being replaced, or the class is not known to the next one yet. */
function isPassing(error: unknown): boolean {
  if (error instanceof NoManagerError) return true;
  const passing = ['timeout', 'broken', 'no-such-class', 'busy'];
  return error instanceof RequestFailedError && passing.includes(error.code);
}

function show(lines: OutputLine[], { json }: LogsOptions, context: Context): void {
  const paint = paintFor(context);
  for (const line of lines) {
    context.out(json ? `${JSON.stringify(line)}\n` : `${lineText(line, paint)}\n`);
  }
}

function lineText({ at, pid, text }: OutputLine, paint: Paint): string {
  const time = at.slice(0, 23).replace('T', ' ');
  return `${paint('dim', `${time} ${pid === 0 ? 'usher' : pid}:`)} ${printable(text)}`;
}

/** Where somebody wanted to see more than there is. */
function tellWhereMoreIs(
  { since, log, files }: ClassOutput,
  shown: number,
  sinceMs: number,
  { lines, json }: LogsOptions,
  context: Context,
): void {
  if (json || shown >= lines || Date.parse(since) <= sinceMs) return;
  const places = [...files, log ?? "the manager's log (journald, say)"].map(printable);
  context.err(`usher: lines from before ${since} are in ${places.join(' and ')}\n`);
}

function parseLines(text: string): number {
  const lines = Number(text);
  if (/^\d{1,4}$/.test(text) && lines <= LINES_MAX) return lines;
  throw new InvalidArgumentError(`expected a whole number from 0 to ${LINES_MAX}.`);
}

const unitsMs: Readonly<Record<string, number>> = {
  ...{ s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 },
};

/** Milliseconds since 1970. */
function parseTime(text: string, now: Date): number {
  const [, count, unit = ''] = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text) ?? [];
  if (count !== undefined) return now.getTime() - Number(count) * (unitsMs[unit] ?? 0);
  const time = Date.parse(text);
  if (!Number.isNaN(time)) return time;
  throw new UsageError(
    `--since ${text}: expected 10s, 5m, 2h, 1d, or a time such as 2025-01-31T14:00`,
  );
}
