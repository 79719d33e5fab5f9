// SPDX-License-Identifier: Apache-2.0
// `npm run torture [-- NAME… --server NAME --program NAME --count N --short --json FILE]`: every
// scenario in its full form under nginx and Apache event, one at a time. Prints what was lost, and
// fails when anything was that may not be. --count: how often, instead of the scenario's own number.
// `npm run torture -- chaos …` is another run altogether: see chaos/main.ts.

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { apacheEvent, apachePrefork, nginx } from '../servers/index.ts';
import { verdictsOnEndings } from '../servers/leftovers.ts';
import type { SiteOwner } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';
import { chaosMain } from './chaos/main.ts';
import { hasHeld, type Result, torture } from './driver.ts';
import { type ProgramName, programNames, programs } from './programs.ts';
import { fullCount, type Scenario } from './scenario.ts';
import { scenarios } from './scenarios.ts';

const servers = [nginx, apacheEvent, apachePrefork];

interface Run {
  scenario: Scenario;
  server: WebServer;
  program: ProgramName;
  count: number;
}

/** Those of `all` that were named, or `otherwise`. Throws for a name there is not. */
function chosen<T>(
  what: string,
  all: readonly T[],
  nameOf: (one: T) => string,
  names: readonly string[],
  otherwise = all,
): readonly T[] {
  const known = all.map(nameOf);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new Error(`${what} "${unknown.join(', ')}": expected some of ${known.join(', ')}`);
  }
  return names.length === 0 ? otherwise : all.filter((one) => names.includes(nameOf(one)));
}

function plan(args: string[]): { runs: Run[]; json: string | undefined } {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      server: { type: 'string', multiple: true, default: [] },
      program: { type: 'string', multiple: true, default: [] },
      count: { type: 'string' },
      short: { type: 'boolean', default: false },
      json: { type: 'string' },
    },
  });
  if (values.count !== undefined && !/^[1-9]\d*$/.test(values.count)) {
    throw new Error(`--count ${values.count}: expected a number above 0`);
  }
  const usual = [nginx, apacheEvent];
  const wantedServers = chosen('--server', servers, ({ name }) => name, values.server, usual);
  const wantedPrograms = chosen('--program', programNames, (name) => name, values.program);
  const countOf = (scenario: Scenario, server: WebServer): number => {
    if (values.count !== undefined) return Number(values.count);
    return values.short ? scenario.short : fullCount(scenario, server);
  };
  const runs = chosen('scenario', scenarios, ({ name }) => name, positionals).flatMap((scenario) =>
    wantedServers
      .filter(({ kind }) => scenario.kind === undefined || scenario.kind === kind)
      .flatMap((server) =>
        wantedPrograms
          .filter((program) => scenario.programs.includes(program))
          .map((program) => ({ scenario, server, program, count: countOf(scenario, server) })),
      ),
  );
  return { runs, json: values.json };
}

const columns = [16, 14, 13, 7, 9, 6, 8] as const;

function line(cells: readonly (string | number)[]): string {
  return cells
    .map((cell, i) => (i < 3 ? `${cell}`.padEnd(columns[i]!) : `${cell}`.padStart(columns[i] ?? 0)))
    .join(' ')
    .trimEnd();
}

function print(result: Result): void {
  const { scenario, server, program, events, requests, lost, mayLose, seconds } = result;
  const allowed = mayLose > 0 ? ` of at most ${mayLose}` : '';
  const verdict = hasHeld(result) ? '' : '   FAILED';
  const cells = [scenario, server, program, events, requests, lost, seconds.toFixed(0)];
  console.log(`${line(cells)}${allowed}${verdict}`);
  for (const problem of result.problems) console.log(`    ${problem}`);
  for (const note of result.notes) console.log(`    ${note}`);
  if (hasHeld(result)) return;
  for (const { at, method, path, status, text } of result.losses.slice(0, 10)) {
    console.log(`    ${at} ${method} ${path} ${status}: ${text}`);
  }
}

/** Ends the site when the run is over, or at once when we are interrupted. */
class Owner {
  readonly name: string;
  #endings: (() => unknown)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  teardown = (ending: () => unknown): void => {
    this.#endings.push(ending);
  };

  test = (): never => {
    throw new Error('scenarios have no tests inside');
  };

  async end(): Promise<void> {
    for (const ending of this.#endings.splice(0)) await ending();
  }
}

let current: Owner | undefined;

async function interrupted(): Promise<void> {
  console.error('torture: interrupted, ending the server');
  await current?.end();
  await verdictsOnEndings();
  process.exit(130);
}

async function runOne({ scenario, server, program, count }: Run): Promise<Result> {
  current = new Owner(`${scenario.name}, ${program}`);
  try {
    const owner = current as unknown as SiteOwner;
    return await torture(owner, scenario, server, programs[program], count);
  } finally {
    await current.end();
  }
}

/** One run of its own kind: many things to all servers and programs at once. */
async function mainOfChaos(args: string[]): Promise<void> {
  current = new Owner('chaos');
  const held = await chaosMain(args, current as unknown as SiteOwner).finally(() => current?.end());
  const left = (await verdictsOnEndings()).filter((verdict) => verdict.left.length > 0);
  for (const { title, left: all } of left) {
    console.log(`left by ${title}: ${all.length} things: ${all.slice(0, 10).join('; ')}`);
  }
  process.exitCode = held && left.length === 0 ? 0 : 1;
}

async function main(args: string[]): Promise<void> {
  const { runs, json } = plan(args);
  const results: Result[] = [];
  console.log(line(['scenario', 'server', 'program', 'events', 'requests', 'lost', 'seconds']));
  for (const run of runs) {
    const result = await runOne(run);
    results.push(result);
    print(result);
    if (json !== undefined) writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`);
  }
  const endings = await verdictsOnEndings();
  const left = endings.filter((verdict) => verdict.left.length > 0);
  for (const verdict of left) console.log(`left by ${verdict.title}: ${verdict.left.join('; ')}`);
  const slowestMs = Math.max(...endings.map(({ tookMs }) => tookMs));
  const failed = results.filter((result) => !hasHeld(result)).length;
  const sum = (of: 'events' | 'requests' | 'lost') => results.reduce((n, r) => n + r[of], 0);
  const allowed = results.reduce((n, { lost, mayLose }) => n + Math.min(lost, mayLose), 0);
  const ofThese = allowed > 0 ? `, ${allowed} of these as they had to be` : '';
  console.log(
    `\nall was gone ${(slowestMs / 1000).toFixed(1)} s after the end of its server at the latest\n` +
      `${results.length - failed} scenarios held, ${failed} failed, ${left.length} left something behind: ` +
      `${sum('events')} events, ${sum('requests')} requests, ${sum('lost')} lost${ofThese}`,
  );
  process.exitCode = failed + left.length === 0 ? 0 : 1;
}

process.once('SIGINT', () => void interrupted());
process.once('SIGTERM', () => void interrupted());
try {
  const [first, ...rest] = process.argv.slice(2);
  if (first === 'chaos') await mainOfChaos(rest);
  else await main(process.argv.slice(2));
} catch (error) {
  console.error(`torture: ${(error as Error).message}`);
  process.exitCode = 1;
}
