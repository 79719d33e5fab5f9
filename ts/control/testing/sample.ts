// SPDX-License-Identifier: Apache-2.0
// A manager's answers for the tests of control and cli, and a server that gives them.
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { controlSocketName } from '../client.ts';
import type {
  ClassStatus,
  Event,
  Explanation,
  Journey,
  LoadHistory,
  OutputLine,
  Status,
} from '../messages.ts';
import {
  type ControlHandlers,
  type ControlOptions,
  createControlServer,
  TextAnswer,
} from '../server.ts';

export function sampleClass(changes: Partial<ClassStatus> = {}): ClassStatus {
  return {
    name: 'hello',
    kind: 'static',
    protocol: 'fastcgi',
    state: 'ready',
    wanted: 1,
    scaledTo: null,
    source: '/etc/nginx/nginx.conf:12',
    options: '1',
    inFlight: 1,
    waiting: 0,
    instances: [
      {
        pid: 4242,
        state: 'ready',
        startedAt: '2025-01-02T03:04:05.000Z',
        requests: 17,
        rssBytes: 3_145_728,
      },
    ],
    backends: [],
    lastEvent: {
      at: '2025-01-02T03:04:05.000Z',
      event: 'instance.ready',
      text: 'pid 4242 is ready',
    },
    totals: { arrivals: 20, admitted: 18, finished: 16, failed: 1, aborted: 0, refused: 2 },
    lastFailure: null,
    ...changes,
  };
}

export function sampleFailure(changes: Partial<Journey> = {}): Journey {
  return {
    id: 'k41x2mz3q',
    class: 'broken',
    command: '/srv/broken.fcgi --fast',
    startedAt: '2025-01-02T03:04:05.000Z',
    pid: 4243,
    setting: {
      user: 'www-data (33)',
      group: 'www-data (33)',
      groups: [],
      cwd: '/srv',
      limits: ['nofile=1024'],
      environment: ['PATH=/usr/bin:/bin', 'DB_PASSWORD=***'],
    },
    steps: [
      { name: 'endpoint', ms: 0.2 },
      { name: 'exec', ms: 1.4 },
      { name: 'ready', ms: 31, error: 'exited' },
    ],
    outcome: 'exited',
    exitCode: 3,
    livedMs: 30,
    output: 'loading\ncannot open database\n',
    explanation: 'exited with status 3 30 ms after its start',
    cause: 'exited-with-error',
    hint: 'Read its last lines of output.',
    ...changes,
  };
}

export function sampleExplanation(changes: Partial<Explanation> = {}): Explanation {
  return {
    schema: 1,
    class: '/srv/broken.fcgi',
    kind: 'dynamic',
    protocol: 'fastcgi',
    state: 'failed',
    ready: 0,
    now: 'get 503 at once, with Retry-After: 7',
    nextTryAt: '2025-01-02T03:08:12.000Z',
    id: null,
    journeys: [sampleFailure()],
    ...changes,
  };
}

export function sampleStatus(changes: Partial<Status> = {}): Status {
  return {
    schema: 1,
    manager: {
      pid: 99,
      version: '0.1.0',
      startedAt: '2025-01-02T03:04:00.000Z',
      configuration: null,
    },
    servers: [
      {
        name: 'nginx-0badcafe',
        kind: 'nginx',
        pid: 77,
        generation: 2,
        workers: 4,
        configuration: '/etc/nginx/nginx.conf',
      },
    ],
    classes: [sampleClass()],
    ...changes,
  };
}

export function sampleLines(): OutputLine[] {
  return [
    { id: 10, at: '2025-01-02T03:04:05.000Z', pid: 4242, text: 'first' },
    { id: 11, at: '2025-01-02T03:05:05.000Z', pid: 4242, text: 'second\u001b[2J' },
    { id: 12, at: '2025-01-02T03:08:00.000Z', pid: 4243, text: 'third' },
  ];
}

export function sampleHistory(changes: Partial<LoadHistory> = {}): LoadHistory {
  return {
    schema: 1,
    class: null,
    until: '2025-01-02T03:05:00.000Z',
    intervalMs: 10_000,
    requests: [0, 20, null, 10],
    inFlight: [0, 3, null, 1],
    waiting: [0, 2, null, 0],
    instances: [1, 2, null, 1],
    ...changes,
  };
}

export function sampleEvent(changes: Partial<Event> = {}): Event {
  return {
    number: 1,
    at: '2025-01-02T03:04:05.000Z',
    level: 'info',
    event: 'instance.ready',
    class: 'hello',
    server: null,
    text: 'is ready',
    ...changes,
  };
}

/** A new runtime directory with a short path, as sockets need it. */
export function makeRuntimeDir(t: { teardown(handler: () => void): void }): string {
  const runtimeDir = mkdtempSync(join(tmpdir(), 'usher-'));
  t.teardown(() => rmSync(runtimeDir, { recursive: true }));
  return runtimeDir;
}

/** A control server in `runtimeDir`; `handlers` replaces what the sample manager does. */
export async function listenAsManager(
  runtimeDir: string,
  handlers: Partial<ControlHandlers> = {},
  options: Partial<ControlOptions> = {},
): Promise<Server> {
  const answers: ControlHandlers = {
    ping: () => ({ pid: 99, version: '0.1.0' }),
    status: () => sampleStatus(),
    explain: () => sampleExplanation(),
    stop: () => ({ pid: 99, instances: 1 }),
    restart: async (request) => ({ class: request.class, pids: [201], replaced: [200] }),
    retry: async (request) => ({ class: request.class, pids: [201], replaced: [] }),
    scale: async (request) => ({ class: request.class, pids: [200, 201], replaced: [] }),
    reload: async () => ({ configuration: null, classes: [{ name: 'hello', options: '1' }] }),
    backend: (request) => request,
    logs: async (request) => ({
      class: request.class,
      lines: sampleLines().filter(({ id }) => id > request.after),
      since: '2025-01-02T03:04:00.000Z',
      log: '/run/usher/usher.log',
      files: [],
    }),
    lend: async (request) => ({
      ...{ id: '1', class: request.class, protocol: 'fastcgi', program: '/srv/app', listen: null },
      instance: { pid: 200, socket: 'e1', isReserved: true },
    }),
    giveBack: (request) => request,
    reopenLogs: async () => ({ log: '/run/usher/usher.log' }),
    upgrade: () => ({ pid: 99, version: '0.1.0' }),
    history: ({ class: name }) => sampleHistory({ class: name ?? null }),
    events: ({ after }) => ({
      schema: 1,
      startedAt: '2025-01-02T03:04:00.000Z',
      events: [sampleEvent()].filter(({ number }) => number > after),
    }),
    metrics: async () => new TextAnswer('text/plain; charset=utf-8', 'usher_manager_info 1\n'),
    ...handlers,
  };
  const server = createControlServer(answers, {
    version: '0.1.0',
    refusal: () => null,
    ...options,
  });
  await new Promise<void>((resolve) => {
    server.listen(join(runtimeDir, controlSocketName), resolve);
  });
  return server;
}
