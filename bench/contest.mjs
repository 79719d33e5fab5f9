// SPDX-License-Identifier: Apache-2.0
// Several servers that do the same, side by side: all run all the time, one at a time is asked, in turns, so
// that what disturbs one round disturbs all of them; and the ratios that matter, round by round.

import { accountsOf, fields, measure, warmUp } from './load.mjs';
import * as machine from './machine.mjs';
import { range, save, table } from './report.mjs';
import { withSite } from './site.mjs';
import {
  choose,
  compare,
  complaints,
  errorText,
  othersShare,
  parseSettings,
  ratioTable,
  showComplaints,
  showOthersShare,
  summarize,
  takeTurns,
} from './turns.mjs';

/** Of every contest; 'first-warm-up' is for all servers together, in each case. */
const common = { rounds: 5, seconds: 4, 'warm-up': 1, 'first-warm-up': 1, connections: 32 };

/**
 * @param name Of its results.
 * @param args Options of the command line.
 * @param contest
 *   defaults: settings beside the common ones, or other values for these;
 *   title(settings): a line about them;
 *   start(site, settings): begins the servers; each has id, label, pid, ancestors (of all processes that
 *     work for it, itself among them), perhaps runtimeDir and program (the file whose processes are the
 *     program's); and perhaps an engine that all share, its process: `{servers, engine}`;
 *   prepare(server, settings): before the first turn, if there is something to do;
 *   cases(settings): each with id, label, ask(server): what is asked for (load.mjs), perhaps by how many
 *     connections, undefined if the server has no part in it; and goals (compare() in turns.mjs);
 *   notes: lines below the tables.
 */
export async function contest(name, args, { defaults, title, start, prepare, cases, notes = [] }) {
  const settings = parseSettings(args, { ...common, ...defaults });
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  const { rounds, seconds } = settings;
  console.log(`${rounds} rounds of ${seconds} s; wrk; ${title(settings)}`);

  const result = await withSite(async (site) => {
    const { servers: all, engine: enginePid } = await start(site, settings);
    const servers = choose(all, settings.only);
    for (const server of servers) {
      await prepare?.(server, settings);
      server.accounts = accountsOf(site, server);
    }
    const engine = enginePid && site.account('engine', [enginePid]);
    const results = [];
    for (const one of cases(settings)) {
      results.push(await measureCase(one, servers, engine, settings));
      showCase(results.at(-1), engine !== undefined);
    }
    return {
      conditions,
      settings,
      results,
      timesAreWhole: servers.every(({ accounts }) => accounts.between.isWhole),
      othersShare: othersShare(results.flatMap((one) => one.servers)),
      logged: servers.map((one) => ({ label: one.label, complaints: complaints(site, one) })),
      configurations: Object.fromEntries(servers.map((s) => [s.id, s.configuration])),
    };
  });
  console.log('\n(µs: processor time of a request; MB: of server and gateway, without programs)');
  for (const note of notes) console.log(note);
  if (!result.timesAreWhole) {
    console.log('times leave out programs that nobody waits for: no control group; as root?');
  }
  showOthersShare(result.othersShare);
  showComplaints(result.logged);
  console.log(`written: ${save(name, result)}`);
  return result;
}

/** The value of --of, some of `names` with commas between them, or all; and the arguments without it. */
export function takeOf(args, names) {
  const at = args.indexOf('--of');
  if (at < 0) return { of: names, rest: args };
  const of = (args[at + 1] ?? '').split(',');
  const strange = of.find((name) => !names.includes(name));
  if (strange !== undefined) throw new Error(`--of ${strange}: expected some of ${names}`);
  return { of, rest: args.toSpliced(at, 2) };
}

async function measureCase({ ask, goals = [], ...one }, servers, engine, settings) {
  const connections = (server) => ask(server).connections ?? settings.connections;
  const load = (server) => ({ ...settings, connections: connections(server) });
  const part = servers.filter((server) => ask(server) !== undefined);
  const each = Math.ceil(settings['first-warm-up'] / part.length);
  for (const server of part) await warmUp(server, ask(server), load(server), each);
  const samples = await takeTurns(
    settings.rounds,
    part,
    (server) => measure(server, ask(server), load(server), engine),
    `${one.label}: `,
  );
  const rows = part.map((server) => summarize(server, samples.get(server.id), fields));
  const ratios = goals.map((goal) => compare(goal, rows)).filter(Boolean);
  return { ...one, servers: rows, ratios };
}

function showCase({ label, servers, ratios }, hasEngine) {
  const parties = ['server', 'between', 'programs', ...(hasEngine ? ['engine'] : []), 'client'];
  const heads = { between: 'gateway' };
  const digits = ({ median }) => median.toFixed(median < 10 ? 2 : 1);
  console.log(`\n${label}`);
  console.log(
    table(
      [
        ...['server', 'req/s', 'min–max', 'p50 ms', 'p90', 'p99', 'p99.9'],
        ...parties.map((party) => `${heads[party] ?? party} µs`),
        ...['MB', 'errors'],
      ],
      servers.map((row) => [
        row.label,
        row.perSecond.median.toFixed(0),
        range(row.perSecond),
        ...['p50Ms', 'p90Ms', 'p99Ms', 'p999Ms'].map((field) => digits(row[field])),
        ...parties.map((party) => digits(row[`${party}Us`])),
        row.ownMb.median.toFixed(0),
        errorText(row),
      ]),
    ),
  );
  if (ratios.length > 0) console.log(`\n${ratioTable(ratios)}`);
}
