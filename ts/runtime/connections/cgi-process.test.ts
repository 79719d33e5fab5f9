// SPDX-License-Identifier: Apache-2.0
// A process that is a CGI program, with pipes, files and sockets.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { directory } from './testing/servlets.ts';

const program = fileURLToPath(new URL('testing/cgi-program.ts', import.meta.url));
const cgi = { GATEWAY_INTERFACE: 'CGI/1.1', REQUEST_METHOD: 'GET', REQUEST_URI: '/a?b' };

type Stdio = ('pipe' | number | Socket)[];

function start(
  what: string,
  env: Record<string, string>,
  stdio: Stdio = ['pipe', 'pipe', 'pipe'],
): ChildProcess {
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, ['--import', 'tsx', program], {
    env: { PATH, ...cgi, QUERY_STRING: what, ...env },
    stdio,
  });
  child.stdin?.on('error', () => undefined); // programs need not read
  return child;
}

async function all(stream: NodeJS.ReadableStream | null): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream ?? []) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

async function run(what: string, env: Record<string, string> = {}, body: string | Buffer = '') {
  const child = start(what, env);
  child.stdin?.end(body);
  const [stdout, stderr] = await Promise.all([
    all(child.stdout),
    all(child.stderr),
    child.exitCode === null && once(child, 'exit'),
  ]);
  return {
    stdout: stdout.toString('latin1'),
    stderr: stderr.toString(),
    status: child.exitCode,
    raw: stdout,
  };
}

const post = (length: number) => ({ REQUEST_METHOD: 'POST', CONTENT_LENGTH: `${length}` });

t.test('a request without a body', async (t) => {
  const { stdout, stderr, status } = await run('echo');
  t.equal(stdout, 'Status: 200 OK\r\nX-Body: 0\r\n\r\nGET /a?b ');
  t.strictSame([stderr, status], ['.', 0]);
});

t.test('no more of the input than CONTENT_LENGTH', async (t) => {
  const { stdout } = await run('echo', post(3), 'abcdef');
  t.match(stdout, /\r\n\r\nPOST \/a\?b abc$/);
});

t.test('a body that ends early is refused', async (t) => {
  const { stdout, stderr } = await run('echo', post(10), 'abc');
  t.match(stdout, /^Status: 400 Bad Request\r\n/);
  t.match(stderr, /ends 7 bytes before its Content-Length/);
});

t.test('a chunked body goes to the end of the input', async (t) => {
  const { stdout } = await run(
    'echo',
    { REQUEST_METHOD: 'POST', HTTP_TRANSFER_ENCODING: 'chunked' },
    'abcdef',
  );
  t.match(stdout, /POST \/a\?b abcdef$/);
});

t.test('a large body, there and back', async (t) => {
  const body = Buffer.alloc(5_000_000, 'abcdefghijk');
  const { raw, status } = await run('mirror', post(body.length), body);
  t.ok(raw.subarray(raw.indexOf('\r\n\r\n') + 4).equals(body));
  t.equal(status, 0);
});

t.test('an early answer: the program ends with the body unread', async (t) => {
  const child = start('early', post(50_000_000));
  child.stdin?.write(Buffer.alloc(10_000_000));
  const stdout = await all(child.stdout);
  t.match(stdout.toString(), /^Status: 413 .*early$/s);
  if (child.exitCode === null) await once(child, 'exit');
});

t.test('head and metadata; bytes that are no UTF-8', async (t) => {
  const { stdout } = await run('meta', {
    HTTP_PROXY: 'p',
    HTTP_X_A: 'ä',
    REMOTE_ADDR: '1.2.3.4',
    X_TEXT: 'ö',
  });
  t.match(JSON.parse(stdout.split('\r\n\r\n')[1] ?? ''), {
    protocol: 'cgi',
    role: 'responder',
    remoteAddress: '1.2.3.4',
    text: Buffer.from('ö').toString('latin1'),
    fields: ['Proxy', 'p', 'X-A', Buffer.from('ä').toString('latin1')],
  });
  const script = 'X_TEXT=$(printf "\\344"); export X_TEXT; exec "$0" --import tsx "$1"';
  const shell = spawn('sh', ['-c', script, process.execPath, program], {
    env: { PATH: process.env.PATH ?? '', ...cgi, QUERY_STRING: 'meta' },
  });
  t.match((await all(shell.stdout)).toString('latin1'), /"text":"\xe4"/);
});

t.test('a refusal, and its line for the log', async (t) => {
  const { stdout, stderr } = await run('report');
  t.match(stdout, /^Status: 503 Service Unavailable\r\n.*Retry-After: 9\r\n\r\n503 Closed\n$/s);
  t.equal(stderr, 'why\n.');
});

t.test('an answer that cannot become whole', async (t) => {
  const { stdout, status } = await run('break');
  t.match(stdout, /half$/);
  t.equal(status, 1);
});

t.test('a reader that goes away', async (t) => {
  const child = start('endless', {});
  const stderr = all(child.stderr);
  await once(child.stdout as NodeJS.ReadableStream, 'readable');
  child.stdout?.destroy();
  if (child.exitCode === null) await once(child, 'exit');
  t.equal((await stderr).toString(), '.over: the web server has closed our output');
});

t.test('files as standard input and output', async (t) => {
  const dir = directory(t);
  const [input, output] = [join(dir, 'in'), join(dir, 'out')];
  const body = Buffer.alloc(1_000_000, 'abc');
  writeFileSync(input, body);
  const fds = [openSync(input, 'r'), openSync(output, 'w')] as const;
  const child = start('mirror', post(body.length), [...fds, 'pipe']);
  for (const fd of fds) closeSync(fd);
  await all(child.stderr);
  if (child.exitCode === null) await once(child, 'exit');
  const written = readFileSync(output);
  t.ok(written.subarray(written.indexOf('\r\n\r\n') + 4).equals(body));
});

t.test('a socket as both', async (t) => {
  const path = join(directory(t), 's');
  const server = createServer({ pauseOnConnect: true }).listen(path);
  t.teardown(() => server.close());
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const peer = connect(path);
  const [socket] = await accepted;
  const child = start('mirror', post(300_000), [socket, socket, 'pipe']);
  socket.destroy();
  const body = Buffer.alloc(300_000, 'xyz');
  peer.write(body);
  const written = await all(peer);
  t.ok(written.subarray(written.indexOf('\r\n\r\n') + 4).equals(body));
  if (child.exitCode === null) await once(child, 'exit');
});
