// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- rates [--rounds N] [--seconds S] …`: how many requests a second of the same
// program each of five servers passes on, one request a connection to the program; and of a file, by the
// web servers alone.

import { availableParallelism } from 'node:os';
import { contest, takeOf } from './contest.mjs';
import { startAll, startProcesses } from './servers.mjs';

const defaults = {
  processes: 8, // of the program
  concurrency: 1, // requests at once that Usher lends one of them
  workers: Math.min(2, availableParallelism()), // processes of the web server
};

const goals = [
  { of: 'nginx-usher', to: 'nginx-stock', atLeast: 0.97, aim: 1.0 },
  { of: 'apache-usher', to: 'apache-proxy', atLeast: 1.0, aim: 1.3 },
  { of: 'apache-usher', to: 'apache-fcgid', atLeast: 1.3, aim: 1.5 },
];

const hello = ({ port }) => ({ port, path: '/echo?text=hello', length: 5 });

/** Nobody waits; most wait, as threads of Apache, in nginx, or in the programs' socket. */
const cases = ({ connections, processes, concurrency }) => [
  {
    id: 'full',
    label: 'as many requests as the program can take',
    connections: processes * concurrency,
  },
  { id: 'waiting', label: `${connections} requests at once`, connections },
];

/** @param args As of a contest, and --of, ids of cases with commas between them. */
export function run(args) {
  const { of, rest } = takeOf(args, ['full', 'waiting']);
  return contest('rates', rest, {
    defaults,
    title: ({ connections, processes, concurrency, workers }) =>
      `${connections} connections; ${processes} processes of the program × ${concurrency} places; ` +
      `${workers} workers of the server`,
    start: async (site, settings) => ({
      servers: await startAll(site, {
        ...settings,
        alone: true,
        threads: 2 * settings.connections,
      }),
    }),
    prepare: (server, settings) =>
      server.id.endsWith('-alone') || startProcesses(server, hello(server), settings),
    cases: (settings) =>
      cases(settings)
        .filter(({ id }) => of.includes(id))
        .map(({ connections, ...one }) => ({
          ...one,
          goals,
          ask: (server) => ({ ...hello(server), connections }),
        })),
  });
}
