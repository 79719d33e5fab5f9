// SPDX-License-Identifier: Apache-2.0
// Whatever of Usher or of the server is killed or stopped under load: what is lost is what was held by
// whoever was killed, the programs run on, and the counts are right afterwards. And a short chaos.

import { readdirSync, rmSync } from 'node:fs';
import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { childrenOf, isRunning, listenedTo, signal } from '../servers/processes.ts';
import { Site, type Texts } from '../servers/site.ts';
import { usherProcesses } from '../servers/usher-processes.ts';
import { files, type WebServer } from '../servers/web-server.ts';
import { actions } from '../torture/chaos/actions.ts';
import { Arena } from '../torture/chaos/arena.ts';
import { audit, quiet, sizesIn } from '../torture/chaos/audit.ts';
import { chaos, unexplained } from '../torture/chaos/chaos.ts';
import { Draw } from '../torture/chaos/schedule.ts';

/** The instances of the classes that always have the same ones. */
async function keptPids(arena: Arena): Promise<number[]> {
  const steady = ['c', 'node'];
  const instances = await arena.instances();
  return instances.flatMap(({ pid, of }) => (steady.includes(of.key) ? [pid] : [])).sort();
}

const tried = ['kill-manager', 'kill-launcher', 'kill-both', 'kill-worker', 'stop-worker'];

export async function survival(t: Test, server: WebServer): Promise<void> {
  const arena = await Arena.start(t, [server], 1);
  arena.clients = true;
  const [{ load, site }] = arena.contestants as [(typeof arena.contestants)[0]];
  await eventually('every class has served', () => load.answered > 200);
  await arena.stopLoad();
  await quiet(arena);
  const sizes = await sizesIn(arena);
  const before = await keptPids(arena);

  arena.clients = true;
  for (const [index, name] of tried.entries()) {
    const action = actions.find((one) => one.name === name);
    if (action === undefined) throw new Error(`no action ${name}`);
    await site.check(`${name}: ${action.title}`, async (t) => {
      const moment = { number: index + 1, action: name, draw: new Draw(index) };
      arena.accounts.began(moment.number, name, arena.underWay);
      await action.run(arena, moment);
      await arena.calm();
      await arena.recovered();
      const { answered } = load;
      await eventually('it is served on', () => load.answered > answered + 50);
      t.same(await keptPids(arena), before, 'the programs run on');
    });
  }
  await arena.stopLoad();

  await site.check('only what was killed is lost, and afterwards all is as it was', async (t) => {
    t.same(
      arena.judge().filter(({ step }) => step === undefined),
      [],
    );
    await quiet(arena);
    t.same(await audit(arena, sizes), []);
  });
  arena.endExternal();
  await site.end();
}

export async function shortChaos(t: Test, servers: readonly WebServer[]): Promise<void> {
  const told: string[] = [];
  const tell = (line: string): void => void told.push(line);
  const result = await chaos(t, { servers, seed: 1, lastsMs: 15_000, tell });
  t.same(result.problems, [], 'all is as it was');
  t.same(unexplained(result), [], 'what was lost had to be');
  t.ok(result.requests > 500, `${result.requests} requests were made`);
  if (!t.passing()) t.comment(`kept: ${result.dir}\n${told.join('\n')}`);
}

function socketFiles(runtimeDir: string): string[] {
  const sockets = `${runtimeDir}/sockets`;
  return readdirSync(sockets).map((name) => `${sockets}/${name}`);
}

/** What a machine that lost its power, or a crash of everything, leaves to the next start. */
export async function staleDirectory(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const program = site.program('bin/echo');
  const texts: Texts = {
    nginx: `
      usher_app ${program} processes=2;
      server {
        listen 127.0.0.1:${site.port};
        location / { usher_pass ${program}; include fastcgi_params; }
      }`,
    apache: `
      AppClass ${program} -processes 2
      <Location />
        UsherPass ${program}
      </Location>`,
  };
  const instances = () =>
    eventually('two instances are ready', async () => {
      const { instances = [] } = (await site.classStatus(program)) ?? {};
      return instances.filter(({ state }) => state === 'ready').length === 2 && instances;
    });
  await site.start(texts);

  await site.check('a start finds the runtime directory of a former life', async (t) => {
    const old = (await instances()).map(({ pid }) => pid);
    const processes = () => usherProcesses(site.runtimeDir).all;
    const master = site.pid;
    const victims = [master, ...childrenOf(master), ...old];
    // Usher first: it would start others in their place.
    for (const pid of [...processes(), ...victims]) signal(pid, 'SIGKILL');
    await eventually('all are gone', () => {
      for (const pid of processes()) signal(pid, 'SIGKILL');
      return processes().length === 0 && !victims.some(isRunning);
    });

    rmSync(files.pid(site)); // as a boot does
    await site.start(texts);
    t.equal((await site.request('/?text=anew')).text, 'anew');
    t.same(
      (await instances()).filter(({ pid }) => old.includes(pid)),
      [],
    );
    const { servers } = await eventually('the former server is forgotten', async () => {
      const status = await site.status();
      return status.servers.length === 1 && status;
    });
    t.notOk(victims.includes(servers[0]?.pid ?? 0));
    await site.settled();
  });

  await site.check('only what is in use is left there', async (t) => {
    const pids = (await instances()).map(({ pid }) => pid);
    const paths = await eventually('as many sockets as instances', () => {
      const found = socketFiles(site.runtimeDir);
      return found.length === pids.length && found;
    });
    t.same(new Set(paths), listenedTo(pids, `${site.runtimeDir}/sockets`));
  });
  await site.end();
}
