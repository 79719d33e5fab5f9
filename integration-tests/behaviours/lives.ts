// SPDX-License-Identifier: Apache-2.0
// What lives and what ends: instances that die, a manager that is killed, reloads, servers that end
// in every way, two servers with one manager, a server of an ordinary user.

import { statSync } from 'node:fs';
import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { apacheEvent, nginx } from '../servers/index.ts';
import { isRunning, signal, userOf } from '../servers/processes.ts';
import { isRoot, Site, type SiteOptions } from '../servers/site.ts';
import { usherCommand } from '../servers/usher.ts';
import type { Ending, WebServer } from '../servers/web-server.ts';

/** One static class of two instances, one dynamic program. */
function texts(site: Site, fixed: string): Record<WebServer['kind'], string> {
  return {
    nginx: `
      usher_app fixed command=${fixed} processes=2 restart_delay=0.2;
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        location /fixed { usher_pass fixed; include fastcgi_params; }
        location / { usher_pass $document_root$uri; include fastcgi_params; }
      }`,
    apache: `
      AppClass fixed -command ${fixed} -processes 2 -restart-delay 0.2
      AddHandler fastcgi-script .fcgi
      <Directory ${site.docs}>
        Options +ExecCGI
      </Directory>
      <Location /fixed>
        UsherPass fixed
      </Location>`,
  };
}

async function running(
  t: Test,
  server: WebServer,
  options: SiteOptions = {},
): Promise<{ site: Site; fixed: string; dynamic: string }> {
  const site = await Site.create(t, server, options);
  const fixed = site.program('bin/fixed');
  const dynamic = site.program('docs/dynamic.fcgi');
  await site.start(texts(site, fixed));
  return { site, fixed, dynamic };
}

/** Asks until told to stop, each time on a new connection; how often each status came. */
function keepAsking(site: Site, path: string): { stop: () => Promise<Map<number, number>> } {
  const counts = new Map<number, number>();
  let isAsking = true;
  const askers = Array.from({ length: 8 }, async () => {
    while (isAsking) {
      const { status } = await site.request(path);
      counts.set(status, (counts.get(status) ?? 0) + 1);
    }
  });
  return {
    stop: async () => {
      isAsking = false;
      await Promise.all(askers);
      return counts;
    },
  };
}

export async function instances(t: Test, server: WebServer): Promise<void> {
  const { site, fixed, dynamic } = await running(t, server);

  await site.check('static instances run before the first request', async (t) => {
    await eventually('two instances are ready', async () => {
      const known = await site.classStatus('fixed');
      return known?.instances.filter(({ state }) => state === 'ready').length === 2;
    });
    t.equal(site.starts(fixed).length, 2);
    t.same(site.starts(dynamic), [], 'dynamic ones do not');
    for (const pid of site.starts(fixed)) {
      t.equal(userOf(pid), site.instanceUid, 'they run as the configured user');
    }
  });

  await site.check('a static instance that is killed is started again', async (t) => {
    const [first = 0] = site.starts(fixed);
    signal(first, 'SIGKILL');
    await eventually('a third start', () => site.starts(fixed).length === 3);
    t.equal((await site.request('/fixed?text=on')).text, 'on');
    t.same(site.starts(dynamic), []);
  });

  await site.check('a dynamic one is not, until somebody asks', async (t) => {
    t.equal((await site.request('/dynamic.fcgi?text=1')).text, '1');
    const [pid = 0] = site.starts(dynamic);
    signal(pid, 'SIGKILL');
    await eventually('the class is cold again', async () => {
      const known = await site.classStatus(dynamic);
      return known?.state === 'cold' && known.instances.length === 0;
    });
    t.equal(site.starts(dynamic).length, 1);
    t.equal((await site.request('/dynamic.fcgi?text=2')).text, '2');
    t.equal(site.starts(dynamic).length, 2);
  });

  await site.check('a killed manager costs no request and no instance', async (t) => {
    const pids = [...site.starts(fixed), ...site.starts(dynamic)].filter(isRunning);
    const asking = keepAsking(site, '/fixed?text=x');
    for (let round = 0; round < 3; round += 1) {
      const { manager } = await eventually('status answers', () => site.status());
      signal(manager.pid, 'SIGKILL');
      await eventually('another manager', async () => {
        return (await site.status()).manager.pid !== manager.pid;
      });
    }
    const counts = await asking.stop();
    t.same([...counts.keys()], [200], `${[...counts]}`);
    t.same(pids.filter(isRunning), pids, 'the same instances');
    const known = await site.classStatus('fixed');
    t.same(
      known?.instances.map(({ pid }) => pid).sort(),
      site.starts(fixed).filter(isRunning).sort(),
      'and status knows them',
    );
    t.equal((await site.request('/dynamic.fcgi?text=3')).text, '3');
    await site.settled();
  });

  await site.check('a reload costs no request and no instance', async (t) => {
    const pids = site.starts(fixed).filter(isRunning);
    const asking = keepAsking(site, '/fixed?text=x');
    for (let round = 0; round < 3; round += 1) {
      const { servers } = await site.status();
      site.reload(texts(site, fixed));
      await eventually('a new generation', async () => {
        const now = (await site.status()).servers;
        return JSON.stringify(now) !== JSON.stringify(servers);
      });
    }
    const counts = await asking.stop();
    t.same([...counts.keys()], [200], `${[...counts]}`);
    t.same(site.starts(fixed).filter(isRunning), pids, 'the same instances');
    await site.settled();
  });

  await site.end();
}

export async function endings(t: Test, server: WebServer): Promise<void> {
  for (const how of ['TERM', 'graceful', 'KILL'] satisfies Ending[]) {
    const { site } = await running(t, server);
    await site.check(`a server serves, and then ends (${how})`, async (t) => {
      t.equal((await site.request('/dynamic.fcgi?text=served')).text, 'served');
    });
    await site.end(how);
  }
}

/** After kill -9 of the master its workers live on and are served until they end. */
export async function orphans(t: Test): Promise<void> {
  const { site, fixed } = await running(t, nginx);
  await site.check('workers that outlive their master are served', async (t) => {
    const { workers } = site;
    signal(site.pid, 'SIGKILL');
    await eventually('the master is gone', () => !isRunning(site.pid));
    // Longer than it takes until a server without workers counts as gone.
    const untilMs = performance.now() + 4_000;
    while (performance.now() < untilMs) {
      t.equal((await site.request('/fixed?text=still')).text, 'still');
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    t.equal(
      (await site.request('/dynamic.fcgi?text=cold')).text,
      'cold',
      'also for the first time',
    );
    for (const pid of workers) signal(pid, 'SIGKILL');
    await eventually('the instances are gone', () => !site.starts(fixed).some(isRunning));
  });
  await site.end();
}

export async function twoServers(t: Test): Promise<void> {
  const first = await running(t, nginx);
  const second = await Site.create(t, apacheEvent, { runtimeDir: first.site.runtimeDir });
  await second.start(texts(second, first.fixed));

  await second.check('two servers with one runtime directory share one manager', async (t) => {
    const status = await eventually('both are registered', async () => {
      const now = await first.site.status();
      return now.servers.length === 2 ? now : undefined;
    });
    t.same(status.servers.map(({ kind }) => kind).sort(), ['apache', 'nginx']);
    t.equal(
      status.classes.filter(({ name }) => name.startsWith('fixed')).length,
      1,
      'equal options are one class',
    );
    const pids = new Set<string>();
    for (const site of [first.site, second]) {
      for (let i = 0; i < 10; i += 1) pids.add((await site.request('/fixed?pid')).text);
    }
    t.same([...pids].map(Number).sort(), first.site.starts(first.fixed).sort());
  });

  await second.check('the manager stays when one of them ends', async (t) => {
    await first.site.end('TERM', 'others');
    await eventually('one server is left', async () => {
      const { servers } = await second.status();
      return servers.length === 1 && servers[0]?.kind === 'apache';
    });
    t.equal((await second.request('/fixed?text=left')).text, 'left');
  });
  await second.end();
}

export async function ordinaryUser(t: Test, server: WebServer): Promise<void> {
  if (!isRoot) {
    t.pass('all of these tests run as an ordinary user');
    return;
  }
  const nobody = { uid: 65534, gid: 65534 };
  const { site, fixed } = await running(t, server, { startAs: nobody });
  await site.check('everything runs as the user who starts the server', async (t) => {
    t.equal((await site.request('/dynamic.fcgi?text=mine')).text, 'mine');
    const { manager } = await site.status();
    for (const pid of [manager.pid, ...site.starts(fixed)]) t.equal(userOf(pid), nobody.uid);
    t.equal(statSync(site.runtimeDir).mode & 0o777, 0o700);
  });
  await site.end();
}

/** usher stop ends everything, and a server that lives on is served again by the next manager. */
export async function stopping(t: Test, server: WebServer): Promise<void> {
  const { site, fixed } = await running(t, server);
  await site.check('usher stop ends manager and instances', async (t) => {
    t.equal((await site.request('/dynamic.fcgi?text=before')).text, 'before');
    const { status, output } = await usherCommand(site.runtimeDir, 'stop');
    t.equal(status, 0, output);
    t.notOk(site.starts(fixed).some(isRunning));
    const answer = await site.request('/fixed?text=after');
    t.equal(answer.status, 503, 'the server, left alone, answers at once');
    t.match(await site.errorLine(/fixed/), /manager/);
    t.equal((await usherCommand(site.runtimeDir, 'status')).status, 3);
  });
  await site.check('a reload starts a manager again', async (t) => {
    site.reload(texts(site, fixed));
    const text = await eventually('an answer', async () => {
      const answer = await site.request('/fixed?text=again');
      return answer.status === 200 ? answer.text : undefined;
    });
    t.equal(text, 'again');
  });
  await site.end();
}
