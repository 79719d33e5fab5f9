// SPDX-License-Identifier: Apache-2.0
// Instances that are replaced while they serve: asked for, because their program, their options or
// their age say so, because they hang. And classes that have to share.

import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { builtApps } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import { underLoad } from '../servers/load.ts';
import { isRunning, signal } from '../servers/processes.ts';
import { Site, type Texts } from '../servers/site.ts';
import { usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

type ByServer = Record<WebServer['kind'], string>;

/** Programs at /NAME, each a class of its own with these options in both spellings. */
async function siteWith(
  t: Test,
  server: WebServer,
  classes: Record<string, ByServer>,
): Promise<{ site: Site; programs: Record<string, string> }> {
  const site = await Site.create(t, server);
  const programs: Record<string, string> = {};
  for (const name of Object.keys(classes)) programs[name] = site.program(`bin/${name}`);
  const each = (write: (name: string, options: ByServer) => string) =>
    Object.entries(classes)
      .map(([name, options]) => write(name, options))
      .join('\n');
  const texts: Texts = {
    nginx: `
      ${each((name, { nginx }) => `usher_app ${programs[name]} ${nginx};`)}
      server {
        listen 127.0.0.1:${site.port};
        ${each((name) => `location /${name} { usher_pass ${programs[name]}; include fastcgi_params; }`)}
      }`,
    apache: `
      ${each((name, { apache }) => `AppClass ${programs[name]} ${apache}`)}
      ${each((name) => `<Location /${name}>\nUsherPass ${programs[name]}\n</Location>`)}`,
  };
  await site.start(texts);
  return { site, programs };
}

async function pidsOf(site: Site, name: string, state = 'ready'): Promise<number[]> {
  const instances = (await site.classStatus(name))?.instances ?? [];
  return instances.filter((one) => one.state === state).map(({ pid }) => pid);
}

/** Puts another program in a program's place, in one step. */
function replaceProgram(path: string, text?: string): void {
  if (text === undefined) copyFileSync(`${builtApps}/echo`, `${path}.new`);
  else writeFileSync(`${path}.new`, text, { mode: 0o755 });
  renameSync(`${path}.new`, path);
}

/** Events of one kind and class in the manager's log. */
function events(site: Site, event: string, name: string): { text: string; retryMs?: number }[] {
  return readFileSync(`${site.runtimeDir}/usher.log`, 'utf8')
    .split('\n')
    .filter((line) => line.includes(`"event":"${event}"`))
    .map((line) => JSON.parse(line))
    .filter((one) => one.class === name);
}

export async function replacing(t: Test, server: WebServer): Promise<void> {
  const { site, programs } = await siteWith(t, server, {
    kept: { nginx: 'processes=3', apache: '-processes 3' },
    tired: { nginx: 'max_requests=20', apache: '-max-requests 20' },
    aging: { nginx: 'max_lifetime=500ms', apache: '-max-lifetime 500ms' },
    fresh: { nginx: 'auto_update processes=2', apache: '-autoUpdate -processes 2' },
    hanging: {
      nginx: 'request_timeout=3 stop_timeout=1',
      apache: '-request-timeout 3 -stop-timeout 1',
    },
  });
  const { kept = '', tired = '', aging = '', fresh = '', hanging = '' } = programs;

  await site.check('usher restart replaces all instances and loses no request', async (t) => {
    const before = await eventually('three are ready', async () => {
      const pids = await pidsOf(site, kept);
      return pids.length === 3 && pids;
    });
    const outcomes = await underLoad(site, '/kept?sleep=5&pid', async () => {
      const { status, output } = await usherCommand(site.runtimeDir, 'restart', kept);
      t.equal(status, 0, output);
    });
    t.same(outcomes.lost, []);
    t.ok(outcomes.answered > 3, `${outcomes.answered} requests were made`);
    const after = await pidsOf(site, kept);
    t.equal(after.length, 3);
    t.same(
      after.filter((pid) => before.includes(pid)),
      [],
    );
    await eventually('the old ones have ended', () => !before.some(isRunning));
  });

  await site.check('a new program that cannot start does not replace the old one', async (t) => {
    const before = await pidsOf(site, kept);
    replaceProgram(kept, '#!/bin/sh\nsleep 3\necho "no configuration" >&2\nexit 1\n');
    const outcomes = await underLoad(site, '/kept?sleep=5&pid', async () => {
      const { status, output } = await usherCommand(site.runtimeDir, 'restart', kept);
      t.equal(status, 1);
      t.match(output, /exited with status 1 .*no configuration; the old instances go on serving/);
    });
    t.same(outcomes.lost, []);
    t.same(await pidsOf(site, kept), before, 'they serve on');
    t.match(events(site, 'class.update-failed', kept), [{ text: /no configuration/ }]);
    replaceProgram(kept);
    const { status, output } = await usherCommand(site.runtimeDir, 'retry', kept);
    t.equal(status, 0, output);
    t.same(
      (await pidsOf(site, kept)).filter((pid) => before.includes(pid)),
      [],
      'a program that works does',
    );
  });

  await site.check('-max-requests', async (t) => {
    const outcomes = await underLoad(site, '/tired?pid', async () => {
      await eventually('four instances have had their turn', () => site.starts(tired).length >= 4);
    });
    t.same(outcomes.lost, []);
    t.match(events(site, 'instance.worn', tired), [{ text: /\(-max-requests 20\)/ }]);
  });

  await site.check('-max-lifetime', async (t) => {
    const outcomes = await underLoad(site, '/aging?pid', async () => {
      await eventually('three instances have had their turn', () => site.starts(aging).length >= 3);
    });
    t.same(outcomes.lost, []);
  });

  await site.check('-autoUpdate', async (t) => {
    const before = await eventually('two are ready', async () => {
      const pids = await pidsOf(site, fresh);
      return pids.length === 2 && pids;
    });
    const outcomes = await underLoad(site, '/fresh?sleep=5&pid', async () => {
      replaceProgram(fresh);
      await eventually('both are others', async () => {
        const now = await pidsOf(site, fresh);
        return now.length === 2 && !now.some((pid) => before.includes(pid));
      });
    });
    t.same(outcomes.lost, []);
    t.match(events(site, 'class.updating', fresh), [{ text: /has changed/ }]);
  });

  await site.check('a request that hangs ends, and its instance with it', async (t) => {
    const first = Number((await site.request('/hanging?pid')).text);
    const hung = await site.request('/hanging?sleep=30000&text=late');
    t.equal(hung.status, 504);
    await eventually('the instance is killed', () => !isRunning(first));
    const second = await site.request('/hanging?pid');
    t.equal(second.status, 200, 'another serves');
    t.not(Number(second.text), first);
    t.match(events(site, 'instance.hung', hanging), [{ text: /-request-timeout/ }]);
    t.match(events(site, 'instance.snapshot', hanging), [{ text: /nanosleep/ }]);
  });
  await site.settled();
}

export async function sharing(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const greedy = site.program('docs/greedy.fcgi');
  const poor = site.program('docs/poor.fcgi');
  const small = site.program('bin/small');
  const grown = site.program('bin/grown');
  const broken = site.file(
    'docs/broken.fcgi',
    '#!/bin/sh\necho "no database" >&2\nexit 3\n',
    0o755,
  );
  await site.start({
    nginx: `
      usher_config max_processes=2;
      usher_app ${small} queue_limit=1 queue_timeout=30;
      usher_app ${grown} on_demand=4 idle_stop=1;
      server {
        listen 127.0.0.1:${site.port};
        location /small { usher_pass ${small}; include fastcgi_params; }
        location /grown { usher_pass ${grown}; include fastcgi_params; }
        location / { root ${site.docs}; usher_pass $document_root$uri; include fastcgi_params; }
      }`,
    apache: `
      FCGIConfig -maxProcesses 2
      AppClass ${small} -queue-limit 1 -queue-timeout 30
      AppClass ${grown} -on-demand 4 -idle-stop 1
      AddHandler fastcgi-script .fcgi
      <Directory ${site.docs}>
        Options +ExecCGI
      </Directory>
      <Location /small>
        UsherPass ${small}
      </Location>
      <Location /grown>
        UsherPass ${grown}
      </Location>`,
  });

  await site.check('a full class answers at once', async (t) => {
    const gate = site.file('gate-small', '').replace('gate-small', 'open-small');
    const served = site.request(`/small?wait=${gate}&text=served`);
    await eventually('it is served', async () => (await site.classStatus(small))?.inFlight === 1);
    const queued = site.request('/small?text=queued');
    await eventually('it waits', async () => (await site.classStatus(small))?.waiting === 1);
    const refused = await site.request('/small?text=refused');
    t.equal(refused.status, 503);
    t.match(refused.header('retry-after'), [/^\d+$/]);
    site.file('open-small', '');
    t.same([(await served).text, (await queued).text], ['served', 'queued']);
  });

  await site.check('a named program goes from none to its limit and back', async (t) => {
    const running = async () => (await pidsOf(site, grown)).length;
    t.equal(await running(), 0);
    const gate = `${site.dir}/open-grown`;
    const answers = [1, 2, 3, 4, 5, 6].map(() => site.request(`/grown?wait=${gate}&pid`));
    await eventually('all four run', async () => (await running()) === 4);
    await eventually('and serve', async () => (await site.classStatus(grown))?.inFlight === 4);
    site.file('open-grown', '');
    const pids = new Set((await Promise.all(answers)).map(({ text }) => text));
    t.equal(pids.size, 4, 'all of them have served');
    await eventually('none runs', async () => (await running()) === 0);
    t.equal((await site.request('/grown?text=again')).text, 'again');
  });

  await site.check('a class that has everything makes room for one that has nothing', async (t) => {
    const outcomes = await underLoad(site, '/greedy.fcgi?sleep=100&pid', async () => {
      await eventually('two instances of it run', async () => {
        return (await pidsOf(site, greedy)).length === 2;
      });
      const { status, text } = await site.request('/poor.fcgi?text=served');
      t.same([status, text], [200, 'served']);
    });
    t.same(outcomes.lost, []);
    // Of one moment: either may take the other's place.
    const running = (await site.status()).classes
      .filter(({ name }) => name === greedy || name === poor)
      .flatMap(({ instances }) => instances)
      .filter(({ state }) => state === 'ready').length;
    t.ok(running <= 2, `${running} run together (-maxProcesses 2)`);
  });

  await site.check(
    'the next manager goes on with the back-off of a class that failed',
    async (t) => {
      t.equal((await site.request('/broken.fcgi')).status, 503);
      const { pid } = (await site.status()).manager;
      signal(pid, 'SIGKILL');
      await eventually('another manager answers', async () => {
        return (await site.status()).manager.pid !== pid;
      });
      await eventually('it has failed again', async () => {
        t.equal((await site.request('/broken.fcgi')).status, 503);
        return events(site, 'class.failed', broken).length >= 2;
      });
      const [first, second] = events(site, 'class.failed', broken);
      t.equal(second?.retryMs, 2 * (first?.retryMs ?? 0), 'not as after a first failure');
      t.match((await site.classStatus(broken))?.lastFailure?.explanation, /no database/);
    },
  );

  await site.check('usher retry ends the wait of a class that failed', async (t) => {
    t.equal((await site.request('/broken.fcgi')).status, 503);
    const failed = await usherCommand(site.runtimeDir, 'retry', broken);
    t.equal(failed.status, 1);
    t.match(failed.output, /exited with status 3 .*no database/);
    replaceProgram(broken);
    const { status, output } = await usherCommand(site.runtimeDir, 'retry', broken);
    t.equal(status, 0, output);
    t.equal((await site.request('/broken.fcgi?text=well')).text, 'well');
  });

  await site.check('a class that is not there is named', async (t) => {
    const { status, output } = await usherCommand(site.runtimeDir, 'restart', 'nobody');
    t.equal(status, 1);
    t.match(output, /there is no class "nobody"; known: .*small/);
  });
  await site.settled();
}
