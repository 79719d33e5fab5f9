// SPDX-License-Identifier: Apache-2.0
// Reading the configuration again is a difference: what stays the same goes on, whatever the server
// does with its own processes. And what is left when the manager was stopped before its servers.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { type Outcomes, underLoad } from '../servers/load.ts';
import { childrenOf, commandLine, isRunning, signal, userOf } from '../servers/processes.ts';
import { readAgain } from '../servers/reading-again.ts';
import { isRoot, Site, type Texts } from '../servers/site.ts';
import { usherCommand } from '../servers/usher.ts';
import { files, type WebServer } from '../servers/web-server.ts';

/** A program, its location, and what is said of it in either spelling: '' = nothing, a dynamic class. */
interface Program {
  path: string;
  location: string;
  nginx: string;
  apache: string;
}

/** @param dynamic What is said of all dynamic classes. */
function textsFor(
  site: Site,
  programs: Program[],
  dynamic: Texts = { nginx: 'min_processes=0', apache: '-minProcesses 0' },
): Texts {
  const isStatic = ({ nginx }: Program) => nginx !== '';
  return {
    nginx: `
      usher_config ${dynamic.nginx};
      fastcgi_read_timeout 600s;
      ${programs
        .filter(isStatic)
        .map(({ path, nginx }) => `usher_app ${path} ${nginx};`)
        .join('\n')}
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        ${programs
          .map(
            ({ path, location }) =>
              `location ${location} { usher_pass ${path}; include fastcgi_params; }`,
          )
          .join('\n')}
      }`,
    apache: `
      FCGIConfig -idle-timeout 600 ${dynamic.apache}
      ${programs
        .filter(isStatic)
        .map(({ path, apache }) => `AppClass ${path} ${apache}`)
        .join('\n')}
      AddHandler fastcgi-script .fcgi
      <Directory ${site.docs}>
        Options +ExecCGI
      </Directory>
      ${programs
        .filter(isStatic)
        .map(({ path, location }) => `<Location ${location}>\nUsherPass ${path}\n</Location>`)
        .join('\n')}`,
  };
}

/** The ready instances, once there are as many and no others. */
async function pidsOf(site: Site, name: string, count: number): Promise<number[]> {
  return eventually(`${count} ready instances of ${name}, and no others`, async () => {
    const instances = (await site.classStatus(name))?.instances ?? [];
    const pids = instances.filter(({ state }) => state === 'ready').map(({ pid }) => pid);
    if (pids.length === count && instances.length === count) return pids.sort((a, b) => a - b);
    throw new Error(JSON.stringify(instances));
  });
}

/** Loads several paths at once. */
async function underLoads(
  site: Site,
  paths: string[],
  action: () => Promise<unknown>,
): Promise<Outcomes> {
  const done = action();
  const all = await Promise.all(paths.map((path) => underLoad(site, path, () => done)));
  return {
    answered: all.reduce((sum, { answered }) => sum + answered, 0),
    lost: all.flatMap(({ lost }) => lost),
  };
}

export async function reload(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const two = { nginx: 'processes=2', apache: '-processes 2' };
  const program = (name: string, said = two): Program => ({
    path: site.program(`bin/${name}`),
    location: `/${name}`,
    ...said,
  });
  const kept = program('kept');
  const changed = program('changed');
  const removed = program('removed', { nginx: 'on_demand=1', apache: '-on-demand 1' });
  const added = program('added');
  const path = site.program('docs/free.fcgi');
  const dynamic: Program = { path, location: '/free.fcgi', nginx: '', apache: '' };
  await site.start(textsFor(site, [kept, changed, removed, dynamic]));

  const marked: Program = {
    ...changed,
    nginx: `${changed.nginx} initial_env=MARK=1`,
    apache: `${changed.apache} -initial-env MARK=1`,
  };
  const after = textsFor(site, [kept, marked, added, dynamic]);

  await site.check('kept, changed, removed and added classes', async (t) => {
    const keptPids = await pidsOf(site, kept.path, 2);
    const oldPids = await pidsOf(site, changed.path, 2);
    const removedPid = Number((await site.request('/removed?pid')).text);
    const paths = ['/kept?sleep=1&pid', '/changed?sleep=1&pid'];
    const outcomes = await underLoads(site, paths, async () => {
      await readAgain(site, () => site.reload(after));
      await eventually('the changed class has rolled', async () => {
        const pids = await pidsOf(site, changed.path, 2);
        return pids.every((pid) => !oldPids.includes(pid));
      });
    });
    t.same(outcomes.lost, [], 'no request is lost');
    t.ok(outcomes.answered > 10, `${outcomes.answered} requests were made`);
    t.same(await pidsOf(site, kept.path, 2), keptPids, 'what is unchanged goes on');
    t.equal(site.starts(kept.path).length, 2);
    await eventually('the old instances have ended', () => !oldPids.some(isRunning));
    await eventually('the removed one has ended', () => !isRunning(removedPid));
    await eventually('the removed one is forgotten', async () => {
      return (await site.classStatus(removed.path)) === undefined;
    });
    t.equal((await pidsOf(site, added.path, 2)).length, 2, 'the added one runs');
    t.equal((await site.request('/added?text=here')).text, 'here');
    await site.settled();
  });

  await site.check('the same again, several times', async (t) => {
    const before = [await pidsOf(site, kept.path, 2), await pidsOf(site, changed.path, 2)];
    const outcomes = await underLoads(site, ['/kept?pid', '/changed?pid'], async () => {
      for (let i = 0; i < 5; i++) {
        await readAgain(site, () => site.reload(after));
      }
    });
    t.same(outcomes.lost, []);
    t.same([await pidsOf(site, kept.path, 2), await pidsOf(site, changed.path, 2)], before);
  });

  await site.check('two changes in a row', async (t) => {
    const again = (mark: number): Program => ({
      ...changed,
      nginx: `${changed.nginx} initial_env=MARK=${mark}`,
      apache: `${changed.apache} -initial-env MARK=${mark}`,
    });
    const starts = () => site.starts(changed.path).length;
    const startsBefore = starts();
    const outcomes = await underLoads(site, ['/changed?sleep=1&pid'], async () => {
      for (const mark of [2, 3]) {
        await readAgain(site, () =>
          site.reload(textsFor(site, [kept, again(mark), added, dynamic])),
        );
      }
      await eventually('the last one is in force', async () => {
        const pids = await pidsOf(site, changed.path, 2);
        const environments = pids.map((pid) => readFileSync(`/proc/${pid}/environ`, 'latin1'));
        return environments.every((text) => text.includes('MARK=3'));
      });
    });
    t.same(outcomes.lost, []);
    t.ok(starts() >= startsBefore + 2);
    await readAgain(site, () => site.reload(after));
  });

  await site.check('other options of dynamic classes', async (t) => {
    const read = (nginx: string, apache: string) => {
      const texts = textsFor(site, [kept, marked, added, dynamic], { nginx, apache });
      return readAgain(site, () => site.reload(texts));
    };
    await read('idle_stop=300', '-idle-stop 300');
    const first = Number((await site.request('/free.fcgi?pid')).text);
    await site.settled(); // or the next one would not find it free
    const gate = `${site.docs}/open-free`;
    const long = site.request(`/free.fcgi?wait=${gate}&pid`);
    await eventually('one is served', async () => {
      return (await site.classStatus(dynamic.path))?.inFlight === 1;
    });
    await read('idle_stop=200', '-idle-stop 200');
    const { instances } = (await site.classStatus(dynamic.path)) ?? { instances: [] };
    const found = instances.find(({ pid }) => pid === first);
    t.equal(found?.state, 'ready', 'what no process notices replaces none');
    await read('initial_env=MARK=1', '-initial-env MARK=1');
    const second = await site.request('/free.fcgi?pid');
    t.equal(second.status, 200, 'nobody waits for the end of a request to the old one');
    await eventually('instances with the new option serve', async () => {
      const pid = Number((await site.request('/free.fcgi?pid')).text);
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes('MARK=1');
    });
    writeFileSync(gate, '');
    t.equal(Number((await long).text), first, 'which ends there');
    await eventually('the old one has ended', () => !isRunning(first));
    await site.settled();
    await readAgain(site, () => site.reload(after));
  });

  if (server.kind === 'nginx') await binaryUpgrade(site, kept.path);
  if (server.kind === 'apache') await hardRestart(site, kept.path);
  if (isRoot) await anotherUser(site, after, kept.path);
  await site.end();
}

async function masterOf(site: Site, previous: number): Promise<number> {
  return eventually('another master', () => {
    const { pid } = site;
    return Number.isInteger(pid) && pid !== previous && isRunning(pid) && pid;
  });
}

/** The new master is a child of the old one as well. */
function workersOf(master: number): number[] {
  return childrenOf(master).filter((pid) => commandLine(pid).includes('worker process'));
}

async function binaryUpgrade(site: Site, name: string): Promise<void> {
  await site.check('a new nginx binary, and back to the old one', async (t) => {
    const pids = await pidsOf(site, name, 2);
    const first = site.pid;
    const oldPid = `${files.pid(site)}.oldbin`;
    const outcomes = await underLoad(site, '/kept?sleep=1&pid', async () => {
      signal(first, 'SIGUSR2');
      const second = await masterOf(site, first);
      await eventually('it has workers', () => workersOf(second).length >= 2);
      signal(first, 'SIGWINCH');
      await eventually('the old workers are gone', () => workersOf(first).length === 0);
      signal(first, 'SIGHUP');
      await eventually('the old master has workers again', () => workersOf(first).length >= 2);
      signal(second, 'SIGQUIT');
      await eventually('the new master is gone', () => !isRunning(second));
      await eventually(
        'the old one is the only one',
        () => !existsSync(oldPid) && site.pid === first,
      );
    });
    t.same(outcomes.lost, [], 'rolled back: no request is lost');
    t.same(await pidsOf(site, name, 2), pids, 'and no instance');

    const upgrade = await underLoad(site, '/kept?sleep=1&pid', async () => {
      signal(first, 'SIGUSR2');
      const second = await masterOf(site, first);
      await eventually('it has workers', () => workersOf(second).length >= 2);
      signal(first, 'SIGWINCH');
      await eventually('the old workers are gone', () => workersOf(first).length === 0);
      signal(first, 'SIGQUIT');
      await eventually('the old master is gone', () => !isRunning(first));
    });
    t.same(upgrade.lost, [], 'upgraded: no request is lost');
    t.same(await pidsOf(site, name, 2), pids, 'and no instance');
    t.equal((await site.request('/added?text=still')).text, 'still');
    t.equal(site.starts(name).length, 2);
    await site.settled();
  });
}

async function hardRestart(site: Site, name: string): Promise<void> {
  await site.check('a restart that ends all children keeps the instances', async (t) => {
    const pids = await pidsOf(site, name, 2);
    await readAgain(site, () => signal(site.pid, 'SIGHUP'));
    await eventually('they answer', async () => (await site.request('/kept?pid')).status === 200);
    t.same(await pidsOf(site, name, 2), pids);
  });
}

/** Workers of another user are another server: both have what they need while both live. */
async function anotherUser(site: Site, texts: Texts, name: string): Promise<void> {
  await site.check('workers that become another user', async (t) => {
    const { workers } = site;
    const outcomes = await underLoad(site, '/kept?sleep=1&pid', async () => {
      const file = files.configuration(site);
      const text = readFileSync(file, 'utf8');
      writeFileSync(file, text.replace(/^(user|User) www-data/m, '$1 nobody'));
      await readAgain(site, () => signal(site.pid, site.server.reloadSignal));
      await eventually('the old workers are gone', () => !workers.some(isRunning));
      await eventually('one server is left, with workers', async () => {
        const { servers } = await site.status();
        return servers.length === 1;
      });
    });
    t.same(outcomes.lost, []);
    // One that has just been begun is still root's.
    const user = await eventually('all workers have one user', () => {
      const [one, ...others] = new Set(site.workers.map(userOf));
      return others.length === 0 && one;
    });
    for (const pid of await pidsOf(site, name, 2)) {
      t.equal(userOf(pid), user, 'instances have the same user as workers');
    }
    t.equal((await site.request('/kept?text=there')).text, 'there');
    await readAgain(site, () => site.reload(texts));
    await eventually('and back', async () => {
      const [pid = 0] = await pidsOf(site, name, 2);
      return userOf(pid) === site.instanceUid;
    });
    t.equal((await site.request('/kept?text=back')).text, 'back');
  });
}

/** After `usher stop` there is no manager that could clean up. */
export async function stoppedBefore(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const path = site.program('bin/kept');
  const said = { nginx: 'processes=1', apache: '-processes 1' };
  await site.start(textsFor(site, [{ path, location: '/kept', ...said }]));
  await site.check('the manager is stopped, the server goes on', async (t) => {
    await pidsOf(site, path, 1);
    t.equal((await usherCommand(site.runtimeDir, 'stop')).status, 0);
    t.equal((await site.request('/kept')).status, 503);
    t.ok(existsSync(site.runtimeDir));
  });
  await site.end('graceful'); // nothingLeft() sees whether it removes the directory
}
