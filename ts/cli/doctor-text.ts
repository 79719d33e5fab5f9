// SPDX-License-Identifier: Apache-2.0
// The report of `usher doctor` for people: what is wrong comes first.
import type { Finding, FindingStatus, Report } from '../doctor/report.ts';
import type { Colour, Paint } from './paint.ts';
import { printable } from './units.ts';

const colours: Readonly<Record<FindingStatus, Colour>> = {
  error: 'red',
  warning: 'yellow',
  ok: 'green',
  skipped: 'dim',
};
const width = 'skipped'.length + 2;

export function showReport(report: Report, paint: Paint): string {
  const wrong = [...of(report, 'error'), ...of(report, 'warning')];
  const rest = report.findings.filter(({ status }) => status === 'ok' || status === 'skipped');
  const lines = [
    ...wrong.flatMap((one) => showWrong(one, paint)),
    ...(wrong.length > 0 && rest.length > 0 ? [''] : []),
    ...rest.map((one) => showShort(one, paint)),
    '',
    summary(report),
  ];
  return `${lines.join('\n')}\n`;
}

function of({ findings }: Report, wanted: FindingStatus): Finding[] {
  return findings.filter(({ status }) => status === wanted);
}

function showWrong({ status, check, what, where, why, fix }: Finding, paint: Paint): string[] {
  const more: [label: string, text: string | undefined][] = [
    ['at', where],
    ['why', why],
    ['fix', fix],
  ];
  return [
    `${label(status, paint)}${paint('bold', check)}: ${printable(what)}`,
    ...more.flatMap(([name, text]) =>
      text ? [`${' '.repeat(width)}${paint('dim', name.padEnd(5))}${printable(text)}`] : [],
    ),
  ];
}

function showShort({ status, check, what, where, why }: Finding, paint: Paint): string {
  const place = where ? paint('dim', ` – ${printable(where)}`) : '';
  const reason = why ? ` (${printable(why)})` : '';
  return `${label(status, paint)}${check}: ${printable(what)}${reason}${place}`;
}

function label(status: FindingStatus, paint: Paint): string {
  return paint(colours[status], status) + ' '.repeat(width - status.length);
}

function summary(report: Report): string {
  const { errors, warnings } = report;
  const counts = [
    `${errors} ${errors === 1 ? 'error' : 'errors'}`,
    `${warnings} ${warnings === 1 ? 'warning' : 'warnings'}`,
    `${of(report, 'ok').length} ok`,
    `${of(report, 'skipped').length} skipped`,
  ];
  return `usher doctor: ${counts.join(', ')}`;
}
