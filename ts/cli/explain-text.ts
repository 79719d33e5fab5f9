// SPDX-License-Identifier: Apache-2.0
// `usher explain` for people: what happened to a start, and what to do about it.
import type { Explanation, Journey, JourneyStep } from '../control/messages.ts';
import { printable, showBytes, showDuration, showSince, showTable } from './units.ts';

export function showExplanation(explanation: Explanation, now: Date): string {
  const { journeys, id } = explanation;
  const [first, ...earlier] = chosen(explanation);
  const lines = [
    ...(id === null ? showClass(explanation, now) : []),
    ...(first ? showJourney(first, now) : ['', 'no start of it is remembered']),
    ...(earlier.length > 0 ? ['', 'earlier', ...indent(showEarlier(earlier, now))] : []),
    ...(journeys.length > 1 ? ['', 'One of them: usher explain ID'] : []),
  ];
  return `${lines.join('\n')}\n`;
}

/** Told first: of a class that has failed why, of one that is well its last start. */
function chosen({ state, journeys }: Explanation): Journey[] {
  const wants = state === 'failed' ? isFailure : (one: Journey) => !isFailure(one);
  const first = journeys.find(wants) ?? journeys[0];
  return first ? [first, ...journeys.filter((one) => one !== first)] : [];
}

function isFailure({ cause }: Journey): boolean {
  return cause !== null;
}

function showClass(explanation: Explanation, now: Date): string[] {
  const { class: name, kind, protocol, state, now: requests, nextTryAt } = explanation;
  return [
    `class     ${printable(name)} (${kind}, ${protocol}): ${state}`,
    `requests  ${printable(requests)}`,
    ...(nextTryAt === null ? [] : [`next try  ${showNextTry(name, nextTryAt, now)}`]),
  ];
}

function showNextTry(name: string, at: string, now: Date): string {
  const leftMs = Math.max(0, Date.parse(at) - now.getTime());
  return `in ${showDuration(leftMs)} when it is wanted; at once: usher retry ${quoted(name)}`;
}

function showJourney(journey: Journey, now: Date): string[] {
  const { id, startedAt, explanation, hint, cause, command, setting, output, snapshot } = journey;
  const how = cause === null ? outcomeOf(journey) : `failed (${cause})`;
  return [
    '',
    `start ${id}, ${showSince(startedAt, now)} ago: ${how}`,
    ...indent([
      ...field('what', explanation),
      ...field('hint', hint),
      ...field('command', command),
      ...(setting === null ? [] : showSetting(setting)),
      ...field(
        'memory',
        journey.rssBytes === undefined ? '' : `${showBytes(journey.rssBytes)} at most`,
      ),
      ...listed('steps', showSteps(journey.steps)),
      ...(cause === null
        ? []
        : listed(
            'output',
            linesOf(output).map((line) => `| ${line}`),
            'none',
          )),
      ...listed('threads', linesOf(snapshot ?? '')),
      ...(setting === null ? [] : listed('variables', setting.environment.map(printable), 'none')),
    ]),
  ];
}

function outcomeOf({ outcome, pid }: Journey): string {
  const who = pid === null ? '' : `, pid ${pid}`;
  if (outcome === 'ready') return `it became ready${who}`;
  return outcome === 'not-started' ? `it has not become ready yet${who}` : `${outcome}${who}`;
}

function showSetting({ user, group, groups, cwd, limits }: NonNullable<Journey['setting']>) {
  const more = groups.length === 0 ? '' : `, groups ${groups.join(' ')}`;
  return [
    ...field('user', `${user}, group ${group}${more}`),
    ...field('directory', cwd),
    ...field('limits', limits.join(', ')),
  ];
}

/** When each was done, how long it took, what came of it. */
function showSteps(steps: readonly JourneyStep[]): string[] {
  const rows = steps.map(({ name, ms, did, error }, i) => {
    const tookMs = Math.max(0, ms - (steps[i - 1]?.ms ?? 0));
    const what = error === undefined ? (did ?? '') : `failed: ${error}`;
    return [printable(name), showDuration(ms), `+${showDuration(tookMs)}`, printable(what)];
  });
  return showTable(rows, [1, 2]);
}

function showEarlier(journeys: readonly Journey[], now: Date): string[] {
  return showTable(
    journeys.map(({ id, startedAt, cause, outcome, explanation }) => [
      id,
      `${showSince(startedAt, now)} ago`,
      cause ?? outcome,
      printable(explanation),
    ]),
  );
}

const LABEL_WIDTH = 11;

function field(label: string, text: string): string[] {
  return text === '' ? [] : [`${label.padEnd(LABEL_WIDTH)}${printable(text)}`];
}

/** @param otherwise In the place of no lines. */
function listed(label: string, lines: readonly string[], otherwise = ''): string[] {
  if (lines.length === 0) return field(label, otherwise);
  return lines.map((line, i) => `${(i === 0 ? label : '').padEnd(LABEL_WIDTH)}${line}`);
}

function linesOf(text: string): string[] {
  const whole = text.trimEnd();
  return whole === '' ? [] : whole.split('\n').map((line) => printable(line.replace(/\r$/, '')));
}

function quoted(name: string): string {
  const shown = printable(name);
  return /^[\w@%+=:,./-]+$/.test(shown) ? shown : `'${shown}'`;
}

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}
