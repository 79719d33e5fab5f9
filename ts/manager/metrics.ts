// SPDX-License-Identifier: Apache-2.0
// What is counted, as Prometheus and OpenMetrics texts: read when somebody asks, kept nowhere. A class
// that has gone has no lines any more, so that there are never more than there are classes.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Metric, RegistryContentType } from 'prom-client';
import type { BackendStatus, ClassStatus } from '../control/messages.ts';
import type { LoadAndTimes } from '../native/native.ts';
import type { StartRequests } from './start-requests.ts';
import type { Tally } from './tally.ts';
import type { TimeHistogram } from './time-histogram.ts';
import type { Used } from './usage.ts';

/** All that is known of a class; an external one has no instances to count. */
export interface ClassFigures {
  status: ClassStatus;
  load: LoadAndTimes;
  own: { tally: Tally; used: Used } | null;
}

export interface ManagerFigures {
  version: string;
  startedAt: string;
  startRequests: StartRequests;
  servers: readonly {
    name: string;
    kind: string;
    workers: number;
    startRequestsRefused: number;
  }[];
}

export interface MetricsText {
  contentType: string;
  text: string;
}

type Labels = Readonly<Record<string, string>>;

interface Sample {
  labels: Labels;
  value: number;
  /** Where it is not the family's. */
  metricName?: string;
}

const CLASS_STATES = ['cold', 'starting', 'ready', 'failed', 'refused', 'removed'] as const;
const INSTANCE_STATES = ['starting', 'ready', 'draining', 'stopping'] as const;
const BACKEND_STATES = ['up', 'down', 'draining', 'standby', 'disabled'] as const;
const OUTCOMES = ['finished', 'failed', 'aborted', 'refused'] as const;

/** Shorter times share a bucket: who would look at them has a profiler. 2^6 µs. */
const FIRST_BUCKET = 5;
/** So many classes are read before others have their turn. */
const CLASSES_A_TURN = 50;

/** One after the other, and in between everybody else: the registry asks for all families at once. */
class Turns {
  #last: Promise<void> = Promise.resolve();

  next(): Promise<void> {
    this.#last = this.#last.then(() => nextTurn());
    return this.#last;
  }
}

/** Samples of one metric, in the order in which they are added. */
class Family {
  name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly #samples: Sample[] = [];
  readonly #turns: Turns;

  constructor(name: string, help: string, type: Family['type'], turns: Turns) {
    this.name = name;
    this.help = help;
    this.type = type;
    this.#turns = turns;
  }

  add(labels: Labels, value: number): void {
    this.#samples.push({ labels, value });
  }

  /** @param boundsS Upper bounds of the buckets; the last bucket, one more, has none. */
  addHistogram(
    labels: Labels,
    boundsS: readonly number[],
    counts: readonly number[],
    sumS: number,
  ): void {
    let seen = 0;
    for (const [i, count] of counts.entries()) {
      seen += count;
      const le = i < boundsS.length ? String(boundsS[i]) : '+Inf';
      this.#samples.push({
        labels: { ...labels, le },
        value: seen,
        metricName: `${this.name}_bucket`,
      });
    }
    this.#samples.push({ labels, value: sumS, metricName: `${this.name}_sum` });
    this.#samples.push({ labels, value: seen, metricName: `${this.name}_count` });
  }

  /** What the registry asks a metric for; it gives counters another name in OpenMetrics. */
  async get(): Promise<{ name: string; help: string; type: string; values: Sample[] }> {
    await this.#turns.next();
    return { name: this.name, help: this.help, type: this.type, values: this.#samples };
  }
}

/** All families of one answer, made as they are needed. */
class Families {
  readonly #byName = new Map<string, Family>();
  readonly #turns = new Turns();

  get all(): readonly Family[] {
    return [...this.#byName.values()];
  }

  counter(name: string, help: string): Family {
    return this.#family(name, help, 'counter');
  }

  gauge(name: string, help: string): Family {
    return this.#family(name, help, 'gauge');
  }

  histogram(name: string, help: string): Family {
    return this.#family(name, help, 'histogram');
  }

  /** 1 for the state that it has, 0 for the others. */
  states(name: string, help: string, labels: Labels, states: readonly string[], is: string): void {
    const family = this.gauge(name, help);
    for (const state of states) family.add({ ...labels, state }, state === is ? 1 : 0);
  }

  #family(name: string, help: string, type: Family['type']): Family {
    let family = this.#byName.get(name);
    if (!family) {
      family = new Family(name, help, type, this.#turns);
      this.#byName.set(name, family);
    }
    return family;
  }
}

/**
 * @param accept The client's header: OpenMetrics for who names it, else Prometheus' own format.
 * @param classes Read one after the other; they may change meanwhile.
 */
export async function writeMetrics(
  accept: string,
  manager: ManagerFigures,
  classes: Iterable<ClassFigures>,
): Promise<MetricsText> {
  const families = new Families();
  addManager(families, manager);
  let read = 0;
  for (const figures of classes) {
    addClass(families, figures);
    read += 1;
    if (read % CLASSES_A_TURN === 0) await nextTurn();
  }
  return format(families.all, accept);
}

async function format(families: readonly Family[], accept: string): Promise<MetricsText> {
  const { Registry } = await import('prom-client'); // 2 MB that only those pay who ask
  const wantsOpenMetrics = /\bapplication\/openmetrics-text\b/i.test(accept);
  const type: RegistryContentType = wantsOpenMetrics
    ? Registry.OPENMETRICS_CONTENT_TYPE
    : Registry.PROMETHEUS_CONTENT_TYPE;
  const registry = new Registry<RegistryContentType>();
  registry.setContentType(type);
  for (const family of families) registry.registerMetric(family as unknown as Metric);
  return { contentType: registry.contentType, text: await registry.metrics() };
}

// ---- the manager

function addManager(families: Families, figures: ManagerFigures): void {
  const { version, startedAt, startRequests, servers } = figures;
  const { user, system } = process.cpuUsage();
  families.gauge('usher_manager_info', 'The version of the manager; always 1.').add({ version }, 1);
  families
    .gauge('usher_manager_start_time_seconds', 'When the manager started, since 1970.')
    .add({}, Date.parse(startedAt) / 1000);
  families
    .gauge('usher_manager_memory_bytes', 'Resident memory of the manager.')
    .add({}, process.memoryUsage.rss());
  families
    .counter('usher_manager_cpu_seconds_total', 'Processor time of the manager.')
    .add({}, (user + system) / 1e6);
  const asked = families.counter(
    'usher_start_requests_total',
    'Classes that web servers did not know and asked for, by what they got: a class or a refusal.',
  );
  for (const [answer, count] of Object.entries(startRequests.answered))
    asked.add({ answer }, count);
  addTimes(
    families.histogram(
      'usher_start_request_seconds',
      'From when the manager saw a start request to its answer; the program starts after that.',
    ),
    {},
    startRequests.times,
  );
  for (const { name: server, kind, workers, startRequestsRefused } of servers) {
    families
      .gauge('usher_server_workers', 'Workers of a web server that live.')
      .add({ server, kind }, workers);
    families
      .counter(
        'usher_server_start_requests_refused_total',
        'Start requests that found no room among those that waited already; answered 503.',
      )
      .add({ server, kind }, startRequestsRefused);
  }
}

function addTimes(family: Family, labels: Labels, { boundsS, counts, sumS }: TimeHistogram): void {
  family.addHistogram(labels, boundsS, counts, sumS);
}

// ---- classes

function addClass(families: Families, figures: ClassFigures): void {
  const { status, own } = figures;
  const labels = { class: status.name };
  const { kind, protocol } = status;
  families
    .gauge('usher_class_info', 'What a class is; always 1.')
    .add({ ...labels, kind, protocol }, 1);
  families.states(
    'usher_class_state',
    'The state of a class: 1 for the one that it is in.',
    labels,
    CLASS_STATES,
    status.state,
  );
  addRequests(families, labels, figures);
  if (own) addInstances(families, labels, status, own);
  for (const backend of byAddress(status.backends)) addBackend(families, labels, backend);
}

function addRequests(families: Families, labels: Labels, { status, load }: ClassFigures): void {
  const requests = families.counter(
    'usher_requests_total',
    'Requests that ended: answered by a program, failed there, given up by the client, refused without one.',
  );
  for (const outcome of OUTCOMES) requests.add({ ...labels, outcome }, load[outcome]);
  families
    .counter('usher_requests_received_total', 'Requests that asked for a class.')
    .add(labels, load.arrivals);
  families
    .gauge('usher_requests_in_flight', 'Requests at instances or backends now.')
    .add(labels, status.inFlight);
  families
    .gauge('usher_requests_waiting', 'Requests that wait for a place now.')
    .add(labels, status.waiting);
  addLoad(
    families.histogram(
      'usher_request_waiting_seconds',
      'From when a request asked for a class to when it got a place.',
    ),
    labels,
    load.waitingHistogram,
    load.waitingUs,
  );
  addLoad(
    families.histogram(
      'usher_request_serving_seconds',
      'From when a request got a place to when it had ended there; aborted ones are not in it.',
    ),
    labels,
    load.servingHistogram,
    load.servingUs,
  );
}

/** Bucket b of the channel counts times below 2^(b+1) µs, the last one all others. */
function addLoad(family: Family, labels: Labels, counts: readonly number[], sumUs: number): void {
  if (counts.every((count) => count === 0)) return; // a thousand classes, forty lines each
  const first = counts.slice(0, FIRST_BUCKET + 1).reduce((sum, count) => sum + count, 0);
  const merged = [first, ...counts.slice(FIRST_BUCKET + 1)];
  const boundsS = merged.slice(0, -1).map((_, i) => 2 ** (FIRST_BUCKET + 1 + i) / 1e6);
  family.addHistogram(labels, boundsS, merged, sumUs / 1e6);
}

function addInstances(
  families: Families,
  labels: Labels,
  { instances, wanted }: ClassStatus,
  { tally, used }: NonNullable<ClassFigures['own']>,
): void {
  const byState = families.gauge('usher_instances', 'Instances of a class, by state.');
  for (const state of INSTANCE_STATES) {
    const count = instances.filter((one) => one.state === state).length;
    byState.add({ ...labels, state }, count);
  }
  families.gauge('usher_instances_wanted', 'Instances that the policy wants.').add(labels, wanted);
  families
    .counter('usher_starts_total', 'Starts of instances, also those that failed.')
    .add(labels, tally.starts);
  if (tally.startTimes.counts.some((count) => count > 0)) {
    addTimes(
      families.histogram(
        'usher_start_seconds',
        'From the start of an instance to its being ready.',
      ),
      labels,
      tally.startTimes,
    );
  }
  const failures = families.counter(
    'usher_failures_total',
    'Starts that failed, and instances that failed later, by cause.',
  );
  for (const [cause, count] of tally.failures) failures.add({ ...labels, cause }, count);
  const restarts = families.counter(
    'usher_restarts_total',
    'Instances that were replaced: they ended by themselves, were out of date, worn or hung.',
  );
  for (const [reason, count] of tally.restarts) restarts.add({ ...labels, reason }, count);
  families
    .gauge('usher_memory_bytes', 'Resident memory of all instances with their children.')
    .add(labels, used.rssBytes);
  families
    .counter('usher_cpu_seconds_total', 'Processor time of all instances with their children.')
    .add(labels, used.cpuS);
}

// ---- backends

/** An address is one backend, also while a former entry of it drains. */
function byAddress(backends: readonly BackendStatus[]): readonly BackendStatus[] {
  const merged = new Map<string, BackendStatus>();
  for (const one of backends) {
    const known = merged.get(one.address);
    if (!known) merged.set(one.address, one);
    else {
      merged.set(one.address, {
        ...known,
        inFlight: known.inFlight + one.inFlight,
        requests: known.requests + one.requests,
        failures: known.failures + one.failures,
      });
    }
  }
  return [...merged.values()];
}

function addBackend(families: Families, ofClass: Labels, backend: BackendStatus): void {
  const labels = { ...ofClass, backend: backend.address };
  const { engine } = backend;
  families
    .counter('usher_backend_requests_total', 'Requests that a backend was given.')
    .add(labels, backend.requests);
  families
    .counter('usher_backend_failures_total', 'Requests that failed of a backend.')
    .add(labels, backend.failures);
  families
    .gauge('usher_backend_requests_in_flight', 'Requests at a backend now.')
    .add(labels, backend.inFlight);
  families.states(
    'usher_backend_state',
    'The state of a backend: 1 for the one that it is in.',
    labels,
    BACKEND_STATES,
    backend.state,
  );
  if (!engine) return;
  families
    .counter('usher_engine_starts_total', 'Starts of the servlet engine at a backend.')
    .add(labels, engine.starts);
  families
    .gauge('usher_engine_memory_bytes', 'Resident memory of the servlet engine at a backend.')
    .add(labels, engine.rssBytes);
}
