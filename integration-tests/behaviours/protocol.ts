// SPDX-License-Identifier: Apache-2.0
// The steps of docs/registration.md, by a web server that is neither nginx nor Apache
// (examples/tiny_server.c): start, reload, stop, and what is left when it is killed.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { root } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import { underLoad } from '../servers/load.ts';
import { childrenOf, isRunning, signal, userOf } from '../servers/processes.ts';
import { accepts, isRoot, Site } from '../servers/site.ts';
import { usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

/** Only so that a Site can be made of it: it is started by hand. */
const tiny: WebServer = {
  name: 'tiny-server',
  kind: 'nginx',
  hasHttp2: false,
  configuration: (_place, text) => text,
  startCommand: () => ['false'],
  checkCommand: () => ['false'],
  hasBegun: () => true,
  reloadSignal: 'SIGHUP',
  endingSignals: { TERM: 'SIGTERM', graceful: 'SIGTERM', KILL: 'SIGKILL' },
};

function configuration(site: Site, lines: string[]): string {
  return site.file(
    'tiny.conf',
    [
      `port ${site.port}`,
      `runtime ${site.runtimeDir}`,
      ...(isRoot ? ['user www-data'] : []),
      'workers 2',
      ...lines,
      '',
    ].join('\n'),
  );
}

function start(site: Site, file: string): ChildProcess {
  const child = spawn(`${root}/build/examples/tiny-server`, [file], {
    stdio: ['ignore', 'ignore', openSync(`${site.dir}/tiny.log`, 'a')],
    env: { PATH: process.env.PATH },
  });
  site.t.teardown(() => {
    for (const pid of childrenOf(child.pid ?? 0)) signal(pid, 'SIGKILL');
    child.kill('SIGKILL');
  });
  return child;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    await new Promise((resolve) => child.once('exit', resolve));
  }
}

/** What a manager and its instances have left after the last server's end: nothing. */
async function cleanedUp(site: Site): Promise<boolean> {
  return eventually('the runtime directory is gone', () => !existsSync(site.runtimeDir));
}

/** The servers, once there is one of this generation with both its workers and no others. */
async function known(site: Site, generation: number): Promise<unknown> {
  return eventually(`generation ${generation} is the only one, with two workers`, async () => {
    const servers = (await site.status()).servers as { generation?: number; workers?: number }[];
    const [server] = servers;
    if (servers.length === 1 && server?.generation === generation && server.workers === 2) {
      return servers;
    }
    throw new Error(JSON.stringify(servers));
  });
}

export async function protocol(t: Test): Promise<void> {
  const site = await Site.create(t, tiny);
  const kept = site.program('bin/kept');
  const cold = site.program('bin/cold');
  const added = site.program('bin/added');
  const classes = [
    `usher AppClass ${kept} -processes 1`,
    `usher AppClass ${cold} -on-demand 2`,
    `pass /kept ${kept}`,
    `pass /cold ${cold}`,
    'pass /bad bad',
  ];
  const file = configuration(site, [...classes, 'usher AppClass bad -command x -processes many']);
  const server = start(site, file);
  const master = server.pid ?? 0;
  const serves = () =>
    eventually('it serves', async () => {
      return (await accepts(site.port)) && (await site.request('/kept?text=x')).status === 200;
    });

  await site.check('start: it registers, starts the manager, and serves', async (t) => {
    await serves();
    const { classes } = await site.status();
    t.match(await known(site, 1), [{ kind: 'tiny', pid: master }]);
    t.match(new Set(classes.map(({ name }) => name)), new Set([kept, cold]));
    t.equal((await site.request('/cold?text=started')).text, 'started');
    t.equal((await site.request('/none')).status, 404);
    if (isRoot) {
      t.equal(userOf(site.starts(cold)[0] ?? 0), site.instanceUid, 'as the workers’ user');
    }
  });

  await site.check('one bad class costs nobody else anything', async (t) => {
    const { status, text } = await site.request('/bad');
    t.equal(status, 503);
    t.match(text, /tiny\.conf:\d+: -processes many: expected a whole number/);
  });

  await site.check('reload: what stays goes on, what is new begins', async (t) => {
    const [pid = 0] = site.starts(kept);
    const workers = childrenOf(master);
    const outcomes = await underLoad(site, '/kept?pid&sleep=1', async () => {
      configuration(site, [
        ...classes,
        `usher AppClass ${added} -on-demand 1`,
        `pass /added ${added}`,
      ]);
      signal(master, 'SIGHUP');
      await eventually('the old workers are gone', () => !workers.some(isRunning));
    });
    t.same(outcomes.lost, []);
    t.same(site.starts(kept), [pid]);
    t.equal((await site.request('/added?text=new')).text, 'new');
    await eventually('only the new generation is left', async () => {
      const files = readdirSync(`${site.runtimeDir}/servers`);
      return files.length === 2 && files.every((file) => /\.2\.(conf|allow)$/.test(file));
    });
    await known(site, 2);
    await eventually('what is no more is not known', async () => {
      return (await site.request('/bad')).text.includes('no class named "bad"');
    });
  });

  await site.check('a configuration that cannot be read changes nothing', async (t) => {
    configuration(site, ['nonsense']);
    signal(master, 'SIGHUP');
    await eventually('it says so', () => {
      return readFileSync(`${site.dir}/tiny.log`, 'utf8').includes('nonsense');
    });
    t.equal((await site.request('/kept?text=as before')).text, 'as before');
    t.match((await site.status()).servers, [{ generation: 2 }]);
    configuration(site, classes);
  });

  await site.check('a worker that is killed is settled', async (t) => {
    const gate = `${site.dir}/gate`;
    const busy = site.request(`/cold?wait=${gate}`).catch(() => undefined);
    const victim = await eventually('a worker serves it', async () => {
      return (await site.classStatus(cold))?.inFlight === 1 && childrenOf(master)[0];
    });
    for (const pid of childrenOf(master)) signal(pid, 'SIGKILL');
    await eventually('it is gone', () => !isRunning(victim));
    await busy;
    site.file('gate', '');
    await site.settled();
    signal(master, 'SIGHUP');
    await serves();
    t.ok(await known(site, 3));
  });

  await site.check('stop: the manager ends what ran for it', async (t) => {
    const pids = [...site.starts(kept), ...site.starts(cold)];
    signal(master, 'SIGTERM');
    await ended(server);
    await cleanedUp(site);
    t.notOk(pids.some(isRunning));
  });

  await site.check('without a manager the last server removes the directory', async (t) => {
    const again = start(site, file);
    await serves();
    t.equal((await usherCommand(site.runtimeDir, 'stop')).status, 0);
    t.equal((await site.request('/kept')).status, 503);
    t.ok(existsSync(`${site.runtimeDir}/channel/table`), 'it stays as long as the server lives');
    again.kill('SIGTERM');
    await ended(again);
    t.notOk(existsSync(site.runtimeDir));
  });

  await site.check('killed: the manager sees it by the locks of its workers', async (t) => {
    const again = start(site, file);
    await serves();
    const workers = childrenOf(again.pid ?? 0);
    again.kill('SIGKILL');
    await ended(again);
    t.equal((await site.request('/kept?text=orphans serve')).text, 'orphans serve');
    t.equal((await site.status()).servers.length, 1);
    for (const pid of workers) signal(pid, 'SIGKILL');
    await cleanedUp(site);
  });
}
