// SPDX-License-Identifier: Apache-2.0
// What `usher top` shows on so many columns and rows, and what keys do to it. No terminal, no clock.
import type { ClassStatus, Status } from '../control/messages.ts';
import { type Paint, paintState, unpainted, widthOf } from './paint.ts';
import { showDetails, showWanted } from './status-text.ts';
import { printable, showBytes, showSince } from './units.ts';

export interface Sample {
  status: Status;
  /** Of a clock that does not go back. */
  atMs: number;
}

/** Requests a second, by name of class. */
export type Rates = ReadonlyMap<string, number>;

const sorts = ['name', 'rate', 'busy', 'waiting', 'memory', 'failed'] as const;
type Sort = (typeof sorts)[number];

const sortKeys: Readonly<Record<string, Sort>> = {
  ...{ n: 'name', r: 'rate', b: 'busy', w: 'waiting', m: 'memory', f: 'failed' },
};

export interface TopState {
  sample: Sample | null;
  rates: Rates;
  /** Why the last look failed. */
  error: Error | null;
  sort: Sort;
  /** Name of a class; null = the first one. */
  selected: string | null;
  view: 'list' | 'details' | 'help';
  /** First line of the details that is seen. */
  scroll: number;
  /** Printed once, not drawn: all rows, no one chosen. */
  isPage: boolean;
}

export interface Size {
  columns: number;
  rows: number;
}

export function startTop(): TopState {
  return {
    ...{ sample: null, rates: new Map(), error: null },
    ...{ sort: 'name', selected: null, view: 'list', scroll: 0, isPage: false },
  };
}

/** Between two looks; a manager that was replaced counts anew. */
export function ratesOf(before: Sample, after: Sample): Rates {
  const seconds = (after.atMs - before.atMs) / 1000;
  const former = new Map(before.status.classes.map((one) => [one.name, one.totals.finished]));
  return new Map(
    after.status.classes.map(({ name, totals }) => {
      const more = totals.finished - (former.get(name) ?? totals.finished);
      return [name, seconds > 0 ? Math.max(0, more) / seconds : 0];
    }),
  );
}

/** null = the user wants to leave. */
export function pressKey(state: TopState, key: string, size: Size): TopState | null {
  if (key === 'ctrl-c' || key === 'ctrl-d') return null;
  if (state.view !== 'list') return pressInside(state, key, size);
  if (key === 'q') return null;
  if (key === '?' || key === 'h') return { ...state, view: 'help', scroll: 0 };
  const sort = sortKeys[key];
  if (sort !== undefined) return { ...state, sort };
  const names = sorted(state).map(({ name }) => name);
  const at = Math.max(0, names.indexOf(state.selected ?? ''));
  if (key === 'enter' && names.length > 0) {
    return { ...state, selected: names[at] ?? null, view: 'details', scroll: 0 };
  }
  const to = Math.min(names.length - 1, Math.max(0, move(key, at, listRows(size), names.length)));
  return { ...state, selected: names[to] ?? null };
}

function pressInside(state: TopState, key: string, size: Size): TopState {
  const isBack = ['q', 'escape', 'enter', 'left', '?'].includes(key);
  if (isBack) return { ...state, view: 'list', scroll: 0 };
  return { ...state, scroll: Math.max(0, move(key, state.scroll, size.rows - 2, 10_000)) };
}

/** Where a key leads from `at` of `count`. */
function move(key: string, at: number, page: number, count: number): number {
  switch (key) {
    case 'up':
    case 'k':
      return at - 1;
    case 'down':
    case 'j':
      return at + 1;
    case 'page-up':
      return at - page;
    case 'page-down':
    case ' ':
      return at + page;
    case 'home':
    case 'g':
      return 0;
    case 'end':
    case 'G':
      return count - 1;
    default:
      return at;
  }
}

/** Lines, none wider or more than fit. */
export function drawTop(state: TopState, size: Size, now: Date, paint: Paint): string[] {
  const lines = [headLine(state, now, paint), ...body(state, size, now, paint)];
  return lines.slice(0, size.rows).map((line) => cut(line, size.columns));
}

function headLine({ sample, error }: TopState, now: Date, paint: Paint): string {
  if (error !== null) return paint('red', printable(error.message));
  if (sample === null) return 'usher top: asking the manager …';
  const { manager, servers, classes } = sample.status;
  const waiting = classes.reduce((sum, one) => sum + one.waiting, 0);
  const failed = classes.filter(({ state }) => state === 'failed').length;
  const parts = [
    `usher ${manager.version} up ${showSince(manager.startedAt, now)}`,
    `${classes.length} classes`,
    ...(failed > 0 ? [paint('red', `${failed} failed`)] : []),
    ...(waiting > 0 ? [paint('yellow', `${waiting} waiting`)] : []),
    `${servers.length} servers`,
    `pid ${manager.pid}`,
  ];
  return parts.join(', ');
}

function body(state: TopState, size: Size, now: Date, paint: Paint): string[] {
  if (state.view === 'help') return scrolled(helpLines, state.scroll, size);
  if (state.view === 'details') return scrolled(detailLines(state, now, paint), state.scroll, size);
  return listLines(state, size, paint);
}

const helpLines = [
  'up down k j  choose a class',
  'Enter        its details; again: back',
  'n name       r requests/s',
  'b busy       w waiting',
  'm memory     f failures',
  'q            end',
  'RUN/WANT: instances there and wanted;',
  '! = usher scale said so',
];

function scrolled(lines: string[], scroll: number, { rows }: Size): string[] {
  const room = Math.max(1, rows - 1);
  const from = Math.max(0, Math.min(scroll, lines.length - room));
  return lines.slice(from, from + room);
}

function detailLines({ sample, selected }: TopState, now: Date, paint: Paint): string[] {
  const one = sample?.status.classes.find(({ name }) => name === selected);
  if (one === undefined) return [`${printable(selected ?? '')}: it is gone`];
  const { totals, lastEvent } = one;
  return [
    `${paint('bold', printable(one.name))}  ${paintState(paint, one.state)}`,
    `${one.kind}, ${one.protocol}${one.source === '' ? '' : `, ${printable(one.source)}`}`,
    `done ${totals.finished}, failed ${totals.failed}, refused ${totals.refused}, aborted ${totals.aborted}`,
    ...(lastEvent === null ? [] : [`${lastEvent.event} ${showSince(lastEvent.at, now)} ago`]),
    ...showDetails(one, now, paint),
  ];
}

// ---- the list

interface Column {
  title: string;
  /** Shown from this width of the screen on. */
  from: number;
  show(one: ClassStatus, rates: Rates, paint: Paint): string;
}

const columns: Column[] = [
  { title: 'STATE', from: 0, show: ({ state }, _rates, paint) => paintState(paint, state) },
  {
    title: 'RUN/WANT',
    from: 50,
    show: (one) => `${one.instances.length}/${one.kind === 'external' ? '-' : showWanted(one)}`,
  },
  { title: 'RUN', from: -50, show: ({ instances }) => String(instances.length) },
  { title: 'BUSY', from: 0, show: ({ inFlight }) => String(inFlight) },
  { title: 'WAIT', from: 0, show: ({ waiting }) => String(waiting) },
  { title: 'REQ/S', from: 0, show: ({ name }, rates) => showRate(rates.get(name) ?? 0) },
  { title: 'MEMORY', from: 62, show: (one) => showBytes(memoryOf(one)) },
  { title: 'DONE', from: 74, show: ({ totals }) => String(totals.finished) },
  { title: 'FAILED', from: 82, show: ({ totals }) => String(totals.failed) },
  { title: 'REFUSED', from: 92, show: ({ totals }) => String(totals.refused) },
];

/** Those with a negative `from` are for narrower screens only. */
function isShown({ from }: Column, width: number): boolean {
  return from < 0 ? width < -from : width >= from;
}

function listLines(state: TopState, size: Size, paint: Paint): string[] {
  const classes = sorted(state);
  const shown = columns.filter((column) => isShown(column, size.columns));
  const at = Math.max(
    0,
    classes.findIndex(({ name }) => name === state.selected),
  );
  const room = listRows(size);
  const first = state.isPage ? 0 : Math.max(0, Math.min(at - (room >> 1), classes.length - room));
  const seen = state.isPage ? classes : classes.slice(first, first + room);
  const cells = seen.map((one) => shown.map((column) => column.show(one, state.rates, paint)));
  const widths = shown.map(({ title }, i) =>
    Math.max(title.length, ...cells.map((row) => widthOf(row[i] ?? ''))),
  );
  const rest = widths.reduce((sum, width) => sum + width + 1, 0);
  const nameWidth = Math.max(4, size.columns - rest);
  const titles = shown.map(({ title }) => title);
  const mark = (isChosen: boolean): string => (state.isPage ? '' : isChosen ? '>' : ' ');
  const show = (name: string, texts: string[], isChosen: boolean): string => {
    const room = nameWidth - mark(isChosen).length;
    return mark(isChosen) + line(shorten(printable(name), room), texts, widths, room);
  };
  return [
    paint('bold', show('NAME', titles, false)),
    ...seen.map((one, i) => {
      const isChosen = !state.isPage && first + i === at;
      const text = show(one.name, cells[i] ?? [], isChosen);
      return isChosen ? highlight(text, paint) : text;
    }),
  ];
}

/** Colours inside would end it. */
function highlight(text: string, paint: Paint): string {
  return paint('reverse', unpainted(text));
}

function line(name: string, cells: string[], widths: number[], nameWidth: number): string {
  const rest = cells.map((cell, i) => {
    const padding = ' '.repeat(Math.max(0, (widths[i] ?? 0) - widthOf(cell)));
    return i === 0 ? cell + padding : padding + cell;
  });
  return [name.padEnd(nameWidth), ...rest].join(' ');
}

/** Of a path the end tells more. */
function shorten(name: string, width: number): string {
  if (name.length <= width) return name;
  return name.startsWith('/') ? `…${name.slice(1 - width)}` : `${name.slice(0, width - 1)}…`;
}

function sorted({ sample, sort, rates }: TopState): ClassStatus[] {
  const classes = [...(sample?.status.classes ?? [])];
  const byName = (a: ClassStatus, b: ClassStatus): number =>
    a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  const value = (one: ClassStatus): number => {
    switch (sort) {
      case 'rate':
        return rates.get(one.name) ?? 0;
      case 'busy':
        return one.inFlight;
      case 'waiting':
        return one.waiting;
      case 'memory':
        return memoryOf(one);
      case 'failed':
        return one.totals.failed + one.totals.refused;
      default:
        return 0;
    }
  };
  return classes.sort((a, b) => value(b) - value(a) || byName(a, b));
}

function memoryOf({ instances }: ClassStatus): number {
  return instances.reduce((sum, { rssBytes }) => sum + rssBytes, 0);
}

function showRate(rate: number): string {
  return rate === 0 ? '0' : rate < 10 ? rate.toFixed(1) : String(Math.round(rate));
}

/** Below the head line and the titles. */
function listRows({ rows }: Size): number {
  return Math.max(1, rows - 2);
}

/** No wider than that; colours cost nothing. */
function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let shown = 0;
  let isPainted = false;
  let result = '';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are passed over
  for (const [piece] of text.matchAll(/\x1b\[\d+m|[\s\S]/g)) {
    const isColour = piece.length > 1;
    if (isColour) isPainted = piece !== '\x1b[0m';
    else if (shown === width) break;
    else shown += 1;
    result += piece;
  }
  return isPainted ? `${result}\x1b[0m` : result;
}
