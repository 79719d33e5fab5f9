// SPDX-License-Identifier: Apache-2.0
// Engines on hosts of their own, in network namespaces: what addresses of one host do not show.

import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { NetworkNamespace } from '../servers/network-namespace.ts';
import { Site } from '../servers/site.ts';
import { UsherJvm } from '../servers/usher-jvm.ts';
import type { WebServer } from '../servers/web-server.ts';
import { begin, configuration, routeOf, visit } from './balancing.ts';

const port = 8007;

export async function onHosts(t: Test, server: WebServer): Promise<void> {
  const hosts = [await NetworkNamespace.create(t), await NetworkNamespace.create(t)];
  const [first, second] = hosts;
  if (typeof first !== 'object' || typeof second !== 'object') {
    t.comment(`without network namespaces: ${hosts.find((one) => typeof one === 'string')}`);
    return;
  }
  const site = await Site.create(t, server);
  const secret = site.file('secret', 'all of it\n', 0o600);
  const start = (route: string, { address: host, ours, command: elsewhere }: NetworkNamespace) => {
    const properties = `security.allowedAddresses=${ours},${host}\n`;
    return UsherJvm.start(t, site, { route, host, port, secret, properties, elsewhere });
  };
  const [a, b] = await Promise.all([start('a', first), start('b', second)]);
  await site.start(configuration(site, secret, [`${a.address},route=a`, `${b.address},route=b`]));

  await site.check('sessions are at both hosts, and stay', async (t) => {
    const ids = await begin(site, 6);
    t.same(new Set(ids.map(routeOf)), new Set(['a', 'b']));
    for (const id of ids) t.match(await visit(site, id), { session: id, visits: '2' });
  });

  await site.check('a host that is off does not cost a request, nor its sessions', async (t) => {
    const ids = await begin(site, 6);
    const [own = ''] = ids.filter((id) => routeOf(id) === 'b');
    await second.unplug();
    t.match(await visit(site, own), { at: 'a', visits: '1' });
    for (const id of ids.filter((id) => routeOf(id) === 'a')) {
      t.match(await visit(site, id), { session: id, visits: '2' });
    }
    await second.plug();
    await eventually('its sessions there', async () => (await visit(site, own)).at === 'b');
    t.match(await visit(site, own), { session: own }, 'which have not ended');
  });

  await site.check('an engine obeys signals of its own host alone', async (t) => {
    t.match(await b.signal('-s', null), { status: 0 });
    await b.says('shutdown is not obeyed: it came from another host');
    t.ok(await b.ping());
    t.match(await b.signal('-s'), { status: 0, output: '' });
    t.equal(await b.ended(), 0);
    for (let i = 0; i < 4; i += 1) t.equal((await visit(site)).at, 'a');
  });
  await site.end();
}
