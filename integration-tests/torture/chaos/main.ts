// SPDX-License-Identifier: Apache-2.0
// `npm run torture -- chaos [--minutes N --seed N --server nginx|apache|both --only ACTION]`: prints each
// step as it happens, then a table: action, how often, requests under way, lost and explained, lost
// without an excuse. Fails when there is one of the last kind, or something is left or has grown.

import { parseArgs } from 'node:util';
import { apacheEvent, nginx } from '../../servers/index.ts';
import type { SiteOwner } from '../../servers/site.ts';
import { actions } from './actions.ts';
import type { Sizes } from './audit.ts';
import { type ChaosResult, chaos, hasHeld, unexplained } from './chaos.ts';

const servers = { nginx: [nginx], apache: [apacheEvent], both: [nginx, apacheEvent] };

const shown = 20;

interface Words {
  minutes: number;
  seed: number;
  server: keyof typeof servers;
  only: string[] | undefined;
}

function wordsIn(args: string[]): Words {
  const { values } = parseArgs({
    args,
    options: {
      minutes: { type: 'string', default: '10' },
      seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
      server: { type: 'string', default: 'both' },
      only: { type: 'string', multiple: true },
    },
  });
  const { minutes, seed, server, only } = values;
  if (!(Number(minutes) > 0)) throw new Error(`--minutes ${minutes}: expected a number above 0`);
  if (!/^\d+$/.test(seed)) throw new Error(`--seed ${seed}: expected a whole number`);
  if (!Object.hasOwn(servers, server)) {
    throw new Error(`--server ${server}: expected ${Object.keys(servers).join(', ')}`);
  }
  const known = actions.map(({ name }) => name);
  const unknown = only?.filter((name) => !known.includes(name)) ?? [];
  if (unknown.length > 0) {
    throw new Error(`--only ${unknown.join(', ')}: expected some of ${known.join(', ')}`);
  }
  return { minutes: Number(minutes), seed: Number(seed), server: server as Words['server'], only };
}

function row(cells: readonly (string | number)[]): string {
  const widths = [20, 7, 11, 11, 13];
  return cells
    .map((cell, i) => (i === 0 ? `${cell}`.padEnd(widths[i]!) : `${cell}`.padStart(widths[i]!)))
    .join(' ');
}

function sizeRows(sizes: readonly Sizes[]): string[] {
  const roles = [...new Set(sizes.flatMap((one) => [...one.keys()]))];
  return roles.map((role) => {
    const cells = sizes.map((one) => {
      const size = one.get(role);
      if (size === undefined) return '-';
      const { descriptors, mappings, memoryBytes } = size;
      return `${descriptors} descriptors, ${mappings} mappings, ${(memoryBytes / 1024).toFixed(0)} kB`;
    });
    return `${role.padEnd(20)} ${cells.join(' → ')}`;
  });
}

function print(result: ChaosResult): void {
  const { accounts, losses, problems, requests, sizes, dir } = result;
  console.log(`\n${row(['action', 'count', 'under way', 'explained', 'unexplained'])}`);
  for (const { action, count, underWay, explained, unexplained } of accounts) {
    console.log(row([action, count, underWay, explained, unexplained]));
  }
  console.log('\nafter the warm-up → in the middle → at the end');
  for (const line of sizeRows(sizes)) console.log(line);
  const without = unexplained(result);
  if (without.length > 0) console.log('\nlost without an excuse:');
  for (const { at, server, method, path, text, reason, action } of without.slice(0, shown)) {
    console.log(`  ${at} ${server} ${method} ${path}: ${text}, ${reason} (after ${action})`);
  }
  for (const problem of problems.slice(0, shown)) console.log(`problem: ${problem}`);
  if (!hasHeld(result)) console.log(`kept: ${dir}`);
  console.log(
    `\n${requests} requests, ${losses.length - without.length} lost as they had to be, ` +
      `${without.length} lost without an excuse, ${problems.length} problems`,
  );
}

/** Whether it held. */
export async function chaosMain(args: string[], owner: SiteOwner): Promise<boolean> {
  const { minutes, seed, server, only } = wordsIn(args);
  console.log(`chaos: ${minutes} min, seed ${seed}, ${server}`);
  const result = await chaos(owner, {
    servers: servers[server],
    seed,
    lastsMs: minutes * 60_000,
    tell: (line) => console.log(line),
    ...(only === undefined ? {} : { only }),
  });
  print(result);
  return hasHeld(result);
}
