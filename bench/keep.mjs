// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- keep [--rounds N] [--seconds S] …`: a threaded libfcgi program whose connections are kept
// for the next requests, beside the same program with a connection a request, as stock nginx does unless told
// otherwise.

import { root } from '../scripts/run.mjs';
import { contest } from './contest.mjs';
import { startAll } from './servers.mjs';

const threads = 8; // of the program, each with a connection of its own
const defaults = { processes: 4, workers: 2 };

const goals = [
  { of: 'nginx-usher', to: 'nginx-stock', atLeast: 1.5, aim: 2.0 },
  { of: 'apache-usher', to: 'apache-proxy' },
];

export function run(args) {
  return contest('keep', args, {
    defaults,
    title: ({ connections, processes, workers }) =>
      `${connections} connections; ${processes} processes of the program × ${threads} threads; ` +
      `${workers} workers of the server`,
    start: async (site, settings) => ({
      servers: await startAll(site, {
        ...settings,
        only: ['nginx-stock', 'nginx-usher', 'apache-proxy', 'apache-usher'],
        threads: 2 * settings.connections,
        program: site.program('threads.fcgi', `${root}/build/apps/threads`),
        concurrency: threads,
        options: { nginx: 'keep_conn', apache: '-keep-conn' },
      }),
    }),
    cases: () => [
      {
        id: 'hello',
        label: 'threaded C program, kept connections against one a request',
        ask: ({ port }) => ({ port, path: '/echo?hello', length: 5 }),
        goals,
      },
    ],
  });
}
