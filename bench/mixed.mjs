// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- mixed [--rounds N] [--seconds S] …`: how long short requests take beside slow ones to the
// same program. Does a slow one hold up others?

import { contest } from './contest.mjs';
import { startAll, startProcesses } from './servers.mjs';

const defaults = { processes: 16, slow: 8, connections: 8, workers: 2 };

const goals = [
  { of: 'nginx-usher', to: 'nginx-stock' },
  { of: 'apache-usher', to: 'apache-proxy' },
  { of: 'apache-usher', to: 'apache-fcgid' },
];

const hello = ({ port }) => ({ port, path: '/echo?text=hello', length: 5 });

export function run(args) {
  return contest('mixed', args, {
    defaults,
    title: ({ connections, processes, slow, workers }) =>
      `${connections} connections with short requests beside ${slow} with requests of 100 ms; ` +
      `${processes} processes of the program; ${workers} workers of the server`,
    start: async (site, settings) => ({
      servers: await startAll(site, {
        ...settings,
        threads: 2 * (settings.connections + settings.slow),
      }),
    }),
    prepare: (server, settings) => startProcesses(server, hello(server), settings),
    cases: ({ slow }) => [
      { id: 'alone', label: 'short requests alone', ask: hello, goals },
      {
        id: 'mixed',
        label: 'beside slow ones',
        ask: (server) => ({
          ...hello(server),
          beside: { port: server.port, path: '/echo?sleep=100&text=slow!', connections: slow },
        }),
        goals,
      },
    ],
  });
}
