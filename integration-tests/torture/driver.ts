// SPDX-License-Identifier: Apache-2.0
// Runs one scenario against one server with one program, and says what was lost.

import { eventually } from '../servers/eventually.ts';
import type { Loss } from '../servers/load.ts';
import type { SiteOwner } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';
import type { Program } from './programs.ts';
import type { Scenario } from './scenario.ts';
import { Tortured } from './tortured.ts';

export interface Result {
  scenario: string;
  server: string;
  program: string;
  events: number;
  requests: number;
  lost: number;
  mayLose: number;
  losses: Loss[];
  /** Whatever else is wrong. */
  problems: string[];
  notes: string[];
  seconds: number;
}

export const hasHeld = ({ lost, mayLose, problems }: Result): boolean =>
  lost <= mayLose && problems.length === 0;

/** A descriptor more for an instance more is no leak: allowed for each class. */
const descriptorsMore = 12;

export async function torture(
  owner: SiteOwner,
  scenario: Scenario,
  server: WebServer,
  program: Program,
  count: number,
): Promise<Result> {
  const { methods, sleepMs } = scenario;
  const classes = scenario.classes?.(program, count) ?? 1;
  const options = scenario.options(program);
  const setting = { server, program, classes, options, methods, sleepMs };
  const tortured = await Tortured.start(owner, setting);
  const startedMs = performance.now();
  try {
    await underTorture(tortured, scenario, count);
  } catch (error) {
    tortured.problems.push((error as Error).message);
  } finally {
    await Promise.all([tortured.load, ...tortured.otherLoads].map((load) => load.stop()));
  }
  const seconds = (performance.now() - startedMs) / 1000;
  await tortured.settled().catch((error: Error) => tortured.problems.push(error.message));

  const result = resultOf(tortured, scenario, seconds);
  if (result.events < count) {
    result.problems.push(`only ${result.events} of ${count} events took place`);
  }
  if (!hasHeld(result)) tortured.site.keep();
  await tortured.site.end();
  return result;
}

async function underTorture(tortured: Tortured, scenario: Scenario, count: number): Promise<void> {
  const { load } = tortured;
  load.clients = scenario.clients(tortured.setting.program);
  // Once around before it begins, so that all is warm and every later start has its cause.
  await Promise.all(tortured.classes.map(() => load.one()));
  const before = await tortured.descriptors();
  await scenario.run(tortured, count);
  let after: number[] = [];
  // Instances that are just being replaced have some, too.
  await eventually('no more descriptors than before', async () => {
    after = await tortured.descriptors();
    return after.every((many, i) => many <= before[i]! + descriptorsMore * tortured.classes.length);
  }).catch(() => {
    tortured.problems.push(`descriptors of manager and launcher grew: ${before} → ${after}`);
  });
  tortured.notes.push(`descriptors of manager, launcher: ${before} → ${after}`);
}

function resultOf(tortured: Tortured, scenario: Scenario, seconds: number): Result {
  const { setting, events, problems, notes } = tortured;
  const loads = [tortured.load, ...tortured.otherLoads];
  const sum = (of: 'asked' | 'lost') => loads.reduce((total, load) => total + load[of], 0);
  return {
    scenario: scenario.name,
    server: setting.server.name,
    program: setting.program.name,
    events,
    requests: sum('asked'),
    lost: sum('lost'),
    mayLose: scenario.mayLose?.(events, setting.program) ?? 0,
    losses: loads.flatMap(({ losses }) => losses),
    problems,
    notes,
    seconds,
  };
}
