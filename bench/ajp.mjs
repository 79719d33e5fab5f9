// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- ajp [--rounds N] [--seconds S] …`: how many requests a second reach one Tomcat by way
// of Usher, mod_proxy_ajp and mod_jk, and for comparison over HTTP by nginx's proxy_pass; what the way
// takes of the processors, and how long the slowest requests take.

import { existsSync } from 'node:fs';
import { contest, takeOf } from './contest.mjs';
import * as machine from './machine.mjs';
import { instancesReady, loadUsher, startServer } from './servers.mjs';
import { freePort, launcherOf } from './site.mjs';
import { files, packetSizes, startTomcat } from './tomcat.mjs';

const defaults = {
  'first-warm-up': 15, // Tomcat compiles what runs often
  gateways: 1, // of Usher
  workers: 2, // processes of the web server
  heap: 512, // MB, of Tomcat
};

const cases = [
  {
    id: 'get',
    label: 'GET of a small page',
    packets: 'small',
    method: 'GET',
    path: 'hello.jsp',
    length: 6,
    goal: { atLeast: 1.0, aim: 1.3 },
  },
  {
    id: 'get-20k',
    label: 'GET of a file of 20 kB',
    packets: 'small',
    method: 'GET',
    path: '20k.txt',
    length: files['20k.txt'],
  },
  {
    id: 'post-20k',
    label: 'POST of 20 kB',
    packets: 'large',
    method: 'POST',
    path: 'count.jsp',
    length: 6,
    body: 20_480,
    goal: { atLeast: 1.3, aim: 1.8 },
  },
  {
    id: 'get-1m',
    label: 'GET of a file of 1 MB',
    packets: 'small',
    method: 'GET',
    path: '1m.bin',
    length: files['1m.bin'],
  },
];

const names = Object.keys(packetSizes);
const paths = machine.installed();

// ---- the servers

const proxyAjp = (ports, largePort) => ({
  modules: ['proxy', 'proxy_ajp'],
  text: `ProxyPass /small ajp://127.0.0.1:${ports.small}/small
Listen 127.0.0.1:${largePort}
<VirtualHost 127.0.0.1:${largePort}>
  ProxyIOBufferSize ${packetSizes.large}
  ProxyPass /large ajp://127.0.0.1:${ports.large}/large
</VirtualHost>`,
});

const jk = (ports, dir) => ({
  modules: ['jk'],
  text: `JkLogFile ${dir}/jk.log
JkLogLevel error
JkShmFile ${dir}/jk.shm
JkWorkerProperty worker.list=${names}
${names
  .map(
    (name) => `JkWorkerProperty worker.${name}.type=ajp13
JkWorkerProperty worker.${name}.host=127.0.0.1
JkWorkerProperty worker.${name}.port=${ports[name]}
JkWorkerProperty worker.${name}.max_packet_size=${packetSizes[name]}
JkMount /${name}/* ${name}`,
  )
  .join('\n')}`,
});

const usherApache = (ports, runtimeDir, gateways) => ({
  modules: ['usher'],
  text: [
    `UsherRuntimeDir ${runtimeDir}`,
    ...names.map(
      (name) => `ExternalAppClass ${name} -protocol ajp -host 127.0.0.1:${ports[name]} \
-max-packet-size ${packetSizes[name]} -processes ${gateways}
<Location /${name}>
  UsherPass ${name}
</Location>`,
    ),
  ].join('\n'),
});

// nginx keeps bodies in memory up to this; else it would write those of 20 kB to files.
const inMemory = 'client_body_buffer_size 64k;';

const usherNginx = (ports, runtimeDir, gateways) => ({
  modules: loadUsher,
  http: [
    inMemory,
    `usher_runtime_dir ${runtimeDir};`,
    ...names.map(
      (name) => `usher_external_app ${name} protocol=ajp host=127.0.0.1:${ports[name]} \
max_packet_size=${packetSizes[name]} processes=${gateways};`,
    ),
  ].join('\n'),
  location: names.map((name) => `location /${name}/ { usher_pass ${name}; }`).join('\n'),
});

const proxyNginx = (ports, connections) => ({
  http: `${inMemory}
upstream tomcat {
  server 127.0.0.1:${ports.http};
  keepalive ${connections};
  keepalive_requests 1000000000;
}`,
  location: `proxy_http_version 1.1;
proxy_set_header Connection "";
location / { proxy_pass http://tomcat; }`,
});

async function startAll(site, ports, { connections, workers, gateways }) {
  const servers = [];
  const add = async (id, label, kind, text, { runtimeDir, largePort } = {}) => {
    const started = await startServer(site, kind, id, { workers, threads: 2 * connections }, text);
    const ancestors = [started.pid];
    if (runtimeDir !== undefined) {
      for (const name of names) await instancesReady(runtimeDir, name, gateways);
      ancestors.push(launcherOf(runtimeDir));
    }
    const own = { small: started.port, large: largePort ?? started.port };
    servers.push({ ...started, id, label, runtimeDir, ancestors, ports: own });
  };
  const largePort = await freePort();
  const proxied = proxyAjp(ports, largePort);
  await add('apache-ajp', 'Apache mod_proxy_ajp', 'apache', proxied, { largePort });
  if (existsSync(`${paths.apacheModules}/mod_jk.so`)) {
    await add('apache-jk', 'Apache mod_jk', 'apache', jk(ports, `${site.dir}/apache-jk`));
  } else {
    console.log('left out: Apache mod_jk is not installed: apt-get install libapache2-mod-jk');
  }
  const apacheDir = site.runtimeDir('apache-run');
  const apacheText = usherApache(ports, apacheDir, gateways);
  await add('apache-usher', 'Apache + Usher', 'apache', apacheText, { runtimeDir: apacheDir });
  const nginxDir = site.runtimeDir('nginx-run');
  const nginxText = usherNginx(ports, nginxDir, gateways);
  await add('nginx-usher', 'nginx + Usher', 'nginx', nginxText, { runtimeDir: nginxDir });
  await add('nginx-http', 'nginx proxy_pass', 'nginx', proxyNginx(ports, connections));
  return servers;
}

// ---- measuring

const rivals = ['apache-ajp', 'apache-jk'];

const goalsOf = ({ goal }) => [
  { of: 'nginx-usher', to: rivals, by: 'ownUs', ...goal },
  { of: 'apache-usher', to: rivals, by: 'ownUs' },
  { of: 'nginx-usher', to: 'nginx-http', by: 'ownUs' },
];

const asked = ({ ports }, { packets, method, path, length, body }) => ({
  port: ports[packets],
  method,
  path: `/${packets}/${path}`,
  length,
  body,
});

/** @param args As of a contest, and --of, ids of cases with commas between them. */
export function run(args) {
  const { of, rest } = takeOf(
    args,
    cases.map(({ id }) => id),
  );
  const chosen = cases.filter(({ id }) => of.includes(id));
  return contest('ajp', rest, {
    defaults,
    title: ({ connections, gateways, workers, heap }) =>
      `${connections} connections; ${gateways} gateways; ${workers} workers of the server; ` +
      `Tomcat with ${heap} MB`,
    async start(site, settings) {
      const tomcat = await startTomcat(site, settings.heap);
      return { servers: await startAll(site, tomcat.ports, settings), engine: tomcat.pid };
    },
    cases: () =>
      chosen.map((one) => ({
        id: one.id,
        label: `${one.label}, packets of ${packetSizes[one.packets] / 1024} kB`,
        ask: (server) => asked(server, one),
        goals: goalsOf(one),
      })),
    notes: ['(by time: of server and gateway; engine: Tomcat)'],
  });
}
