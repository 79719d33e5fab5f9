// SPDX-License-Identifier: Apache-2.0
// What Usher says it counted is what was asked, in both formats and at both places where it says so;
// the dashboard tells the same, and has no rights.

import http from 'node:http';
import type { Test } from 'tap';
import { root, usher } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import { Exposition, type Format } from '../servers/exposition.ts';
import { descriptorTargets, isRunning, processesWith, userOf } from '../servers/processes.ts';
import { isRoot, Site } from '../servers/site.ts';
import { type Status, startInBackground, usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

const accepts: Record<Format, string> = {
  prometheus: 'text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
  openmetrics: 'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5',
};

interface Told {
  status: number;
  contentType: string;
  text: string;
}

/** @param where A port of this machine, or the path of a UNIX socket. */
function ask(
  where: number | string,
  path: string,
  headers: http.OutgoingHttpHeaders,
): Promise<Told> {
  const place =
    typeof where === 'number' ? { port: where, host: '127.0.0.1' } : { socketPath: where };
  return new Promise((resolve, reject) => {
    const request = http.request({ ...place, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          text: Buffer.concat(chunks).toString(),
        }),
      );
    });
    request.on('error', reject).end();
  });
}

async function scrape(where: number | string, format: Format = 'prometheus'): Promise<Exposition> {
  const { status, contentType, text } = await ask(where, '/metrics', { accept: accepts[format] });
  const expected =
    format === 'prometheus' ? 'text/plain; version=0.0.4' : 'application/openmetrics';
  if (status !== 200 || !contentType.startsWith(expected)) {
    throw new Error(`${status} ${contentType}: ${text.slice(0, 500)}`);
  }
  return new Exposition(text, format);
}

/** Its process, which is to be there. */
function dashboardAt(address: string): number {
  const [pid] = processesWith(`${root}/dist/dashboard/main.js`, address);
  if (pid === undefined) throw new Error(`no dashboard at ${address}`);
  return pid;
}

/** What `usher status` says, and nothing that changes anything. */
async function showsAll(t: Test, site: Site, port: number): Promise<void> {
  const page = await ask(port, '/', {});
  t.match(page, { contentType: /^text\/html/, text: /<title>Usher<\/title>/ });
  for (const file of page.text.matchAll(/(?:src|href)="([\w./-]+)"/g)) {
    t.equal((await ask(port, `/${file[1]}`, {})).status, 200, `${file[1]}`);
  }
  const said = JSON.parse((await ask(port, '/api/status', {})).text) as Status;
  const { manager, classes } = await site.status();
  t.same(said.manager, manager);
  t.same(
    said.classes.map(({ name }) => name),
    classes.map(({ name }) => name),
  );
  t.match(JSON.parse((await ask(port, '/api/history?class=app', {})).text), { class: 'app' });
  t.match((await ask(port, '/api/events', {})).text, /"event":"manager.ready"/);
  t.match((await ask(port, '/api/explain?of=broken', {})).text, /"exited-with-error"/);
  t.equal((await ask(port, '/api/history?class=nobody', {})).status, 404);
  for (const path of ['/api/ping', '/api/logs?class=app', '/metrics']) {
    t.equal((await ask(port, path, {})).status, 404, path);
  }
}

export async function metrics(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const [, port = 0, dashboard = 0, other = 0] = site.ports;
  const program = site.program('app.fcgi');
  const dynamic = site.program('docs/other.fcgi');
  const control = `${site.runtimeDir}/control.sock`;
  await site.start({
    nginx: `
      usher_metrics 127.0.0.1:${port};
      usher_dashboard 127.0.0.1:${dashboard};
      usher_app app command=${program} processes=1;
      usher_app broken command=/bin/false on_demand=1;
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        location /app { usher_pass app; }
        location /broken { usher_pass broken; }
        location / { usher_pass $document_root$fastcgi_script_name; }
      }`,
    apache: `
      UsherMetrics 127.0.0.1:${port}
      UsherDashboard 127.0.0.1:${dashboard}
      AppClass app -command ${program} -processes 1
      AppClass broken -command /bin/false -on-demand 1
      <Location /app>
        UsherPass app
      </Location>
      <Location /broken>
        UsherPass broken
      </Location>
      <Files other.fcgi>
        SetHandler fastcgi-script
        Options +ExecCGI
      </Files>`,
  });

  await site.check('requests are counted by what became of them', async (t) => {
    for (let i = 0; i < 7; i += 1) t.equal((await site.request('/app?as=text')).status, 200);
    t.equal((await site.request('/broken')).status, 503);
    t.equal((await site.request('/other.fcgi')).status, 200);
    await site.settled();
    const told = await eventually('all of them are counted', async () => {
      const all = await scrape(control);
      return all.value('usher_requests_total', { class: 'app', outcome: 'finished' }) === 7 && all;
    });
    const app = (name: string, labels = {}) => told.value(name, { class: 'app', ...labels });
    t.equal(app('usher_requests_received_total'), 7);
    t.equal(app('usher_request_serving_seconds_count'), 7);
    t.ok((app('usher_request_serving_seconds_sum') ?? 0) > 0);
    t.equal(app('usher_request_waiting_seconds_count'), 7);
    t.equal(app('usher_requests_in_flight'), 0);
    t.equal(app('usher_requests_waiting'), 0);
    t.equal(app('usher_instances', { state: 'ready' }), 1);
    t.equal(app('usher_starts_total'), 1);
    t.equal(app('usher_start_seconds_count'), 1);
    t.ok((app('usher_memory_bytes') ?? 0) > 100_000);
    t.ok((app('usher_cpu_seconds_total') ?? -1) >= 0);
    const broken = told.select('usher_requests_total', { class: 'broken' });
    const ended = broken.reduce((sum, { value }) => sum + value, 0);
    t.equal(ended, 1, 'answered by Usher at its endpoint, or refused before that');
    t.ok((told.value('usher_failures_total', { class: 'broken' }) ?? 0) >= 1);
    t.equal(told.value('usher_class_info', { class: dynamic, kind: 'dynamic' }), 1);
    // One for the dynamic class, and for others if they were wanted before the manager knew them.
    t.ok((told.value('usher_start_requests_total', { answer: 'class' }) ?? 0) >= 1);
    t.ok((told.value('usher_manager_memory_bytes') ?? 0) > 1e6);
    t.ok((told.value('usher_server_workers', { kind: server.kind }) ?? 0) > 0);
  });

  await site.check('the same at a loopback address, in both formats', async (t) => {
    await eventually('the manager listens', async () => (await scrape(port)) && true);
    for (const format of ['prometheus', 'openmetrics'] as const) {
      for (const where of [port, control]) {
        const told = await scrape(where, format);
        t.equal(told.value('usher_requests_received_total', { class: 'app' }), 7, format);
      }
    }
    const rebound = await ask(port, '/metrics', { host: `evil.example:${port}` });
    t.equal(rebound.status, 403, 'a name that was made to mean this machine');
    t.equal((await ask(port, '/', {})).status, 404);
    t.equal((await ask(port, '/v1/status', {})).status, 404, 'nothing else is told there');
  });

  await site.check('the dashboard tells the same', async (t) => {
    await eventually('it listens', async () => (await ask(dashboard, '/', {})).status === 200);
    await showsAll(t, site, dashboard);
    const pid = dashboardAt(`127.0.0.1:${dashboard}`);
    if (isRoot) t.not(userOf(pid), 0, 'it is not root');
    const held = descriptorTargets(pid).filter((target) => target.startsWith(site.runtimeDir));
    t.same([...new Set(held)], [`${site.runtimeDir}/usher.log`], 'it holds nothing but the log');
  });

  await site.check('usher dashboard', async (t) => {
    const at = `127.0.0.1:${other}`;
    const words = ['dashboard', '--listen', at, '--runtime-dir', site.runtimeDir];
    const command = startInBackground([usher, ...words]);
    t.teardown(() => command.kill('SIGKILL'));
    await eventually('it listens', async () => (await ask(other, '/', {})).status === 200);
    await showsAll(t, site, other);
    const pid = dashboardAt(at);
    if (isRoot) t.not(userOf(pid), 0, 'it is not root');
    command.kill('SIGTERM');
    await eventually('it ends', () => !isRunning(pid));
    const refused = await usherCommand(site.runtimeDir, 'dashboard', '--listen', '0.0.0.0:8082');
    t.match(refused, { status: 2, output: /--allow-remote/ });
    const taken = await usherCommand(site.runtimeDir, 'dashboard', '--listen', `127.0.0.1:${port}`);
    t.match(taken, { status: 1, output: /EADDRINUSE/ });
  });

  await site.check('a manager that begins anew counts from 0, and listens again', async (t) => {
    const before = (await site.status()).manager.pid;
    process.kill(before, 'SIGKILL');
    await eventually('another one is there', async () => {
      const { manager } = await site.status();
      return manager.pid !== before;
    });
    t.equal((await site.request('/app?as=text')).status, 200);
    await site.settled();
    const told = await eventually('it has counted', async () => {
      const all = await scrape(port);
      const count = all.value('usher_requests_total', { class: 'app', outcome: 'finished' });
      return count === 1 && all;
    });
    t.equal(told.value('usher_instances', { class: 'app', state: 'ready' }), 1);
    t.equal(told.value('usher_starts_total', { class: 'app' }), 0, 'it has started nothing');
    await eventually('its dashboard listens', async () => {
      const { text } = await ask(dashboard, '/api/status', {});
      return (JSON.parse(text) as Status).manager.pid !== before;
    });
  });
}
