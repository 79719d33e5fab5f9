// SPDX-License-Identifier: Apache-2.0
// A manager for the page to look at: what it says can be changed, and it can stop answering.
import type {
  ClassStatus,
  Event,
  Explanation,
  LoadHistory,
  Status,
} from '../../control/messages.ts';
import type { Answered } from '../../control/reader.ts';
import {
  sampleClass,
  sampleEvent,
  sampleFailure,
  sampleHistory,
  sampleStatus,
} from '../../control/testing/sample.ts';

export class FakeManager {
  classes: ClassStatus[] = [];
  events: Event[] = [];
  history: LoadHistory = sampleHistory();
  startedAt = new Date(Date.now() - 7_200_000).toISOString();
  isGone = false;
  readonly asked: string[] = [];

  async answer(url: string): Promise<Omit<Answered, 'id'>> {
    this.asked.push(url);
    if (this.isGone) return json(503, { error: { code: 'no-manager', message: 'no manager' } });
    const [path = '', query] = url.split('?');
    const asked = new URLSearchParams(query);
    switch (path) {
      case '/v1/status':
        return json(200, this.#status());
      case '/v1/history':
        return json(200, { ...this.history, class: asked.get('class') });
      case '/v1/events':
        return json(200, this.#events(Number(asked.get('after') ?? 0)));
      default:
        return json(200, this.#explain(asked.get('of') ?? ''));
    }
  }

  #status(): Status {
    const { manager, ...status } = sampleStatus({ classes: this.classes });
    return { ...status, manager: { ...manager, startedAt: this.startedAt } };
  }

  #events(after: number) {
    const { startedAt, events } = this;
    return { schema: 1, startedAt, events: events.filter(({ number }) => number > after) };
  }

  #explain(name: string): Explanation {
    const one = this.classes.find((known) => known.name === name) ?? sampleClass();
    return {
      ...{ schema: 1, class: name, kind: one.kind, protocol: one.protocol, state: one.state },
      ...{ ready: 0, now: 'A request gets 503, until it is tried again in 12 s.' },
      ...{ nextTryAt: null, id: null },
      journeys: one.lastFailure ? [one.lastFailure] : [],
    };
  }
}

/** An hour of a busy day. */
export function busyHour(): LoadHistory {
  const wave = (i: number, size: number, shift: number) =>
    Math.max(0, Math.round(size * (1.2 + Math.sin(i / 38 + shift) + Math.sin(i / 7) / 4)));
  const samples = (size: number, shift: number) =>
    Array.from({ length: 360 }, (_, i) => (i > 150 && i < 156 ? null : wave(i, size, shift)));
  return {
    ...{ schema: 1, class: null, until: new Date().toISOString(), intervalMs: 10_000 },
    requests: samples(4_200, 0),
    inFlight: samples(9, 0.2),
    waiting: samples(6, 0.4).map((n) => (n === null ? null : Math.max(0, n - 9))),
    instances: samples(4, 0.5),
  };
}

export function someClasses(): ClassStatus[] {
  const instances = (count: number, firstPid: number): ClassStatus['instances'] =>
    Array.from({ length: count }, (_, i) => ({
      pid: firstPid + i,
      state: i === count - 1 && count > 2 ? 'starting' : 'ready',
      startedAt: new Date(Date.now() - 60_000 * (i + 1) ** 3).toISOString(),
      requests: 18_400 - 977 * i,
      rssBytes: 31_000_000 + 1_234_567 * i,
    }));
  const totals = (arrivals: number, failed = 0) => ({
    ...{ arrivals, admitted: arrivals, finished: arrivals - failed, failed },
    ...{ aborted: Math.floor(arrivals / 900), refused: 0 },
  });
  return [
    sampleClass({
      ...{ name: 'php', wanted: 6, inFlight: 4, waiting: 2, instances: instances(6, 4242) },
      totals: totals(184_201, 3),
    }),
    sampleClass({
      ...{ name: '/srv/www/cgi-bin/mapserv', kind: 'dynamic', instances: instances(2, 5100) },
      ...{ wanted: 2, inFlight: 1, totals: totals(9_310) },
    }),
    sampleClass({
      ...{ name: 'reports', protocol: 'cgi', state: 'cold', wanted: 0, inFlight: 0, instances: [] },
      totals: totals(0),
    }),
    sampleClass({
      ...{ name: 'search', state: 'failed', wanted: 1, inFlight: 0, instances: [] },
      totals: { ...totals(57, 2), refused: 41 },
      lastFailure: sampleFailure({
        ...{ class: 'search', command: '/usr/local/lib/search.fcgi --index /var/lib/search' },
        ...{ cause: 'library-missing', startedAt: new Date(Date.now() - 9_000).toISOString() },
        explanation: 'exited with status 127 4 ms after its start, before it accepted a connection',
        hint: 'Install what has libxapian.so.30, or set LD_LIBRARY_PATH with -initial-env.',
        output:
          '/usr/local/lib/search.fcgi: error while loading shared libraries: libxapian.so.30: cannot open shared object file\n',
      }),
    }),
    sampleClass({
      ...{ name: 'shop', kind: 'external', protocol: 'ajp', instances: [], wanted: 0, inFlight: 3 },
      totals: totals(77_120, 12),
      backends: [
        backend({ address: '10.0.0.5:8009', inFlight: 2, requests: 51_003 }),
        backend({ address: '10.0.0.6:8009', inFlight: 1, requests: 26_117, failures: 12 }),
        backend({ address: '10.0.0.7:8009', state: 'down', lastError: 'connection refused' }),
      ],
    }),
  ];
}

function backend(
  changes: Partial<ClassStatus['backends'][number]>,
): ClassStatus['backends'][number] {
  return {
    ...{ address: '', name: null, state: 'up', isBackup: false, lastError: null },
    ...{ inFlight: 0, requests: 0, failures: 0, route: null, activation: 'active', engine: null },
    ...changes,
  };
}

export function someEvents(): Event[] {
  const said: [Event['level'], string, string | null, string][] = [
    ['info', 'server.registered', null, 'generation 2'],
    ['info', 'instance.started', 'php', 'was started'],
    ['info', 'instance.ready', 'php', 'is ready'],
    ['warn', 'instance.exited', 'search', 'exited with status 127'],
    ['error', 'class.failed', 'search', 'exited with status 127 4 ms after its start'],
    ['info', 'instance.draining', 'php', 'takes no more requests: it is one more than needed'],
    ['warn', 'backend.down', 'shop', 'address 10.0.0.7:8009, error connection refused'],
  ];
  return said.map(([level, event, of, text], i) =>
    sampleEvent({
      ...{ number: i + 1, level, event, class: of, text },
      server: of === null ? 'nginx-0badcafe' : null,
      at: new Date(Date.now() - 60_000 * (said.length - i)).toISOString(),
    }),
  );
}

function json(httpStatus: number, body: unknown): Omit<Answered, 'id'> {
  return { httpStatus, body: JSON.stringify(body) };
}
