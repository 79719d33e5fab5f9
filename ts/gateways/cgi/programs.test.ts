// SPDX-License-Identifier: Apache-2.0
// Programs that many people run as CGI, and servers that some do by mistake.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { eventually, parts, Site } from './testing/site.ts';

function has(program: string): boolean {
  return ['/usr/bin', '/bin', '/usr/sbin'].some((folder) => existsSync(join(folder, program)));
}

const skip = (program: string) => (has(program) ? {} : { skip: `${program} is not installed` });

t.test('git http-backend', skip('git'), async (t) => {
  const site = new Site(t);
  const backend = join(
    execFileSync('git', ['--exec-path'], { encoding: 'utf8' }).trim(),
    'git-http-backend',
  );
  if (!existsSync(backend)) {
    t.pass('git has no http-backend here # SKIP');
    return;
  }
  const work = join(site.dir, 'work');
  const bare = join(site.dir, 'repositories/one.git');
  mkdirSync(work);
  const identity = ['-c', 'user.name=A', '-c', 'user.email=a@example.org'];
  const git = (...args: string[]) =>
    execFileSync('git', [...identity, ...args], { cwd: work, stdio: 'pipe' });
  execFileSync('git', ['init', '-q', '--bare', bare]);
  git('init', '-q');
  git('commit', '-q', '--allow-empty', '-m', 'begin');
  git('push', '-q', bare, 'HEAD:refs/heads/main');

  await site.start({}, ['--program', backend]);
  const ask = (path: string, more: Record<string, string>, body?: Buffer) =>
    site.ask('x', {
      params: {
        GIT_PROJECT_ROOT: join(site.dir, 'repositories'),
        GIT_HTTP_EXPORT_ALL: '1',
        SCRIPT_NAME: '/git',
        PATH_INFO: path,
        DOCUMENT_URI: `/git${path}`,
        ...more,
      },
      ...(body === undefined ? {} : { body }),
    });
  const query = 'service=git-upload-pack';
  const refs = await ask('/one.git/info/refs', { QUERY_STRING: query });
  const [head, body] = parts(refs);
  t.match(head, 'Content-Type: application/x-git-upload-pack-advertisement');
  t.match(body, 'refs/heads/main');
  const id = /([0-9a-f]{40}) refs\/heads\/main/.exec(body)?.[1];
  const line = (text: string) => (text.length + 4).toString(16).padStart(4, '0') + text;
  const pack = await ask(
    '/one.git/git-upload-pack',
    { REQUEST_METHOD: 'POST', CONTENT_TYPE: 'application/x-git-upload-pack-request' },
    Buffer.from(`${line(`want ${id}\n`)}0000${line('done\n')}`),
  );
  t.match(parts(pack)[1], /^0008NAK\nPACK/, 'a pack');
  t.match(parts(await ask('/none.git/info/refs', { QUERY_STRING: query }))[0], 'Status: 404');
});

t.test('Perl', skip('perl'), async (t) => {
  const site = new Site(t);
  site.program(
    'form.pl',
    `#!/usr/bin/perl
use strict; use warnings;
read(STDIN, my $body, $ENV{CONTENT_LENGTH});
warn "seen\\n";
print "Content-Type: text/plain\\n\\n$ENV{REQUEST_METHOD} $body";`,
  );
  await site.start();
  const answer = await site.ask('form.pl', { params: { REQUEST_METHOD: 'POST' }, body: 'a=1&b=2' });
  t.same([parts(answer)[1], answer.stderr], ['POST a=1&b=2', 'seen\n']);
});

t.test('a FastCGI program by mistake', skip('perl'), async (t) => {
  try {
    execFileSync('perl', ['-MFCGI', '-e', '1'], { stdio: 'pipe' });
  } catch {
    t.pass('Perl has no FCGI here # SKIP');
    return;
  }
  const site = new Site(t);
  site.program(
    'fast.pl',
    `#!/usr/bin/perl
use FCGI;
my $request = FCGI::Request();
while ($request->Accept() >= 0) { print "Content-Type: text/plain\n\nfast: ", $request->IsFastCGI() }`,
  );
  await site.start();
  const answer = await site.ask('fast.pl');
  t.equal(parts(answer)[1], 'fast: 0', 'of a library that sees what it was started as');
});

t.test('a server by mistake', skip('perl'), async (t) => {
  const site = new Site(t);
  site.program(
    'server.pl',
    `#!/usr/bin/perl
use Socket;
socket(my $s, PF_UNIX, SOCK_STREAM, 0); bind($s, sockaddr_un("${site.dir}/own")); listen($s, 1);
accept(my $c, $s);`,
  );
  site.program('computes.sh', 'while :; do :; done');
  await site.start({ requestTimeoutMs: 3000 });
  const server = await site.ask('server.pl');
  t.match(parts(server)[0], 'Status: 504');
  // who may not look into processes gets no hint
  const sees =
    existsSync('/proc/self/syscall') && readFileSync('/proc/self/syscall', 'utf8') !== '';
  const hint = sees
    ? /\(-request-timeout\); it waits for connections, as a server/
    : /-request-timeout/;
  t.match(server.stderr, hint);
  t.match((await site.ask('computes.sh')).stderr, /\(-request-timeout\); it is computing/);
  await eventually(() => site.gateway.running === 0);
});
