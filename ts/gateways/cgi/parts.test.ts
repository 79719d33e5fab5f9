// SPDX-License-Identifier: Apache-2.0
// The parts of the gateway that need no programs.
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { encodeHead, failureAnswer } from './answers.ts';
import { parseArguments } from './arguments.ts';
import { describeExit, hintOfHang, startFailure } from './causes.ts';
import { ErrorLines } from './error-lines.ts';
import { Forker } from './forker.ts';
import { encodeStart, FrameDecoder } from './frames.ts';
import { Places } from './places.ts';
import { findProgram } from './program-path.ts';

t.test('frames of the forker, cut anywhere', async (t) => {
  const number = (value: number) => Buffer.from(new Uint32Array([value]).buffer);
  const frame = (type: number, program: number, ...content: Buffer[]) => {
    const bytes = Buffer.concat(content);
    return Buffer.concat([number(bytes.length), number(type), number(program), bytes]);
  };
  const stream = Buffer.concat([
    frame(16, 1, number(4711)),
    frame(20, 1, Buffer.from('some output')),
    frame(21, 2, Buffer.from('an error')),
    frame(20, 1),
    frame(18, 2, number(65536)),
    frame(19, 2),
    frame(22, 1),
    frame(23, 1),
    frame(24, 1, number(3), number(0)),
    frame(17, 3, number(2), Buffer.from('exec\0no such thing: ä\0')),
  ]);
  const read = (size: number) => {
    const seen: unknown[] = [];
    const outputs = new Map<string, string>();
    const add = (name: string, bytes: Buffer) => {
      outputs.set(name, (outputs.get(name) ?? '') + bytes.toString());
    };
    const decoder = new FrameDecoder({
      onStarted: (program, pid) => seen.push(['started', program, pid]),
      onFailed: (program, failure) => seen.push(['failed', program, failure]),
      onStdinCredit: (program, bytes) => seen.push(['credit', program, bytes]),
      onStdinClosed: (program) => seen.push(['closed', program]),
      onStdout: (program, bytes) => add(`stdout ${program}`, bytes),
      onStderr: (program, bytes) => add(`stderr ${program}`, bytes),
      onStdoutEnd: (program) => seen.push(['stdout end', program]),
      onStderrEnd: (program) => seen.push(['stderr end', program]),
      onExited: (program, status, signal) => seen.push(['exited', program, status, signal]),
    });
    for (let at = 0; at < stream.length; at += size) decoder.push(stream.subarray(at, at + size));
    return [seen, [...outputs]];
  };
  const expected = [
    [
      ['started', 1, 4711],
      ['credit', 2, 65536],
      ['closed', 2],
      ['stdout end', 1],
      ['stderr end', 1],
      ['exited', 1, 3, 0],
      ['failed', 3, { step: 'exec', errno: 2, text: 'no such thing: ä' }],
    ],
    [
      ['stdout 1', 'some output'],
      ['stderr 2', 'an error'],
    ],
  ];
  for (const size of [1, 2, 3, 5, 7, 11, 12, 13, 64, stream.length]) {
    t.same(read(size), expected, `in pieces of ${size} bytes`);
  }
  t.throws(() => encodeStart(1, ['/a', 'b\0c'], [], false), /NUL/, 'an argument cannot become two');
  const start = encodeStart(7, ['/a', ''], ['A=\xe4'], true);
  t.same(
    start,
    frame(1, 7, number(1), number(2), number(1), Buffer.from('/a\0\0A=\xe4\0', 'latin1')),
  );
});

t.test('lines for the error log', async (t) => {
  const read = (...chunks: string[]) => {
    const lines: string[] = [];
    const errors = new ErrorLines((line) => lines.push(line));
    for (const chunk of chunks) errors.push(Buffer.from(chunk));
    errors.end();
    return [lines, errors.last] as const;
  };
  t.same(read('one\ntw', 'o\r\n\n', 'three'), [['one', 'two', 'three'], 'three']);
  t.same(read(), [[], '']);
  const [long] = read(`${'x'.repeat(5000)}\nnext\n`);
  t.same(long, [`${'x'.repeat(2048)} …`, 'next', '(2952 bytes more on stderr are not shown)']);
  const [many] = read(...Array.from({ length: 10_000 }, (_, i) => `line number ${i}\n`));
  t.ok(many.join('\n').length < 80_000);
  t.match(many.at(-1), /^\(\d+ bytes more on stderr are not shown\)$/);
});

t.test('arguments', async (t) => {
  const parse = (text: string) => parseArguments(text === '' ? [] : text.split(' '));
  t.same(parse('--program /a --limit x'), { command: ['/a', '--limit', 'x'], forkerArgs: [] });
  t.same(parse('--limit core=0 --program /a').forkerArgs, ['--limit', 'core=0']);
  t.same(parse('--limit core=0 --path-check roots --root /a --root /b'), {
    command: null,
    forkerArgs: '--limit core=0 --path-check roots --root /a --root /b'.split(' '),
  });
  t.match(parse('--program sh').command?.[0], /^\/(usr\/)?bin\/sh$/, 'a name is looked for');
  t.same(parse('--program no-such-program').command, ['/usr/local/bin/no-such-program']);
  t.same(parse('--program /ä').command, [Buffer.from('/ä').toString('latin1')], 'bytes');
  for (const wrong of [
    '',
    '--program',
    '--root',
    '--limit core=0',
    '--other x',
    '--path-check roots',
  ]) {
    t.throws(() => parse(wrong), /usage: /, wrong);
  }
  t.throws(() => parse('--root /a --program /b'), /beside/);
});

t.test('which file is meant', async (t) => {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'usher-path-')));
  t.teardown(() => rmSync(dir, { recursive: true }));
  mkdirSync(join(dir, 'sub'));
  writeFileSync(join(dir, 'sub/ä.cgi'), '');
  const file = Buffer.from(join(dir, 'sub/ä.cgi')).toString('latin1');
  t.same(findProgram(file), { file, pathInfo: '' });
  t.same(findProgram(`${file}/`), { file, pathInfo: '/' });
  t.same(findProgram(`${file}/x//y.cgi`), { file, pathInfo: '/x//y.cgi' });
  for (const path of [`${dir}/sub`, `${dir}/none/x`, `${dir}/sub/none`, 'relative', '', '/a\0b']) {
    t.same(findProgram(path), { file: path, pathInfo: '' }, JSON.stringify(path));
  }
});

t.test('places', async (t) => {
  const places = new Places();
  const begun: number[] = [];
  const take = (number: number) => places.take(() => begun.push(number));
  take(1);
  take(2);
  t.same(begun, [1, 2], 'as many as one likes');
  places.limit = 2;
  const leave = take(3);
  take(4);
  t.equal(take(5), null, 'as many wait as may run');
  t.same(begun, [1, 2]);
  leave?.();
  places.release();
  t.same(begun, [1, 2, 4], 'in their order, without those who left');
  take(6);
  take(7);
  places.limit = 4;
  t.same(begun, [1, 2, 4, 6, 7]);
  for (let i = 0; i < 4; i++) places.release();
  t.equal(places.taken, 0);
});

t.test('statuses of failures', async (t) => {
  const { EACCES, EAGAIN, ENOENT, ENOEXEC } = constants.errno;
  const status = (step: string, errno: number) => startFailure({ step, errno, text: '' }).status;
  t.same(
    [
      status('missing', ENOENT),
      status('path', EACCES),
      status('exec', EACCES),
      status('cwd', EACCES),
      status('exec', ENOEXEC),
      status('exec', ENOENT),
      status('limit', EACCES),
      status('fork', EAGAIN),
    ],
    [404, 403, 403, 403, 502, 502, 502, 503],
  );
  t.equal(describeExit(0, 0), 'exited with 0');
  t.equal(describeExit(2, 0), 'exited with status 2');
  t.equal(describeExit(0, 11), 'was killed by SIGSEGV');
  t.equal(describeExit(0, 40), 'was killed by signal 40');
  t.match(describeExit(0, 24), /SIGXCPU \(-limit cpu\)/);
  t.equal(hintOfHang(0), '', 'of a process that is not there');
  t.match(failureAnswer(503).toString(), /^Status: 503 Service Unavailable\r\n[\s\S]*\r\n\r\n503 /);
  t.match(failureAnswer(599).toString(), /^Status: 599 Error\r\n/);
});

t.test('heads', async (t) => {
  const fields: [string, string][] = [
    ['content-length', '12'],
    ['X', '\xe4'],
  ];
  const { bytes, contentLength } = encodeHead({
    kind: 'document',
    status: 200,
    reason: '',
    fields,
  });
  t.equal(bytes.toString('latin1'), 'content-length: 12\r\nX: \xe4\r\n\r\n');
  t.equal(contentLength, 12);
});

t.test('no usher-forker', async (t) => {
  const options = { args: [], path: '/no/such/forker', onDeath: () => undefined };
  t.throws(() => new Forker(options), /\/no\/such\/forker is missing or not executable: npm run/);
});
