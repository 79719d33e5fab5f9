// SPDX-License-Identifier: Apache-2.0
// The status page inside the web server: what `usher status` tells, for whom the server's own access
// rules let in, with a manager and without one.

import type { Test } from 'tap';
import type { Answer } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { descriptorCount, signal } from '../servers/processes.ts';
import { Site } from '../servers/site.ts';
import type { ClassStatus } from '../servers/usher.ts';
import { usherProcesses } from '../servers/usher-processes.ts';
import type { WebServer } from '../servers/web-server.ts';

type ShownClass = Pick<
  ClassStatus,
  'name' | 'kind' | 'protocol' | 'state' | 'inFlight' | 'waiting' | 'totals'
> & {
  instances: { pid: number; state: string; inFlight: number; places: number }[];
  servingMs: { mean: number; median: number; p99: number } | null;
  failure: { status: number; retryAfterS: number; reason: string } | null;
};

interface Shown {
  schema: number;
  version: string;
  runtimeDir: string;
  manager: { pid: number; state: string; silentMs: number };
  servers: { name: string; kind: string; version: string; workers: number }[];
  classes: ShownClass[];
  totals: { classes: number };
}

const many = 1_000;
const oddName = `docs/<b>"&'.fcgi`;
const oddPath = '/%3Cb%3E%22&%27.fcgi';

function configure(site: Site, program: string) {
  const cold = Array.from({ length: many }, (_, i) => `cold-${i}`);
  return {
    nginx: `
      usher_app app command=${program} processes=2;
      usher_app broken command=/bin/false on_demand=1;
      ${cold.map((name) => `usher_app ${name} command=${program} on_demand=1;`).join('\n')}
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        location /app { usher_pass app; }
        location /broken { usher_pass broken; }
        location = /usher-status { usher_status; allow 127.0.0.1; deny all; }
        location = /for-others { usher_status; allow 127.0.0.2; deny all; }
        location / { usher_pass $document_root$fastcgi_script_name; }
      }`,
    apache: `
      LoadModule authz_host_module /usr/lib/apache2/modules/mod_authz_host.so
      AppClass app -command ${program} -processes 2
      AppClass broken -command /bin/false -on-demand 1
      ${cold.map((name) => `AppClass ${name} -command ${program} -on-demand 1`).join('\n')}
      <Location /app>
        UsherPass app
      </Location>
      <Location /broken>
        UsherPass broken
      </Location>
      <Location /usher-status>
        SetHandler usher-status
        Require ip 127.0.0.1
      </Location>
      <Location /for-others>
        SetHandler usher-status
        Require ip 127.0.0.2
      </Location>
      <FilesMatch "\\.fcgi$">
        SetHandler fastcgi-script
        Options +ExecCGI
      </FilesMatch>`,
  };
}

async function shownBy(site: Site): Promise<Shown> {
  const { status, text } = await site.request('/usher-status?json');
  if (status !== 200) throw new Error(`${status}: ${text.slice(0, 500)}`);
  return JSON.parse(text) as Shown;
}

/** What both have, spelled alike. */
function common(one: ClassStatus | ShownClass) {
  const { name, kind, protocol, state, inFlight, waiting, totals } = one;
  const instances = one.instances.map(({ pid, state }) => ({ pid, state }));
  instances.sort((a, b) => a.pid - b.pid);
  return { name, kind, protocol, state, inFlight, waiting, totals, instances };
}

function isGuarded(t: Test, answer: Answer): void {
  t.same(answer.header('cache-control'), ['no-store']);
  t.same(answer.header('x-content-type-options'), ['nosniff']);
  t.match(answer.header('content-security-policy'), [/default-src 'none'/]);
}

export async function statusPage(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const program = site.program('app.fcgi');
  const odd = site.program(oddName);
  await site.start(configure(site, program));

  await site.check('it tells what usher status tells', async (t) => {
    for (let i = 0; i < 7; i += 1) t.equal((await site.request('/app?as=text')).status, 200);
    t.equal((await site.request('/broken')).status, 503);
    t.equal((await site.request(oddPath)).status, 200, 'a program with an odd name');
    await site.settled();
    const shown = await eventually('both tell the same', async () => {
      const [page, { manager, servers, classes }] = [await shownBy(site), await site.status()];
      const told = new Map(classes.map((one) => [one.name, one]));
      const different = page.classes.filter((one) => {
        const other = told.get(one.name);
        return !other || JSON.stringify(common(one)) !== JSON.stringify(common(other));
      });
      if (different.length > 0 || page.classes.length !== classes.length) {
        const [one] = different;
        throw new Error(JSON.stringify([one, one && told.get(one.name)]));
      }
      t.equal(page.manager.pid, manager.pid);
      t.match(page.servers, [{ name: servers[0]?.name, kind: server.kind, version: /^\d+\.\d+/ }]);
      t.equal(page.servers[0]?.workers, servers[0]?.workers);
      return page;
    });
    t.match(shown, { schema: 1, runtimeDir: site.runtimeDir, manager: { state: 'running' } });
    t.equal(shown.totals.classes, many + 3, 'all classes are there');
    const app = shown.classes.find(({ name }) => name === 'app');
    t.match(app, { totals: { arrivals: 7, finished: 7 }, instances: { length: 2 } });
    t.ok((app?.servingMs?.p99 ?? 0) >= (app?.servingMs?.median ?? 1));
    const broken = shown.classes.find(({ name }) => name === 'broken');
    t.match(broken, { state: 'failed', failure: { status: 503, reason: /exited with status 1/ } });
    t.ok(shown.classes.some(({ name }) => name === odd));
  });

  await site.check('three formats, harmless and for nobody to keep', async (t) => {
    const html = await site.request('/usher-status');
    t.match(html, { status: 200, isComplete: true });
    t.match(html.header('content-type'), [/^text\/html/]);
    isGuarded(t, html);
    t.match(html.text, /<td class="t">2 idle<td>0 \/ 2<td>0<td>7<td>0/);
    t.ok(html.text.includes('&lt;b&gt;&quot;&amp;&#39;.fcgi'), 'the odd name is a text');
    t.notOk(html.text.includes('<b>'));
    t.ok(html.text.endsWith('</html>\n'));
    const json = await site.request('/usher-status?json');
    t.same(json.header('content-type'), ['application/json']);
    isGuarded(t, json);
    const auto = await site.request('/usher-status?auto');
    t.match(auto.header('content-type'), [/^text\/plain/]);
    t.match(auto.text, /^Class\[\d+\]Name: app\nClass\[\d+\]Kind: static$/m);
    t.match(auto.text, new RegExp(`^Classes: ${many + 3}$`, 'm'));
    for (const secret of ['/bin/false', 'sockets/']) t.notOk(json.text.includes(secret), secret);
  });

  await site.check('who may see it is the server’s affair, and nothing but GET', async (t) => {
    t.equal((await site.request('/for-others')).status, 403);
    t.equal((await site.request('/for-others?json')).status, 403);
    const head = await site.request('/usher-status?json', { method: 'HEAD' });
    t.match(head, { status: 200, body: { length: 0 } });
    t.same(head.header('content-type'), ['application/json']);
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const refused = await site.request('/usher-status', { method, body: 'x'.repeat(100) });
      t.equal(refused.status, 405, method);
      t.match(refused.header('allow').join(), /GET.*HEAD|HEAD.*GET/);
    }
  });

  await site.check('it costs no descriptors', async () => {
    const before = site.workers.map((pid) => ({ pid, held: descriptorCount(pid) }));
    const asked = 100;
    for (let i = 0; i < asked; i += 1) await site.request('/usher-status?json');
    // A worker that serves for the first time opens a few for good.
    await eventually('the workers hold what they held', () => {
      const more = before.map(({ pid, held }) => Math.max(0, descriptorCount(pid) - held));
      return more.reduce((sum, one) => sum + one, 0) < asked / 2;
    });
  });

  await site.check('without a manager it says so, and goes on', async (t) => {
    const { launcher, manager } = usherProcesses(site.runtimeDir);
    if (launcher === undefined || manager === undefined) throw new Error('no manager');
    signal(launcher, 'SIGSTOP');
    try {
      signal(manager, 'SIGKILL');
      const shown = await eventually('the manager is missed', async () => {
        const page = await shownBy(site);
        return page.manager.state === 'silent' && page;
      });
      t.equal(shown.manager.pid, manager);
      t.ok(shown.manager.silentMs > 0);
      t.equal(shown.totals.classes, many + 3);
      t.equal((await site.request('/app?as=text')).status, 200);
      const app = (await shownBy(site)).classes.find(({ name }) => name === 'app');
      t.equal(app?.totals.finished, 8, 'requests are counted on');
      t.match((await site.request('/usher-status')).text, /silent, pid \d+: no sign of life for/);
    } finally {
      signal(launcher, 'SIGCONT');
    }
    await eventually('the next one is seen', async () => {
      const page = await shownBy(site);
      return page.manager.state === 'running' && page.manager.pid !== manager;
    });
    const app = (await shownBy(site)).classes.find(({ name }) => name === 'app');
    t.equal(app?.totals.finished, 8, 'and on');
  });
}
