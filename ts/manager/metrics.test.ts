// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { Exposition, type Format } from '../../integration-tests/servers/exposition.ts';
import type { BackendStatus } from '../control/messages.ts';
import { sampleClass, sampleFailure } from '../control/testing/sample.ts';
import type { LoadAndTimes } from '../native/native.ts';
import { type ClassFigures, type ManagerFigures, writeMetrics } from './metrics.ts';
import { StartRequests } from './start-requests.ts';
import { Tally } from './tally.ts';

const formats: [Format, accept: string, contentType: string][] = [
  ['prometheus', 'text/plain;version=0.0.4;q=0.5,*/*;q=0.1', 'text/plain; version=0.0.4'],
  [
    'openmetrics',
    'application/openmetrics-text;version=1.0.0,text/plain;q=0.5',
    'application/openmetrics-text; version=1.0.0',
  ],
];

function histogram(counts: Record<number, number> = {}): number[] {
  return Array.from({ length: 24 }, (_, b) => counts[b] ?? 0);
}

function load(changes: Partial<LoadAndTimes> = {}): LoadAndTimes {
  return {
    ...{ arrivals: 0, admitted: 0, finished: 0, failed: 0, aborted: 0, refused: 0 },
    ...{ waitingUs: 0, servingUs: 0, waiting: 0, inFlight: 0 },
    ...{ waitingHistogram: histogram(), servingHistogram: histogram() },
    ...changes,
  };
}

function manager(): ManagerFigures {
  return {
    version: '0.1.0',
    startedAt: '2025-01-02T03:04:00.000Z',
    startRequests: new StartRequests(),
    servers: [{ name: 'nginx-0badcafe', kind: 'nginx', workers: 4, startRequestsRefused: 2 }],
  };
}

function figures(changes: Partial<ClassFigures> = {}): ClassFigures {
  return {
    status: sampleClass(),
    load: load(),
    own: { tally: new Tally(), used: { rssBytes: 5_000_000, cpuS: 1.25 } },
    ...changes,
  };
}

async function read(format: Format, classes: ClassFigures[], figures = manager()) {
  const [, accept = ''] = formats.find(([name]) => name === format) ?? [];
  const { text } = await writeMetrics(accept, figures, classes);
  return new Exposition(text, format);
}

t.test('the format is the client’s choice', async (t) => {
  for (const [format, accept, contentType] of formats) {
    const answer = await writeMetrics(accept, manager(), [figures()]);
    t.ok(answer.contentType.startsWith(contentType), format);
    new Exposition(answer.text, format);
  }
  const { contentType } = await writeMetrics('', manager(), []);
  t.match(contentType, /^text\/plain/, 'Prometheus’ own for who says nothing');
});

for (const [format] of formats) {
  t.test(`${format}: a class`, async (t) => {
    const tally = new Tally();
    tally.starts = 3;
    tally.startTimes.observe(20);
    tally.failed(sampleFailure({ cause: 'library-missing' }));
    for (const id of ['a', 'b', 'b']) {
      tally.failed(sampleFailure({ id, cause: null, outcome: 'timed-out' }));
    }
    tally.restarted('worn');
    const metrics = await read(format, [
      figures({
        load: load({ ...{ arrivals: 20, finished: 16, failed: 1, aborted: 3, refused: 2 } }),
        own: { tally, used: { rssBytes: 5_000_000, cpuS: 1.25 } },
      }),
    ]);
    const of = (name: string, labels = {}) => metrics.value(name, { class: 'hello', ...labels });
    t.equal(of('usher_requests_total', { outcome: 'finished' }), 16);
    t.equal(of('usher_requests_total', { outcome: 'failed' }), 1);
    t.equal(of('usher_requests_total', { outcome: 'aborted' }), 3);
    t.equal(of('usher_requests_total', { outcome: 'refused' }), 2);
    t.equal(of('usher_requests_received_total'), 20);
    t.equal(of('usher_requests_in_flight'), 1);
    t.equal(of('usher_requests_waiting'), 0);
    t.equal(of('usher_instances', { state: 'ready' }), 1);
    t.equal(of('usher_instances', { state: 'draining' }), 0);
    t.equal(of('usher_class_state', { state: 'ready' }), 1);
    t.equal(of('usher_class_state', { state: 'failed' }), 0);
    t.equal(of('usher_starts_total'), 3);
    t.equal(of('usher_start_seconds_count'), 1);
    t.equal(of('usher_failures_total', { cause: 'library-missing' }), 1);
    t.equal(of('usher_failures_total', { cause: 'not-ready-in-time' }), 2);
    t.equal(of('usher_restarts_total', { reason: 'worn' }), 1);
    t.equal(of('usher_memory_bytes'), 5_000_000);
    t.equal(of('usher_cpu_seconds_total'), 1.25);
    t.equal(metrics.value('usher_server_workers'), 4);
  });
}

t.test('buckets of the channel', async (t) => {
  const metrics = await read('prometheus', [
    figures({
      load: load({
        waitingHistogram: histogram({ 0: 2, 5: 3, 6: 1, 22: 1, 23: 4 }),
        waitingUs: 40_000_000,
      }),
    }),
  ]);
  const below = (le: string) => metrics.value('usher_request_waiting_seconds_bucket', { le });
  t.equal(below('0.000064'), 5);
  t.equal(below('0.000128'), 6);
  t.equal(below('4.194304'), 6);
  t.equal(below('8.388608'), 7);
  t.equal(below('+Inf'), 11);
  t.equal(metrics.value('usher_request_waiting_seconds_sum'), 40);
  t.same(metrics.select('usher_request_serving_seconds_bucket'), [], 'none before a request');
});

t.test('names as somebody chose them', async (t) => {
  for (const [format] of formats) {
    const names = ['/srv/a "b" \\n.fcgi', 'two\nlines', 'ü€😀', '{}=,# HELP x y', 'le="1"'];
    const metrics = await read(
      format,
      names.map((name) => figures({ status: sampleClass({ name }) })),
    );
    for (const name of names)
      t.equal(metrics.value('usher_starts_total', { class: name }), 0, name);
  }
});

t.test('backends', async (t) => {
  const backend: BackendStatus = {
    ...{ address: '10.0.0.5:8009', name: null, state: 'up', isBackup: false, lastError: null },
    ...{ inFlight: 2, requests: 10, failures: 1, route: 'a', activation: 'active', engine: null },
  };
  const status = sampleClass({
    kind: 'external',
    instances: [],
    backends: [backend, { ...backend, state: 'draining', inFlight: 1, requests: 5, failures: 0 }],
  });
  const metrics = await read('prometheus', [figures({ status, own: null })]);
  const labels = { class: 'hello', backend: '10.0.0.5:8009' };
  t.equal(metrics.value('usher_backend_requests_total', labels), 15, 'one that drains beside it');
  t.equal(metrics.value('usher_backend_failures_total', labels), 1);
  t.equal(metrics.value('usher_backend_requests_in_flight', labels), 3);
  t.equal(metrics.value('usher_backend_state', { ...labels, state: 'up' }), 1);
  t.same(metrics.select('usher_instances'), [], 'an external class has none');
});

t.test('start requests', async (t) => {
  const startRequests = new StartRequests();
  const server = {};
  startRequests.seen(server, 3, 1_000);
  startRequests.seen(server, 3, 1_010);
  startRequests.finished(server, 3, 'class', 1_020);
  startRequests.seen(server, 3, 2_000);
  startRequests.finished(server, 3, 'refusal', 2_000);
  const metrics = await read('prometheus', [], { ...manager(), startRequests });
  t.equal(metrics.value('usher_start_requests_total', { answer: 'class' }), 1);
  t.equal(metrics.value('usher_start_requests_total', { answer: 'refusal' }), 1);
  t.equal(metrics.value('usher_start_request_seconds_sum'), 0.02);
  t.equal(metrics.value('usher_start_request_seconds_bucket', { le: '0.01' }), 1);
});

t.test('classes that go while they are read', async (t) => {
  const all = Array.from({ length: 120 }, (_, i) =>
    figures({ status: sampleClass({ name: `class ${i}` }) }),
  );
  function* some(): Generator<ClassFigures> {
    for (const one of all) yield one;
  }
  const { text } = await writeMetrics('', manager(), some());
  t.equal(new Exposition(text, 'prometheus').select('usher_starts_total').length, 120);
});
