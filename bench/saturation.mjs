// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- saturation [--rounds N] [--seconds S] …`: four times as many requests wait in the web
// server as the program can take at once, beside just as many as it can take.

import { contest, takeOf } from './contest.mjs';
import { startAll } from './servers.mjs';

const defaults = { processes: 8, workers: 2 };

const loads = [
  { id: 'full', label: 'at capacity', times: 1 },
  { id: 'waiting', label: '4 × waiting', times: 5 },
];
const servers = ['nginx-usher', 'apache-usher'];

const goals = servers.map((id) => ({
  ...{ of: `${id}-waiting`, to: `${id}-full` },
  ...{ atLeast: 0.95, aim: 1.0 },
}));

const cases = [
  { id: 'hello', label: 'a short answer', path: '/echo?text=hello' },
  { id: 'pause', label: 'an answer after 5 ms', path: '/echo?sleep=5&text=hello' },
];

/** @param args As of a contest, and --of, ids of cases with commas between them. */
export function run(args) {
  const { of, rest } = takeOf(
    args,
    cases.map(({ id }) => id),
  );
  return contest('saturation', rest, {
    defaults,
    title: ({ processes, workers }) =>
      `${processes} processes of the program; ${workers} workers of the server`,
    async start(site, settings) {
      const threads = 8 * settings.processes;
      const started = await startAll(site, { ...settings, only: servers, threads });
      const under = (server, { id, label, times }) => ({
        ...server,
        id: `${server.id}-${id}`,
        label: `${server.label}, ${label}`,
        connections: times * settings.processes,
      });
      return { servers: started.flatMap((server) => loads.map((load) => under(server, load))) };
    },
    cases: () =>
      cases
        .filter(({ id }) => of.includes(id))
        .map(({ id, label, path }) => ({
          ...{ id, label, goals },
          ask: ({ port, connections }) => ({ port, path, length: 5, connections }),
        })),
  });
}
