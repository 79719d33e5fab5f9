// SPDX-License-Identifier: Apache-2.0
// The timed record of one start, and the sentence that explains how it ended.
import { constants } from 'node:os';
import type { Journey } from '../control/messages.ts';
import type { Exit } from '../process/launcher.ts';
import type { ClassConfig } from './class-config.ts';
import { newJourneyId } from './journey-id.ts';

export function beginJourney({
  key,
  args,
  user,
  gateway,
}: Pick<ClassConfig, 'key' | 'args' | 'user' | 'gateway'>): Journey {
  const own = gateway === null ? [] : [`${gateway.name}-gateway`];
  const command = [...own, ...args].map((word) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`,
  );
  return {
    id: newJourneyId(),
    class: key,
    command: user === null ? command.join(' ') : `${command.join(' ')} (as ${user})`,
    startedAt: new Date().toISOString(),
    pid: null,
    setting: null,
    steps: [],
    outcome: 'not-started',
    output: '',
    explanation: '',
    cause: null,
    hint: '',
  };
}

export function signalName(signal: number): string {
  const found = Object.entries(constants.signals).find(([, number]) => number === signal);
  return found ? found[0] : `signal ${signal}`;
}

/** "exited with status 1", "was killed by SIGSEGV". */
export function describeExit(exit: Exit): string {
  if (exit.exitSignal !== null) return `was killed by ${signalName(exit.exitSignal)}`;
  if (exit.exitCode === null) return 'ended while nobody watched it (its status is not known)';
  return `exited with status ${exit.exitCode}`;
}

/** The last non-empty line of a program's output, cut to fit one log line. */
export function lastLine(output: string): string {
  const line = output.trimEnd().split('\n').at(-1)?.trim() ?? '';
  return line.length > 160 ? `${line.slice(0, 157)}…` : line;
}

export function failStep(journey: Journey, name: string, ms: number, error: string): void {
  journey.steps.push({ name, ms, error });
  journey.outcome = 'not-started';
  journey.explanation = `cannot start: ${error}`;
}

export function endBeforeReady(journey: Journey, exit: Exit): void {
  noteExit(journey, exit);
  journey.explanation = `${describeExit(exit)} ${Math.round(exit.livedMs)} ms after its start, before it accepted a connection; ${hintOf(exit)}`;
}

/** It had served; told only where the class fails of it. */
export function endEarly(journey: Journey, exit: Exit): void {
  noteExit(journey, exit);
  const seconds = Math.round(exit.livedMs / 100) / 10;
  journey.explanation = `${describeExit(exit)} ${seconds} s after its start, like others before it; ${hintOf(exit)}`;
}

export function noteExit(journey: Journey, exit: Exit): void {
  journey.outcome = 'exited';
  if (exit.exitCode !== null) journey.exitCode = exit.exitCode;
  if (exit.exitSignal !== null) journey.exitSignal = signalName(exit.exitSignal);
  journey.livedMs = Math.round(exit.livedMs);
  journey.output = exit.output;
}

function hintOf(exit: Exit): string {
  const said = lastLine(exit.output);
  return said === '' ? 'it printed nothing' : `its last line of output: ${said}`;
}

/** A request did not end in time. */
export function hang(journey: Journey, timeoutMs: number): void {
  journey.outcome = 'hung';
  journey.explanation = `did not finish a request within ${timeoutMs / 1000} s (-request-timeout), and is replaced`;
}

/** ms with one decimal. */
export function roundMs(ms: number): number {
  return Math.round(ms * 10) / 10;
}

export function timeOut(journey: Journey, timeoutMs: number, output: string): void {
  journey.outcome = 'timed-out';
  journey.output = output;
  journey.explanation = `did not accept a connection within ${timeoutMs / 1000} s of its start (-start-timeout)`;
}
