// SPDX-License-Identifier: Apache-2.0
import { availableParallelism } from 'node:os';
import t from 'tap';
import { checkOptions } from './check-options.ts';
import type { ServeOptions } from './options.ts';

const processors = availableParallelism();

t.test('defaults', async (t) => {
  t.same(checkOptions({}), {
    listen: null,
    model: 'concurrent',
    processes: processors,
    maxProcesses: processors,
    threads: processors,
    backlog: 128,
    deadlineMs: 0,
    maxRequests: 0,
    maxMemoryMb: 0,
    stopMs: 10_000,
    style: null,
    reload: null,
  });
  t.equal(checkOptions({ model: 'forking' }).maxProcesses, Math.max(20, processors));
});

t.test('one number of processes says the other', async (t) => {
  const of = (more: ServeOptions) => checkOptions({ model: 'process-pool', ...more });
  t.match(of({ processes: 3 }), { processes: 3, maxProcesses: 3 });
  t.match(of({ maxProcesses: 1 }), { processes: 1, maxProcesses: 1 });
  t.match(of({ processes: 2, maxProcesses: 5 }), { processes: 2, maxProcesses: 5 });
});

t.test('what is given is taken', async (t) => {
  const onWorkerStart = () => undefined;
  const listen = { protocol: 'ajp13', address: '127.0.0.1:8009', packetBytes: 65536 } as const;
  const options = {
    listen,
    model: 'sequential',
    backlog: 0,
    style: 'fetch',
    reload: false,
  } as const;
  t.match(checkOptions({ ...options, onWorkerStart }), {
    ...options,
    listen: [listen],
    onWorkerStart,
  });
});

const wrong: [options: object, message: RegExp][] = [
  [{ modell: 'forking' }, /option "modell" is unknown; known are processes, .*model/],
  [{ model: 'fork' }, /model is fork, allowed are sequential, forking/],
  [{ deadlineMs: -1 }, /deadlineMs is -1, allowed are 0 to/],
  [{ deadlineMs: '5' }, /deadlineMs is 5, allowed are/],
  [{ stopMs: Number.NaN }, /stopMs is NaN/],
  [{ threads: 2 }, /threads has no meaning with model "concurrent", only with thread-pool/],
  [{ model: 'forking', backlog: 3 }, /backlog has no meaning with model "forking"/],
  [{ model: 'forking', processes: 0 }, /processes is 0, allowed are 1 to 1000/],
  [{ model: 'process-pool', processes: 4, maxProcesses: 2 }, /maxProcesses 2 is less than/],
  [{ onWorkerStart: 1 }, /onWorkerStart is a function/],
  [{ style: 'express' }, /style is express, allowed are node, fetch/],
  [{ reload: 1 }, /reload is true or false/],
  [{ listen: [] }, /listen is empty/],
  [{ listen: 'x' }, /listen\[0\] is an object/],
  [
    { listen: { protocol: 'ajp', address: 'x' } },
    /listen\[0\].protocol is ajp, allowed are fastcgi/,
  ],
  [{ listen: { protocol: 'http' } }, /listen\[0\].address is "HOST:PORT"/],
  [{ listen: { protocol: 'http', address: 'a:1', port: 1 } }, /option "port" is unknown/],
  [
    { listen: { protocol: 'http', address: 'a:1', secretFile: '/s' } },
    /secretFile is of ajp13 and ajp12, not of http/,
  ],
  [
    { listen: { protocol: 'http', address: 'a:1', mode: 0o666 } },
    /listen\[0\].mode is of Unix sockets, not of a:1/,
  ],
  [
    { listen: { protocol: 'ajp13', address: 'a:1', packetBytes: 9 } },
    /listen\[0\].packetBytes is 9, allowed are 8192 to 65536/,
  ],
];

t.test('mistakes are named, with what is allowed', async (t) => {
  for (const [options, message] of wrong) {
    t.throws(() => checkOptions(options as ServeOptions), { message }, JSON.stringify(options));
  }
  t.throws(() => checkOptions(null as never), TypeError);
});
