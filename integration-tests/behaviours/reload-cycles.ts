// SPDX-License-Identifier: Apache-2.0
// A configuration that is read again and again under load: no request is lost, and the master has in
// the end what it had soon after the beginning.

import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { underLoad } from '../servers/load.ts';
import { descriptorCount, mappingCount, memoryBytes } from '../servers/processes.ts';
import { readAgain } from '../servers/reading-again.ts';
import { isSanitized } from '../servers/sanitized.ts';
import { Site } from '../servers/site.ts';
import { files, type WebServer } from '../servers/web-server.ts';

/** Until allocators and caches have what they keep. */
const warmUp = 5;
/** nginx has two, Apache event some more. */
const workersWanted = 5;
/** A master's own allocator may come by that in the whole test; a leak is that large in each cycle. */
const memoryAllowed = 1024 * 1024;

interface Size {
  descriptors: number;
  mappings: number;
  memory: number;
}

/** Of the master, once it has no worker of a former configuration: it holds a pipe to each. */
async function measure(site: Site): Promise<Size> {
  const { pid } = site;
  await eventually('former workers have ended', () => site.workers.length <= workersWanted);
  return {
    descriptors: descriptorCount(pid),
    mappings: mappingCount(pid, site.runtimeDir),
    memory: memoryBytes(pid),
  };
}

export async function reloadCycles(t: Test, server: WebServer, cycles: number): Promise<void> {
  const site = await Site.create(t, server);
  const app = site.program('bin/app');
  const texts = {
    nginx: `
      usher_app ${app} processes=2 initial_env=A=b;
      usher_external_app nobody host=127.0.0.1:${site.ports[1]};
      server {
        listen 127.0.0.1:${site.port};
        location /app { usher_pass ${app}; include fastcgi_params; }
        location ~ \\.fcgi$ { usher_pass $document_root$fastcgi_script_name; include fastcgi_params; }
      }`,
    apache: `
      AppClass ${app} -processes 2 -initial-env A=b
      ExternalAppClass nobody -host 127.0.0.1:${site.ports[1]}
      AddHandler fastcgi-script .fcgi
      FCGIConfig -idle-timeout 10
      <Location /app>
        UsherPass ${app}
      </Location>`,
  };
  await site.start(texts);
  await site.check(`${cycles} times`, async (t) => {
    let before = await measure(site);
    const master = site.pid;
    const outcomes = await underLoad(site, '/app?pid', async () => {
      for (let i = 0; i < warmUp + cycles; i++) {
        await readAgain(site, () => site.reload(texts));
        if (i === warmUp) before = await measure(site);
      }
    });
    // Workers that are still ending have descriptors in the master.
    const after = await eventually('no more descriptors in the master than before', async () => {
      const now = await measure(site);
      if (now.descriptors <= before.descriptors + 6) return now;
      throw new Error(JSON.stringify({ before, now }));
    });
    t.same(outcomes.lost, [], 'no request is lost');
    t.ok(outcomes.answered > cycles, `${outcomes.answered} were made`);
    t.equal(site.pid, master);
    t.comment(`before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`);
    t.ok(after.mappings <= before.mappings, 'mappings of the channel in the master');
    if (!isSanitized) {
      t.ok(after.memory <= before.memory + memoryAllowed, 'memory of the master');
    }
    await site.settled();
    t.notMatch(
      readFileSync(files.errorLog(site), 'utf8'),
      /on signal|exit signal/,
      'no worker was ended by a signal of its own doing',
    );
  });
  await site.end('graceful');
}
