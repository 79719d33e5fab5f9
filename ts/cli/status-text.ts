// SPDX-License-Identifier: Apache-2.0
// `usher status` for people: who is served, what runs, and why something does not.
import type {
  BackendStatus,
  ClassStatus,
  EngineStatus,
  InstanceStatus,
  Journey,
  JourneyStep,
  ServerStatus,
  Status,
} from '../control/messages.ts';
import { type Paint, paintState, plain } from './paint.ts';
import { printable, showBytes, showDuration, showSince, showTable } from './units.ts';

const outputLinesMax = 10;

export function showStatus(status: Status, now: Date, paint: Paint = plain): string {
  const { manager, servers, classes } = status;
  const lines = [
    `manager   pid ${manager.pid}, version ${manager.version}, up ${showSince(manager.startedAt, now)}`,
    '',
    `servers   ${servers.length === 0 ? 'none' : ''}`.trimEnd(),
    ...indent(showTable(servers.map(serverRow))),
    '',
    `classes   ${classes.length === 0 ? 'none' : ''}`.trimEnd(),
    ...indent(showClasses(classes, now, paint)),
  ];
  return `${lines.join('\n')}\n`;
}

function serverRow(server: ServerStatus): string[] {
  return [
    server.name,
    `pid ${server.pid}`,
    count(server.workers, 'worker'),
    `generation ${server.generation}`,
    printable(server.configuration),
  ];
}

function showClasses(classes: ClassStatus[], now: Date, paint: Paint): string[] {
  if (classes.length === 0) return [];
  const head = [
    'NAME',
    'KIND',
    'STATE',
    'RUNNING',
    'WANTED',
    'SERVING',
    'WAITING',
    'DONE',
    'FAILED',
    'REFUSED',
  ];
  const rows = classes.map((one) => classRow(one, paint));
  const table = showTable(
    [head.map((word) => paint('bold', word)), ...rows],
    [3, 4, 5, 6, 7, 8, 9],
  );
  const [headLine = '', ...lines] = table;
  return [headLine, ...lines.flatMap((row, i) => [row, ...showDetails(classes[i], now, paint)])];
}

function classRow(one: ClassStatus, paint: Paint): string[] {
  const isExternal = one.kind === 'external';
  return [
    printable(one.name),
    one.kind,
    paintState(paint, one.state),
    isExternal ? '-' : String(one.instances.length),
    isExternal ? '-' : showWanted(one),
    String(one.inFlight),
    String(one.waiting),
    String(one.totals.finished),
    String(one.totals.failed),
    String(one.totals.refused),
  ];
}

/** "3"; "3!" where `usher scale` said so. */
export function showWanted({ wanted, scaledTo }: ClassStatus): string {
  return scaledTo === null ? String(wanted) : `${wanted}!`;
}

/** What stands below a class: instances, backends, and why it failed. */
export function showDetails(one: ClassStatus | undefined, now: Date, paint: Paint): string[] {
  if (one === undefined) return [];
  const backends = one.backends.map((backend) => backendRow(backend, now));
  return indent([
    ...showTable(one.instances.map((instance) => instanceRow(instance, now, paint))),
    ...showTable(backends),
    ...(one.lastFailure === null ? [] : showFailure(one.lastFailure, now)),
  ]);
}

function instanceRow(instance: InstanceStatus, now: Date, paint: Paint): string[] {
  return [
    `pid ${instance.pid}`,
    paintState(paint, instance.state),
    `up ${showSince(instance.startedAt, now)}`,
    count(instance.requests, 'request'),
    showBytes(instance.rssBytes),
  ];
}

function backendRow(backend: BackendStatus, now: Date): string[] {
  const { address, name, state, isBackup, inFlight, lastError, route, requests } = backend;
  const marks = [
    state,
    ...(isBackup && state !== 'standby' ? ['backup'] : []),
    ...(route === null ? [] : [`route ${printable(route)}`]),
  ];
  return [
    printable(name === null ? address : `${address} (${name})`),
    marks.join(', '),
    `${inFlight} serving`,
    count(requests, 'request'),
    ...(backend.engine === null ? [] : [engineText(backend.engine, now)]),
    lastError === null ? '' : printable(lastError),
  ];
}

function engineText({ pid, state, startedAt, rssBytes }: EngineStatus, now: Date): string {
  if (pid === null || startedAt === null) return `engine ${state}`;
  const since = showSince(startedAt, now);
  return `engine pid ${pid} ${state} for ${since}, ${showBytes(rssBytes)}`;
}

/** A journey that failed: how it ended, what was run, where the time went, what it said. */
export function showFailure(journey: Journey, now: Date): string[] {
  const ago = showSince(journey.startedAt, now);
  const output = journey.output.trimEnd().split('\n').slice(-outputLinesMax);
  const said = output.length === 1 && output[0] === '' ? [] : output;
  return [
    `last failure, ${ago} ago: ${printable(journey.explanation)}`,
    ...indent([
      `command: ${printable(journey.command)}`,
      `steps:   ${journey.steps.map(showStep).join(', ')}`,
      ...(said.length === 0 ? ['output:  none'] : ['output:']),
      ...said.map((line) => `  | ${printable(line)}`),
    ]),
  ];
}

function showStep({ name, ms, error }: JourneyStep): string {
  const when = `${name} ${showDuration(ms)}`;
  return error === undefined ? when : `${when}: ${printable(error)}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function indent(lines: string[]): string[] {
  return lines.map((line) => `  ${line}`);
}
