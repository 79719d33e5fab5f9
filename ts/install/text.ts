// SPDX-License-Identifier: Apache-2.0
// Steps and reports as lines for people.
import type { Report, Step } from './steps.ts';

const done: Record<Step['action'], string> = {
  build: 'building',
  check: 'checked',
  create: 'created',
  replace: 'replaced',
  already: 'already so',
  keep: 'left alone',
  remove: 'removed',
  run: 'ran',
};

const planned: Partial<Record<Step['action'], string>> = {
  build: 'would build',
  create: 'would create',
  replace: 'would replace',
  remove: 'would remove',
  run: 'would run',
};

const actionWidth = 13;

/** One line. */
export function stepText({ action, what, subject }: Step, isDryRun: boolean): string {
  const word = (isDryRun ? planned[action] : undefined) ?? done[action];
  return `${word.padEnd(actionWidth)} ${subject}  (${what})\n`;
}

export function endText({ steps, next, isDryRun, version, prefix }: Report, verb: string): string {
  const changes = steps.some(({ action }) => planned[action] !== undefined);
  const end = isDryRun
    ? 'nothing was changed (--dry-run)'
    : changes
      ? `${verb}: version ${version}, ${prefix}`
      : 'already so: nothing was changed';
  const todo =
    next.length === 0 || isDryRun ? '' : `next:\n${next.map((line) => `  ${line}\n`).join('')}`;
  return `${end}\n${todo}`;
}
