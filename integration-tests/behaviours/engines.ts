// SPDX-License-Identifier: Apache-2.0
// A class that starts its servlet engines: they run before the first request or with it, are watched,
// replaced one after the other, outlive their manager, and end with their class.

import { existsSync } from 'node:fs';
import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { Load, underLoad } from '../servers/load.ts';
import { environmentOf, isRunning, signal, userOf } from '../servers/processes.ts';
import { readAgain } from '../servers/reading-again.ts';
import { Site, type Texts } from '../servers/site.ts';
import { tomcatProgram } from '../servers/tomcat.ts';
import { type BackendStatus, type ClassStatus, usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

/** A virtual machine starts, on a machine that is busy. */
const patienceMs = 120_000;

function configuration(
  site: Site,
  programs: Record<'tomcat' | 'lazy' | 'broken', string>,
  extra = '',
): Texts {
  const [, a, b, c] = site.ports;
  const hosts = [`127.0.0.1:${a},route=a`, `127.0.0.1:${b},route=b`];
  return {
    nginx: `
      usher_app shop protocol=ajp command=${programs.tomcat}
                ${hosts.map((host) => `host=${host}`).join(' ')}
                mount=/shop context=/app liveness_timeout=10 initial_env=SHOP=1${extra};
      usher_app lazy protocol=ajp command=${programs.lazy} host=127.0.0.1:${c},route=c
                mount=/lazy context=/app on_demand=1 idle_stop=2
                app_conn_timeout=110;
      usher_app broken protocol=ajp command=${programs.broken}
                host=127.0.0.1:1;
      server {
        listen 127.0.0.1:${site.port};
        include fastcgi_params;
        location /shop/ { usher_pass shop; }
        location /lazy/ { usher_pass lazy; }
        location /broken/ { usher_pass broken; }
      }`,
    apache: `
      AppClass shop -protocol ajp -command ${programs.tomcat} \\
          ${hosts.map((host) => `-host ${host}`).join(' ')} \\
          -mount /shop -context /app -liveness-timeout 10 -initial-env SHOP=1${extra}
      AppClass lazy -protocol ajp -command ${programs.lazy} -host 127.0.0.1:${c},route=c \\
          -mount /lazy -context /app -on-demand 1 -idle-stop 2 \\
          -appConnTimeout 110
      AppClass broken -protocol ajp -command ${programs.broken} \\
          -host 127.0.0.1:1
      <Location /shop>
        UsherPass shop
      </Location>
      <Location /lazy>
        UsherPass lazy
      </Location>
      <Location /broken>
        UsherPass broken
      </Location>`,
  };
}

export async function engines(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const programs = {
    tomcat: tomcatProgram(`${site.dir}/shop`, { context: '/app' }),
    lazy: tomcatProgram(`${site.dir}/lazy`, { context: '/app' }),
    broken: site.program('bin/broken', 'exits-with-stderr'),
  };
  await site.start(configuration(site, programs));

  const status = async (name: string): Promise<ClassStatus> => {
    const found = await site.classStatus(name);
    if (!found) throw new Error(`no class ${name}`);
    return found;
  };
  const backends = async (name = 'shop'): Promise<BackendStatus[]> => (await status(name)).backends;
  const pids = async (name = 'shop') => (await backends(name)).map(({ engine }) => engine?.pid);
  const areUp = (name = 'shop') =>
    eventually(
      `all engines of ${name} are up`,
      async () => {
        const states = (await backends(name)).map(
          ({ state, engine }) => `${state} ${engine?.state}`,
        );
        return states.every((state) => state === 'up up');
      },
      patienceMs,
    );
  const usher = async (...words: string[]): Promise<void> => {
    const { status, output } = await usherCommand(site.runtimeDir, ...words);
    if (status !== 0) throw new Error(`usher ${words.join(' ')}: ${status} ${output}`);
  };
  const newSession = async (): Promise<string> => {
    const { status, fields } = await site.request('/shop/session.jsp');
    if (status !== 200 || fields.id === undefined) throw new Error(`no session: ${status}`);
    return fields.id;
  };

  await site.check('its engines start without a request, each at its address', async (t) => {
    await areUp();
    const [first = 0, second = 0] = (await pids()) as number[];
    t.not(first, second);
    for (const [i, route] of ['a', 'b'].entries()) {
      const pid = [first, second][i] ?? 0;
      const port = site.ports[i + 1];
      t.equal(userOf(pid), site.instanceUid);
      const environment = environmentOf(pid)
        .filter((one) => /^(USHER_|SHOP)/.test(one))
        .sort();
      t.same(environment, [
        'SHOP=1',
        `USHER_ADDRESS=127.0.0.1:${port}`,
        'USHER_HOST=127.0.0.1',
        `USHER_PORT=${port}`,
        'USHER_PROTOCOL=ajp',
        `USHER_ROUTE=${route}`,
      ]);
    }
    const [gateway] = (await status('shop')).instances;
    const ofGateway = environmentOf(gateway?.pid ?? 0);
    t.same(
      ofGateway.filter((one) => one.startsWith('SHOP')),
      [],
      'its options are not the gateway’s',
    );
    t.equal((await site.request('/shop/echo.jsp')).status, 200);
  });

  await site.check('one that is killed comes back; requests go to the other one', async (t) => {
    const [victim = 0, other] = (await pids()) as number[];
    signal(victim, 'SIGKILL');
    await eventually('the manager has seen it', async () => (await pids())[0] !== victim);
    for (let i = 0; i < 10; i += 1) {
      t.equal((await site.request('/shop/echo.jsp')).status, 200);
    }
    await areUp();
    t.same((await pids())[1], other);
    t.match((await backends())[0]?.engine, { starts: 2, failures: 1 });
  });

  await site.check('one that hangs is replaced', async (t) => {
    const [victim = 0] = (await pids()) as number[];
    signal(victim, 'SIGSTOP');
    await eventually('it is gone', () => !isRunning(victim), patienceMs);
    await areUp();
    t.not((await pids())[0], victim);
    t.equal((await site.request('/shop/echo.jsp')).status, 200);
  });

  await site.check('a restart takes one after the other and loses nothing', async (t) => {
    const before = (await pids()) as number[];
    const sessions = await Promise.all(Array.from({ length: 8 }, newSession));
    const paths = ['/shop/echo.jsp', ...sessions.map((id) => `/shop/session.jsp;jsessionid=${id}`)];
    const load = new Load(site.port, (index) => ({ path: paths[index % paths.length] ?? '' }));
    load.clients = 4;
    await usher('restart', 'shop');
    await Promise.all([1, 2, 3, 4].map(() => load.one()));
    await load.stop();
    t.same(load.losses, [], `of ${load.answered}`);
    const after = (await pids()) as number[];
    t.ok(after.every((pid) => !before.includes(pid)));
    t.notOk(before.some(isRunning));
  });

  await site.check('other options do the same', async (t) => {
    const before = (await pids()) as number[];
    const more = server.kind === 'nginx' ? ' initial_env=MORE=2' : ' -initial-env MORE=2';
    const { lost } = await underLoad(site, '/shop/echo.jsp', async () => {
      await readAgain(site, () => site.reload(configuration(site, programs, more)));
      await eventually(
        'both are others',
        async () => (await pids()).every((pid) => pid && !before.includes(pid)),
        patienceMs,
      );
      await areUp();
    });
    t.same(lost, []);
    for (const pid of (await pids()) as number[]) t.ok(environmentOf(pid).includes('MORE=2'));
  });

  await site.check('they outlive their manager', async (t) => {
    const before = await pids();
    const { manager } = await site.status();
    signal(manager.pid, 'SIGKILL');
    t.equal((await site.request('/shop/echo.jsp')).status, 200);
    await eventually('another manager', async () => {
      const now = await site.status().catch(() => undefined);
      return now !== undefined && now.manager.pid !== manager.pid;
    });
    await areUp();
    t.same(await pids(), before);
  });

  await site.check('on demand: the first request starts it, the last one ends it', async (t) => {
    t.same(await pids('lazy'), [null]);
    t.notOk(existsSync(`${site.dir}/lazy/${site.ports[3]}`));
    const answer = await site.request('/lazy/echo.jsp');
    t.equal(answer.status, 200);
    t.equal(answer.fields.uri, '/app/echo.jsp');
    const [pid] = (await pids('lazy')) as [number];
    await eventually('it ends', async () => (await pids('lazy'))[0] === null, patienceMs);
    t.notOk(isRunning(pid));
    t.equal((await site.request('/lazy/echo.jsp')).status, 200, 'and starts again');
    // A look at the status may take longer than -idle-stop.
    const again = await eventually('it runs', async () => {
      await site.request('/lazy/echo.jsp');
      return (await pids('lazy'))[0];
    });
    signal(again, 'SIGKILL');
    t.equal(
      (await site.request('/lazy/echo.jsp')).status,
      200,
      'a request for an engine that was killed waits for the next one',
    );
  });

  await site.check('one that cannot start: 503, and the reason', async (t) => {
    t.equal((await site.request('/broken/x')).status, 503);
    await site.errorLine(
      /class "broken": \[\w+\] engine 127\.0\.0\.1:1 exited with status 4 .*its last line of output: catalogue\.db: no such table: places/,
    );
    const backend = await eventually('it waits for its next start', async () => {
      const [one] = await backends('broken');
      return one?.engine?.state === 'waiting' && one;
    });
    t.match(backend, {
      state: 'down',
      lastError: /exited with status 4/,
      engine: { pid: null },
    });
  });

  const last = [...(await pids()), ...(await pids('lazy'))].filter((pid) => pid) as number[];
  await site.end('TERM');
  await eventually('they end with their class', () => !last.some(isRunning), patienceMs);
}
