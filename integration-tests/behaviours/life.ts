// SPDX-License-Identifier: Apache-2.0
// What happens when instances, the manager or the server go, wanted or not.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { RawClient } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { underLoad } from '../servers/load.ts';
import { isRunning, signal } from '../servers/processes.ts';
import { readAgain } from '../servers/reading-again.ts';
import { Site, type SiteOptions, type Texts } from '../servers/site.ts';
import { usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

interface Programs {
  kept: string;
  dynamic: string;
  another: string;
  brief: string;
}

/** A site with two kept instances of one program, and others that begin at their first request. */
async function ordinarySite(
  t: Test,
  server: WebServer,
  options?: SiteOptions,
): Promise<{ site: Site; programs: Programs; texts: Texts }> {
  const site = await Site.create(t, server, options);
  const programs = {
    kept: site.program('bin/kept'),
    dynamic: site.program('docs/dynamic.fcgi'),
    another: site.program('docs/another.fcgi'),
    brief: site.program('bin/brief'),
  };
  const texts: Texts = {
    nginx: `
      usher_app ${programs.kept} processes=2;
      usher_app ${programs.brief} on_demand=2 idle_stop=1;
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        location /kept {
          usher_pass ${programs.kept};
          include fastcgi_params;
          fastcgi_buffering off;
        }
        location /brief { usher_pass ${programs.brief}; include fastcgi_params; }
        location / { usher_pass $document_root$uri; include fastcgi_params; }
      }`,
    apache: `
      AppClass ${programs.kept} -processes 2 -flush
      AppClass ${programs.brief} -on-demand 2 -idle-stop 1
      AddHandler fastcgi-script .fcgi
      <Directory ${site.docs}>
        Options +ExecCGI
      </Directory>
      <Location /kept>
        UsherPass ${programs.kept}
      </Location>
      <Location /brief>
        UsherPass ${programs.brief}
      </Location>`,
  };
  await site.start(texts);
  return { site, programs, texts };
}

async function readyPids(site: Site, name: string, count: number): Promise<number[]> {
  return eventually(`${count} instances of ${name} are ready`, async () => {
    const instances = (await site.classStatus(name))?.instances ?? [];
    const ready = instances.filter(({ state }) => state === 'ready').map(({ pid }) => pid);
    return ready.length === count && ready.sort((a, b) => a - b);
  });
}

export async function survival(t: Test, server: WebServer): Promise<void> {
  const { site, programs, texts } = await ordinarySite(t, server);
  const { kept, dynamic, brief } = programs;

  await site.check('static instances run before any request', async (t) => {
    t.same(
      await readyPids(site, kept, 2),
      site.starts(kept).sort((a, b) => a - b),
    );
    t.same(site.starts(dynamic), []);
  });

  await site.check('a static instance that is killed is replaced', async (t) => {
    const [victim = 0, survivor = 0] = await readyPids(site, kept, 2);
    signal(victim, 'SIGKILL');
    const pids = await eventually('another one takes its place', async () => {
      const now = await readyPids(site, kept, 2);
      return !now.includes(victim) && now;
    });
    t.ok(pids.includes(survivor));
    t.equal((await site.request('/kept?text=served')).text, 'served');
    t.equal(site.starts(kept).length, 3);
  });

  await site.check('a dynamic instance that is killed returns when it is wanted', async (t) => {
    const first = Number((await site.request('/dynamic.fcgi?pid')).text);
    signal(first, 'SIGKILL');
    await eventually('the manager has seen it', async () => {
      return (await site.classStatus(dynamic))?.instances.length !== 1;
    });
    await sleep(1000);
    t.same(site.starts(dynamic), [first], 'not started again by itself');
    const second = Number((await site.request('/dynamic.fcgi?pid')).text);
    t.same(site.starts(dynamic), [first, second]);
  });

  await site.check('an instance that is killed costs only the request it served', async (t) => {
    const outcomes = await underLoad(site, '/kept?sleep=2&pid', async (load) => {
      const [victim = 0] = await readyPids(site, kept, 2);
      signal(victim, 'SIGKILL');
      await eventually('another one takes its place', async () => {
        return !(await readyPids(site, kept, 2)).includes(victim);
      });
      await eventually('some requests were made', () => load.answered > 20);
    });
    t.ok(outcomes.lost.length <= 1, outcomes.lost.join(', '));
  });

  await site.check('a named program ends when nobody wants it, and comes back', async (t) => {
    const first = Number((await site.request('/brief?pid')).text);
    await eventually('it has ended', () => !isRunning(first));
    await eventually('the manager has seen it', async () => {
      return (await site.classStatus(brief))?.instances.length === 0;
    });
    const second = Number((await site.request('/brief?pid')).text);
    t.same(site.starts(brief), [first, second]);
  });

  await site.check('no request is lost while the manager is killed', async (t) => {
    const before = await readyPids(site, kept, 2);
    const outcomes = await underLoad(site, '/kept?sleep=2&pid', async (load) => {
      for (let i = 0; i < 3; i++) {
        const { pid } = (await site.status()).manager;
        signal(pid, 'SIGKILL');
        await eventually('another manager answers', async () => {
          return (await site.status()).manager.pid !== pid;
        });
      }
      await eventually('some requests were made', () => load.answered > 20);
    });
    t.same(outcomes.lost, []);
    t.same(await readyPids(site, kept, 2), before, 'no instance was started again');
    await site.settled();
  });

  await site.check('a cold request waits for the next manager', async (t) => {
    const { pid } = (await site.status()).manager;
    signal(pid, 'SIGKILL');
    t.equal((await site.request('/another.fcgi?text=begun')).text, 'begun');
  });

  await site.check('no request is lost while the server reads its configuration', async (t) => {
    const before = await readyPids(site, kept, 2);
    const outcomes = await underLoad(site, '/kept?pid', async () => {
      for (let i = 0; i < 3; i++) await readAgain(site, () => site.reload(texts));
    });
    t.same(outcomes.lost, []);
    t.same(await readyPids(site, kept, 2), before, 'the instances stayed');
  });

  await site.check('a class that leaves the configuration ends, a new one begins', async (t) => {
    const added = site.program('bin/added');
    const [one = 0, two = 0] = await readyPids(site, kept, 2);
    site.reload({
      nginx: texts.nginx?.replaceAll(kept, added),
      apache: texts.apache?.replaceAll(kept, added),
    } as Texts);
    await readyPids(site, added, 2);
    await eventually('the new class answers', async () => {
      return site.starts(added).includes(Number((await site.request('/kept?pid')).text));
    });
    await eventually('the old one has ended', () => !isRunning(one) && !isRunning(two));
    t.equal(site.starts(added).length, 2);
  });

  await site.end('TERM');
}

export async function endings(t: Test, server: WebServer): Promise<void> {
  await t.test('a graceful stop lets a request end', async (t) => {
    const { site } = await ordinarySite(t, server);
    await site.check('the answer comes whole', async (t) => {
      const gate = `${site.dir}/gate`;
      const client = await RawClient.get(site.port, `/kept?text=begun&flush&wait=${gate}&text=end`);
      await client.until('begun');
      const ended = site.end('graceful');
      await sleep(500);
      site.file('gate', '');
      t.match(await client.all(), /begun[\s\S]*end/);
      await ended;
    });
  });

  await t.test('kill -9 of all of the server', async (t) => {
    const { site, programs } = await ordinarySite(t, server);
    await site.check('everything runs before it', async (t) => {
      t.equal((await site.request('/dynamic.fcgi?text=x')).status, 200);
      await readyPids(site, programs.kept, 2);
    });
    await site.end('KILL');
  });

  if (server.kind === 'nginx') {
    await t.test('workers outlive a killed master', async (t) => {
      const { site } = await ordinarySite(t, server);
      const { workers } = site;
      await site.check('and are served as before', async (t) => {
        signal(site.pid, 'SIGKILL');
        await eventually('the master is gone', () => !isRunning(site.pid));
        await sleep(4000); // longer than a server without workers is remembered
        t.equal((await site.request('/kept?text=warm')).text, 'warm');
        t.equal((await site.request('/dynamic.fcgi?text=cold')).text, 'cold');
      });
      for (const pid of workers) signal(pid, 'SIGTERM');
      await eventually('the workers end', () => !workers.some(isRunning));
      await site.end('KILL');
    });
  }

  await t.test('usher stop', async (t) => {
    const { site, programs, texts } = await ordinarySite(t, server);
    await site.check('ends manager and instances; the server says 503', async (t) => {
      const pids = await readyPids(site, programs.kept, 2);
      t.equal((await usherCommand(site.runtimeDir, 'stop')).status, 0);
      t.notOk(pids.some(isRunning));
      t.equal((await usherCommand(site.runtimeDir, 'status')).status, 3);
      t.equal((await site.request('/kept')).status, 503);
      t.ok(await site.errorLine(/manager/));
    });
    await site.check('a server that reads its configuration again has a manager', async (t) => {
      site.reload(texts);
      const text = await eventually('an answer', async () => {
        const answer = await site.request('/kept?text=again');
        return answer.status === 200 && answer.text;
      });
      t.equal(text, 'again');
    });
    await site.end('TERM');
  });
}
