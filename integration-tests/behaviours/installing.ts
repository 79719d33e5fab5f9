// SPDX-License-Identifier: Apache-2.0
// usher install and uninstall on Debian's own nginx and Apache, with the configuration that they have here.

import { writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { builtApps, root, usher } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import type { PrivateHost } from '../servers/private-host.ts';
import type { Status } from '../servers/usher.ts';

interface Installed {
  kind: 'nginx' | 'apache';
  /** What its administrator edits. */
  configuration: string;
  /** Where the example in it serves. */
  port: number;
  start: string;
  reload: string;
  stop: string;
  check: string;
  /** A line that needs Usher, and where somebody could write it. */
  site: { path: string; line: string };
}

export const kinds: Installed[] = [
  {
    kind: 'nginx',
    configuration: '/etc/nginx/snippets/usher.conf',
    port: 8080,
    start: 'nginx',
    reload: 'nginx -s reload',
    stop: 'nginx -s stop',
    check: 'nginx -t',
    site: { path: '/etc/nginx/conf.d/shop.conf', line: 'usher_app shop command=/bin/true;' },
  },
  {
    kind: 'apache',
    configuration: '/etc/apache2/mods-available/usher.conf',
    port: 80,
    start: 'apache2ctl start',
    reload: 'apache2ctl graceful',
    stop: 'apache2ctl stop',
    check: 'apache2ctl -t',
    site: { path: '/etc/apache2/conf-enabled/shop.conf', line: 'AppClass shop -command /bin/true' },
  },
];

const prefix = '/usr/local/lib/usher';

/** Takes "#" away where no blank, or an indentation, follows: the examples. */
const uncomment = (file: string): string => `sed -E -i 's/^#([^ ]|    )/\\1/' ${file}`;

const asNobody = 'setpriv --reuid=65534 --regid=65534 --clear-groups';

async function status(host: PrivateHost): Promise<Status> {
  return JSON.parse(await host.do('usher status --json')) as Status;
}

const kindsOfServers = async (host: PrivateHost): Promise<string[]> =>
  (await status(host)).servers.map(({ kind }) => kind);

/** Whom a process there belongs to. */
const owner = (host: PrivateHost, pid: number): Promise<string> =>
  host.do(`stat --format=%U /proc/${pid}`).then((text) => text.trim());

export async function installing(t: Test, host: PrivateHost, server: Installed): Promise<void> {
  const { kind, configuration, port, site } = server;
  // Some machines have no IPv6; and what the servers' own check changes is not ours.
  await host.do(
    `mkdir -p /var/www/html && cp ${builtApps}/echo /var/www/html/echo.fcgi; ! getent passwd usher || userdel usher
    sed -i '/\\[::\\]/d' /etc/nginx/sites-available/default; ${server.check}`,
  );
  const before = await host.listing();

  await t.test('--dry-run changes nothing', async (t) => {
    t.match(
      await host.do(`${usher} install ${kind} --dry-run`),
      /would create +\/usr\/local\/bin\/usher/,
    );
    t.same(await host.listing(), before);
  });

  await t.test(
    'everything that is installed is for all to read, and for root to write',
    async (t) => {
      const output = await host.do(`umask 077; ${usher} install ${kind}`);
      t.match(output, new RegExp(`created +${configuration}`));
      const added = (await host.listing()).filter((line) => !before.includes(line));
      const paths = added.flatMap((line) => /^[dfl] \d+ \d+ (.*)\t/.exec(line)?.slice(1) ?? []);
      t.ok(paths.length > 500, `${paths.length} files`);
      writeFileSync(`${host.scratch}/added`, paths.join('\n'));
      const find = `xargs -a ${host.scratch}/added -d '\\n' sh -c 'find "$@" -maxdepth 0`;
      t.equal(
        await host.do(`${asNobody} ${find} "(" ! -readable -o -type d ! -executable ")"' sh`),
        '',
      );
      t.equal(await host.do(`${find} ! -type l "(" -perm /022 -o ! -user root ")"' sh`), '');
      t.match(await host.do('getent passwd usher'), /nologin/);
    },
  );

  await t.test('the example of its configuration serves, without the checkout', async (t) => {
    await host.do(uncomment(configuration));
    await host.showCheckout(false);
    await host.do(server.start);
    const ask = `curl --silent --max-time 30 http://127.0.0.1:${port}/echo.fcgi`;
    const text = await eventually('an answer', async () => {
      const { output } = await host.sh(ask);
      return output.includes('echo.fcgi') && output;
    });
    t.match(text, '/var/www/html/echo.fcgi');
    const { manager, servers, classes } = await status(host);
    t.same(
      servers.map((one) => one.kind),
      [kind],
    );
    const echo = classes.find(({ name }) => name.endsWith('/echo.fcgi'));
    t.equal(await owner(host, echo?.instances[0]?.pid ?? 0), 'www-data');
    t.equal(await owner(host, manager.pid), 'usher');
    await host.showCheckout(true);
  });

  await t.test('a second time it is already so, and what was changed stays', async (t) => {
    const text = await host.do(`cat ${configuration}`);
    const output = await host.do(`${usher} install ${kind}`);
    t.match(output, 'already so: nothing was changed');
    t.match(output, new RegExp(`left alone +${configuration}`));
    t.equal(await host.do(`cat ${configuration}`), text);
  });

  await t.test('a new version takes over from a running one', async (t) => {
    const former = (await host.do(`realpath ${prefix}`)).trim();
    await host.do(`cp -rL ${prefix}/. /srv/newer && echo new >> /srv/newer/README.md`);
    const pids = async (): Promise<unknown> => {
      const { classes } = await status(host);
      return classes.map(({ name, instances }) => [name, instances.map(({ pid }) => pid)]);
    };
    const running = await pids();
    const output = await host.do(`/srv/newer/bin/usher install ${kind}`);
    const latter = (await host.do(`realpath ${prefix}`)).trim();
    t.not(latter, former);
    t.match(output, new RegExp(`left alone +${former} .*still runs`));
    await host.do('usher upgrade');
    t.same(await pids(), running, 'no program has ended');
    t.match(
      await host.do(`/srv/newer/bin/usher install ${kind}`),
      new RegExp(`removed +${former} `),
    );
    await host.do(server.reload);
    await eventually('the server again', async () => (await kindsOfServers(host)).includes(kind));
    t.equal((await host.sh(`ls ${former}`)).status, 2);
  });

  await t.test('it is not uninstalled while it is used', async (t) => {
    const installed = await host.listing();
    await host.do(`echo '${site.line}' > ${site.path}`);
    const used = await host.sh(`usher uninstall ${kind} --stop`);
    t.equal(used.status, 1);
    t.match(used.output, `  ${site.path}:1: ${site.line}`);
    await host.do(`rm ${site.path}`);
    const running = await host.sh('usher uninstall --all');
    t.equal(running.status, 1);
    t.match(running.output, /a manager runs from .*: --stop ends it/);
    t.same(await host.listing(), installed);
  });

  await t.test('uninstalled, nothing is left but what was changed', async (t) => {
    const output = await host.do(`usher uninstall ${kind} --stop`);
    t.match(output, new RegExp(`left alone +${configuration}`));
    await host.do(`${server.check} && ${server.stop}`);
    const after = await host.listing();
    const added = after.filter((line) => !before.includes(line));
    t.ok(added.length > 0 && added.every((line) => line.includes(configuration)), added.join('\n'));
    await host.do(`rm ${configuration}`);
    t.same(await host.listing(), before);
    t.match(await host.do(`${root}/bin/usher uninstall --all`), 'nothing is installed');
    await host.do('rm -rf /srv/newer');
  });
}
