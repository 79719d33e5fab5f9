// SPDX-License-Identifier: Apache-2.0
// Why a start failed, out of what the launcher, the kernel and the program itself have said.
import { constants } from 'node:os';
import type { Journey, JourneyCause } from '../control/messages.ts';
import type { Exit } from '../process/launcher.ts';
import type { OomVerdict } from './out-of-memory.ts';

const { errno, signals } = constants;

/** Every cause there is; the launcher names some of them by their word. */
const causes = [
  ...['file-missing', 'is-directory', 'not-executable', 'path-denied'],
  ...['interpreter-missing', 'interpreter-crlf', 'no-program', 'library-missing'],
  ...['wrong-architecture', 'user-unknown', 'user-denied', 'not-allowed', 'cwd-missing'],
  ...['cwd-denied', 'limit-denied', 'limit-too-low', 'address-in-use', 'cgi-program'],
  ...['exited-at-once', 'exited-with-error', 'killed-by-signal', 'out-of-memory'],
  ...['not-ready-in-time', 'hung', 'engine-failed', 'other'],
] as const satisfies readonly JourneyCause[];

/** A step that failed before the program ran. */
export interface FailedStep {
  step: string;
  /** 0 = none. */
  errno: number;
  /** The launcher's own word for it; '' = it has none. */
  cause: string;
}

export function causeOfStep({ step, errno: error, cause }: FailedStep): JourneyCause {
  const known = causes.find((one) => one === cause);
  if (known !== undefined) return known;
  if (error === errno.EADDRINUSE) return 'address-in-use';
  switch (step) {
    case 'engine':
      return 'engine-failed';
    case 'missing':
      return 'file-missing';
    case 'path':
      return error === errno.EISDIR ? 'is-directory' : 'not-allowed';
    case 'allow':
      return 'not-allowed';
    case 'limit':
      return 'limit-denied';
    case 'cwd':
      return error === errno.EACCES || error === errno.EPERM ? 'cwd-denied' : 'cwd-missing';
    case 'user':
    case 'group':
    case 'setuid':
      return causeOfUser(error);
    case 'fork':
      return error === errno.EAGAIN ? 'limit-too-low' : 'other';
    default:
      return 'other';
  }
}

function causeOfUser(error: number): JourneyCause {
  if (error === errno.ENOENT) return 'user-unknown';
  if (error === errno.EPERM || error === errno.EACCES) return 'user-denied';
  return error === errno.EAGAIN ? 'limit-too-low' : 'other';
}

/** Of a program that ended by itself. */
export function causeOfExit(journey: Journey, exit: Exit, oom: OomVerdict): JourneyCause {
  const { exitSignal, exitCode, output } = exit;
  if (oom !== null && exitSignal === signals.SIGKILL) return 'out-of-memory';
  if (isAtLimit(journey, exit)) return 'limit-too-low';
  if (exitSignal === null) {
    const said = causeInOutput(output);
    if (said !== null) return said;
  }
  if (outOfMemory.test(output)) return 'out-of-memory';
  if (exitSignal !== null) return 'killed-by-signal';
  if (exitCode === 0) return 'exited-at-once';
  return exitCode === null ? 'other' : 'exited-with-error';
}

/** What interpreters, loaders and frameworks print; the first that fits. */
const sayings: readonly (readonly [RegExp, JourneyCause])[] = [
  // env of GNU and of busybox; shells and Perl that were given "-w\r".
  [/env: [^\n]*(?:\r|\\r)[^\n]*No such file/, 'interpreter-crlf'],
  [
    /(?:illegal|invalid|unknown|unrecognized|bad) (?:option|switch)[^\n]*(?:\r(?!\n)|\\r|\^M)/i,
    'interpreter-crlf',
  ],
  [/env: [^\n]*No such file or directory/, 'interpreter-missing'],
  [/wrong ELF class|Exec format error/, 'wrong-architecture'],
  [/error while loading shared libraries|Error loading shared library/, 'library-missing'],
  [/version `[^']+' not found \(required by/, 'library-missing'],
  [/EADDRINUSE|address already in use/i, 'address-in-use'],
];

/** The header of a CGI program's answer, at the beginning of a line. */
const cgiHeader = /^(?:content-type|status|location|x-powered-by)[ \t]*:[ \t]*\S/im;

function causeInOutput(output: string): JourneyCause | null {
  const [, cause = null] = sayings.find(([pattern]) => pattern.test(output)) ?? [];
  if (cause !== null) return cause;
  return cgiHeader.test(output) ? 'cgi-program' : null;
}

const outOfMemory =
  /heap out of memory|OutOfMemoryError|Allowed memory size of \d+ bytes exhausted/;
const noMemory =
  /cannot allocate memory|out of memory|failed to map segment|MemoryError|bad_alloc|ENOMEM/i;
const noProcess = /cannot fork|fork: (?:retry|resource)|resource temporarily unavailable|EAGAIN/i;
const noFile = /too many open files|EMFILE/i;

/** Did it end for a limit that it had? */
function isAtLimit(journey: Journey, { exitSignal, output, livedMs }: Exit): boolean {
  if (exitSignal === signals.SIGXCPU || exitSignal === signals.SIGXFSZ) return true;
  const limits = new Map(
    (journey.setting?.limits ?? []).map((one) => {
      const [name = '', value = ''] = one.split('=');
      return [name, Number(value)];
    }),
  );
  // A soft limit that is the hard one as well: the kernel has no milder signal then.
  const cpuS = limits.get('cpu');
  if (exitSignal === signals.SIGKILL && cpuS !== undefined && livedMs >= cpuS * 1000) return true;
  const hasMemoryLimit = limits.has('as') || limits.has('data');
  const diedInMemory = exitSignal === signals.SIGSEGV || exitSignal === signals.SIGKILL;
  // The kernel ends a program for which it finds no room after its exec has begun.
  if (hasMemoryLimit && diedInMemory && output === '' && livedMs < 1000) return true;
  if (hasMemoryLimit && noMemory.test(output)) return true;
  if (limits.has('nofile') && noFile.test(output)) return true;
  return limits.has('nproc') && noProcess.test(output);
}
