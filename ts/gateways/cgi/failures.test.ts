// SPDX-License-Identifier: Apache-2.0
// What goes wrong: programs that fail, take too long or say too much, clients that leave.
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { eventually, isAlive, parts, Site } from './testing/site.ts';

const text = 'printf "Content-Type: text/plain\\r\\n\\r\\n"';

t.test('programs that fail', async (t) => {
  const site = new Site(t);
  site.program('silent.cgi', 'exit 0');
  site.program('dies.cgi', 'echo "no database" >&2; exit 7');
  site.program('killed.cgi', 'kill -SEGV $$');
  site.program('bogus.cgi', 'echo "<html>hello"; echo; sleep 1000');
  site.program('cut.cgi', `${text}; printf half; kill -9 $$`);
  site.program('short.cgi', 'printf "Content-Length: 10\\n\\nhalf"');
  site.program('closes.cgi', 'exec >&-; sleep 1000');
  site.program('server.cgi', 'echo "accept: Socket operation on non-socket" >&2; exit 1');
  await site.start({ stopTimeoutMs: 100 });
  const fails = async (name: string, status: number, cause: RegExp) => {
    const answer = await site.ask(name);
    const [head, body] = parts(answer);
    t.match(head, `Status: ${status} `, `${name}: ${status}`);
    t.match(answer.stderr, cause);
    t.notMatch(body, site.dir, 'the client is told no paths');
    t.equal(answer.status, 0);
  };
  await fails('silent.cgi', 502, /silent\.cgi: exited with 0; .*the program wrote nothing/);
  await fails(
    'dies.cgi',
    502,
    /no database\n.*dies\.cgi: exited with status 7; .*wrote nothing, its last words on stderr: no database/,
  );
  await fails('killed.cgi', 502, /killed\.cgi: was killed by SIGSEGV; /);
  await fails('bogus.cgi', 502, /bogus\.cgi: .*"<html>hello": not a header field/);
  await fails('closes.cgi', 502, /closes\.cgi: .*the program wrote nothing/);
  await fails('server.cgi', 502, /seems to be a FastCGI program/);
  await eventually(() => site.gateway.running === 0);
  t.pass('none of them runs on');
  for (const [name, cause] of [
    ['cut.cgi', /cut\.cgi: was killed by SIGKILL/],
    ['short.cgi', /short\.cgi: exited with 0, 6 bytes before the end of its answer/],
  ] as const) {
    const cut = await site.ask(name);
    t.match(parts(cut)[1], 'half');
    t.match(cut.stderr, cause);
    t.equal(cut.status, null, `${name}: the web server learns that it is not whole`);
  }
});

t.test('what cannot be started', async (t) => {
  const site = new Site(t);
  site.program('plain.txt', 'text', 0o644);
  site.program('lost.cgi', '#!/no/such/interpreter\n');
  site.program('dir/x.cgi', 'exit 0');
  symlinkSync('/bin/true', join(site.dir, 'out.cgi'));
  await site.start();
  const fails = async (name: string, status: number, cause: RegExp, params = {}) => {
    const answer = await site.ask(name, { params });
    t.match(parts(answer)[0], `Status: ${status} `, `${name}: ${status}`);
    t.match(answer.stderr, cause);
    t.equal(answer.stderr.split('\n').length, 2, 'one line says why');
  };
  await fails('missing.cgi', 404, /missing\.cgi does not exist/);
  await fails('plain.txt', 403, /plain\.txt is not executable \(mode 644\)/);
  await fails('dir', 403, /dir is a directory/);
  await fails('out.cgi', 403, /lies outside the roots/);
  await fails('lost.cgi', 502, /the interpreter \/no\/such\/interpreter/);
  await fails('x', 502, /named no program \(USHER_PROGRAM\)/, { USHER_PROGRAM: '' });
  await fails('x', 502, /named no program/, { USHER_PROGRAM: '/a\0b' });
  await fails('x', 400, /NUL in the value of parameter HTTP_X/, {
    HTTP_X: 'a\0b',
    USHER_PROGRAM: join(site.dir, 'lost.cgi'),
  });
  await fails('x', 403, /absolute/, { USHER_PROGRAM: 'relative.cgi' });
  t.equal(site.gateway.running, 0);
});

t.test('limits of time and output', async (t) => {
  const site = new Site(t);
  site.program('slow.cgi', 'trap "echo ended >&2; exit 0" TERM; sleep 1000 & wait');
  site.program('stubborn.cgi', `trap "" TERM; ${text}; echo begun; sleep 1000 & wait; sleep 1000`);
  site.program('endless.cgi', `${text}; exec cat /dev/zero`);
  site.program('promises.cgi', 'printf "Content-Length: 2000000\\n\\n"; sleep 1000');
  site.program('held.cgi', `${text}; echo out; sleep 1000 & exit 0`);
  // Time to begin with, on a machine that is busy.
  await site.start({ requestTimeoutMs: 3000, stopTimeoutMs: 100, maxOutputBytes: 1_000_000 });
  const slow = await site.ask('slow.cgi');
  t.match(parts(slow)[0], 'Status: 504 ');
  t.match(slow.stderr, /slow\.cgi: was ended after 3 s \(-request-timeout\)/);
  const stubborn = await site.ask('stubborn.cgi');
  t.equal(parts(stubborn)[1], 'begun\n');
  t.equal(stubborn.status, null, 'an answer under way is broken off');
  const held = await site.ask('held.cgi');
  t.match(held.stderr, /it has exited, but what it started holds its output open/);
  t.equal(held.status, null);
  const endless = await site.ask('endless.cgi');
  t.equal(endless.status, null);
  t.ok(endless.stdout.length <= 1_000_100, `${endless.stdout.length} bytes`);
  t.match(endless.stderr, /endless\.cgi: its answer is longer than 1000000 bytes \(-max-output\)/);
  const promises = await site.ask('promises.cgi');
  t.match(parts(promises)[0], 'Status: 502 ', 'what it promises counts');
  await eventually(() => site.gateway.running === 0);
  t.pass('all of them were ended');
});

t.test('clients that leave', async (t) => {
  const site = new Site(t);
  const pidFile = (name: string) => join(site.dir, `${name}.pid`);
  const pidOf = (name: string) => Number(readFileSync(pidFile(name), 'utf8'));
  for (const name of ['one', 'two']) {
    site.program(
      `${name}.cgi`,
      `sleep 1000 & echo $! > ${pidFile(name)}; ${text}; echo ready; wait`,
    );
  }
  await site.start({ stopTimeoutMs: 1000 });
  const one = site.client();
  one.send({ params: site.params('one.cgi') });
  await one.output('ready');
  one.destroy();
  await eventually(() => site.gateway.running === 0);
  await eventually(() => !isAlive(pidOf('one')));
  t.pass('the whole group is ended');
  const two = site.client();
  two.send({ params: site.params('two.cgi'), keepConn: true });
  await two.output('ready');
  two.abort();
  t.equal((await two.answer()).status, 0, 'an abort is answered');
  await eventually(() => site.gateway.running === 0);
  await eventually(() => !isAlive(pidOf('two')));
  two.send({ params: site.params('missing.cgi'), keepConn: true });
  t.match(parts(await two.answer())[0], 'Status: 404', 'and the connection goes on');
});

t.test('much on stderr', async (t) => {
  const site = new Site(t);
  site.program(
    'noisy.cgi',
    `head -c 5000000 /dev/zero | tr '\\0' x >&2; echo >&2; i=0
while [ $i -lt 5000 ]; do echo "line $i of many, with some words" >&2; i=$((i+1)); done
${text}; echo out`,
  );
  await site.start();
  const answer = await site.ask('noisy.cgi');
  t.equal(parts(answer)[1], 'out\n');
  t.ok(answer.stderr.length < 80_000, `${answer.stderr.length} bytes reach the error log`);
  t.match(answer.stderr, /^x+ …\nline 0 of many/);
  t.match(answer.stderr, /\(\d+ bytes more on stderr are not shown\)\n$/);
});

t.test('the forker dies', async (t) => {
  const site = new Site(t);
  const pids = join(site.dir, 'pids');
  site.program('waits.cgi', `sleep 1000 & echo $! $$ > ${pids}; ${text}; echo ready; wait`);
  site.program('mute.cgi', 'echo here >&2; sleep 1000');
  site.program('quick.cgi', `${text}; echo quick`);
  await site.start();
  const begun = site.client();
  const mute = site.client();
  begun.send({ params: site.params('waits.cgi') });
  mute.send({ params: site.params('mute.cgi') });
  await begun.output('ready');
  await mute.output('here');
  process.kill(site.gateway.forkerPid!, 'SIGKILL');
  t.equal((await begun.answer()).status, null, 'an answer under way is broken off');
  const failed = await mute.answer();
  t.match(parts(failed)[0], 'Status: 502 ');
  t.match(failed.stderr, /mute\.cgi: was ended: usher-forker, its parent, died/);
  const [child, parent] = readFileSync(pids, 'utf8').split(' ').map(Number);
  await eventually(() => !isAlive(child!) && !isAlive(parent!));
  t.pass('the programs ended with it');
  t.match(parts(await site.ask('quick.cgi'))[1], 'quick', 'the next request gets another one');
  t.match(site.logs, [
    'error forker.died usher-forker: it was killed by SIGKILL; 2 programs were lost with it',
  ]);
});
