// SPDX-License-Identifier: Apache-2.0
// Engines of usher-jvm on several hosts, for which addresses of this one stand, behind one class: sessions
// stay at their engine, engines come and go, and every request is accounted for.

import type { Test } from 'tap';
import type { Answer } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { Load, type Loss } from '../servers/load.ts';
import { Site, type Texts } from '../servers/site.ts';
import { usherCommand } from '../servers/usher.ts';
import { UsherJvm } from '../servers/usher-jvm.ts';
import type { WebServer } from '../servers/web-server.ts';

const clients = 4;

/** With the class "shop" of these hosts. */
export function configuration(site: Site, secret: string, hosts: readonly string[]): Texts {
  return {
    nginx: `
      usher_external_app shop protocol=ajp12 ${hosts.map((host) => `host=${host}`).join(' ')}
                         secret_file=${secret} zone=/servlets=root zone=/zones recover_time=1;
      server {
        listen 127.0.0.1:${site.port};
        include fastcgi_params;
        location / { usher_pass shop; }
      }`,
    apache: `
      ExternalAppClass shop -protocol ajp12 ${hosts.map((host) => `-host ${host}`).join(' ')} \\
          -secret-file ${secret} -zone /servlets=root -zone /zones -recover-time 1
      <Location />
        UsherPass shop
      </Location>`,
  };
}

/** A visit to the servlet, in the session of this id if one is given. */
export async function visit(site: Site, session?: string): Promise<Record<string, string>> {
  const answer = await site.request('/servlets/session/x', inSession(session));
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`);
  return answer.fields;
}

const inSession = (session?: string) =>
  session === undefined
    ? {}
    : { headers: [['Cookie', `JSESSIONID=${session}`]] as [string, string][] };

/** Begins so many sessions: their ids. */
export async function begin(site: Site, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i += 1) ids.push((await visit(site)).session ?? '');
  return ids;
}

export const routeOf = (session: string): string => session.slice(session.lastIndexOf('.') + 1);

/** Where each of so many new sessions is. */
async function newRoutes(site: Site, count = 8): Promise<Set<string>> {
  return new Set((await begin(site, count)).map(routeOf));
}

/** Requests without a pause while something happens; each was executed once, or not at all and is lost. */
export async function accounted(
  t: Test,
  site: Site,
  engines: readonly UsherJvm[],
  action: () => Promise<unknown>,
): Promise<Loss[]> {
  const mark = `${t.name.replaceAll(/\W/g, '')}-`;
  const answered = new Set<string>();
  const load = new Load(site.port, (index) => ({
    path: `/servlets/session/x?ms=2&n=${mark}${index}`,
    problemOf: ({ status }: Answer) => {
      if (status === 200) answered.add(`${mark}${index}`);
      return undefined;
    },
  }));
  load.clients = clients;
  try {
    await eventually('the first answers', () => load.answered > clients);
    await action();
    const sofar = load.answered;
    await eventually('further answers', () => load.answered > sofar + clients);
  } finally {
    await load.stop();
  }
  const executed = engines.flatMap(({ journal }) => journal).filter((one) => one.startsWith(mark));
  t.equal(new Set(executed).size, executed.length, 'none was executed twice');
  const given = new Set(executed);
  t.same(
    [...answered].filter((one) => !given.has(one)),
    [],
    'each answer is an engine’s',
  );
  t.equal(load.answered + load.lost, load.asked, 'each is answered or lost');
  return load.losses;
}

export async function balancing(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const secret = site.file('secret', 'all of it\nevery line\n', 0o600);
  const port = site.ports[1] ?? 0;
  const start = (route: string, host: string) => {
    return UsherJvm.start(t, site, { route, host, port, secret });
  };
  const [a, b] = await Promise.all([start('a', '127.0.0.2'), start('b', '127.0.0.3')]);
  const added = `127.0.0.4:${port}`;
  await site.start(
    configuration(site, secret, [
      ...[`${a.address},route=a`, `${b.address},route=b`],
      `${added},route=c,activation=stopped`,
    ]),
  );
  const engines = [a, b];
  const usher = async (address: string, word: string) => {
    const { status, output } = await usherCommand(
      site.runtimeDir,
      'backend',
      'shop',
      address,
      word,
    );
    if (status !== 0) throw new Error(output);
  };

  await site.check('servlets are found by zone and name', async (t) => {
    t.match(await visit(site), {
      ...{ zone: 'root', servlet: 'session' },
      ...{ scriptName: '/servlets/session', pathInfo: '/x' },
    });
    const named = await site.request('/zones/root/session');
    t.match(named.fields, { zone: 'root', scriptName: '/zones/root/session', pathInfo: '' });
    t.equal((await site.request('/zones/other/nobody')).status, 404);
  });

  await site.check('new sessions go to all hosts, and stay', async (t) => {
    const ids = await begin(site, 8);
    t.same(new Set(ids.map(routeOf)), new Set(['a', 'b']));
    for (const visits of [2, 4, 6]) {
      for (const id of ids) {
        const place = { session: id, at: routeOf(id), route: routeOf(id) };
        t.match(await visit(site, id), { ...place, visits: `${visits}` });
        const inPath = await site.request(`/zones/root/session;jsessionid=${id}`);
        t.match(inPath.fields, { ...place, visits: `${visits + 1}` });
      }
    }
  });

  await site.check('an engine is added', async (t) => {
    const [old = ''] = await begin(site, 1);
    engines.push(await start('c', '127.0.0.4'));
    t.notOk((await newRoutes(site)).has('c'), 'it is not asked for by itself');
    const losses = await accounted(t, site, engines, async () => {
      await usher(added, 'active');
      await eventually('new sessions there', async () => (await newRoutes(site)).has('c'));
    });
    t.same(losses, []);
    t.match(await visit(site, old), { session: old, visits: '2' });
  });

  await site.check('one is drained, stopped by its signal and started again', async (t) => {
    const [own = ''] = (await begin(site, 12)).filter((id) => routeOf(id) === 'a');
    const backend = async () => (await site.classStatus('shop'))?.backends[0];
    const losses = await accounted(t, site, engines, async () => {
      await usher(a.address, 'disabled');
      await eventually('no new sessions there', async () => !(await newRoutes(site)).has('a'));
      t.match(await visit(site, own), { session: own, at: 'a' }, 'its own are served');
      await usher(a.address, 'stopped');
      await eventually('it has nothing to do', async () => (await backend())?.inFlight === 0);
      t.match(await a.signal('-s'), { status: 0, output: '' });
      t.equal(await a.ended(), 0);
      t.not((await visit(site, own)).at, 'a', 'another one begins its session anew');
      await a.start();
      await usher(a.address, 'active');
      await eventually('new sessions there', async () => (await newRoutes(site)).has('a'));
    });
    t.same(losses, []);
  });

  await site.check('one is restarted by its signal', async (t) => {
    const ids = await begin(site, 12);
    const [own = ''] = ids.filter((id) => routeOf(id) === 'b');
    const { pid } = await visit(site, own);
    const losses = await accounted(t, site, engines, async () => {
      t.match(await b.signal('-r'), { status: 0, output: '' });
      await b.says('all workers are new');
      await eventually('another process', async () => (await visit(site, own)).pid !== pid);
    });
    t.same(losses, []);
    t.ok(await b.ping());
    for (const id of ids.filter((id) => routeOf(id) !== 'b')) {
      t.match(await visit(site, id), { session: id, visits: '2' }, 'other sessions go on');
    }
  });

  await site.check('one is killed', async (t) => {
    const ids = await begin(site, 12);
    const [own = ''] = ids.filter((id) => routeOf(id) === 'b');
    const losses = await accounted(t, site, engines, async () => {
      await b.kill();
      t.notOk(await b.ping());
      for (const id of ids) {
        const isLost = routeOf(id) === 'b';
        const { session, at } = await visit(site, id);
        if (isLost) t.not(at, 'b', 'begun anew elsewhere');
        else t.match({ session, at }, { session: id, at: routeOf(id) }, 'other sessions go on');
      }
    });
    t.same(
      losses.filter(({ status }) => status !== 502),
      [],
      'lost is what it was given',
    );
    t.ok(losses.length <= 2 * clients, 'and what the kernel let in at its end');
    await b.start();
    await eventually('its sessions there', async () => (await visit(site, own)).at === 'b');
    t.match(await site.classStatus('shop'), { protocol: 'ajp12', state: 'ready' });
  });

  await site.end();
}
