// SPDX-License-Identifier: Apache-2.0
// Why a program gave no answer: one line for the error log, as exact as can be known.
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { StartFailure } from './frames.ts';

export interface Failure {
  status: number;
  /** What happened, after the program's name. */
  cause: string;
}

const { EACCES, EAGAIN, EMFILE, ENFILE, ENOMEM, EPERM } = constants.errno;

/** @param failure Its text names the program. */
export function startFailure(failure: StartFailure): Failure {
  const { step, errno, text } = failure;
  if (step === 'missing') return { status: 404, cause: text };
  if (step === 'path') return { status: 403, cause: text };
  const isDenied = errno === EACCES || errno === EPERM;
  if (isDenied && (step === 'exec' || step === 'cwd')) return { status: 403, cause: text };
  const isShort = [EAGAIN, EMFILE, ENFILE, ENOMEM].includes(errno);
  if (isShort) return { status: 503, cause: text };
  return { status: 502, cause: text };
}

/** The first name of each: SIGABRT, not SIGIOT. */
const signalNames = new Map(
  Object.entries(constants.signals)
    .reverse()
    .map(([name, number]) => [number as number, name]),
);

export function describeExit(status: number, signal: number): string {
  if (signal === 0) return status === 0 ? 'exited with 0' : `exited with status ${status}`;
  const name = signalNames.get(signal);
  return `was killed by ${name === undefined ? `signal ${signal}` : name}${likelyReasons[signal] ?? ''}`;
}

const likelyReasons: Readonly<Record<number, string>> = {
  [constants.signals.SIGXCPU]: ' (-limit cpu)',
  [constants.signals.SIGXFSZ]: ' (-limit fsize)',
  [constants.signals.SIGKILL]: ' (not by the gateway: out of memory, -limit cpu or somebody else)',
};

/** What programs write that want a listening socket as their stdin. */
const wantsSocket =
  /non-socket|ENOTSOCK|not a socket|FCGI_LISTENSOCK|getpeername|Bind\/Listen|--bind|fastcgi socket/i;

/** @param lastLine Of its stderr; '' = it wrote none. */
export function hintOfOutput(lastLine: string): string {
  if (lastLine === '') return '';
  const hint = wantsSocket.test(lastLine)
    ? '; it seems to be a FastCGI program, which is configured without -protocol cgi'
    : '';
  return `, its last words on stderr: ${lastLine.slice(0, 200)}${hint}`;
}

// ---- programs that hang ------------------------------------------------------------------------

/** Numbers of accept and accept4, read and poll-like calls, by machine. */
const calls: Readonly<Record<string, { accept: number[]; read: number[] }>> = {
  x64: { accept: [43, 288], read: [0] },
  arm64: { accept: [202, 242], read: [63] },
};

function readProc(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch {
    return ''; // it ended, or is not ours to look at
  }
}

/** What a program that runs too long is doing, as far as /proc shows; '' = nothing of interest. */
export function hintOfHang(pid: number): string {
  const [call = '', argument = ''] = readProc(pid, 'syscall').split(' ');
  const { accept = [], read = [] } = calls[process.arch] ?? {};
  if (accept.includes(Number(call || NaN))) {
    return '; it waits for connections, as a server or a FastCGI program does, which is configured without -protocol cgi';
  }
  if (read.includes(Number(call || NaN)) && argument === '0x0') {
    return '; it waits for the rest of the request on its stdin';
  }
  const state = /^State:\s+(\S)/m.exec(readProc(pid, 'status'))?.[1];
  if (state === 'T') return '; it is stopped';
  if (state === 'R') return '; it is computing';
  if (state === 'D') return '; it waits for a disk or a file system';
  return '';
}
