// SPDX-License-Identifier: Apache-2.0
// Programs of usher/runtime: behind our modules as classes of every protocol, and with the clients that
// others have made.

import { spawnSync } from 'node:child_process';
import t from 'tap';
import { runtime, served } from './behaviours/runtime.ts';
import { runtimeAuthorizer } from './behaviours/runtime-authorizer.ts';
import { apachePrefork, servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';
import { runProgram, runtimeProgram } from './servers/runtime-program.ts';
import { Site } from './servers/site.ts';
import { stockApache, stockNginx } from './servers/stock.ts';

for (const server of servers.filter((one) => one !== apachePrefork)) {
  t.test(`${server.name}: runtime`, (t) => runtime(t, server));
  t.test(`${server.name}: an authorizer`, (t) => runtimeAuthorizer(t, server));
}

t.test('mod_jk and mod_proxy_ajp', async (t) => {
  const site = await Site.create(t, stockApache);
  const program = await runtimeProgram(site);
  const [, ajp13 = 0, ajp12 = 0] = site.ports;
  const listen = [
    { protocol: 'ajp13', address: `127.0.0.1:${ajp13}`, attributes: ['TENANT'] },
    { protocol: 'ajp12', address: `127.0.0.1:${ajp12}` },
  ];
  await runProgram(site, program, JSON.stringify(listen), [ajp13, ajp12]);
  await site.start({
    apache: `
      JkShmFile ${site.dir}/jk.shm
      JkLogFile ${site.dir}/jk.log
      JkWorkerProperty worker.list=jk,old
      JkWorkerProperty worker.jk.type=ajp13
      JkWorkerProperty worker.jk.host=127.0.0.1
      JkWorkerProperty worker.jk.port=${ajp13}
      JkWorkerProperty worker.old.type=ajp12
      JkWorkerProperty worker.old.host=127.0.0.1
      JkWorkerProperty worker.old.port=${ajp12}
      JkMount /jk* jk
      JkMount /old* old
      JkEnvVar TENANT blue
      SetEnv AJP_TENANT blue
      ProxyPass /proxy ajp://127.0.0.1:${ajp13}/proxy`,
  });
  await site.check('mod_jk', (t) => served(site, t, '/jk', 'ajp13'));
  await site.check('mod_proxy_ajp', (t) => served(site, t, '/proxy', 'ajp13'));
  // Which sends no body of unknown length over AJP 1.2, and has pages of its own for errors.
  const old = { takesChunked: false, keepsErrors: false };
  await site.check('mod_jk, AJP 1.2', (t) => served(site, t, '/old', 'ajp12', old));
  await site.check('attributes', async (t) => {
    for (const path of ['/jk', '/proxy', '/old']) {
      t.equal((await site.request(path)).fields.tenant, 'blue', path);
    }
  });
  await site.end();
});

t.test('nginx, stock, and cgi-fcgi', async (t) => {
  const site = await Site.create(t, stockNginx);
  const program = await runtimeProgram(site);
  const [, port = 0] = site.ports;
  const socket = `${site.dir}/program.sock`;
  const listen = [
    { protocol: 'fastcgi', address: socket, mode: 0o666 },
    { protocol: 'fastcgi', address: `127.0.0.1:${port}` },
    { protocol: 'http', address: `127.0.0.1:${site.ports[2]}` },
  ];
  await runProgram(site, program, JSON.stringify(listen), [port]);
  await site.start({
    nginx: `
      client_max_body_size 0;
      location /unix { fastcgi_pass unix:${socket}; }
      location /tcp { fastcgi_pass 127.0.0.1:${port}; fastcgi_keep_conn on; }
      location /direct { fastcgi_pass 127.0.0.1:${port}; fastcgi_request_buffering off; }
      location /http {
        proxy_pass http://127.0.0.1:${site.ports[2]};
        proxy_set_header X-Some $http_x_some;
      }`,
  });
  await site.check('a Unix socket', (t) => served(site, t, '/unix', 'fastcgi'));
  await site.check('TCP, connections that are asked for', (t) =>
    served(site, t, '/tcp', 'fastcgi'),
  );
  await site.check('bodies as they come', (t) => served(site, t, '/direct', 'fastcgi'));
  await site.check('HTTP', (t) => served(site, t, '/http', 'http'));
  await site.check('cgi-fcgi', async (t) => {
    const env = {
      ...{ REQUEST_METHOD: 'POST', REQUEST_URI: '/x?y', QUERY_STRING: 'y', CONTENT_LENGTH: '3' },
      ...{ SERVER_PROTOCOL: 'HTTP/1.1', REMOTE_ADDR: '192.0.2.7' },
    };
    const { stdout } = spawnSync('cgi-fcgi', ['-bind', '-connect', socket], { env, input: 'abc' });
    t.match(stdout.toString(), /^protocol=fastcgi\nremoteAddress=192\.0\.2\.7$/m);
    t.match(stdout.toString(), /^method=POST\nurl=\/x\?y\nbytes=3$/m);
  });
  await site.end();
});

t.test('after the end', nothingLeft);
