// SPDX-License-Identifier: Apache-2.0
// Configurations that were written for mod_fcgid and mod_fastcgi: they load and serve.

import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync } from 'node:fs';
import type { Test } from 'tap';
import { apps } from '../servers/checkout.ts';
import { checksum, hex, pattern } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { isRunning } from '../servers/processes.ts';
import { isRoot, Site } from '../servers/site.ts';
import { run } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

/** What PHP was started with and given, and whose child it is. */
const environment = `<?php
header('Content-Type: text/plain');
foreach (getenv() + $_SERVER as $name => $value) if (is_string($value)) echo "$name=$value\n";
echo 'precision=', ini_get('precision'), "\n";
echo 'parent=', explode(' ', file_get_contents('/proc/self/stat'))[3], "\n";
`;

const modules = '/usr/lib/apache2/modules';
const load = (names: string) =>
  names
    .split(' ')
    .map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`)
    .join('\n');

export async function otherModules(t: Test, server: WebServer): Promise<void> {
  await t.test('PHP as mod_fcgid ran it', (t) => phpByWrapper(t, server));
  await t.test('a wrapper script and user for each host', (t) => hosts(t, server));
  await t.test('programs without a wrapper', (t) => programs(t, server));
  await t.test('PHP as mod_fastcgi reached it', (t) => phpByAction(t, server));
  await t.test('every directive', (t) => directives(t, server));
}

// ---- mod_fcgid

async function phpByWrapper(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  copyFileSync(`${apps}/page.php`, `${site.docs}/page.php`);
  copyFileSync(`${apps}/page.php`, `${site.docs}/index.php`);
  site.file('docs/env.php', environment);
  site.file('ini/php.ini', 'precision = 11\n');
  site.file('docs/plain.txt', 'no program');
  await site.start({
    apache: `
      FcgidInitialEnv PHPRC ${site.dir}/ini
      <IfModule mod_fcgid.c>
        AddHandler fcgid-script .fcgi .php
        FcgidInitialEnv PHP_FCGI_MAX_REQUESTS 1000
        FcgidMaxRequestsPerProcess 1000
        FcgidMaxProcesses 2
        FcgidMaxProcessesPerClass 8
        FcgidMinProcessesPerClass 0
        FcgidIOTimeout 240
        FcgidBusyTimeout 300
        FcgidIdleTimeout 240
        FcgidProcessLifeTime 7200
        FcgidConnectTimeout 20
        FcgidOutputBufferSize 64
        FcgidMaxRequestLen 100000
        FcgidPassHeader Authorization
        FcgidFixPathinfo 1
        FcgidWrapper /usr/bin/php-cgi .php
      </IfModule>
      <Directory ${site.docs}>
        Options +ExecCGI
        DirectoryIndex index.php
      </Directory>`,
  });

  await site.check('pages run, with their environment', async (t) => {
    const { status, fields } = await site.request('/env.php/rest?x=1', {
      headers: [['Authorization', 'Basic YTpi']],
    });
    t.equal(status, 200);
    t.match(fields, {
      SCRIPT_FILENAME: `${site.docs}/env.php`,
      SCRIPT_NAME: '/env.php',
      PATH_INFO: '/rest',
      PHPRC: `${site.dir}/ini`,
      PHP_FCGI_MAX_REQUESTS: '1000',
      precision: '11',
      PHP_AUTH_USER: 'a',
    });
    t.match((await site.request('/?as=text')).fields, { SCRIPT_NAME: '/index.php' });
    t.equal((await site.request('/plain.txt')).text, 'no program');
    t.equal((await site.request('/missing.php')).status, 404);
  });

  await site.check('the limits of the directives hold', async (t) => {
    const body = pattern(70_000);
    const { fields } = await site.request('/page.php?as=text', { method: 'POST', body });
    t.match(fields, { body_bytes: '70000', body_crc32: hex(checksum(body)) });
    for (const isChunked of [false, true]) {
      const body = pattern(100_001);
      const answer = await site.request('/page.php', { method: 'POST', body, isChunked });
      t.equal(answer.status, 413);
    }
    const answers = await Promise.all(
      Array.from({ length: 30 }, () => site.request('/page.php?as=text')),
    );
    const pids = new Set(answers.map(({ fields }) => fields.pid));
    t.ok(pids.size <= 2, [...pids].join(' '));
  });

  await site.check(
    'the wrapper is a class, and only what has no effect is warned about',
    async (t) => {
      const php = await site.classStatus('/usr/bin/php-cgi');
      t.equal(php?.state, 'ready');
      const { output } = await run(server.checkCommand(site));
      t.match(output, /FcgidOutputBufferSize has no effect: /);
      t.match(output, /FcgidFixPathinfo has no effect: /);
      t.equal(output.match(/has no effect/g)?.length, 2, output);
      await site.settled();
    },
  );
  await site.end();
}

async function hosts(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const starter = site.file('starter', '#!/bin/sh\nexec /usr/bin/php-cgi "$@"\n', 0o755);
  // mod_suexec takes its directive only where its program is
  const user = isRoot && existsSync('/usr/lib/apache2/suexec') ? 'games' : undefined;
  for (const name of ['one', 'two', 'three']) {
    site.file(
      `hosts/${name}/page.php`,
      '<?php echo getenv("SITE"), " ", trim(shell_exec("id -un")), " ", getmypid(), "\\n";',
    );
  }
  const host = (name: string, inside: string) => `
      <VirtualHost 127.0.0.1:${site.port}>
        ServerName ${name}.example
        DocumentRoot ${site.dir}/hosts/${name}
        <IfModule mod_fcgid.c>
          ${inside}
          <Directory ${site.dir}/hosts/${name}>
            Require all granted
            Options +ExecCGI
            AllowOverride All
            AddHandler fcgid-script .php
            FcgidWrapper "${starter} -d display_errors=0" .php
          </Directory>
        </IfModule>
      </VirtualHost>`;
  await site.start({
    apache: `
      ${user ? load('suexec') : ''}
      FcgidMaxProcessesPerClass 1
      ${host('one', `FcgidInitialEnv SITE first\n${user ? `SuexecUserGroup ${user} ${user}` : ''}`)}
      ${host('two', 'FcgidInitialEnv SITE second')}
      ${host('three', 'FcgidInitialEnv SITE second')}`,
  });
  const ask = async (name: string) => {
    const answer = await site.request('/page.php', { headers: [['Host', `${name}.example`]] });
    return answer.text.trim().split(' ');
  };

  await site.check('each host has its environment, and its user', async (t) => {
    const [site1, user1, pid1] = await ask('one');
    const [site2, user2, pid2] = await ask('two');
    t.same([site1, site2], ['first', 'second']);
    t.not(pid1, pid2);
    if (user) t.same([user1, user2], [user, site.user]);
    const [site3, , pid3] = await ask('three');
    t.same([site3, pid3], ['second', pid2], 'equal hosts share a class');
  });

  await site.check('a directory of users names no commands', async (t) => {
    site.file('hosts/one/.htaccess', `FcgidWrapper /usr/bin/php-cgi .php\n`);
    t.equal((await site.request('/page.php', { headers: [['Host', 'one.example']] })).status, 500);
    t.ok(await site.errorLine(/FcgidWrapper: commands stand in the server's configuration/));
    await site.settled();
  });
  await site.end();
}

async function programs(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  site.program('docs/echo.fcgi');
  const counted = site.program('docs/counted.fcgi');
  const runner = site.program('bin/runner');
  const gate = site.program('bin/gate', 'gatekeeper.pl');
  await site.start({
    apache: `
      FcgidInitialEnv COLOUR blue
      FcgidMaxProcessesPerClass 1
      FcgidCmdOptions ${counted} MaxRequestsPerProcess 2 InitialEnv COLOUR=green
      <Directory ${site.docs}>
        Options +ExecCGI
        AllowOverride All
        AddHandler fcgid-script .fcgi
      </Directory>
      <Location /virtual>
        SetHandler fcgid-script
        Options +ExecCGI
        FcgidWrapper ${runner} virtual
      </Location>
      <Location /guarded>
        SetHandler fcgid-script
        Options +ExecCGI
        FcgidWrapper ${runner} virtual
        FcgidAccessChecker ${gate}
      </Location>`,
  });

  await site.check('a program that is its own', async (t) => {
    const { fields } = await site.request('/echo.fcgi/rest?x=1');
    t.match(fields, { SCRIPT_NAME: '/echo.fcgi', PATH_INFO: '/rest', COLOUR: 'blue' });
  });

  await site.check('FcgidCmdOptions are for one command', async (t) => {
    const ask = async () => (await site.request('/counted.fcgi?env')).fields;
    const { COLOUR, pid } = await ask();
    t.equal(COLOUR, 'green');
    await eventually('another instance serves', async () => (await ask()).pid !== pid);
  });

  await site.check('a virtual wrapper needs no file', async (t) => {
    const { status, fields } = await site.request('/virtual/page?x=1');
    t.equal(status, 200);
    t.match(fields, { REQUEST_URI: '/virtual/page?x=1' });
  });

  await site.check("mod_fcgid's name of an access checker", async (t) => {
    const { status, fields } = await site.request('/guarded/x');
    t.equal(status, 200);
    t.match(fields, { GATE_ACCESS_CHECKER: 'AUTHORIZER' });
    t.notOk('X-Plain' in fields);
    const headers: [string, string][] = [['X-Verdict', '403 no']];
    t.equal((await site.request('/guarded/x', { headers })).text, 'no');
    site.file('docs/own/.htaccess', `FcgidAccessChecker ${gate}\n`);
    site.file('docs/own/page.txt', 'mine');
    t.equal((await site.request('/own/page.txt')).text, 'mine');
    t.equal((await site.request('/own/page.txt', { headers })).status, 403);
    await site.settled();
  });
  await site.end();
}

// ---- mod_fastcgi

async function phpByAction(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  site.file('docs/env.php', environment);
  const socket = `${site.dir}/php.sock`;
  const php = externalPhp(t, socket);
  await eventually('PHP listens', () => existsSync(socket));
  chmodSync(socket, 0o777);
  const local = site.file('fcgi-bin/php.fcgi', '#!/bin/sh\nexec /usr/bin/php-cgi\n', 0o755);
  copyFileSync(`${apps}/page.php`, `${site.docs}/page.phtml`);
  await site.start({
    apache: `
      ${load('actions')}
      <IfModule mod_fastcgi.c>
        FastCgiIpcDir ${site.dir}/ipc
        AddHandler php-fcgi .php
        Action php-fcgi /php-fcgi virtual
        Alias /php-fcgi ${site.dir}/cgi-bin/php-fcgi
        FastCgiExternalServer ${site.dir}/cgi-bin/php-fcgi -socket ${socket} \\
            -pass-header Authorization -idle-timeout 120
        FastCgiServer ${local} -processes 1 -idle-timeout 120
        AddHandler php-local .phtml
        Action php-local /fcgi-bin/php.fcgi
        Alias /fcgi-bin/ ${site.dir}/fcgi-bin/
        <Directory ${site.dir}/cgi-bin>
          Require all granted
        </Directory>
        <Directory ${site.dir}/fcgi-bin>
          Require all granted
        </Directory>
      </IfModule>`,
  });

  await site.check('FastCgiExternalServer with Action and Alias', async (t) => {
    const headers: [string, string][] = [['Authorization', 'Basic YTpi']];
    const { status, fields } = await site.request('/env.php?x=1', { headers });
    t.equal(status, 200);
    t.match(fields, {
      SCRIPT_FILENAME: `${site.docs}/env.php`,
      QUERY_STRING: 'x=1',
      PHP_AUTH_USER: 'a',
    });
    t.equal(fields.parent, `${php.pid}`);
  });

  await site.check('FastCgiServer with Action and Alias', async (t) => {
    const body = pattern(70_000);
    const { fields } = await site.request('/page.phtml?as=text', { method: 'POST', body });
    t.match(fields, { SCRIPT_FILENAME: `${site.docs}/page.phtml`, body_bytes: '70000' });
    t.equal((await site.classStatus(local))?.state, 'ready');
    t.equal((await site.request('/missing.phtml')).status, 404);
    await site.settled();
  });
  await site.end();
}

/** php-cgi on a socket of its own, ended with the test. */
function externalPhp(t: Test, socket: string): ChildProcess {
  const env = { PATH: process.env.PATH, PHP_FCGI_CHILDREN: '2' };
  const child = spawn('/usr/bin/php-cgi', ['-b', socket], { stdio: 'ignore', env });
  t.teardown(async () => {
    child.kill('SIGTERM');
    await eventually('PHP ends', () => !isRunning(child.pid ?? 0));
  });
  return child;
}

// ---- all of them

async function directives(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const program = site.program('bin/program');
  const check = async (apache: string) => site.checkConfiguration({ apache });
  const common = `-appConnTimeout 5 -idle-timeout 30 -flush -pass-header Authorization -PASS-HEADER X-A`;
  const started =
    '-init-start-delay 1 -restart-delay 5 -min-server-life 30 -listen-queue-depth 100 ' +
    '-initial-env A=1 -initial-env HOME';

  await site.check("mod_fastcgi's options, by all their names", async (t) => {
    const { status, output } = await check(`
      FastCgiServer ${program} -processes 2 -priority 5 ${common} ${started} -nph \\
          -socket ${site.dir}/public.sock
      FastCgiExternalServer ${site.dir}/x -host 127.0.0.1:9 ${common} -nph
      ExternalAppClass ${site.dir}/y -socket ${site.dir}/y.sock ${common}
      FastCgiConfig -maxProcesses 50 -minProcesses 5 -maxClassProcesses 10 -killInterval 300 \\
          -updateInterval 300 -gainValue 0.5 -singleThreshhold 10 -multiThreshhold 50 \\
          -startDelay 3 -processSlack 5 -restart -autoUpdate ${common} ${started}
      AppClass ${site.program('bin/old')} -Processes 1 -PORT 127.0.0.1:18999 -user nobody -GROUP nogroup
      FastCgiWrapper Off
      FastCgiSuexec Off
      FastCgiIpcDir ${site.dir}`);
    t.equal(status, 0, output);
    t.match(output, /FastCgiIpcDir has no effect/);
    t.equal(output.match(/has no effect/g)?.length, 1, output);
  });

  await site.check('the spellings of thresholds, and the oldest directive', async (t) => {
    const { status, output } = await check(
      'FCGIConfig -singleThreshold 10 -multiThreshold 50 -SINGLETHRESHOLD 10',
    );
    t.not(status, 0);
    t.match(output, /singleThreshold/, 'said twice');
    t.equal((await check('FCGIConfig -singlethreshold 0 -MULTITHRESHOLD 50')).status, 0);
  });

  await site.check('a class is defined once, whatever the directive is called', async (t) => {
    const { status, output } = await check(`AppClass ${program}\nFastCgiServer ${program}`);
    t.not(status, 0);
    t.match(output, /defined already at .*server\.conf:\d+/);
  });

  await site.check('what is wrong in them is named', async (t) => {
    for (const [line, complaint] of [
      [`FastCgiServer ${program} -processes many`, /-processes many/],
      [`FastCgiServer ${program} -maxProcesses 3`, /-maxProcesses/],
      [`FastCgiExternalServer /x -processes 2 -host a:1`, /-processes/],
      [`FastCgiExternalServer /x`, /-host/],
      [`FastCgiExternalServer /x -host a:1 -socket /y`, /-socket/],
      [`FastCgiConfig -gainValue 2`, /-gainValue 2/],
      ['FcgidIOTimeout soon', /FcgidIOTimeout.*soon/],
      ['FcgidMaxRequestLen 1x', /FcgidMaxRequestLen.*1x/],
      ['FcgidMaxProcesses', /FcgidMaxProcesses takes one value/],
      ['FcgidWrapper /no/such .php', /\/no\/such.*does not exist/],
      ['FcgidWrapper php-cgi .php', /absolute path/],
      [`FcgidWrapper ${program} php`, /expected \.suffix or virtual/],
      [`FcgidCmdOptions ${program} Speed 3`, /unknown option Speed/],
      [`FcgidCmdOptions ${program} IOTimeout`, /no value for IOTimeout/],
    ] as const) {
      const { status, output } = await check(line);
      t.not(status, 0, line);
      t.match(output, complaint);
    }
  });

  await site.check("all of mod_fcgid's directives load, under their old names too", async (t) => {
    const nothing =
      'IdleScanInterval BusyScanInterval ErrorScanInterval ZombieScanInterval SpawnScore ' +
      'SpawnScoreUpLimit TerminationScore TimeScore MaxRequestInMem OutputBufferSize';
    const lines = [
      ...nothing.split(' ').flatMap((name) => [`Fcgid${name} 7`, `${name} 7`]),
      `FcgidIPCDir ${site.dir}/sock`,
      `SocketPath ${site.dir}/sock`,
      `FcgidProcessTableFile ${site.dir}/shm`,
      `SharememPath ${site.dir}/shm`,
      'FcgidFixPathinfo 1',
      'PHP_Fix_Pathinfo_Enable 1',
    ];
    const mapped = `
      MaxRequestLen 1000
      IPCConnectTimeout 20
      IPCCommTimeout 40
      BusyTimeout 300
      IdleTimeout 300
      ProcessLifeTime 0
      MaxProcessCount 500
      DefaultMaxClassProcessCount 500
      DefaultMinClassProcessCount 1
      MaxRequestsPerProcess -1
      DefaultInitEnv LANG C
      PassHeader X-B
      FCGIWrapper ${program} .x`;
    const { status, output } = await check(`${mapped}\n${lines.join('\n')}`);
    t.equal(status, 0, output);
    t.equal(output.match(/has no effect/g)?.length, lines.length, output);
    t.match(output, /DefaultMaxClassProcessCount 500: taken as 256/);
  });

  await site.check('where mod_fcgid itself is loaded, all of it is left to it', async (t) => {
    const { status, output } = await check(`${load('fcgid')}
      FcgidMaxProcesses 10
      FcgidOutputBufferSize 64
      FcgidWrapper ${program} .x`);
    t.equal(status, 0, output);
    t.notMatch(output, /has no effect/);
  });
  await site.end();
}
