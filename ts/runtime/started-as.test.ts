// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import t from 'tap';
import { type Start, startedAs } from './started-as.ts';

function as(env: Start['env'], stdin: Start['stdin'] = 'other') {
  return startedAs({ env, pid: 7, stdin });
}

const fastcgi = { kind: 'listen', listen: [{ protocol: 'fastcgi', address: 'fd:0' }] };
const cgi = { kind: 'cgi' };

t.test('by the environment and descriptor 0', async (t) => {
  t.match(as({}, 'listening'), fastcgi);
  t.match(as({}, 'socket'), fastcgi, 'nothing else has a socket there');
  t.match(as({ GATEWAY_INTERFACE: 'CGI/1.1' }, 'listening'), fastcgi, 'cgi-fcgi -start');
  t.match(as({ GATEWAY_INTERFACE: 'CGI/1.1' }, 'socket'), cgi, 'mod_cgid');
  t.match(as({ GATEWAY_INTERFACE: 'CGI/1.1' }), cgi);
});

t.test('sockets of systemd', async (t) => {
  const env = { LISTEN_PID: '7', LISTEN_FDS: '3', LISTEN_FDNAMES: 'http:x:ajp12' };
  t.same(as({ ...env, USHER_SECRET_FILE: '/s' }), {
    kind: 'listen',
    isDevelopment: false,
    listen: [
      { protocol: 'http', address: 'fd:3' },
      { protocol: 'fastcgi', address: 'fd:4' },
      { protocol: 'ajp12', address: 'fd:5', secretFile: '/s' },
    ],
  });
  t.match(as({ ...env, LISTEN_PID: '8' }), { isDevelopment: true }, 'they are of another process');
});

t.test('an engine of a class', async (t) => {
  const env = { USHER_ADDRESS: '[::1]:8009' };
  t.match(as(env), { listen: [{ protocol: 'ajp13', address: '[::1]:8009' }] });
  t.match(as({ ...env, USHER_ADDRESS: 'unix:/run/x' }), {
    listen: [{ protocol: 'ajp13', address: '/run/x' }],
  });
  t.match(as({ ...env, USHER_PROTOCOL: 'ajp12' }), { listen: [{ protocol: 'ajp12' }] });
});

t.test('said in USHER_LISTEN, which comes before all else', async (t) => {
  const env = {
    USHER_LISTEN: 'http:127.0.0.1:0, fastcgi:/run/a b.sock',
    GATEWAY_INTERFACE: 'CGI/1.1',
  };
  t.same(as(env, 'listening'), {
    kind: 'listen',
    isDevelopment: false,
    listen: [
      { protocol: 'http', address: '127.0.0.1:0' },
      { protocol: 'fastcgi', address: '/run/a b.sock' },
    ],
  });
  t.throws(
    () => as({ USHER_LISTEN: 'scgi:1' }),
    /USHER_LISTEN: "scgi:1" is not PROTOCOL:ADDRESS; protocols: fastcgi/,
  );
});

t.test('nothing: HTTP for development', async (t) => {
  const http = (address: string) => ({
    kind: 'listen',
    isDevelopment: true,
    listen: [{ protocol: 'http', address }],
  });
  t.same(as({}), http('127.0.0.1:8080'));
  t.same(as({ HOST: '::', PORT: '3000' }), http('[::]:3000'));
});

t.test('descriptor 0 of a process', async (t) => {
  const dir = mkdtempSync(`${tmpdir()}/usher-started-`);
  t.teardown(() => rmSync(dir, { recursive: true }));
  const module = new URL('./started-as.ts', import.meta.url).href;
  const program = `import(${JSON.stringify(module)}).then((m) => console.log(JSON.stringify(m.startedAs())))`;
  const env = { ...process.env, GATEWAY_INTERFACE: 'CGI/1.1' };
  const arguments_ = ['--import', 'tsx', '--input-type=module', '-e', program];
  const kindWith = (stdin: number | 'ignore') => {
    const { stdout, stderr } = spawnSync(process.execPath, arguments_, {
      env,
      stdio: [stdin, 'pipe', 'pipe'],
      encoding: 'utf8',
    });
    return JSON.parse(stdout || `"${stderr}"`);
  };
  t.match(kindWith('ignore'), cgi);
  for (const where of [{ path: `${dir}/s` }, { host: '127.0.0.1', port: 0 }]) {
    const server = net.createServer();
    t.teardown(() => server.close());
    server.listen(where);
    await once(server, 'listening');
    t.match(kindWith(descriptorOf(server)), fastcgi, 'a socket that listens');
    const { port } = server.address() as net.AddressInfo;
    const client = net.connect('path' in where ? where : { host: where.host, port });
    t.teardown(() => client.destroy());
    await once(client, 'connect');
    t.match(kindWith(descriptorOf(client)), cgi, 'one that is connected');
    client.destroy();
  }
});

function descriptorOf(socket: net.Server | net.Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}
