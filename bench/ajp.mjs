// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- ajp [--rounds N] [--seconds S] …`: how many requests a second reach one Tomcat by way
// of Usher, mod_proxy_ajp and mod_jk, and for comparison over HTTP by nginx's proxy_pass; what the way
// takes of the processors, and how long the slowest requests take.

import { existsSync } from 'node:fs';
import { root } from '../scripts/run.mjs';
import { accountsOf, measure, warmUp } from './load.mjs';
import * as machine from './machine.mjs';
import { range, save, table } from './report.mjs';
import { instancesReady, startServer } from './servers.mjs';
import { freePort, launcherOf, withSite } from './site.mjs';
import { median } from './statistics.mjs';
import { files, packetSizes, startTomcat } from './tomcat.mjs';
import {
  choose,
  compare,
  complaints,
  errorText,
  othersShare,
  parseSettings,
  ratioTable,
  showComplaints,
  showOthersShare,
  summarize,
  takeTurns,
} from './turns.mjs';

const defaults = {
  rounds: 5,
  seconds: 4,
  'warm-up': 1, // before each measurement
  'first-warm-up': 15, // of each case, shared by the servers: Tomcat compiles what runs often
  connections: 32,
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
  modules: `load_module ${root}/build/ngx_http_usher_module.so;`,
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
  { of: 'nginx-usher', to: rivals, ...goal },
  { of: 'apache-usher', to: rivals },
  { of: 'nginx-usher', to: 'nginx-http' },
];

const fields = [
  ...['perSecond', 'p50Ms', 'p99Ms'],
  ...['serverUs', 'betweenUs', 'ownUs', 'engineUs'],
];

const asked = ({ ports }, { packets, method, path, length, body }) => ({
  port: ports[packets],
  method,
  path: `/${packets}/${path}`,
  length,
  body,
});

async function measureCase(one, servers, engine, settings) {
  const each = Math.ceil(settings['first-warm-up'] / servers.length);
  for (const server of servers) await warmUp(server, asked(server, one), settings, each);
  const samples = await takeTurns(
    settings.rounds,
    servers,
    (server) => measure(server, asked(server, one), settings, engine),
    `${one.label}: `,
  );
  const rows = servers.map((server) => summarize(server, samples.get(server.id), fields));
  return {
    ...one,
    servers: rows,
    ratios: goalsOf(one)
      .map((goal) => compare(goal, rows, 'ownUs'))
      .filter(Boolean),
  };
}

// ---- the result

/** What a million µs for a thousand requests are: seconds. */
const secondsPerThousand = ({ samples }, field) =>
  (median(samples.map((sample) => sample[field])) / 1000).toFixed(3);

function show({ label, packets, servers, ratios }) {
  console.log(`\n${label}, packets of ${packetSizes[packets] / 1024} kB`);
  console.log(
    table(
      [
        ...['server', 'req/s', 'min–max', 'p50 ms', 'p99 ms'],
        ...['server s', 'gateway s', 'together s', 'Tomcat s', 'errors'],
      ],
      servers.map((row) => [
        row.label,
        row.perSecond.median.toFixed(0),
        range(row.perSecond),
        row.p50Ms.median.toFixed(1),
        row.p99Ms.median.toFixed(1),
        ...['serverUs', 'betweenUs', 'ownUs', 'engineUs'].map((field) =>
          secondsPerThousand(row, field),
        ),
        errorText(row),
      ]),
    ),
  );
  console.log(`\n${ratioTable(ratios)}`);
}

export async function run(args) {
  const settings = parseSettings(args, defaults);
  const conditions = machine.conditions();
  const { rounds, seconds, connections, gateways, workers, heap } = settings;
  console.log(machine.describe(conditions));
  console.log(
    `${rounds} rounds of ${seconds} s; ${connections} connections; ${gateways} gateways; ` +
      `${workers} workers of the server; Tomcat with ${heap} MB\n`,
  );

  const result = await withSite(async (site) => {
    const tomcat = await startTomcat(site, heap);
    const servers = choose(await startAll(site, tomcat.ports, settings), settings.only);
    for (const server of servers) {
      await warmUp(server, asked(server, cases[0]), settings, settings['warm-up']);
      server.accounts = accountsOf(site, server);
    }
    const engine = site.account('tomcat', [tomcat.pid]);
    const results = [];
    for (const one of cases) results.push(await measureCase(one, servers, engine, settings));
    return {
      conditions,
      settings,
      results,
      othersShare: othersShare(results.flatMap((one) => one.servers)),
      logged: servers.map((one) => ({ label: one.label, complaints: complaints(site, one) })),
      configurations: Object.fromEntries(servers.map((s) => [s.id, s.configuration])),
    };
  });
  for (const one of result.results) show(one);
  console.log('(s: processor time of a thousand requests)');
  showOthersShare(result.othersShare);
  showComplaints(result.logged);
  console.log(`written: ${save('ajp', result)}`);
}
