// SPDX-License-Identifier: Apache-2.0
// The timed record of one start, and the sentence that explains how it ended.
import { constants } from 'node:os';
import type { Journey, JourneySetting } from '../control/messages.ts';
import type { Exit, StartFacts } from '../process/launcher.ts';
import { causeOfExit, causeOfStep, type FailedStep } from './causes.ts';
import type { ClassConfig } from './class-config.ts';
import { hintOf } from './hints.ts';
import { newJourneyId } from './journey-id.ts';
import type { OomVerdict } from './out-of-memory.ts';
import type { Masker } from './secrets.ts';

/** What is run, as a class or an engine has it. */
export type Program = Pick<
  ClassConfig,
  'key' | 'args' | 'user' | 'group' | 'gateway' | 'cwd' | 'resourceLimits'
>;

export function beginJourney(program: Program, masker: Masker, id = newJourneyId()): Journey {
  const { key, args, user, gateway } = program;
  const own = gateway === null ? [] : [`${gateway.name}-gateway`];
  const command = [...own, ...masker.words(args)].map((word) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`,
  );
  return {
    id,
    class: key,
    command: user === null ? command.join(' ') : `${command.join(' ')} (as ${user})`,
    startedAt: new Date().toISOString(),
    pid: null,
    setting: settingOf(program, masker),
    steps: [],
    outcome: 'not-started',
    output: '',
    explanation: '',
    cause: null,
    hint: '',
  };
}

/** What was asked for: the process may not come so far. */
function settingOf(program: Program, masker: Masker): JourneySetting {
  const { user, group, cwd, resourceLimits } = program;
  return {
    user: user ?? "the manager's",
    group: group ?? (user === null ? "the manager's" : `${user}'s`),
    groups: [],
    cwd,
    limits: [...resourceLimits],
    environment: [...masker.environment],
  };
}

/** Steps that the launcher and the process itself have told of. @param beganMs Of the whole start. */
export function addFacts(journey: Journey, facts: StartFacts, beganMs: number): void {
  if (journey.setting && facts.uid !== null) {
    const { user, group } = journey.setting;
    journey.setting = {
      ...journey.setting,
      user: named(user, facts.uid),
      group: named(group, facts.gid),
      groups: facts.groups.map(String),
      limits: [...facts.limits],
    };
  }
  for (const { name, atMs } of facts.steps) {
    addStep(journey, name, Math.max(0, atMs - beganMs), didOf(name, journey));
  }
}

export function addStep(journey: Journey, name: string, ms: number, did = ''): void {
  journey.steps.push({ name, ms: roundMs(ms), ...(did === '' ? {} : { did }) });
}

/** "www-data (33)", "33". */
function named(name: string, id: number | null): string {
  return name.startsWith('#') || name.endsWith("'s") ? String(id) : `${name} (${id})`;
}

function didOf(step: string, { setting, command }: Journey): string {
  switch (step) {
    case 'path':
      return 'it may be started';
    case 'user':
      return setting?.user ?? '';
    case 'limit':
      return setting?.limits.join(', ') ?? '';
    case 'setuid':
      return setting === null ? '' : `user ${setting.user}, group ${setting.group}`;
    case 'cwd':
      return setting?.cwd ?? '';
    case 'exec':
      return command;
    default:
      return '';
  }
}

export function signalName(signal: number): string {
  const found = Object.entries(constants.signals).find(([, number]) => number === signal);
  return found ? found[0] : `signal ${signal}`;
}

/** "exited with status 1", "was killed by SIGSEGV". */
export function describeExit(exit: Pick<Exit, 'exitSignal' | 'exitCode'>): string {
  if (exit.exitSignal !== null) return `was killed by ${signalName(exit.exitSignal)}`;
  if (exit.exitCode === null) return 'ended while nobody watched it (its status is not known)';
  return `exited with status ${exit.exitCode}`;
}

/** The last non-empty line of a program's output, cut to fit one log line. */
export function lastLine(output: string): string {
  const line = output.trimEnd().split('\n').at(-1)?.trim() ?? '';
  return line.length > 160 ? `${line.slice(0, 157)}…` : line;
}

export function failStep(journey: Journey, failed: FailedStep, ms: number, error: string): void {
  journey.steps.push({ name: failed.step, ms: roundMs(ms), error });
  journey.outcome = 'not-started';
  journey.explanation = `cannot start: ${error}`;
  conclude(journey, causeOfStep(failed));
}

export function endBeforeReady(journey: Journey, exit: Exit, oom: OomVerdict): void {
  noteExit(journey, exit, oom);
  const when = `${Math.round(exit.livedMs)} ms after its start, before it accepted a connection`;
  journey.explanation = `${describeExit(exit)}${whyKilled(oom, exit)} ${when}; ${said(exit)}`;
}

/** It had served; told only where the class fails of it. */
export function endEarly(journey: Journey, exit: Exit, oom: OomVerdict): void {
  noteExit(journey, exit, oom);
  const seconds = Math.round(exit.livedMs / 100) / 10;
  const when = `${seconds} s after its start`;
  journey.explanation = `${describeExit(exit)}${whyKilled(oom, exit)} ${when}; ${said(exit)}`;
}

/** @param exit With its secrets masked. */
export function noteExit(journey: Journey, exit: Exit, oom: OomVerdict): void {
  journey.outcome = 'exited';
  if (exit.exitCode !== null) journey.exitCode = exit.exitCode;
  if (exit.exitSignal !== null) journey.exitSignal = signalName(exit.exitSignal);
  journey.livedMs = Math.round(exit.livedMs);
  if (exit.rssBytes > 0) journey.rssBytes = exit.rssBytes;
  journey.output = exit.output;
  conclude(journey, causeOfExit(journey, exit, oom));
}

function whyKilled(oom: OomVerdict, { exitSignal }: Exit): string {
  if (exitSignal !== constants.signals.SIGKILL || oom === null) return '';
  return oom === 'group'
    ? ' (the kernel killed it for want of memory)'
    : ' (the kernel killed a program for want of memory, this one most likely)';
}

function said(exit: Exit): string {
  const line = lastLine(exit.output);
  return line === '' ? 'it printed nothing' : `its last line of output: ${line}`;
}

/** A request did not end in time. */
export function hang(journey: Journey, timeoutMs: number): void {
  journey.outcome = 'hung';
  journey.explanation = `did not finish a request within ${timeoutMs / 1000} s (-request-timeout), and is replaced`;
  conclude(journey, 'hung');
}

export function timeOut(journey: Journey, timeoutMs: number, output: string): void {
  journey.outcome = 'timed-out';
  journey.output = output;
  journey.explanation = `did not accept a connection within ${timeoutMs / 1000} s of its start (-start-timeout)`;
  conclude(journey, 'not-ready-in-time');
}

export function conclude(journey: Journey, cause: NonNullable<Journey['cause']>): void {
  journey.cause = cause;
  journey.hint = hintOf(cause, journey);
}

/** What is told of an instance that became ready. */
export function succeed(journey: Journey, ms: number, did: string): void {
  addStep(journey, 'ready', ms, did);
  journey.outcome = 'ready';
}

/** ms with one decimal. */
export function roundMs(ms: number): number {
  return Math.round(ms * 10) / 10;
}
