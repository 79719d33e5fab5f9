// SPDX-License-Identifier: Apache-2.0
// The gateway with the real usher-forker and programs, asked over FastCGI.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { eventually, isAlive, parts, Site } from './testing/site.ts';

const text = 'printf "Content-Type: text/plain\\r\\n\\r\\n"';

t.test('an answer, and what the program is told', async (t) => {
  const site = new Site(t);
  site.program('hello.cgi', `${text}; echo hello; echo remark >&2; exit 3`);
  site.program('sub/env.cgi', `${text}; env; pwd; echo "args=$#:$*"; cat`);
  await site.start();
  const hello = await site.ask('hello.cgi');
  t.same(parts(hello), ['Content-Type: text/plain', 'hello\n']);
  t.equal(hello.stderr, 'remark\n', 'stderr is for the error log');
  t.equal(hello.status, 3, 'its exit status');

  const env = parts(await site.ask('sub/env.cgi', { params: { QUERY_STRING: 'a+b%20c' } }))[1];
  for (const line of [
    'GATEWAY_INTERFACE=CGI/1.1',
    'OF_CLASS=1',
    'REQUEST_METHOD=GET',
    'QUERY_STRING=a+b%20c',
    `SCRIPT_FILENAME=${site.dir}/sub/env.cgi`,
    `${site.dir}/sub`,
    'args=2:a b c',
  ]) {
    t.ok(env.split('\n').includes(line), line);
  }
  t.notMatch(env, /USHER_|CONTENT_LENGTH|PATH_INFO/);

  const behind = {
    USHER_PROGRAM: join(site.dir, 'sub/env.cgi/x/y'),
    DOCUMENT_URI: '/cgi/sub/env.cgi/x/y',
  };
  t.match(parts(await site.ask('sub/env.cgi', { params: behind }))[1], 'PATH_INFO=/x/y\n');

  const post = await site.ask('sub/env.cgi', { params: { REQUEST_METHOD: 'POST' }, body: 'k=v' });
  t.match(parts(post)[1], /CONTENT_LENGTH=3\n[\s\S]*args=0:\nk=v$/, 'and its body');
});

t.test('one configured program with arguments', async (t) => {
  const site = new Site(t);
  const path = site.program('only', `${text}; echo "$0 $# $*"; pwd`);
  await site.start({}, ['--limit', 'nofile=64', '--program', path, '-x', 'y z']);
  const answer = await site.ask('whatever', { params: { QUERY_STRING: 'word' } });
  t.equal(parts(answer)[1], `${path} 2 -x y z\n${site.dir}\n`, 'clients add none');
  const words = new Site(t);
  words.program('only', `${text}; echo "$# $*"; ulimit -n`);
  await words.start({}, ['--limit', 'nofile=64', '--program', join(words.dir, 'only')]);
  const said = await words.ask('x', { params: { QUERY_STRING: 'one+two' } });
  t.equal(parts(said)[1], '2 one two\n64\n', 'and do where it has none');
});

t.test('bodies', async (t) => {
  const site = new Site(t);
  site.program('count.cgi', `${text}; echo "$CONTENT_LENGTH"; wc -c`);
  site.program('deaf.cgi', `exec 0<&-; ${text}; echo deaf`);
  site.program('late.cgi', `sleep 0.2; ${text}; wc -c`);
  await site.start();
  const post = { REQUEST_METHOD: 'POST' };
  const body = Buffer.alloc(3_000_000, 'b');
  t.equal(parts(await site.ask('count.cgi', { params: post, body }))[1], '3000000\n3000000\n');
  t.equal(
    parts(await site.ask('late.cgi', { params: post, body }))[1],
    '3000000\n',
    'of a program that begins to read late',
  );
  t.equal(
    parts(await site.ask('deaf.cgi', { params: post, body }))[1],
    'deaf\n',
    'of a program that does not read',
  );
  const longer = { ...post, CONTENT_LENGTH: '10' };
  t.equal(
    parts(await site.ask('count.cgi', { params: longer, body }))[1],
    '10\n10\n',
    'no more than CONTENT_LENGTH says',
  );
  t.equal(
    parts(
      await site.ask('count.cgi', { params: { ...longer, CONTENT_LENGTH: '' }, body: 'abc' }),
    )[1],
    '3\n3\n',
    'a small one is counted',
  );
  t.equal(
    parts(await site.ask('count.cgi', { params: { ...longer, CONTENT_LENGTH: '' }, body }))[1],
    '\n3000000\n',
    'a large one has its end',
  );
  t.equal(parts(await site.ask('count.cgi'))[1], '\n0\n');
});

t.test('an answer that begins before the body is there', async (t) => {
  const site = new Site(t);
  const begun = join(site.dir, 'begun');
  site.program('eager.cgi', `${text}; echo eager; echo > ${begun}; cat`);
  site.program('deaf.cgi', `exec 0<&-; ${text}; echo deaf`);
  await site.start();
  const client = site.client();
  const params = { REQUEST_METHOD: 'POST', CONTENT_LENGTH: '6' };
  client.sendHead({ params: site.params('eager.cgi', params), keepConn: true });
  client.sendBody(Buffer.from('abc'));
  await eventually(() => existsSync(begun));
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(client.outputSoFar(), '', 'waits for it: nginx sends no more once it has seen a head');
  client.sendBody(Buffer.from('def'));
  client.endBody();
  t.equal(parts(await client.answer())[1], 'eager\nabcdef');
  client.sendHead({ params: site.params('deaf.cgi', params), keepConn: true });
  client.sendBody(Buffer.from('abc'));
  t.equal(parts(await client.answer())[1], 'deaf\n', 'unless the program is done without');
});

/** In buffers that somebody still knows. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().arrayBuffers;
}

t.test('large answers, slow web servers', async (t) => {
  const site = new Site(t);
  site.program('large.cgi', `${text}; head -c 30000000 /dev/zero`);
  await site.start();
  const before = heldBytes(); // of the tests before, too
  const client = site.client();
  client.isCounting = true;
  client.socket.pause();
  client.send({ params: site.params('large.cgi') });
  await eventually(() => site.gateway.running === 1);
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.equal(site.gateway.running, 1, 'the program waits');
  await eventually(() => heldBytes() - before < 4_000_000); // of 30
  client.socket.resume();
  t.equal((await client.answer()).status, 0);
  t.equal(client.stdoutBytes, 30_000_000 + 'Content-Type: text/plain\r\n\r\n'.length);
});

t.test('what a head may say', async (t) => {
  const site = new Site(t);
  site.program('status.cgi', 'printf "Status: 404 Nothing Here\\nX-A: b\\n\\nbody"');
  site.program('local.cgi', 'printf "Location: /other?x=1\\n\\n"');
  site.program('away.cgi', 'printf "Location: https://example.org/\\n\\n"');
  site.program('nph-whole.cgi', 'printf "HTTP/1.1 201 Made\\r\\nX-A: b\\r\\n\\r\\nbody"');
  site.program('long.cgi', 'printf "Content-Length: 3\\n\\nbody"');
  await site.start();
  const read = async (name: string) => (await site.ask(name)).stdout.toString();
  t.equal(await read('status.cgi'), 'Status: 404 Nothing Here\r\nX-A: b\r\n\r\nbody');
  t.equal(
    await read('local.cgi'),
    'Location: /other?x=1\r\nX-Accel-Redirect: /other?x=1\r\n\r\n',
    'a local redirect for either web server',
  );
  t.equal(await read('away.cgi'), 'Status: 302 Found\r\nLocation: https://example.org/\r\n\r\n');
  t.equal(await read('nph-whole.cgi'), 'Status: 201 Made\r\nX-A: b\r\n\r\nbody');
  const long = await site.ask('long.cgi');
  t.equal(long.stdout.toString(), 'Content-Length: 3\r\n\r\nbod');
  t.match(long.stderr, /long\.cgi: wrote 1 bytes more than its Content-Length/);
});

t.test('places', async (t) => {
  const site = new Site(t);
  site.program('stubborn.cgi', `trap "" TERM; ${text}; echo ready; sleep 1000 & wait; sleep 1000`);
  site.program('quick.cgi', `${text}; echo quick`);
  await site.start({ concurrency: 1, stopTimeoutMs: 300 });
  const first = site.client();
  first.send({ params: site.params('stubborn.cgi') });
  await first.output('ready');
  first.destroy();
  const waiting = site.ask('quick.cgi');
  const gone = site.client();
  t.match(parts(await waiting)[1], 'quick', 'a request waits for a program that is ending');

  const second = site.client();
  second.send({ params: site.params('stubborn.cgi') });
  await second.output('ready');
  gone.send({ params: site.params('quick.cgi') });
  await new Promise((resolve) => setTimeout(resolve, 50));
  const full = await site.ask('quick.cgi');
  t.match(parts(full)[0], 'Status: 503 ', 'but not behind another one');
  t.match(parts(full)[0], 'Retry-After: 1');
  gone.destroy();
  second.destroy();
  await eventually(() => site.gateway.running === 0);
  t.match(parts(await site.ask('quick.cgi'))[1], 'quick', 'who left waits no more');
});

t.test('programs that go on after their answer', async (t) => {
  const site = new Site(t);
  const done = join(site.dir, 'done');
  site.program(
    'works.cgi',
    `${text}; echo answer; exec >&-; read x < ${site.dir}/fifo; echo late >&2; echo > ${done}`,
  );
  execFileSync('mkfifo', [join(site.dir, 'fifo')]);
  site.program('daemon.cgi', `${text}; echo started; (exec >&- ; exec sleep 1000) & echo $!`);
  await site.start();
  const answer = await site.ask('works.cgi');
  t.equal(parts(answer)[1], 'answer\n');
  t.equal(answer.status, 0);
  t.equal(site.gateway.running, 1, 'it works on');
  execFileSync('/bin/sh', ['-c', `echo word > ${site.dir}/fifo`]);
  await eventually(() => site.gateway.running === 0);
  t.same(site.lines, ['late'], 'what it says then is in the log of the class');
  t.equal(readFileSync(done, 'utf8'), '\n');
  const daemon = parts(await site.ask('daemon.cgi'))[1];
  const pid = Number(/\d+/.exec(daemon)?.[0]);
  t.ok(isAlive(pid), 'what it leaves behind lives, without its stdout');
  await eventually(() => site.gateway.running === 0);
  process.kill(pid, 'SIGKILL');
});

t.test('draining', async (t) => {
  const site = new Site(t);
  site.program('slow.cgi', `${text}; echo ready; read x < ${join(site.dir, 'fifo')}; echo $x`);
  execFileSync('mkfifo', [join(site.dir, 'fifo')]);
  await site.start();
  const client = site.client();
  client.send({ params: site.params('slow.cgi') });
  await client.output('ready');
  const drained = site.gateway.drain();
  const late = site.client();
  await late.closed();
  t.pass('nobody is let in');
  execFileSync('/bin/sh', ['-c', `echo word > ${join(site.dir, 'fifo')}`]);
  t.equal(parts(await client.answer())[1], 'ready\nword\n', 'who is in is served');
  await drained;
  t.equal(site.gateway.running, 0);
});

t.test('many at once', async (t) => {
  const site = new Site(t);
  site.program('echo.cgi', `${text}; cat; echo "$QUERY_STRING"`);
  await site.start({ concurrency: 8 });
  const answers = await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      const client = site.client();
      const texts: string[] = [];
      for (let round = 0; round < 10; round++) {
        client.send({
          params: site.params('echo.cgi', {
            REQUEST_METHOD: 'POST',
            QUERY_STRING: `${i}=${round}`,
            CONTENT_LENGTH: '5000',
          }),
          body: String(i).repeat(5000),
          keepConn: true,
        });
        texts.push(parts(await client.answer())[1]);
      }
      return texts;
    }),
  );
  for (const [i, texts] of answers.entries()) {
    const expected = texts.map((_, round) => `${String(i).repeat(5000)}${i}=${round}\n`);
    t.same(texts, expected, `connection ${i} got its own answers`);
  }
});
