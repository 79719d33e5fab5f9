// SPDX-License-Identifier: Apache-2.0
// A turn of one server: first under build/bench/load, which checks every answer, then under wrk.

import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { root } from '../scripts/run.mjs';
import * as machine from './machine.mjs';
import { isValid, stuck } from './turns.mjs';
import { wrk } from './wrk.mjs';

const execute = promisify(execFile);

/**
 * How many answers are wrong, and in what way.
 * @param what port, method, path, length of the answer's body, and of the request's
 */
export async function warmUp(server, what, { connections }, seconds) {
  const { port, method = 'GET', length, body = 0, count = 1 } = what;
  const path = count > 1 ? `${what.path}0` : what.path;
  const args = [port, method, path, connections, seconds, length, body].map(String);
  const { stdout } = await execute(`${root}/build/bench/load`, args, {
    timeout: (seconds + 30) * 1000,
  });
  const sample = JSON.parse(stdout);
  if (!isValid(sample)) {
    process.stderr.write(`bench: ${server.label}: ${method} ${path}: ${stdout}`);
  }
  return sample.errors;
}

/**
 * Who does what for a server that has begun to answer: itself, the copies of `program` that live on
 * after a request, and whoever stands between the two.
 */
export function accountsOf(site, { id, pid, ancestors, program }) {
  const all = machine.families(ancestors);
  const programs = all.filter((member) => machine.programOf(member) === program);
  const own = machine.families([pid]).filter((member) => !programs.includes(member));
  const between = all.filter((member) => !own.includes(member) && !programs.includes(member));
  return {
    server: site.account(`${id}-server`, own),
    between: site.account(`${id}-between`, between),
    programs: site.account(`${id}-programs`, programs),
  };
}

/** The parties of `accountsOf`, and whoever all servers share. */
const parties = ['server', 'between', 'programs', 'engine'];

/** Names of what `measure` finds, for `summarize`. */
export const fields = [
  ...['perSecond', 'p50Ms', 'p90Ms', 'p99Ms', 'p999Ms'],
  ...parties.map((party) => `${party}Us`),
  ...['ownUs', 'wholeUs', 'clientUs', 'ownMb', 'wholeMb'],
];

/**
 * Its rate and latencies, who took how much processor time for a request, and how much memory they have
 * then; own: without programs and engine, whole: with them, both without the client.
 * @param what As for warmUp; beside: what else is asked for meanwhile, and by how many connections.
 * @param engine The account of whoever all servers share, if there is somebody.
 */
export async function measure(server, what, settings, engine) {
  const wrong = await warmUp(server, what, settings, settings['warm-up']);
  if (what.count > 1) await wrk(what, settings, settings['warm-up']);
  const accounts = { ...server.accounts, ...(engine && { engine }) };
  const look = () => ({
    ...Object.fromEntries(parties.map((party) => [party, accounts[party]?.timeMs() ?? 0])),
    client: machine.timeOfEndedChildren(),
    all: machine.busyTime(),
    atMs: performance.now(),
  });
  const before = look();
  const { beside } = what;
  const [sample] = await Promise.all([
    wrk(what, settings, settings.seconds),
    beside && wrk(beside, beside, settings.seconds),
  ]);
  const after = look();
  for (const [kind, many] of Object.entries(wrong)) {
    sample.errors[kind] = (sample.errors[kind] ?? 0) + many;
  }
  sample.errors.stuck = await stuck(server);

  const sum = (values, names) => names.reduce((total, name) => total + values[name], 0);
  const took = Object.fromEntries(
    Object.keys(before).map((who) => [who, after[who] - before[who]]),
  );
  const mb = Object.fromEntries(
    parties.map((party) => [party, machine.memoryOf(accounts[party]?.pids() ?? [])]),
  );
  const perRequest = (ms) => (ms * 1000) / sample.requests;
  const capacity = took.atMs * availableParallelism();
  return {
    ...sample,
    ...Object.fromEntries(parties.map((party) => [`${party}Us`, perRequest(took[party])])),
    ownUs: perRequest(sum(took, ['server', 'between'])),
    wholeUs: perRequest(sum(took, parties)),
    clientUs: perRequest(took.client),
    ownMb: sum(mb, ['server', 'between']),
    wholeMb: sum(mb, parties),
    /** Share of the processors that others had meanwhile. */
    othersShare: Math.max(0, (took.all - sum(took, [...parties, 'client'])) / capacity),
  };
}
