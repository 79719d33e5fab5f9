// SPDX-License-Identifier: Apache-2.0
// What a migration says of each line, for people and for programs.
import type { Draft } from './draft.ts';
import type { Remark, ServerKind, Verdict } from './model.ts';
import { showPath } from './source.ts';

export interface ReportedLine {
  file: string;
  line: number;
  verdict: Verdict;
  subject: string;
  text: string;
}

export interface Report {
  from: ServerKind;
  to: ServerKind;
  /** The directory of the first file. */
  base: string;
  lines: ReportedLine[];
  /** Files that have to be written by hand, or are by --secrets; what is in them is not told. */
  secrets: { class: string; path: string; from: string }[];
  next: string[];
}

export function makeReport({ from, to, base, remarks, model }: Draft, next: string[]): Report {
  return {
    from,
    to,
    base,
    lines: [...remarks].sort(byPlace).map((remark) => ({
      file: remark.source.source.path,
      line: remark.source.line,
      verdict: remark.verdict,
      subject: remark.subject,
      text: remark.text,
    })),
    secrets: model.secrets.map(({ className, path, source }) => ({
      class: className,
      path,
      from: `${source.source.path}:${source.line}`,
    })),
    next,
  };
}

function byPlace(a: Remark, b: Remark): number {
  const [one, other] = [a.source, b.source];
  if (one.source.path !== other.source.path) return one.source.path < other.source.path ? -1 : 1;
  return one.line - other.line;
}

const words: Record<Verdict, string> = {
  taken: 'taken  ',
  changed: 'CHANGED',
  none: 'NONE   ',
  kept: 'kept   ',
};

/** A line for each; what stands there once. */
export function showReport(report: Report): string {
  const lines: string[] = [];
  let before = '';
  for (const { file, line, verdict, subject, text } of report.lines) {
    const head = `${showPath(file, report.base)}:${line}: ${subject}`;
    if (head !== before) lines.push(head);
    before = head;
    lines.push(`    ${words[verdict]}  ${text}`);
  }
  const count = (verdict: Verdict): number =>
    report.lines.filter((one) => one.verdict === verdict).length;
  lines.push(
    '',
    `${count('taken')} taken, ${count('changed')} changed meaning, ${count('none')} without an equivalent, ${count('kept')} kept as they are`,
    ...report.next.map((one, at) => `${at + 1}. ${one}`),
  );
  return `${lines.join('\n')}\n`;
}
