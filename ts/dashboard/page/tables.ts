// SPDX-License-Identifier: Apache-2.0
// Classes, instances, backends and events as tables and lists.
import type { BackendStatus, ClassStatus, Event, InstanceStatus } from '../../control/messages.ts';
import { el } from './dom.ts';
import { showBytes, showNumber, showSince, showTime } from './format.ts';

/** So many instances are drawn, more are only counted. */
const DOTS_MAX = 24;

interface Column {
  title: string;
  isNumber?: boolean;
}

export function state(name: string): HTMLElement {
  return el('span', { class: 'state', 'data-state': name }, name);
}

function table(caption: string, columns: Column[], rows: HTMLElement[]): HTMLElement {
  const heads = columns.map(({ title, isNumber }) =>
    el('th', { scope: 'col', class: isNumber ? 'number' : null }, title),
  );
  return el(
    'div',
    { class: 'card is-table is-list', role: 'region', 'aria-label': caption, tabindex: '0' },
    el('table', {}, el('thead', {}, el('tr', {}, ...heads)), el('tbody', {}, ...rows)),
  );
}

function number(label: string, value: number, kind = ''): HTMLElement {
  const look = value === 0 ? 'is-zero' : kind;
  return el('td', { class: `number ${look}`.trim(), 'data-label': label }, showNumber(value));
}

// ---- classes

export function classTable(classes: readonly ClassStatus[]): HTMLElement {
  return table(
    'Classes',
    [
      { title: 'Class' },
      { title: 'State' },
      { title: 'Instances' },
      { title: 'In flight', isNumber: true },
      { title: 'Waiting', isNumber: true },
      { title: 'Requests', isNumber: true },
      { title: 'Failed', isNumber: true },
    ],
    classes.map(classRow),
  );
}

function classRow(one: ClassStatus): HTMLElement {
  const { name, kind, protocol, totals } = one;
  return el(
    'tr',
    { 'data-key': name },
    el(
      'th',
      { scope: 'row' },
      el('a', { href: `#/class/${encodeURIComponent(name)}` }, name),
      el('span', { class: 'quiet small' }, ` ${kind} ${protocol}`),
      isFailed(one) && el('span', { class: 'why' }, one.lastFailure?.explanation ?? whyDown(one)),
    ),
    el('td', { class: 'is-wide' }, state(one.state)),
    instanceCell(one),
    number('In flight', one.inFlight),
    number('Waiting', one.waiting, 'is-waiting'),
    number('Requests', totals.arrivals),
    number('Failed', totals.failed + totals.refused, 'is-failing'),
  );
}

function isFailed({ state }: ClassStatus): boolean {
  return state === 'failed';
}

function whyDown({ backends, lastEvent }: ClassStatus): string {
  const down = backends.find(({ lastError }) => lastError !== null);
  return down ? `${down.address}: ${down.lastError}` : (lastEvent?.text ?? '');
}

function instanceCell({ kind, instances, backends, wanted }: ClassStatus): HTMLElement {
  if (kind === 'external') {
    const up = backends.filter((one) => one.state === 'up').length;
    return el(
      'td',
      { class: 'is-wide is-pair', 'data-label': 'Backends' },
      el('span', {}, `${up} of ${backends.length} up`),
    );
  }
  const ready = instances.filter((one) => one.state === 'ready').length;
  const text = wanted > ready ? `${ready} of ${wanted}` : `${ready}`;
  const dots = instances.slice(0, DOTS_MAX).map((one) => el('i', { 'data-is': one.state }));
  return el(
    'td',
    { class: 'is-wide is-pair', 'data-label': 'Instances' },
    el('span', {}, text, el('span', { class: 'dots', 'aria-hidden': 'true' }, ...dots)),
  );
}

// ---- one class

export function instanceTable(instances: readonly InstanceStatus[], nowMs: number): HTMLElement {
  return table(
    'Instances',
    [
      { title: 'Process' },
      { title: 'State' },
      { title: 'Started' },
      { title: 'Requests', isNumber: true },
      { title: 'Memory', isNumber: true },
    ],
    instances.map((one) =>
      el(
        'tr',
        { 'data-key': String(one.pid) },
        el('th', { scope: 'row' }, String(one.pid)),
        el('td', {}, state(one.state)),
        el('td', { 'data-label': 'Started' }, `${showSince(one.startedAt, nowMs)} ago`),
        number('Requests', one.requests),
        el('td', { class: 'number', 'data-label': 'Memory' }, showBytes(one.rssBytes)),
      ),
    ),
  );
}

export function backendTable(backends: readonly BackendStatus[]): HTMLElement {
  return table(
    'Backends',
    [
      { title: 'Address' },
      { title: 'State' },
      { title: 'In flight', isNumber: true },
      { title: 'Requests', isNumber: true },
      { title: 'Failures', isNumber: true },
    ],
    backends.map((one) =>
      el(
        'tr',
        {},
        el(
          'th',
          { scope: 'row' },
          one.name === null ? one.address : `${one.address} (${one.name})`,
          one.isBackup && el('span', { class: 'quiet small' }, ' backup'),
          one.lastError !== null && el('span', { class: 'why' }, one.lastError),
        ),
        el('td', {}, state(one.state)),
        number('In flight', one.inFlight),
        number('Requests', one.requests),
        number('Failures', one.failures, 'is-failing'),
      ),
    ),
  );
}

// ---- events

/** @param isOfOneClass Then its name need not be told with each. */
export function eventList(events: readonly Event[], isOfOneClass: boolean): HTMLElement {
  const rows = events.map((one) =>
    el(
      'li',
      { 'data-key': String(one.number), 'data-level': one.level },
      el('time', { datetime: one.at }, showTime(one.at)),
      el('strong', {}, one.event.replace('.', ' ')),
      el(
        'p',
        {},
        !isOfOneClass && one.class !== null && el('code', {}, one.class),
        !isOfOneClass && one.class === null && one.server !== null && el('code', {}, one.server),
        ` ${one.text}`,
      ),
    ),
  );
  return el('ol', { class: 'card events' }, ...rows);
}
