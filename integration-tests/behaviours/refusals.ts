// SPDX-License-Identifier: Apache-2.0
// A runtime directory that cannot be used, a manager that must not be started: who notices says so
// clearly, and requests get 503 or the server does not start.

import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import type { Test } from 'tap';
import { isRoot, Site, type Texts } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';

const versionOffset = 8;

function texts(site: Site, directives: { nginx?: string; apache?: string } = {}): Texts {
  const echo = `${site.dir}/bin/echo`;
  return {
    nginx: `
      ${directives.nginx ?? ''}
      usher_app ${echo} processes=1;
      server {
        listen 127.0.0.1:${site.port};
        location / { usher_pass ${echo}; include fastcgi_params; }
      }`,
    apache: `
      ${directives.apache ?? ''}
      AppClass ${echo} -processes 1
      <Location />
        UsherPass ${echo}
      </Location>`,
  };
}

/** Either the server does not start, or it answers 503; in both cases it says `cause`. */
async function isRefused(t: Test, site: Site, configuration: Texts, cause: RegExp) {
  let refusal: string | undefined;
  try {
    await site.start(configuration);
  } catch (error) {
    refusal = (error as Error).message;
  }
  if (refusal === undefined) {
    t.equal((await site.request('/')).status, 503);
    t.ok(await site.errorLine(cause));
  } else {
    t.match(refusal, cause);
  }
}

export async function refusals(t: Test, server: WebServer): Promise<void> {
  await t.test('a channel of another layout version', async (t) => {
    const first = await Site.create(t, server);
    first.program('bin/echo');
    await first.start(texts(first));
    const second = await Site.create(t, server, { runtimeDir: first.runtimeDir });
    second.program('bin/echo');
    await second.check('is refused by a server that comes to it', async (t) => {
      t.equal((await first.request('/?text=fine')).text, 'fine');
      const table = openSync(`${first.runtimeDir}/channel/table`, 'r+');
      const version = Buffer.alloc(4);
      readSync(table, version, 0, 4, versionOffset);
      writeSync(table, Buffer.from([99, 0, 0, 0]), 0, 4, versionOffset);
      await isRefused(t, second, texts(second), /version.*99|99.*version/);
      await second.end();
      writeSync(table, version, 0, 4, versionOffset);
      closeSync(table);
      t.equal((await first.request('/?text=fine')).text, 'fine', 'the other server is served');
    });
    await first.end();
  });

  await t.test('a runtime directory that cannot be made', async (t) => {
    const site = await Site.create(t, server, { runtimeDir: '/proc/usher' });
    site.program('bin/echo');
    await site.check('is named with the reason', (t) =>
      isRefused(t, site, texts(site), /\/proc\/usher.*(No such file|Permission|writable|denied)/i),
    );
    await site.end();
  });

  await t.test('a runtime directory in a place that the user may not write to', async (t) => {
    const place = mkdtempSync('/tmp/usher-closed-');
    chmodSync(place, 0o555);
    t.teardown(() => rmSync(place, { recursive: true }));
    const user = isRoot ? { startAs: { uid: 65534, gid: 65534 } } : {};
    const site = await Site.create(t, server, { runtimeDir: `${place}/run`, ...user });
    site.program('bin/echo');
    await site.check('is named with the reason', (t) =>
      isRefused(t, site, texts(site), /usher-closed-.*(writable|Permission denied)/),
    );
    await site.end();
  });

  await t.test('a runtime directory with too long a path', async (t) => {
    const runtimeDir = `/tmp/${'long-'.repeat(20)}`;
    const site = await Site.create(t, server, { runtimeDir });
    site.program('bin/echo');
    await site.check('is a configuration error that names lengths', async (t) => {
      const { status, output } = await site.checkConfiguration(texts(site));
      t.not(status, 0);
      t.match(output, /long-long.*(too long|bytes|characters)/);
      t.notOk(existsSync(runtimeDir));
    });
    await site.end();
  });

  await t.test('a manager that must not be started', async (t) => {
    const site = await Site.create(t, server);
    site.program('bin/echo');
    await site.check('requests are answered 503 at once, and the log says why', async (t) => {
      await site.start(texts(site, { nginx: 'usher_manager off;', apache: 'UsherManager off' }));
      t.equal((await site.request('/')).status, 503);
      t.ok(await site.errorLine(/manager/i));
      t.same(site.starts(`${site.dir}/bin/echo`), []);
    });
    await site.end();
  });

  await t.test('a wrong configuration', async (t) => {
    const site = await Site.create(t, server);
    site.program('bin/echo');
    const wrong = (nginx: string, apache: string, cause: RegExp) =>
      site.check(`${nginx} is refused`, async (t) => {
        const { status, output } = await site.checkConfiguration(texts(site, { nginx, apache }));
        t.not(status, 0);
        t.match(output, cause);
        t.match(output, /server\.conf/, 'names the file');
      });
    await wrong(
      'usher_app a command=/bin/true processes=x;',
      'AppClass a -command /bin/true -processes x',
      /processes.*x/,
    );
    await wrong(
      'usher_app a command=/bin/true no_such=1;',
      'AppClass a -command /bin/true -no-such 1',
      /no.such/,
    );
    await wrong(
      'usher_config max_processes=0;',
      'FCGIConfig -maxProcesses 0',
      /max.?processes.*0/i,
    );
    await wrong('usher_external_app a;', 'ExternalAppClass a', /host|socket/);
    await wrong(
      'usher_app a protocol=ajp command=/bin/true;',
      'AppClass a -protocol ajp -command /bin/true',
      /protocol.ajp needs .?host.HOST:PORT: where its engine listens/,
    );
    await wrong(
      'usher_app a protocol=ajp command=/bin/true host=127.0.0.1:8009 initial_env=USHER_PORT=1;',
      'AppClass a -protocol ajp -command /bin/true -host 127.0.0.1:8009 -initial-env USHER_PORT=1',
      /initial.env.USHER_PORT: each engine of this class gets its own/,
    );
    await wrong(
      'usher_external_app a host=127.0.0.1:9000,route=x;',
      'ExternalAppClass a -host 127.0.0.1:9000,route=x',
      /host.127\.0\.0\.1:9000,route=x: .* needs .?protocol.ajp/,
    );
    await wrong(
      'usher_external_app a host=127.0.0.1:9000 recover_time=5s;',
      'ExternalAppClass a -host 127.0.0.1:9000 -recover-time 5s',
      /recover.time.5s needs .?protocol.ajp or ajp12; this class speaks fastcgi/,
    );
    await wrong(
      'usher_app usher-cgi command=/bin/true;',
      'AppClass usher-cgi -command /bin/true',
      /usher-cgi is the class of all CGI programs/,
    );
    const pass = (nginx: string, apache: string, cause: RegExp) =>
      wrong(
        `server { listen 127.0.0.1:${site.port}; location / { ${nginx} } }`,
        `<Location /x>\n${apache}\n</Location>`,
        cause,
      );
    await pass(
      'usher_pass /x protocol=ajp;',
      'UsherPass /x -protocol ajp',
      /protocol.ajp.*only .?protocol.cgi stands here.*option of the class/,
    );
    await pass(
      'usher_pass /x balance=on;',
      'UsherPass /x -balance on',
      /unknown option .*balance.*expected .?protocol.cgi/,
    );
    await pass(
      `usher_pass ${site.dir}/bin/echo protocol=cgi;`,
      `UsherPass ${site.dir}/bin/echo -protocol cgi`,
      /class.* has another protocol.*leave out .?protocol.cgi here/,
    );
    await site.check('a good one is not, and starts nothing', async (t) => {
      t.match(await site.checkConfiguration(texts(site)), { status: 0 });
      t.notOk(existsSync(site.runtimeDir));
    });
    await site.end();
  });
}

/** Under all servers at once: without a manager nobody knows a class's own limit, only its default. */
export async function absentManager(t: Test, servers: WebServer[]): Promise<void> {
  const sites = await Promise.all(servers.map((server) => Site.create(t, server)));
  const ask = async (site: Site) => {
    site.program('bin/echo');
    const external = { nginx: 'usher_manager external;', apache: 'UsherManager external' };
    await site.start(texts(site, external));
    return site.request('/');
  };
  const answers = await Promise.all(sites.map(ask));
  for (const [i, site] of sites.entries()) {
    t.equal(answers[i]?.status, 503, `${site.server.name} waits for it, then answers 503`);
    t.ok(await site.errorLine(/manager/i), 'and says why');
    // The directory belongs to whoever should have come.
    await site.end('TERM', 'others');
  }
}
