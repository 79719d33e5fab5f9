// SPDX-License-Identifier: Apache-2.0
// Checks of web servers' configurations, on files that are made up.
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { placeIn, webServerChecks } from './checks/web-servers.ts';
import { type FakeMachine, fakeScene, look, processFiles, type Tree } from './testing/fake-host.ts';

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const nginxSo = `${root}/build/ngx_http_usher_module.so`;
const apacheSo = `${root}/build/mod_usher.so`;
const installed: Tree = {
  '/usr/sbin/nginx': '',
  '/usr/sbin/apache2': '',
  [nginxSo]: 'nginx module',
  [apacheSo]: 'apache module',
};
const nginxConf = '/etc/nginx/nginx.conf';
const apacheConf = '/etc/apache2/apache2.conf';
const load = `load_module ${nginxSo};\n`;
const http =
  'events { }\nhttp {\n  usher_app php "command=php-cgi -c x";\n  server { location / { usher_pass php; } }\n}\n';
const apacheLoad = `LoadModule mpm_event_module /usr/lib/mpm_event.so\nLoadModule usher_module ${apacheSo}\n`;

type Answers = Record<string, { exitCode?: number; output?: string }>;
const see = (
  id: string,
  files: Tree,
  answers: Answers = {},
  changes: Partial<FakeMachine> = {},
  wanted = {},
) => {
  const run: FakeMachine['run'] = (program, args) => answers[`${program} ${args[0]}`] ?? {};
  return look(
    webServerChecks,
    id,
    fakeScene({ files: { ...installed, ...files }, run, ...changes }, [], wanted),
  );
};

t.test('servers', async (t) => {
  const answers = {
    '/usr/sbin/nginx -v': { output: 'nginx version: nginx/1.22.1\n' },
    '/usr/sbin/apache2 -v': { output: 'Server version: Apache/2.4.61 (Debian)\n' },
  };
  t.match(await see('servers', { [nginxConf]: load + http }, answers), {
    statuses: 'ok ok',
    text: /^nginx\/1.22.1 \| \/usr\/sbin\/nginx .*\nApache\/2.4.61/,
  });
  t.match(await see('servers', { [nginxConf]: 'http { }' }, answers), {
    statuses: 'ok ok warning',
    text: /none of these uses Usher: \/etc\/nginx\/nginx.conf/,
  });
});

t.test('module-fits', async (t) => {
  t.match(await see('module-fits', {}), { statuses: 'ok ok' });
  const refused = `nginx: [emerg] module "${nginxSo}" version 1022001 instead of 1026000 in /tmp/x:1\n`;
  t.match(
    await see('module-fits', {}, { '/usr/sbin/nginx -t': { exitCode: 1, output: refused } }),
    {
      statuses: 'error ok',
      text: /nginx cannot load .*version 1022001 instead of 1026000.*build:native/,
    },
  );
  const noMpm = 'AH00534: apache2: Configuration error: No MPM loaded.\n';
  t.match(
    await see('module-fits', {}, { '/usr/sbin/apache2 -t': { exitCode: 1, output: noMpm } }),
    {
      statuses: 'ok ok',
    },
  );
  const { [nginxSo]: _, ...without } = installed;
  const scene = fakeScene({ files: { ...without, [nginxConf]: load + http }, run: () => ({}) });
  t.match(await look(webServerChecks, 'module-fits', scene), {
    statuses: 'error ok',
    text: /no module was built for nginx .*nginx-dev/,
  });
});

t.test('configuration', async (t) => {
  const files = { [nginxConf]: load + http };
  t.match(await see('configuration', files), {
    statuses: 'ok',
    text: /nginx accepts it \| \/etc\/nginx\/nginx.conf/,
  });
  const said =
    'nginx: [emerg] unknown directive "usher_ap" in /etc/nginx/sites/a.conf:7\nnginx: configuration file /etc/nginx/nginx.conf test failed\n';
  t.match(
    await see('configuration', files, { '/usr/sbin/nginx -t': { exitCode: 1, output: said } }),
    {
      statuses: 'error',
      text: /nginx refuses it \| \/etc\/nginx\/sites\/a.conf:7 \| unknown directive "usher_ap"/,
    },
  );
  const denied = {
    exitCode: 1,
    output: 'nginx: [emerg] open() "/run/nginx.pid" failed (13: Permission denied)\n',
  };
  t.match(await see('configuration', files, { '/usr/sbin/nginx -t': denied }, { uid: 1000 }), {
    statuses: 'skipped',
    text: /be root/,
  });
  t.match(
    await see(
      'configuration',
      { [nginxConf]: { error: 'EACCES' } },
      {},
      {},
      { nginx: [nginxConf] },
    ),
    {
      statuses: 'skipped',
    },
  );
  t.match(await see('configuration', { [nginxConf]: 'http {\n' }), {
    statuses: 'error',
    text: /cannot be read \| .*nginx.conf:1: the block is not closed/,
  });
  t.equal(
    placeIn('AH00526: Syntax error on line 9 of /etc/apache2/a.conf:\nInvalid command'),
    '/etc/apache2/a.conf:9',
  );
  t.equal(placeIn('no place'), null);
});

t.test('module-loaded', async (t) => {
  t.match(await see('module-loaded', { [nginxConf]: load + http }), {
    statuses: 'ok',
    text: /nginx.conf:1/,
  });
  t.match(await see('module-loaded', { [nginxConf]: `# ${load}${http}` }), {
    statuses: 'error',
    text: /is a comment \| \/etc\/nginx\/nginx.conf:1 \| usher_app at \/etc\/nginx\/nginx.conf:4 is unknown to nginx/,
  });
  t.match(await see('module-loaded', { [nginxConf]: http }), {
    statuses: 'error',
    text: /the module is not loaded .*add: load_module .*ngx_http_usher_module.so/,
  });
  t.match(await see('module-loaded', { [nginxConf]: load + load + http }), {
    statuses: 'error',
    text: /loaded twice \| .*nginx.conf:2 \| first at .*nginx.conf:1/,
  });
  t.match(
    await see('module-loaded', {
      [nginxConf]: `load_module /opt/ngx_http_usher_module.so;\n${http}`,
    }),
    {
      statuses: 'error',
      text: /is not there: \/opt/,
    },
  );
  const other = {
    '/opt/ngx_http_usher_module.so': 'another',
    [nginxConf]: `load_module /opt/ngx_http_usher_module.so;\n${http}`,
  };
  t.match(await see('module-loaded', other), { statuses: 'warning', text: /another installation/ });
  const copy = { ...other, '/opt/ngx_http_usher_module.so': 'nginx module' };
  t.match(await see('module-loaded', copy), { statuses: 'ok' });
  const apache = {
    [apacheConf]: 'IncludeOptional mods-enabled/*.load\nAppClass php -command php-cgi\n',
    '/etc/apache2/mods-enabled/usher.load': `#LoadModule usher_module ${apacheSo}\n`,
  };
  t.match(await see('module-loaded', apache), {
    statuses: 'error',
    text: /is a comment \| \/etc\/apache2\/mods-enabled\/usher.load:1 \| AppClass at .*apache2.conf:2/,
  });
});

t.test('directives', async (t) => {
  t.match(await see('directives', { [nginxConf]: load + http }), {
    statuses: 'ok',
    text: /1 class, used at 1 place \| \/etc\/nginx\/nginx.conf:4/,
  });
  t.match(await see('directives', { [nginxConf]: load }), {
    statuses: 'warning',
    text: /nothing uses it/,
  });
  const site = `${apacheLoad}<Location /a>\n  UsherPass phpp\n</Location>\nAppClass php -command x\n`;
  t.match(await see('directives', { [apacheConf]: site }), {
    statuses: 'warning',
    text: /no directive defines the class phpp \| .*apache2.conf:4/,
  });
});

t.test('rivals', async (t) => {
  const site = `${apacheLoad}AppClass php -command x\n`;
  t.match(await see('rivals', { [apacheConf]: site }), { statuses: '' });
  t.match(await see('rivals', { [apacheConf]: `LoadModule fastcgi_module m.so\n${site}` }), {
    statuses: 'warning',
    text: /mod_fastcgi is loaded beside Usher \| .*apache2.conf:1 \| both know/,
  });
  t.match(await see('rivals', { [apacheConf]: `LoadModule fcgid_module m.so\n${site}` }), {
    statuses: 'warning',
    text: /left to it/,
  });
});

t.test('one-manager', async (t) => {
  const nginx = load + http.replace('http {', 'http {\n  usher_runtime_dir /run/a/;');
  const apache = (dir: string) => `${apacheLoad}UsherRuntimeDir ${dir}\n`;
  const wanted = { runtimeDir: null };
  t.match(
    await see(
      'one-manager',
      { [nginxConf]: nginx, [apacheConf]: apache('/run/a') },
      {},
      {},
      wanted,
    ),
    {
      statuses: 'ok',
    },
  );
  t.match(
    await see(
      'one-manager',
      { [nginxConf]: nginx, [apacheConf]: apache('/run/b') },
      {},
      {},
      wanted,
    ),
    {
      statuses: 'warning',
      text: /another runtime directory: \/run\/b \| .*apache2.conf:3 \| .*nginx.conf:4 says \/run\/a/,
    },
  );
  t.match(await see('one-manager', { [apacheConf]: apacheLoad }), {
    statuses: 'ok',
    text: /\/run\/usher/,
  });
});

t.test('configurations of servers that run, and of those that were named', async (t) => {
  const files = {
    '/srv/own.conf': load + http,
    ...processFiles(50, {
      comm: 'nginx',
      words: ['nginx: master process /usr/sbin/nginx -c /srv/own.conf'],
    }),
    ...processFiles(51, { comm: 'nginx', words: ['nginx: worker process'], parent: 50 }),
  };
  const found = fakeScene({ files: { ...installed, ...files } }, [], { runtimeDir: null });
  t.match(found.configurations, [{ path: '/srv/own.conf', master: { pid: 50 } }]);
  t.match(found.runtimeDirs, [{ path: '/run/usher' }]);
  t.same(
    fakeScene({ files: { ...installed, ...files } }).configurations,
    [],
    'not of this runtime directory',
  );
  const container = { ...installed, ...files, '/proc/50/root': { kind: 'directory' as const } };
  const outside = fakeScene({ files: container }, [], { runtimeDir: null });
  t.same(outside.configurations, [], 'a server in a container has another file of that name');
  const { '/srv/own.conf': _, ...without } = files;
  const gone = fakeScene({ files: { ...installed, ...without } }, [], { runtimeDir: null });
  t.match(await look(webServerChecks, 'configuration', gone), { statuses: 'skipped' });
  const server =
    'UsherServer nginx-1 -generation 1 -kind nginx -pid 50 -user www-data -group www-data -configuration /srv/own.conf\n';
  const registered = fakeScene({
    files: { ...files, '/run/usher/servers/nginx-1.1.conf': server },
  });
  t.match(registered.configurations, [{ path: '/srv/own.conf' }]);
  t.match(registered.runtimeDirs[0]?.registrations, [
    { server: 'nginx-1', pid: 50, user: 'www-data' },
  ]);
  const named = fakeScene({ files: { ...files, '/b.conf': '' } }, [], { nginx: ['/b.conf'] });
  t.match(named.configurations, [{ path: '/b.conf', master: null }]);
  const envvars = {
    [apacheConf]: '${APACHE_CONFDIR}x\nUser ${APACHE_RUN_USER}\n',
    '/etc/apache2/envvars': 'export APACHE_RUN_USER=www-data\nexport LOG=/l$SUFFIX\n',
  };
  t.match(fakeScene({ files: envvars }).configurations[0], {
    facts: { user: 'www-data' },
    test: null,
  });
});
