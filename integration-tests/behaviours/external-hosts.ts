// SPDX-License-Identifier: Apache-2.0
// External classes with several hosts: how requests are shared out, and what happens when hosts go
// and come back. The hosts are our own program under spawn-fcgi.

import { type ChildProcess, spawn } from 'node:child_process';
import type { Test } from 'tap';
import type { Answer } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { underLoad } from '../servers/load.ts';
import { signal } from '../servers/processes.ts';
import { accepts, Site } from '../servers/site.ts';
import { startInBackground } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

interface BackendStatus {
  address: string;
  name: string | null;
  state: string;
  isBackup: boolean;
  lastError: string | null;
}

/** Programs by the port they listen on. */
class Hosts {
  readonly #program: string;
  readonly #running = new Map<number, ChildProcess>();

  constructor(t: Test, program: string) {
    this.#program = program;
    t.teardown(() => Promise.all([...this.#running.keys()].map((port) => this.kill(port))));
  }

  /** @returns its process id. */
  async start(port: number): Promise<number> {
    const command = ['spawn-fcgi', '-n', '-a', '127.0.0.1', '-p', `${port}`, '--', this.#program];
    const child = startInBackground(command);
    this.#running.set(port, child);
    await eventually(`a program listens on ${port}`, () => accepts(port));
    return child.pid ?? 0;
  }

  async kill(port: number): Promise<void> {
    const child = this.#running.get(port);
    if (child === undefined) return;
    this.#running.delete(port);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
}

/** A listener that never accepts and whose backlog is full: who connects there hears nothing. */
async function blackHole(t: Test): Promise<number> {
  const code = [
    'import socket, time',
    's = socket.socket()',
    's.bind(("127.0.0.1", 0))',
    's.listen(0)',
    'full = socket.create_connection(s.getsockname())',
    'print(s.getsockname()[1], flush=True)',
    'time.sleep(600)',
  ].join('\n');
  const child = spawn('python3', ['-c', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  return new Promise((resolve) => child.stdout.once('data', (text) => resolve(Number(text))));
}

async function backends(site: Site, name: string): Promise<Record<string, BackendStatus>> {
  const status = (await site.classStatus(name)) as { backends?: BackendStatus[] } | undefined;
  return Object.fromEntries((status?.backends ?? []).map((one) => [one.address, one]));
}

function becomes(site: Site, name: string, address: string, state: string): Promise<BackendStatus> {
  return eventually(`${address} of ${name} is ${state}`, async () => {
    const backend = (await backends(site, name))[address];
    if (backend?.state === state) return backend;
    throw new Error(JSON.stringify(backend));
  });
}

/** How many answers each process gave. */
function countsOf(answers: Answer[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { text } of answers) counts.set(text.trim(), (counts.get(text.trim()) ?? 0) + 1);
  return counts;
}

function classes(site: Site, hole: number): { nginx: string; apache: string } {
  const [, a, b, c] = site.ports.map((port) => `127.0.0.1:${port}`);
  const options: [name: string, nginx: string, apache: string][] = [
    ['trio', `host=${a} host=${b} host=${c}`, `-host ${a} -host ${b} -host ${c}`],
    [
      'spare',
      `host=${a} backup=${b} down=${c} app_conn_timeout=600`,
      `-host ${a} -backup ${b} -down ${c} -appConnTimeout 600`,
    ],
    ['hole', `host=127.0.0.1:${hole} host=${a}`, `-host 127.0.0.1:${hole} -host ${a}`],
    ['named', `host=localhost:${site.ports[1]}`, `-host localhost:${site.ports[1]}`],
    ['nameless', 'host=nobody.invalid:9000', '-host nobody.invalid:9000'],
  ];
  return {
    nginx: `
      ${options.map(([name, nginx]) => `usher_external_app ${name} ${nginx};`).join('\n')}
      server {
        listen 127.0.0.1:${site.port};
        include fastcgi_params;
        fastcgi_connect_timeout 8s;
        ${options.map(([name]) => `location /${name} { usher_pass ${name}; }`).join('\n')}
      }`,
    apache: options
      .map(
        ([name, , apache]) => `
      ExternalAppClass ${name} ${apache}
      <Location /${name}>
        UsherPass ${name}
      </Location>`,
      )
      .join('\n'),
  };
}

export async function externalHosts(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const [, first = 0, second = 0, third = 0] = site.ports;
  const at = (port: number) => `127.0.0.1:${port}`;
  const hosts = new Hosts(t, site.program('bin/echo'));
  const pids = [await hosts.start(first), await hosts.start(second), await hosts.start(third)];
  const hole = await blackHole(t);
  const texts = classes(site, hole);
  await site.start(texts);

  await site.check('three hosts share the load', async (t) => {
    const answers = await Promise.all(
      Array.from({ length: 60 }, () => site.request('/trio?pid&sleep=100')),
    );
    const counts = countsOf(answers);
    t.same([...counts.keys()].sort(), pids.map(String).sort(), 'all three answer');
    const least = Math.min(...counts.values());
    t.ok(least >= 10, `each has a fair share of 60: ${[...counts.values()].join(', ')}`);
    await site.settled();
  });

  await site.check('nobody is refused while the manager sleeps', async (t) => {
    const manager = (await site.status()).manager.pid;
    signal(manager, 'SIGSTOP');
    try {
      await hosts.kill(third);
      const answers = await Promise.all(
        Array.from({ length: 30 }, (_, i) =>
          site.request('/trio?read&pid', i % 2 === 0 ? { method: 'POST', body: `${i}` } : {}),
        ),
      );
      t.same([...new Set(answers.map(({ status }) => status))], [200], 'also not a POST');
      t.notOk(countsOf(answers).has(`${pids[2]}`));
    } finally {
      signal(manager, 'SIGCONT');
    }
    const { lastError } = await becomes(site, 'trio', at(third), 'down');
    t.match(lastError, /refused/);
    await site.settled();
  });

  await site.check('one that returns is used again', async (t) => {
    const pid = await hosts.start(third);
    await becomes(site, 'trio', at(third), 'up');
    const answers = await Promise.all(
      Array.from({ length: 30 }, () => site.request('/trio?pid&sleep=50')),
    );
    t.ok((countsOf(answers).get(`${pid}`) ?? 0) >= 5);
  });

  await site.check('no request is lost when a host is killed at work', async (t) => {
    const outcomes = await underLoad(site, '/trio?sleep=2&pid', async () => {
      await hosts.kill(third);
      await becomes(site, 'trio', at(third), 'down');
      await hosts.start(third);
      await becomes(site, 'trio', at(third), 'up');
    });
    t.same(outcomes.lost, []);
    t.ok(outcomes.answered > 5, `${outcomes.answered} requests were made`);
    await site.settled();
  });

  await site.check('a backup serves while no host is up', async (t) => {
    const pid = async () => (await site.request('/spare?pid')).text.trim();
    const shown = await backends(site, 'spare');
    t.match(shown[at(second)], { state: 'standby', isBackup: true });
    t.match(shown[at(third)], { state: 'disabled' });
    t.equal(await pid(), `${pids[0]}`);
    await hosts.kill(first);
    t.equal(await pid(), `${pids[1]}`, 'the first request finds it');
    await becomes(site, 'spare', at(first), 'down');
    t.match((await backends(site, 'spare'))[at(second)], { state: 'up', isBackup: true });
    const again = await hosts.start(first);
    await becomes(site, 'spare', at(first), 'up');
    t.same(new Set(await Promise.all([pid(), pid(), pid()])), new Set([`${again}`]));
    t.match((await backends(site, 'spare'))[at(second)], { state: 'standby' });
  });

  await site.check('all down: 503 with the reason, until one returns', async (t) => {
    const gate = `${site.dir}/gate`;
    const busy = [1, 2, 3].map(() => site.request(`/spare?wait=${gate}&text=x`));
    await eventually('they are served and wait', async () => {
      const one = await site.classStatus('spare');
      return one !== undefined && one.inFlight + one.waiting === 3;
    });
    for (const port of [first, second, third]) await hosts.kill(port);
    // Those that waited have -appConnTimeout 600: they are not to wait for that.
    for (const { status } of await Promise.all(busy)) t.ok(status === 502 || status === 503);
    const answer = await site.request('/trio');
    t.equal(answer.status, 503);
    t.match(answer.header('Retry-After')[0], /^[1-9]$/);
    const reason = await site.errorLine(/class "trio": no host is up/);
    for (const port of [first, second, third]) t.match(reason, `${at(port)}: connection refused`);
    await eventually('status says so', async () => {
      return (await site.classStatus('trio'))?.state === 'failed';
    });
    await hosts.start(second);
    await eventually('the class is there again', async () => {
      return (await site.request('/trio?text=back')).text === 'back';
    });
    await eventually('and status says so', async () => {
      return (await site.classStatus('trio'))?.state === 'ready';
    });
    await hosts.start(first);
    await hosts.start(third);
    await becomes(site, 'trio', at(first), 'up');
    await site.settled();
  });

  await site.check('a host that says nothing is passed over', async (t) => {
    await becomes(site, 'hole', at(first), 'up');
    const one = () => site.request('/hole?text=y');
    const begun = [one(), one()];
    const { lastError } = await becomes(site, 'hole', at(hole), 'down');
    t.match(lastError, /no answer/);
    const answers = await Promise.all([one(), one(), one(), one()]);
    t.same([...new Set(answers.map(({ status }) => status))], [200]);
    for (const { status } of await Promise.all(begun))
      t.equal(status, 200, 'nothing was sent there');
    await site.settled();
  });

  await site.check('a host name', async (t) => {
    t.equal((await site.request('/named?text=z')).text, 'z');
    const shown = (await backends(site, 'named'))[at(first)];
    t.match(shown, { name: `localhost:${first}`, state: 'up' });
    t.equal((await site.request('/nameless')).status, 503);
    t.match(await site.errorLine(/nobody\.invalid/), 'cannot be resolved');
  });

  await site.check('another configuration changes only what differs', async (t) => {
    const gate = `${site.dir}/gate2`;
    const busy = site.request(`/trio?wait=${gate}&text=whole`);
    await eventually('it is served', async () => (await site.classStatus('trio'))?.inFlight === 1);
    const without = new RegExp(` -?host[= ]${at(third)}`);
    site.reload({
      nginx: texts.nginx.replace(without, ''),
      apache: texts.apache.replace(without, ''),
    });
    await eventually('the third is gone or leaves', async () => {
      const state = (await backends(site, 'trio'))[at(third)]?.state;
      return state === undefined || state === 'draining';
    });
    const { status } = await site.request('/trio?text=z');
    t.equal(status, 200);
    site.file('gate2', '');
    t.equal((await busy).text, 'whole');
    await eventually(
      'the third is gone',
      async () => !(at(third) in (await backends(site, 'trio'))),
    );
  });

  await site.check('no request is lost while the manager is killed', async (t) => {
    const outcomes = await underLoad(site, '/trio?sleep=2&pid', async () => {
      const { pid } = (await site.status()).manager;
      signal(pid, 'SIGKILL');
      await eventually('another manager answers', async () => {
        return (await site.status()).manager.pid !== pid;
      });
      await becomes(site, 'trio', at(first), 'up');
    });
    t.same(outcomes.lost, []);
    await site.settled();
  });

  await site.end();
}
