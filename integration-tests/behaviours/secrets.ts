// SPDX-License-Identifier: Apache-2.0
// A value of -initial-env may be a secret: it is in the program's environment and in the files that
// only root can read, and nowhere that anything is told, at any log level, whatever goes wrong.

import { readFileSync, statSync } from 'node:fs';
import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { commandLine, environmentOf, parentOf, processIds, signal } from '../servers/processes.ts';
import { Site } from '../servers/site.ts';
import { run, usherCommand } from '../servers/usher.ts';
import { files, type WebServer } from '../servers/web-server.ts';

const secret = 'tr0ub4dor-and-three';
const changed = 'tr0ub4dor-and-four';
/** Part of both, and of nothing else. */
const mark = 'tr0ub4dor';

/** A configuration whose programs end well, end at once and cannot be started at all. */
function texts(site: Site, value: string): Record<WebServer['kind'], string> {
  const echo = `${site.dir}/bin/echo`;
  const broken = `${site.dir}/bin/broken`;
  return {
    nginx: `
      error_log ${files.errorLog(site)} debug;
      usher_app ${echo} processes=1 initial_env=TOKEN=${value} "initial_env=BLANK=a ${value}";
      usher_app broken command=${broken} on_demand=1 initial_env=TOKEN=${value};
      usher_app nowhere command=${echo} cwd=/nowhere on_demand=1 initial_env=TOKEN=${value};
      usher_app other command=${echo} processes=1;
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        location /echo { usher_pass ${echo}; include fastcgi_params; }
        location /broken { usher_pass broken; include fastcgi_params; }
        location /nowhere { usher_pass nowhere; include fastcgi_params; }
        location /other { usher_pass other; include fastcgi_params; }
      }`,
    apache: `
      LogLevel trace8
      AppClass ${echo} -processes 1 -initial-env TOKEN=${value} -initial-env "BLANK=a ${value}" \\
          -pass-header Authorization
      AppClass broken -command ${broken} -on-demand 1 -initial-env TOKEN=${value}
      AppClass nowhere -command ${echo} -cwd /nowhere -on-demand 1 -initial-env TOKEN=${value}
      AppClass other -command ${echo} -processes 1
      ${['echo', 'broken', 'nowhere', 'other']
        .map((name) => {
          const pass = name === 'echo' ? echo : name;
          return `<Location /${name}>\n  UsherPass ${pass}\n</Location>`;
        })
        .join('\n')}`,
  };
}

export async function secrets(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  for (const name of ['bin/echo', 'bin/broken']) {
    site.program(name, name === 'bin/broken' ? 'exits-with-stderr' : 'echo');
  }
  await site.start(texts(site, secret));
  const instance = async (): Promise<number> =>
    Number((await site.request('/echo?pid')).text.trim());

  const told = async (): Promise<[what: string, text: string][]> => {
    const { pid } = (await site.status()).manager;
    const launcher = parentOf(pid);
    const ours = [launcher, pid, site.pid, ...site.workers];
    return [
      ['usher status', (await usherCommand(site.runtimeDir, 'status')).output],
      ['usher status --json', (await usherCommand(site.runtimeDir, 'status', '--json')).output],
      ['usher.log', readFileSync(`${site.runtimeDir}/usher.log`, 'utf8')],
      ['the error log', readFileSync(files.errorLog(site), 'utf8')],
      ['the access log', readFileSync(files.accessLog(site), 'utf8')],
      ...processIds().map((id): [string, string] => [`arguments of ${id}`, commandLine(id)]),
      ...ours.map((id): [string, string] => [
        `environment of ${commandLine(id)}`,
        environmentOf(id).join('\n'),
      ]),
    ];
  };
  const isNowhere = async (t: Test): Promise<void> => {
    for (const [what, text] of await told()) t.notOk(text.includes(mark), `not in ${what}`);
  };

  await site.check('is in the environment of its program', async (t) => {
    const pid = await instance();
    const own = environmentOf(pid).filter((entry) => !entry.startsWith('PATH='));
    t.same(own, [`BLANK=a ${secret}`, `TOKEN=${secret}`]);
    const other = Number((await site.request('/other?pid')).text.trim());
    t.notOk(environmentOf(other).join().includes(mark), 'and of no other');
    t.match(environmentOf(other), [/^PATH=/], 'which has been read');
  });
  await site.check('is told nowhere, whatever happens to programs', async (t) => {
    t.equal((await site.request('/broken')).status, 503);
    t.equal((await site.request('/nowhere')).status, 503);
    const json = JSON.stringify((await site.status()).classes);
    t.match(json, /exited with status/, 'the status tells why one ended');
    t.match(json, /nowhere/, 'and why one could not be started');
    const pid = await instance();
    signal(pid, 'SIGKILL');
    await eventually('another instance', async () => {
      const now = await instance();
      return now > 0 && now !== pid;
    });
    t.equal((await usherCommand(site.runtimeDir, 'restart', `${site.dir}/bin/echo`)).status, 0);
    await isNowhere(t);
  });
  await site.check('is told nowhere when it changes, or the manager ends', async (t) => {
    site.reload(texts(site, changed));
    await eventually('the new value', async () =>
      environmentOf(await instance()).includes(`TOKEN=${changed}`),
    );
    const { pid } = (await site.status()).manager;
    signal(pid, 'SIGKILL');
    await eventually('another manager', async () => (await site.status()).manager.pid !== pid);
    t.equal((await site.request('/echo?text=served')).text, 'served');
    await isNowhere(t);
  });
  await site.check('is told nowhere when two servers disagree', async (t) => {
    const second = await Site.create(t, server, { runtimeDir: site.runtimeDir });
    const own = (text: string) => text.replaceAll(`${second.dir}/bin`, `${site.dir}/bin`);
    const { nginx, apache } = texts(second, secret);
    await second.start({ nginx: own(nginx), apache: own(apache) });
    await eventually('a class of each server', async () =>
      (await site.status()).classes.some(({ name }) => name.startsWith(`${site.dir}/bin/echo@`)),
    );
    const log = readFileSync(`${site.runtimeDir}/usher.log`, 'utf8');
    t.match(log, /class.disagreement/, 'the log tells that they do');
    await isNowhere(t);
    t.notOk(readFileSync(files.errorLog(second), 'utf8').includes(mark), 'nor in its error log');
    await second.end('TERM', 'others');
  });
  await site.check('is on no disk but in files that only root reads', async (t) => {
    // The channel is too large, and too empty, to be read into a string.
    const found = await run(['grep', '-rlsaF', mark, site.runtimeDir]);
    const holders = found.output.split('\n').filter(Boolean);
    t.ok(holders.length > 0, 'registrations hold it');
    for (const path of holders) {
      t.match(path, /\/servers\/[^/]+\.(conf|allow)$/);
      const { mode, uid } = statSync(path);
      t.equal(mode & 0o777, 0o600, `${path} is its owner’s only`);
      t.equal(uid, process.getuid?.());
    }
  });
  if (server.kind === 'apache') {
    await site.check('is not given to the program of an internal redirect', async (t) => {
      const headers: [string, string][] = [['Authorization', `Bearer ${mark}`]];
      const own = await site.request('/echo?env', { headers });
      t.match(own.fields, { TOKEN: changed, HTTP_AUTHORIZATION: `Bearer ${mark}` });
      const { fields } = await site.request('/echo?header=Location: /other', { headers });
      t.match(fields, { REDIRECT_URL: '/echo' }, 'it was redirected');
      t.notOk(JSON.stringify(fields).includes(mark));
    });
  }
  await site.check('is in no error about the configuration', async (t) => {
    for (const value of [`a b ${mark}`, `"a\\" ${mark}`, `${mark}" x`]) {
      const { status, output } = await site.checkConfiguration(texts(site, value));
      if (status === 0) continue; // one server's quotes are not the other's
      t.notOk(output.includes(mark), output);
    }
    const wrong = texts(site, mark);
    const { status, output } = await site.checkConfiguration({
      nginx: wrong.nginx.replaceAll('TOKEN=', '1TOKEN='),
      apache: wrong.apache.replaceAll('TOKEN=', '1TOKEN='),
    });
    t.not(status, 0);
    t.match(output, /1TOKEN=\.\.\.: expected NAME=value/);
    t.notOk(output.includes(mark), output);
  });
  await site.end();
}
