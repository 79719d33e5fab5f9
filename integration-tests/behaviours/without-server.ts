// SPDX-License-Identifier: Apache-2.0
// The manager of a usher.conf, without any web server.

import { existsSync, readFileSync, statSync } from 'node:fs';
import type { Test } from 'tap';
import { usher } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import { nginx } from '../servers/nginx.ts';
import { isRunning, userOf } from '../servers/processes.ts';
import { isRoot, Site } from '../servers/site.ts';
import { startInBackground } from '../servers/usher.ts';

export async function withoutServer(t: Test): Promise<void> {
  const site = await Site.create(t, nginx); // for its files only
  const kept = site.program('bin/kept');
  const talking = site.program('bin/talking');
  const user = isRoot ? '-user www-data' : '';
  site.file('logs/talking.log', '', 0o666);
  const classes = `UsherLog ${site.dir}/usher.log
AppClass ${kept} -processes 2 ${user}
AppClass talking -command "/bin/sh -c 'echo begins; exec ${talking}'" ${user} \\
    -log ${site.dir}/logs/talking.log -limit nofile=123 -limit core=0 -socket ${site.dir}/app.sock
`;
  const configuration = site.file('usher.conf', classes);
  const command = [usher, 'run', configuration, '--runtime-dir', site.runtimeDir];
  let running = startInBackground(command);
  t.teardown(() => running.kill('SIGTERM'));
  const readyPid = (name: string): Promise<number> =>
    eventually(`${name} is ready`, async () => {
      const instances = (await site.classStatus(name))?.instances ?? [];
      return instances.find(({ state }) => state === 'ready')?.pid;
    });

  await site.check('limits and a log file of its own', async (t) => {
    const pid = await readyPid('talking');
    const limits = readFileSync(`/proc/${pid}/limits`, 'utf8');
    t.match(limits, /^Max open files +123 +123 /m);
    t.match(limits, /^Max core file size +0 +0 /m);
    const logged = (name: string) => readFileSync(`${site.dir}/${name}`, 'utf8');
    // What a program says comes through a pipe, and it is ready by another way.
    await eventually('its words are there', () => logged('logs/talking.log') !== '');
    t.equal(logged('logs/talking.log'), 'begins\n');
    await eventually('and in our log', () => logged('usher.log').includes('"line":"begins"'));
  });

  await site.check('another usher.conf is read by the next usher run', async (t) => {
    await readyPid(kept);
    running.kill('SIGTERM');
    await eventually('usher run ends', () => running.exitCode !== null);
    t.equal(running.exitCode, 0);
    t.notOk(existsSync(`${site.dir}/app.sock`), 'the public socket is gone');
    const more = `AppClass more -command ${talking} ${user} -port 127.0.0.1:${site.port}
AppClass same -command ${talking} ${user} -port 127.0.0.1:${site.port}\n`;
    site.file('usher.conf', classes.replace('nofile=123', 'nofile=124') + more);
    running = startInBackground(command);
    const pid = await readyPid('talking');
    t.match(readFileSync(`/proc/${pid}/limits`, 'utf8'), /^Max open files +124 /m);
    t.ok(statSync(`${site.dir}/app.sock`).isSocket(), 'the socket is there again');
    const loser = await eventually('one of two at one address fails', async () => {
      const both = [await site.classStatus('more'), await site.classStatus('same')];
      return both.find((one) => one?.state === 'failed');
    });
    t.match(JSON.stringify(loser), new RegExp(`127.0.0.1:${site.port}: Address already in use`));
  });

  await site.check('usher run keeps the instances, and TERM ends all of it', async (t) => {
    const pids = await eventually('two instances are ready', async () => {
      const instances = (await site.classStatus(kept))?.instances ?? [];
      const ready = instances.filter(({ state }) => state === 'ready');
      return ready.length === 2 && ready.map(({ pid }) => pid);
    });
    for (const pid of pids) t.equal(userOf(pid), site.instanceUid);
    running.kill('SIGTERM');
    await eventually('instances and manager end', () => {
      return !pids.some(isRunning) && running.exitCode !== null;
    });
    t.equal(running.exitCode, 0);
    await eventually('the runtime directory is gone', () => !existsSync(site.runtimeDir));
  });
}
