// SPDX-License-Identifier: Apache-2.0
// What the launcher, the kernel and programs say, and what comes of it. That programs do say so is tried
// in native/test/launcher_cause_test.c and integration-tests/explain.test.ts.
import { constants } from 'node:os';
import t from 'tap';
import type { JourneyCause } from '../control/messages.ts';
import type { Exit } from '../process/launcher.ts';
import { causeOfExit, causeOfStep } from './causes.ts';
import { hintOf } from './hints.ts';
import { beginJourney } from './journeys.ts';
import { Masker } from './secrets.ts';

const { errno, signals } = constants;

t.test('steps that fail', async (t) => {
  const steps: [step: string, error: number, cause: JourneyCause, word?: string][] = [
    ['exec', errno.ENOENT, 'interpreter-crlf', 'interpreter-crlf'],
    ['exec', errno.EACCES, 'other', 'a word of another version'],
    ['missing', errno.ENOENT, 'file-missing'],
    ['path', errno.EISDIR, 'is-directory'],
    ['path', errno.EACCES, 'not-allowed'],
    ['allow', errno.EPERM, 'not-allowed'],
    ['user', errno.ENOENT, 'user-unknown'],
    ['group', errno.ENOENT, 'user-unknown'],
    ['user', errno.EPERM, 'user-denied'],
    ['setuid', errno.EPERM, 'user-denied'],
    ['setuid', errno.EAGAIN, 'limit-too-low'],
    ['cwd', errno.ENOENT, 'cwd-missing'],
    ['cwd', errno.EACCES, 'cwd-denied'],
    ['limit', errno.EPERM, 'limit-denied'],
    ['fork', errno.EAGAIN, 'limit-too-low'],
    ['bind', errno.EADDRINUSE, 'address-in-use'],
    ['engine', 0, 'engine-failed'],
    ['secret', errno.EACCES, 'other'],
  ];
  for (const [step, error, cause, word = ''] of steps) {
    t.equal(causeOfStep({ step, errno: error, cause: word }), cause, `${step} ${error} ${word}`);
  }
});

const program = { key: 'app', args: ['/x'], user: 'web', group: null, gateway: null, cwd: '/' };

function causeOf(exit: Partial<Exit>, resourceLimits: string[] = [], oom: 'group' | null = null) {
  const journey = beginJourney({ ...program, resourceLimits }, new Masker([]));
  const usage = { rssBytes: 0, cpuS: null };
  const whole = { exitCode: 1, exitSignal: null, livedMs: 20, ...usage, output: '', ...exit };
  return causeOfExit(journey, whole, oom);
}

t.test('programs that end', async (t) => {
  t.equal(causeOf({ exitCode: 0 }), 'exited-at-once');
  t.equal(causeOf({}), 'exited-with-error');
  t.equal(causeOf({ exitCode: null }), 'other', 'nobody knows how');
  t.equal(causeOf({ exitSignal: signals.SIGSEGV }), 'killed-by-signal');
  t.equal(causeOf({ exitSignal: signals.SIGKILL }), 'killed-by-signal');
  t.equal(causeOf({ exitSignal: signals.SIGKILL }, [], 'group'), 'out-of-memory');
  t.equal(causeOf({ exitSignal: signals.SIGTERM }, [], 'group'), 'killed-by-signal');
});

t.test('programs that meet a limit', async (t) => {
  const memory = ['as=1024'];
  const crash = { exitSignal: signals.SIGSEGV };
  t.equal(causeOf(crash, memory), 'limit-too-low', 'no room even to begin');
  t.equal(causeOf({ ...crash, output: 'x' }, memory), 'killed-by-signal');
  t.equal(causeOf({ ...crash, livedMs: 5000 }, memory), 'killed-by-signal');
  t.equal(causeOf({ output: 'perl: Out of memory!' }, memory), 'limit-too-low');
  t.equal(causeOf({ output: 'perl: Out of memory!' }), 'exited-with-error', 'without a limit');
  t.equal(causeOf({ output: 'x.so: failed to map segment' }, ['data=9']), 'limit-too-low');
  t.equal(causeOf({ output: 'sh: 1: Cannot fork' }, ['nproc=1']), 'limit-too-low');
  t.equal(causeOf({ output: 'EMFILE: too many open files' }, ['nofile=9']), 'limit-too-low');
  t.equal(causeOf({ exitSignal: signals.SIGXCPU }), 'limit-too-low');
  t.equal(causeOf({ exitSignal: signals.SIGXFSZ }), 'limit-too-low');
  const killed = { exitSignal: signals.SIGKILL, livedMs: 1100 };
  t.equal(causeOf(killed, ['cpu=1']), 'limit-too-low', 'a hard limit');
  t.equal(causeOf({ ...killed, livedMs: 900 }, ['cpu=1']), 'killed-by-signal');
});

t.test('what programs print', async (t) => {
  const outputs: [output: string, cause: JourneyCause][] = [
    ['x: error while loading shared libraries: libx.so: cannot open', 'library-missing'],
    ["x: /lib/libc.so.6: version `GLIBC_2.99' not found (required by x)", 'library-missing'],
    ['libx.so: wrong ELF class: ELFCLASS32', 'wrong-architecture'],
    ["/usr/bin/env: 'perl\\r': No such file or directory", 'interpreter-crlf'],
    ["env: can't execute 'perl\r': No such file or directory", 'interpreter-crlf'],
    ['/bin/sh: 0: Illegal option -\r', 'interpreter-crlf'],
    ["/usr/bin/env: 'perl6': No such file or directory", 'interpreter-missing'],
    ['Error: listen EADDRINUSE: address already in use :::80', 'address-in-use'],
    ['Content-Type: text/html\r\n\r\n<p>hello', 'cgi-program'],
    ['warning\nStatus: 200 OK\n\n', 'cgi-program'],
    ['no such Status: here', 'exited-with-error'],
    ['FATAL ERROR: JavaScript heap out of memory', 'out-of-memory'],
    ['PHP Fatal error: Allowed memory size of 8 bytes exhausted', 'out-of-memory'],
    ['hello', 'exited-with-error'],
  ];
  for (const [output, cause] of outputs)
    t.equal(causeOf({ output }), cause, JSON.stringify(output));
  t.equal(causeOf({ exitCode: 0, output: 'Content-type: text/plain\n\nhi' }), 'cgi-program');
});

t.test('hints', async (t) => {
  const journey = beginJourney({ ...program, resourceLimits: ['as=1M'] }, new Masker([]));
  t.match(hintOf('cgi-program', journey), /-protocol cgi/);
  t.match(hintOf('path-denied', journey), /user web/);
  t.match(hintOf('limit-too-low', journey), /as=1M/);
  t.equal(hintOf('other', journey), '');
});
