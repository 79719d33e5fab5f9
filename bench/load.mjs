// SPDX-License-Identifier: Apache-2.0
// A turn of one server under build/bench/load, which checks every answer.

import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { root } from '../scripts/run.mjs';
import * as machine from './machine.mjs';
import { isValid, stuck } from './turns.mjs';

const execute = promisify(execFile);

/** @param what port, method, path, length of the answer's body, and of the request's */
async function load({ port, method, path, length, body = 0 }, connections, seconds) {
  const args = [port, method, path, connections, seconds, length, body].map(String);
  const { stdout } = await execute(`${root}/build/bench/load`, args, {
    timeout: (seconds + 30) * 1000,
  });
  return JSON.parse(stdout);
}

/** Throws unless all answers are right. */
export async function warmUp(server, what, { connections }, seconds) {
  const sample = await load(what, connections, seconds);
  if (!isValid(sample)) {
    throw new Error(`${server.label}: ${what.method} ${what.path}: ${JSON.stringify(sample)}`);
  }
}

/**
 * Who does what for a server that has begun to answer: itself, and whoever stands between it and the
 * programs.
 */
export function accountsOf(site, { id, pid, ancestors }) {
  const own = machine.families([pid]);
  const others = machine.families(ancestors.filter((ancestor) => ancestor !== pid));
  return {
    server: site.account(`${id}-server`, own),
    between: site.account(
      `${id}-between`,
      others.filter((member) => !own.includes(member)),
    ),
  };
}

/**
 * Its rate, and who took how much processor time for a request.
 * @param engine The account of whoever all servers share, if there is somebody.
 */
export async function measure(server, what, settings, engine) {
  await warmUp(server, what, settings, settings['warm-up']);
  const { accounts } = server;
  const look = () => ({
    server: accounts.server.timeMs(),
    between: accounts.between.timeMs(),
    engine: engine?.timeMs() ?? 0,
    client: machine.timeOfEndedChildren(),
    all: machine.busyTime(),
    atMs: performance.now(),
  });
  const before = look();
  const sample = await load(what, settings.connections, settings.seconds);
  const after = look();
  sample.errors.stuck = await stuck(server);

  const took = (who) => after[who] - before[who];
  const perRequest = (ms) => (ms * 1000) / sample.requests;
  const ours = took('server') + took('between') + took('engine') + took('client');
  const capacity = (after.atMs - before.atMs) * availableParallelism();
  return {
    ...sample,
    serverUs: perRequest(took('server')),
    betweenUs: perRequest(took('between')),
    engineUs: perRequest(took('engine')),
    ownUs: perRequest(took('server') + took('between')),
    othersShare: Math.max(0, (took('all') - ours) / capacity),
  };
}
