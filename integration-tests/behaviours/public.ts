// SPDX-License-Identifier: Apache-2.0
// usher run as a FastCGI process manager of its own: classes at public addresses, behind web servers
// that have nothing of ours in them.

import type { ChildProcess } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import type { Test } from 'tap';
import { usher } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import { underLoad } from '../servers/load.ts';
import { isRunning, signal } from '../servers/processes.ts';
import { isRoot, Site } from '../servers/site.ts';
import { lighttpd } from '../servers/stock.ts';
import { startInBackground, usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

/** Paths of the web server, each at an address of its own. */
interface Route {
  path: string;
  socket?: string;
  port?: number;
}

function routesText(server: WebServer, routes: Route[]): string {
  if (server !== lighttpd) {
    return routes
      .map(({ path, socket, port }) => {
        const address = socket === undefined ? `127.0.0.1:${port}` : `unix:${socket}`;
        return `location ${path} { fastcgi_pass ${address}; }`;
      })
      .join('\n');
  }
  const entries = routes.map(({ path, socket, port }) => {
    const address =
      socket === undefined ? `"host" => "127.0.0.1", "port" => ${port}` : `"socket" => "${socket}"`;
    return `"${path}" => (( ${address}, "check-local" => "disable" ))`;
  });
  return `fastcgi.server = ( ${entries.join(',\n')} )`;
}

/** @param kind What the first class listens at; the others at the other kind. */
export async function publicAddresses(
  t: Test,
  server: WebServer,
  kind: 'UNIX socket' | 'TCP port',
): Promise<void> {
  const site = await Site.create(t, server);
  const app = site.program('bin/app');
  const demand = site.program('bin/demand');
  const [, appPort, demandPort] = site.ports;
  const sockets = { app: `${site.dir}/app.sock`, demand: `${site.dir}/demand.sock` };
  const isUnix = kind === 'UNIX socket';
  const user = isRoot ? '-user www-data' : '';
  const configuration = site.file(
    'usher.conf',
    `UsherLog ${site.dir}/usher.log
AppClass app -command ${app} ${isUnix ? `-socket ${sockets.app}` : `-port 127.0.0.1:${appPort}`} \\
    -maxClassProcesses 4 ${user}
AppClass demand -command ${demand} ${isUnix ? `-port 127.0.0.1:${demandPort}` : `-socket ${sockets.demand}`} \\
    -on-demand 2 -idle-stop 1 ${user}
AppClass broken -command ${site.dir}/missing -socket ${site.dir}/broken.sock -on-demand 1 ${user}
`,
  );
  const at = (socket: string, port: number | undefined, unix: boolean): Partial<Route> =>
    unix ? { socket } : { port: port ?? 0 };
  const text = routesText(server, [
    { path: '/demand', ...at(sockets.demand, demandPort, !isUnix) },
    { path: '/broken', socket: `${site.dir}/broken.sock` },
    { path: '/', ...at(sockets.app, appPort, isUnix) },
  ]);

  let running: ChildProcess;
  const start = async (): Promise<void> => {
    running = startInBackground([usher, 'run', configuration, '--runtime-dir', site.runtimeDir]);
    await eventually('the address is served', async () => (await readyPids('app')).length > 0);
  };
  const readyPids = async (name: string): Promise<number[]> => {
    const instances = (await site.classStatus(name))?.instances ?? [];
    return instances.filter(({ state }) => state === 'ready').map(({ pid }) => pid);
  };
  const stop = async (): Promise<void> => {
    running.kill('SIGTERM');
    await eventually('usher run ends', () => running.exitCode !== null);
  };
  t.teardown(() => running.kill('SIGTERM'));
  site.file('error.log', '', 0o666); // lighttpd opens it as the user it becomes
  await start();
  await site.start({ [server.kind]: text });

  await site.check('a class is served at its address', async (t) => {
    const answer = await site.request('/x?sleep=0');
    t.equal(answer.status, 200);
    t.equal(answer.fields.REQUEST_METHOD, 'GET');
    t.equal((await readyPids('app')).length, 1);
    if (!isUnix) return;
    const socket = statSync(sockets.app);
    t.equal(socket.mode & 0o777, 0o660, 'the socket is for its owner and group');
    t.equal(socket.uid, site.instanceUid, 'and belongs to the program');
  });

  await site.check('more load starts more instances, up to the limit', async (t) => {
    const { lost } = await underLoad(site, '/x?sleep=100', async () => {
      const more = [1, 2, 3, 4, 5, 6].map(() => site.request('/x?sleep=3000'));
      await eventually('4 instances', async () => (await readyPids('app')).length === 4);
      for (const answer of await Promise.all(more)) t.equal(answer.status, 200);
      t.equal((await readyPids('app')).length, 4);
    });
    t.same(lost, []);
  });

  await site.check('an instance that is killed is replaced', async (t) => {
    // As many as before are wanted as long as there is as much to do.
    await underLoad(site, '/x?sleep=100', async () => {
      const [victim = 0] = await eventually('4 instances', async () => {
        const pids = await readyPids('app');
        return pids.length === 4 && pids;
      });
      signal(victim, 'SIGKILL');
      await eventually('a successor', async () => {
        const pids = await readyPids('app');
        return pids.length === 4 && !pids.includes(victim);
      });
    });
    t.equal((await site.request('/x')).status, 200);
  });

  await site.check('a restart under load replaces all and loses no request', async (t) => {
    const before = await readyPids('app');
    const { answered, lost } = await underLoad(site, '/x?sleep=5', async () => {
      const { status, output } = await usherCommand(site.runtimeDir, 'restart', 'app');
      t.equal(status, 0, output);
    });
    t.same(lost, []);
    t.ok(answered > 4, `${answered} requests`);
    await eventually('the old ones end', () => !before.some(isRunning));
  });

  await site.check('a manager that is killed under load costs no request', async (t) => {
    const pids = await readyPids('app');
    const { lost } = await underLoad(site, '/x?sleep=5', async () => {
      const { pid } = (await site.status()).manager;
      signal(pid, 'SIGKILL');
      await eventually('a new manager', async () => (await site.status()).manager.pid !== pid);
    });
    t.same(lost, []);
    t.ok(
      (await readyPids('app')).some((pid) => pids.includes(pid)),
      'instances go on',
    );
  });

  await site.check('less load ends instances and loses no request', async (t) => {
    await underLoad(site, '/x?sleep=100', () =>
      eventually('several instances', async () => (await readyPids('app')).length >= 3),
    );
    const answers: number[] = [];
    await eventually(
      'one or two are left',
      async () => {
        const some = [1, 2, 3, 4, 5].map((ms) => site.request(`/x?sleep=${ms}`));
        answers.push(...(await Promise.all(some)).map(({ status }) => status));
        return (await readyPids('app')).length <= 2;
      },
      120_000,
    );
    t.same(
      answers.filter((status) => status !== 200),
      [],
      `${answers.length} requests`,
    );
  });

  await site.check('a class on demand has its first instance from the first request', async (t) => {
    t.same(await readyPids('demand'), []);
    t.equal((await site.request('/demand')).status, 200);
    const [pid = 0, another] = site.starts(demand);
    t.equal(another, undefined, 'one instance');
    await eventually('-idle-stop ends it', () => !isRunning(pid));
    t.equal((await site.request('/demand')).status, 200, 'and the next request starts another');
    t.equal(site.starts(demand).length, 2);
  });

  await site.check('a class that cannot start answers 503', async (t) => {
    t.equal((await site.request('/broken')).status, 503);
    const status = await site.classStatus('broken');
    t.equal(status?.state, 'failed');
  });

  await site.check(
    'usher run ends cleanly and serves again when it is started again',
    async (t) => {
      const pids = await readyPids('app');
      await stop();
      t.equal(running.exitCode, 0);
      t.notOk(pids.some(isRunning), 'no instance is left');
      if (isUnix) t.throws(() => statSync(sockets.app), 'and no socket');
      await start();
      await eventually('served again', async () => (await site.request('/x')).status === 200);
    },
  );

  await stop();
  await site.end();
}

/** The same class for our own modules: they know the instances, and any client may come as well. */
export async function publicWithModule(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const app = site.program('bin/app');
  const socket = `${site.dir}/app.sock`;
  await site.start({
    nginx: `
usher_app app command=${app} socket=${socket} processes=1 max_class_processes=3;
server {
  listen 127.0.0.1:${site.port};
  include fastcgi_params;
  location / { usher_pass app; }
  location /stock/ { fastcgi_pass unix:${socket}; }
}`,
    apache: `
AppClass app -command ${app} -socket ${socket} -processes 1 -maxClassProcesses 3
<Location />
  UsherPass app
</Location>`,
  });

  await site.check('a class at a public address is served through the module', async (t) => {
    t.equal((await site.request('/x')).status, 200);
    t.ok(statSync(socket).isSocket());
    if (server.kind === 'nginx') t.equal((await site.request('/stock/x')).status, 200);
  });

  await site.check('its instances follow the load and are replaced without a loss', async (t) => {
    const ready = async (): Promise<number[]> => {
      const instances = (await site.classStatus('app'))?.instances ?? [];
      return instances.filter(({ state }) => state === 'ready').map(({ pid }) => pid);
    };
    const { lost } = await underLoad(site, '/x?sleep=20', async () => {
      const before = await eventually('3 instances', async () => {
        const pids = await ready();
        return pids.length === 3 && pids;
      });
      const { status, output } = await usherCommand(site.runtimeDir, 'restart', 'app');
      t.equal(status, 0, output);
      t.notOk(
        (await ready()).some((pid) => before.includes(pid)),
        'all are new',
      );
    });
    t.same(lost, []);
    await site.settled();
  });

  await site.end();
  await eventually('the socket goes with the last server', () => !existsSync(socket));
}
