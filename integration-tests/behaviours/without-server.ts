// SPDX-License-Identifier: Apache-2.0
// The manager of a usher.conf, without any web server.

import { existsSync } from 'node:fs';
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
  const configuration = site.file(
    'usher.conf',
    `AppClass ${kept} -processes 2 ${isRoot ? '-user www-data' : ''}\n`,
  );
  const command = [usher, 'run', configuration, '--runtime-dir', site.runtimeDir];
  const running = startInBackground(command);
  t.teardown(() => running.kill('SIGKILL'));

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
