// SPDX-License-Identifier: Apache-2.0
// The page: asks every two seconds while somebody looks, shows the overview or the class that the
// address names (#/class/NAME), and says when nobody answers.
import type {
  ClassStatus,
  Event,
  Events,
  Explanation,
  LoadHistory,
  Status,
} from '../../control/messages.ts';
import { Charts } from './charts.ts';
import { el, show } from './dom.ts';
import { showBytes, showNumber, showShort, showSince } from './format.ts';
import { journeyCard } from './journey.ts';
import { backendTable, classTable, eventList, instanceTable, state } from './tables.ts';

const INTERVAL_MS = 2_000;
/** So long until the next try grows while nobody answers. */
const LONGEST_MS = 15_000;
const ANSWER_MS = 12_000;
const EVENTS_SHOWN = 60;
const EVENTS_KEPT = 500;

interface Seen {
  status: Status;
  history: LoadHistory;
  explanation: Explanation | null;
}

const main = place('main');
const charts = new Charts(place('charts'));
let events: Event[] = [];
let eventsOf = '';
let wordsSought = '';
let seen: Seen | null = null;
let failures = 0;
let timer = 0;

function place(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
}

/** The class that the address names; null = all. */
function chosen(): string | null {
  const match = /^#\/class\/(.+)$/.exec(location.hash);
  return match?.[1] === undefined ? null : decodeURIComponent(match[1]);
}

// ---- asking

async function ask<Answer>(route: string): Promise<Answer> {
  const response = await fetch(`api/${route}`, { signal: AbortSignal.timeout(ANSWER_MS) });
  const answer = (await response.json()) as Answer & { error?: { message: string } };
  if (!response.ok) throw new Error(answer.error?.message ?? `status ${response.status}`);
  return answer;
}

async function askEvents(): Promise<void> {
  const last = events.at(-1)?.number ?? 0;
  const answer = await ask<Events>(`events?after=${last}`);
  if (answer.startedAt !== eventsOf && last > 0) {
    events = []; // another manager, which counts anew
    eventsOf = answer.startedAt;
    return askEvents();
  }
  eventsOf = answer.startedAt;
  events = [...events, ...answer.events].slice(-EVENTS_KEPT);
}

async function look(): Promise<void> {
  const name = chosen();
  const status = await ask<Status>('status');
  const one = status.classes.find((known) => known.name === name) ?? null;
  const [history, explanation] = await Promise.all([
    ask<LoadHistory>(one ? `history?class=${encodeURIComponent(one.name)}` : 'history'),
    one && one.lastFailure !== null
      ? ask<Explanation>(`explain?of=${encodeURIComponent(one.name)}`)
      : null,
    askEvents(),
  ]);
  if (name !== chosen()) return look(); // somebody was faster
  seen = { status, history, explanation };
}

async function goOn(): Promise<void> {
  clearTimeout(timer);
  try {
    await look();
    failures = 0;
    sayConnection('live', 'live');
  } catch (error) {
    failures += 1;
    const text = error instanceof Error ? error.message : String(error);
    sayConnection('lost', 'connection lost', text);
  }
  document.body.classList.toggle('is-stale', failures > 0);
  if (failures === 0) render();
  if (document.hidden) return; // until somebody looks again
  const waitMs = failures === 0 ? INTERVAL_MS : Math.min(LONGEST_MS, 1_000 * 2 ** (failures - 1));
  clearTimeout(timer);
  timer = setTimeout(() => void goOn(), waitMs);
}

function sayConnection(kind: string, text: string, why = ''): void {
  const connection = place('connection');
  connection.dataset.state = kind;
  connection.title = why;
  if (connection.textContent !== text) connection.textContent = text; // it is read aloud
}

// ---- showing

function render(): void {
  if (seen === null) return;
  const { status, history, explanation } = seen;
  const { manager } = status;
  const nowMs = Date.now();
  const since = showSince(manager.startedAt, nowMs);
  show(place('manager'), `manager ${manager.pid}, version ${manager.version}, for ${since}`);
  const name = chosen();
  const one = status.classes.find((known) => known.name === name);
  document.title = name === null ? `Usher${failedCount(status)}` : `${name} – Usher`;
  charts.show(history);
  if (name === null) renderOverview(status, history);
  else if (one) renderClass(one, explanation, nowMs);
  else renderGone(name);
}

function failedCount({ classes }: Status): string {
  const failed = classes.filter(({ state }) => state === 'failed').length;
  return failed === 0 ? '' : ` (${failed} failed)`;
}

function sum<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0);
}

function tile(title: string, value: string, more = '', look = ''): HTMLElement {
  return el(
    'div',
    { class: `tile ${look}`.trim() },
    el('dt', {}, title),
    el('dd', {}, value, more !== '' && el('small', {}, ` ${more}`)),
  );
}

function tiles(classes: readonly ClassStatus[], { requests, intervalMs }: LoadHistory) {
  const instances = classes.flatMap((one) => one.instances);
  const waiting = sum(classes, (one) => one.waiting);
  const failed = classes.filter((one) => one.state === 'failed').length;
  const ready = instances.filter((one) => one.state === 'ready').length;
  const last = requests.at(-1);
  const rate = last === undefined || last === null ? '–' : showShort((last * 1000) / intervalMs);
  const [value = '', unit] = showBytes(sum(instances, (one) => one.rssBytes)).split(' ');
  return el(
    'dl',
    { class: 'tiles' },
    tile('Classes', showNumber(classes.length)),
    tile('Failed', showNumber(failed), '', failed > 0 ? 'is-bad' : ''),
    tile('Instances ready', showNumber(ready), `of ${showNumber(instances.length)}`),
    tile('Requests', rate, '/s'),
    tile('In flight', showNumber(sum(classes, (one) => one.inFlight))),
    tile('Waiting', showNumber(waiting), '', waiting > 0 ? 'is-warn' : ''),
    tile('Memory', value, unit),
  );
}

const order = ['failed', 'starting', 'ready', 'removed', 'refused', 'cold'];

function renderOverview(status: Status, history: LoadHistory): void {
  show(
    place('head'),
    el(
      'div',
      { class: 'stack' },
      el(
        'div',
        { class: 'title' },
        el('h1', {}, 'Overview'),
        el('p', { class: 'quiet' }, serversOf(status)),
      ),
      tiles(status.classes, history),
    ),
  );
  show(
    place('body'),
    el(
      'div',
      { class: 'stack', 'data-key': 'overview' },
      el(
        'section',
        { 'aria-labelledby': 'classes-title' },
        el('div', { class: 'tools' }, el('h2', { id: 'classes-title' }, 'Classes'), search()),
        classesFound(status.classes),
      ),
      eventSection(events, false),
    ),
  );
}

function serversOf({ servers }: Status): string {
  if (servers.length === 0) return 'no web server';
  return servers.map(({ kind, pid, workers }) => `${kind} ${pid}, ${workers} workers`).join(' · ');
}

function search(): HTMLElement {
  const input = el('input', {
    type: 'search',
    id: 'search',
    placeholder: 'Name, state, protocol …',
    'aria-label': 'Find classes',
    'data-key': 'search',
  });
  input.addEventListener('input', () => {
    wordsSought = (input as HTMLInputElement).value;
    render();
  });
  return input;
}

function classesFound(classes: readonly ClassStatus[]): HTMLElement {
  if (classes.length === 0) {
    return el('p', { class: 'card empty' }, 'No class is configured, and none was asked for yet.');
  }
  const words = wordsSought.toLowerCase().split(/\s+/);
  const found = classes
    .filter(({ name, kind, protocol, state }) => {
      const text = `${name} ${kind} ${protocol} ${state}`.toLowerCase();
      return words.every((word) => text.includes(word));
    })
    .sort(
      (a, b) =>
        order.indexOf(a.state) - order.indexOf(b.state) ||
        b.inFlight + b.waiting - a.inFlight - a.waiting ||
        a.name.localeCompare(b.name),
    );
  if (found.length > 0) return classTable(found);
  return el('p', { class: 'card empty' }, `None of ${classes.length} classes is like that.`);
}

function eventSection(all: readonly Event[], isOfOneClass: boolean): HTMLElement {
  const newest = all.slice(-EVENTS_SHOWN).reverse();
  return el(
    'section',
    { 'aria-labelledby': 'events-title' },
    el('h2', { id: 'events-title' }, 'Last events'),
    newest.length === 0
      ? el('p', { class: 'card empty' }, 'Nothing has happened.')
      : eventList(newest, isOfOneClass),
  );
}

function renderClass(one: ClassStatus, explanation: Explanation | null, nowMs: number): void {
  const { totals } = one;
  const journeys = explanation?.journeys ?? (one.lastFailure ? [one.lastFailure] : []);
  show(
    place('head'),
    el(
      'div',
      { class: 'stack' },
      el('p', {}, el('a', { href: '#/' }, '← All classes')),
      el(
        'div',
        { class: 'title' },
        el('h1', {}, one.name),
        state(one.state),
        el('p', { class: 'quiet' }, `${one.kind} ${one.protocol}`),
      ),
      explanation !== null &&
        el('p', { class: one.state === 'failed' ? 'notice is-bad' : 'notice' }, explanation.now),
      el(
        'dl',
        { class: 'tiles' },
        tile('In flight', showNumber(one.inFlight)),
        tile('Waiting', showNumber(one.waiting), '', one.waiting > 0 ? 'is-warn' : ''),
        tile('Requests', showNumber(totals.arrivals)),
        tile('Finished', showNumber(totals.finished)),
        tile('Failed', showNumber(totals.failed), '', totals.failed > 0 ? 'is-bad' : ''),
        tile('Refused', showNumber(totals.refused), '', totals.refused > 0 ? 'is-bad' : ''),
        tile('Clients left', showNumber(totals.aborted)),
      ),
    ),
  );
  show(
    place('body'),
    el(
      'div',
      { class: 'stack', 'data-key': `class ${one.name}` },
      journeys.length > 0 &&
        section(
          'journeys',
          'Starts that failed, and the last that did not',
          ...journeys.map(journeyCard),
        ),
      one.kind !== 'external' &&
        section(
          'instances',
          one.wanted > 0 ? `Instances, ${one.wanted} wanted` : 'Instances',
          one.instances.length > 0
            ? instanceTable(one.instances, nowMs)
            : el(
                'p',
                { class: 'card empty' },
                one.state === 'failed' ? 'None can start.' : 'None: the next request starts one.',
              ),
        ),
      one.backends.length > 0 && section('backends', 'Backends', backendTable(one.backends)),
      eventSection(
        events.filter((event) => event.class === one.name),
        true,
      ),
    ),
  );
}

function section(id: string, title: string, ...content: HTMLElement[]): HTMLElement {
  return el(
    'section',
    { 'aria-labelledby': `${id}-title`, 'data-key': id },
    el('h2', { id: `${id}-title` }, title),
    ...content,
  );
}

function renderGone(name: string): void {
  show(
    place('head'),
    el(
      'div',
      { class: 'stack' },
      el('p', {}, el('a', { href: '#/' }, '← All classes')),
      el('h1', {}, name),
      el('p', { class: 'notice' }, 'There is no such class any more. The charts show all classes.'),
    ),
  );
  show(place('body'));
}

addEventListener('hashchange', () => {
  if (location.hash === '#main') return; // the link past the head
  scrollTo(0, 0);
  main.focus();
  void goOn();
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) void goOn();
});
void goOn();
