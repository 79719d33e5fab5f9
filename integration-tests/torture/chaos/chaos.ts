// SPDX-License-Identifier: Apache-2.0
// Servers, Usher and programs under load while everything that can happen to them does, at moments
// worked out from a number; then the accounts.

import { setTimeout as sleep } from 'node:timers/promises';
import { usher } from '../../servers/checkout.ts';
import type { SiteOwner } from '../../servers/site.ts';
import { run } from '../../servers/usher.ts';
import type { WebServer } from '../../servers/web-server.ts';
import type { Account, Judged } from './accounts.ts';
import { type Action, actions } from './actions.ts';
import { Arena } from './arena.ts';
import { audit, quiet, type Sizes, sizesIn } from './audit.ts';
import { Draw, scheduleOf } from './schedule.ts';

export interface ChaosOptions {
  servers: readonly WebServer[];
  seed: number;
  lastsMs: number;
  /** Only these actions; all when left out. */
  only?: readonly string[];
  /** Hears of each step as it begins, and of what else is worth telling. */
  tell: (line: string) => void;
}

export interface ChaosResult {
  accounts: Account[];
  losses: Judged[];
  problems: string[];
  requests: number;
  /** Of the roles after the warm-up, in the middle and at the end. */
  sizes: Sizes[];
  /** Where the servers' logs are. */
  dir: string;
}

export const unexplained = ({ losses }: ChaosResult): Judged[] =>
  losses.filter(({ step }) => step === undefined);

export const hasHeld = (result: ChaosResult): boolean =>
  result.problems.length === 0 && unexplained(result).length === 0;

const warmUpMs = 3_000;

/** In less than this, actions that are long have no place. */
const longMs = 60_000;

/** Those that this Usher and this machine know. */
async function actionsFor(arena: Arena, { only, lastsMs }: ChaosOptions): Promise<Action[]> {
  const { output } = await run([usher, '--help']);
  const absent: string[] = [];
  if (!/^\s+upgrade\b/m.test(output)) absent.push('upgrade');
  if (!arena.hasStandby) absent.push('kill-standby');
  // Limits of processes and of other users' programs are root's to set.
  if (process.getuid?.() !== 0) absent.push('few-processes');
  return actions.filter(
    ({ name, isLong }) =>
      !absent.includes(name) &&
      (only?.includes(name) ?? (isLong === undefined || lastsMs >= longMs)),
  );
}

async function runSteps(arena: Arena, options: ChaosOptions): Promise<Sizes> {
  const { seed, lastsMs, tell } = options;
  const steps = scheduleOf(seed, await actionsFor(arena, options), lastsMs);
  const beganMs = performance.now();
  let inTheMiddle: Sizes | undefined;
  for (const { number, atMs, action, seed } of steps) {
    await sleep(Math.max(0, beganMs + atMs - performance.now()));
    if (number > steps.length / 2) inTheMiddle ??= await sizesIn(arena);
    const seconds = ((performance.now() - beganMs) / 1000).toFixed(2);
    tell(`${new Date().toISOString()} ${seconds} s: step ${number}, ${action.name}`);
    arena.accounts.began(number, action.name, arena.underWay);
    const moment = { number, action: action.name, draw: new Draw(seed) };
    try {
      await action.run(arena, moment);
    } catch (error) {
      const problem = `step ${number}, ${action.name}: ${(error as Error).message}`;
      tell(problem);
      arena.problems.push(problem);
    }
  }
  return inTheMiddle ?? new Map();
}

export async function chaos(owner: SiteOwner, options: ChaosOptions): Promise<ChaosResult> {
  const arena = await Arena.start(owner, options.servers, options.seed);
  const sizes: Sizes[] = [];
  try {
    arena.clients = true;
    await sleep(warmUpMs);
    await arena.stopLoad();
    await quiet(arena);
    sizes.push(await sizesIn(arena));
    arena.clients = true;
    sizes.push(await runSteps(arena, options));
    await arena.calm();
  } catch (error) {
    arena.problems.push((error as Error).message);
  }
  await arena.stopLoad();
  try {
    await quiet(arena);
    arena.problems.push(...(await audit(arena, sizes[0] ?? new Map())));
    sizes.push(await sizesIn(arena));
  } catch (error) {
    arena.problems.push((error as Error).message);
  }
  const losses = arena.judge();
  const result = {
    accounts: arena.accounts.accountsFor(losses),
    losses,
    problems: arena.problems,
    requests: arena.contestants.reduce((sum, { load }) => sum + load.asked, 0),
    sizes,
    dir: arena.first.dir,
  };
  if (!hasHeld(result)) for (const { site } of arena.contestants) site.keep();
  arena.endExternal();
  for (const { site } of arena.contestants.slice(1)) await site.end('TERM', 'others');
  await arena.first.end('TERM');
  return result;
}
