// SPDX-License-Identifier: Apache-2.0
// Checks of classes, on machines that are made up; the reader of ELF files on those of this machine.
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs';
import t from 'tap';
import type { Event } from '../control/messages.ts';
import { sampleClass, sampleFailure, sampleStatus } from '../control/testing/sample.ts';
import { isAllowed } from './accounts.ts';
import { classChecks, listeningPorts } from './checks/classes.ts';
import { type ClassesAsked, readClasses } from './classes.ts';
import { readElf, readLoaderCache } from './elf.ts';
import { thisHost } from './host.ts';
import {
  type FakeMachine,
  fakeHost,
  fakeScene,
  launcherFiles,
  look,
  plan,
  type Tree,
} from './testing/fake-host.ts';

const passwd = 'root:x:0:0::/root:\nwww-data:x:33:33::/:\n';
const machine: Tree = {
  '/etc/passwd': passwd,
  '/etc/group': 'staff:x:50:www-data\n',
  '/proc/self/exe': { text: elf({ machine: 62 }) },
  '/srv/app': { text: '#!/bin/sh\n', mode: 0o755 },
  '/bin/sh': { text: '', mode: 0o755 },
  '/usr/bin/env': { text: '', mode: 0o755 },
  '/usr/bin/perl': { text: '', mode: 0o755 },
  '/run/usher': { kind: 'directory' },
};
const see = (
  id: string,
  changes: Parameters<typeof plan>[0],
  files: Tree = {},
  world: Partial<FakeMachine> = {},
) =>
  look(
    classChecks,
    id,
    fakeScene({ files: { ...machine, ...files }, run: () => ({ exitCode: 2 }), ...world }, [
      plan(changes),
    ]),
  );

/** Of 64 bits: a loader, and what it needs. */
function elf({
  machine: number,
  loader,
  needed = [] as string[],
}: {
  machine: number;
  loader?: string;
  needed?: string[];
}): Buffer {
  const parts =
    loader === undefined
      ? []
      : [
          [3, 1024, 0, loader.length + 1],
          [1, 0, 0, 4096],
          [2, 2048, 2048, 1024],
        ];
  const bytes = Buffer.alloc(4096);
  bytes.write('\x7fELF\x02\x01', 0, 'latin1');
  bytes.writeUInt16LE(number, 18);
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(parts.length, 56);
  for (const [i, [type = 0, offset = 0, address = 0, size = 0]] of parts.entries()) {
    bytes.writeUInt32LE(type, 64 + i * 56);
    bytes.writeBigUInt64LE(BigInt(offset), 64 + i * 56 + 8);
    bytes.writeBigUInt64LE(BigInt(address), 64 + i * 56 + 16);
    bytes.writeBigUInt64LE(BigInt(size), 64 + i * 56 + 32);
  }
  bytes.write(`${loader ?? ''}\0`, 1024, 'latin1');
  let at = 1;
  const names = needed.map((name) => {
    bytes.write(`${name}\0`, 3072 + at, 'latin1');
    at += name.length + 1;
    return at - name.length - 1;
  });
  const entries = [...names.map((name) => [1, name]), [5, 3072], [10, at], [0, 0]];
  for (const [i, pair] of entries.entries()) {
    for (const [k, value] of pair.entries())
      bytes.writeBigUInt64LE(BigInt(value), 2048 + i * 16 + k * 8);
  }
  return bytes;
}

t.test('class-program: file, mode and way', async (t) => {
  t.match(await see('class-program', {}), { statuses: 'ok', text: /1 program can be started/ });
  t.match(await see('class-program', { program: 'php-cgi' }), {
    statuses: 'error',
    text: /usual directories \[file-missing\]/,
  });
  t.match(await see('class-program', { program: '/srv/gone' }), {
    statuses: 'error',
    text: /app: the program does not exist \[file-missing\] \| \/srv\/gone \| class at \/etc\/nginx\/nginx.conf:9 \| Check the path/,
  });
  t.match(await see('class-program', { program: '/opt/x/gone' }), {
    text: /the directory \/opt does not exist/,
  });
  t.match(await see('class-program', { program: '/srv' }), { text: /\[is-directory\]/ });
  t.match(await see('class-program', {}, { '/srv/app': { text: '#!/bin/sh\n', mode: 0o700 } }), {
    text: /mode 0700, owner 0, does not let www-data execute it \[not-executable\]/,
  });
  t.match(
    await see('class-program', {}, { '/srv/app': { text: '#!/bin/sh\n', mode: 0o710, gid: 50 } }),
    { statuses: 'ok' },
    'by its supplementary group',
  );
  t.match(await see('class-program', {}, { '/srv': { kind: 'directory', mode: 0o700 } }), {
    text: /www-data may not pass \/srv \(mode 0700, owner 0, group 0\) \[path-denied\]/,
  });
  t.match(
    await see(
      'class-program',
      {},
      {
        '/srv/app': { link: '/home/ann/app' },
        '/home/ann': { kind: 'directory', mode: 0o700 },
        '/home/ann/app': { text: '#!/bin/sh\n', mode: 0o755 },
      },
    ),
    {
      text: /may not pass \/home\/ann /,
    },
    'also on the way of a symbolic link',
  );
  t.match(
    await see(
      'class-program',
      {},
      { '/proc/self/mountinfo': '1 0 8:1 / / rw,noexec - ext4 /dev/sda rw\n' },
    ),
    { text: /mounted noexec/ },
  );
  t.match(await see('class-program', {}, { '/srv': { error: 'EACCES' } }), {
    statuses: 'skipped',
    text: /not ours to see/,
  });
});

t.test('class-program: what stands in the file', async (t) => {
  const script = (text: string, more: Tree = {}) =>
    see('class-program', {}, { '/srv/app': { text, mode: 0o755 }, ...more });
  t.match(await script('#!/bin/sh\r\n'), {
    text: /\/bin\/sh\) ends in CR LF \[interpreter-crlf\].*dos2unix/,
  });
  t.match(await script('#!/usr/bin/ruby\n'), {
    text: /interpreter \/usr\/bin\/ruby of its #! line is missing \[interpreter-missing\]/,
  });
  t.match(await script('#!/usr/bin/env perl\n'), { statuses: 'ok' });
  t.match(await script('#!/usr/bin/env -S ruby -w\n'), {
    text: /env finds no ruby in the program's PATH/,
  });
  t.match(await script('#!/bin/sh\n', { '/bin/sh': { text: '', mode: 0o700 } }), {
    text: /may not execute its interpreter/,
  });
  t.match(await script(''), { text: /empty \[no-program\]/ });
  t.match(await script('print 1\n'), { text: /has no #! line/ });
  t.match(await script('\ufeff#!/bin/sh\n'), { text: /byte order mark/ });
  const program = (text: Buffer, more: Tree = {}) =>
    see('class-program', {}, { '/srv/app': { text, mode: 0o755 }, ...more });
  t.match(await program(elf({ machine: 183 })), { text: /\[wrong-architecture\]/ });
  t.match(await program(elf({ machine: 62 })), { statuses: 'ok' });
  const loader = '/lib64/ld.so';
  const needs = elf({ machine: 62, loader, needed: ['liba.so.1', 'libb.so'] });
  t.match(await program(needs), {
    text: /loader that it names is missing: \/lib64\/ld.so \[library-missing\]/,
  });
  t.match(await program(needs, { [loader]: '', '/usr/lib/liba.so.1': '' }), {
    text: /it needs libb.so, which is nowhere \[library-missing\]/,
  });
  t.match(await program(needs, { [loader]: '', '/usr/lib/liba.so.1': '', '/lib64/libb.so': '' }), {
    statuses: 'ok',
  });
  const inner = elf({ machine: 62, loader, needed: ['libc.so'] });
  t.match(
    await program(needs, {
      [loader]: '',
      '/usr/lib/liba.so.1': { text: inner },
      '/lib64/libb.so': '',
    }),
    { text: /\/usr\/lib\/liba.so.1 needs libc.so/ },
  );
});

t.test('readElf agrees with ldd on this machine', (t) => {
  const fd = openSync(process.execPath, 'r');
  const read = (offset: number, length: number): Buffer => {
    const buffer = Buffer.alloc(length);
    return buffer.subarray(0, readSync(fd, buffer, 0, length, offset));
  };
  const found = readElf(read);
  closeSync(fd);
  const ldd = spawnSync('ldd', [process.execPath], { encoding: 'utf8' }).stdout;
  for (const library of found?.libraries ?? []) t.match(ldd, library);
  t.ok((found?.libraries.length ?? 0) > 0);
  t.ok(found?.loader !== null && existsSync(found?.loader ?? ''));
  const cache = readLoaderCache(readFileSync('/etc/ld.so.cache'));
  t.ok(existsSync(cache.get('libc.so.6') ?? ''));
  t.equal(
    readElf(() => Buffer.from('#!/bin/sh\n')),
    null,
  );
  t.equal(
    readElf((offset, length) =>
      elf({ machine: 62, loader: '/x' })
        .subarray(0, 100)
        .subarray(offset, offset + length),
    ),
    null,
  );
  t.equal(readLoaderCache(Buffer.from('nothing')).size, 0);
  t.end();
});

t.test('class-user', async (t) => {
  t.match(await see('class-user', {}), { statuses: 'ok' });
  t.match(await see('class-user', { user: 'nobody-here' }), {
    statuses: 'error',
    text: /user nobody-here does not exist \[user-unknown\]/,
  });
  t.match(await see('class-user', { user: '#33', group: 'none' }), {
    statuses: 'error',
    text: /group none does not exist/,
  });
  t.match(
    await see(
      'class-user',
      {},
      { ...launcherFiles(7, [], 1000), '/etc/passwd': `${passwd}ann:x:1000:1000::/:\n` },
    ),
    {
      statuses: 'error',
      text: /ann cannot start programs as www-data \[user-denied\]/,
    },
  );
  const conf =
    'user www-data;\nload_module ngx_http_usher_module.so;\nhttp { usher_app app command=/srv/app; }\n';
  t.match(await see('class-user', {}, { '/etc/nginx/nginx.conf': conf }), {
    statuses: 'ok ok',
    text: /run as the web server’s own user: app/,
  });
});

t.test('class-files', async (t) => {
  t.match(await see('class-files', {}), { statuses: 'ok' });
  t.match(await see('class-files', { cwd: '/var/gone' }), {
    statuses: 'error',
    text: /\[cwd-missing\]/,
  });
  t.match(
    await see(
      'class-files',
      { cwd: '/var/app' },
      { '/var/app': { kind: 'directory', mode: 0o700 } },
    ),
    { statuses: 'error', text: /\[cwd-denied\]/ },
  );
  t.match(await see('class-files', { log: '/var/log/gone/x.log' }), {
    statuses: 'error',
    text: /directory of its -log/,
  });
  t.match(await see('class-files', { secretFile: '/etc/secret' }), {
    statuses: 'error',
    text: /-secret-file does not exist/,
  });
  t.match(
    await see(
      'class-files',
      { secretFile: '/etc/secret' },
      { '/etc/secret': { text: 'geheim', mode: 0o644 } },
    ),
    { statuses: 'warning', text: /chmod 0600/ },
  );
});

t.test('class-address', async (t) => {
  const tcp =
    '  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0 0\n   1: 0100007F:1F91 0100007F:0016 01 0 0\n';
  t.same(listeningPorts(fakeHost({ files: { '/proc/net/tcp': tcp } })), new Set([8080]));
  const listen = 'tcp:127.0.0.1:8080';
  t.match(await see('class-address', { listen }, { '/proc/net/tcp': tcp }), {
    statuses: 'error',
    text: /port 8080 already \[address-in-use\]/,
  });
  t.match(await see('class-address', { listen: 'tcp:8081' }, { '/proc/net/tcp': tcp }), {
    statuses: 'ok',
  });
  t.match(
    await see('class-address', { listen }, { '/proc/net/tcp': tcp, ...launcherFiles(7) }),
    { statuses: '' },
    'it may be Usher itself',
  );
});

t.test('class-backends', async (t) => {
  const hosts = { scope: 'external' as const, program: null, backends: ['a:1', 'b:2'] };
  t.match(await see('class-backends', hosts), { statuses: 'ok' });
  t.match(await see('class-backends', hosts, {}, { refuses: { 'a:1': 'ECONNREFUSED' } }), {
    statuses: 'warning',
    text: /1 of 2 hosts are down .*a:1: ECONNREFUSED/,
  });
  const refuses = { 'a:1': 'ECONNREFUSED', 'b:2': 'no answer' };
  t.match(await see('class-backends', { ...hosts, protocol: 'ajp' }, {}, { refuses }), {
    statuses: 'error',
    text: /app: nobody answers/,
  });
  const backend = {
    address: '10.0.0.1:1',
    name: 'a:1',
    state: 'down' as const,
    isBackup: false,
    lastError: 'refused',
    inFlight: 0,
    requests: 0,
    failures: 0,
    route: null,
    activation: 'active' as const,
    engine: null,
  };
  const status = async () =>
    sampleStatus({ classes: [sampleClass({ name: 'app', backends: [backend] })] });
  const manager = { ping: async () => ({ pid: 1, version: '' }), status };
  t.match(
    await see('class-backends', hosts, {}, { manager }),
    { statuses: 'error', text: /a:1: refused/ },
    'the manager knows',
  );
  t.match(await see('class-backends', { ...hosts, startsEngines: true }), { statuses: '' });
});

t.test('class-state', async (t) => {
  const now = Date.parse('2025-01-02T03:10:00.000Z');
  const manager = (
    state: 'ready' | 'failed' | 'refused' | 'cold',
    events: Event[] = [],
    last = 'instance.ready',
  ): Partial<FakeMachine> => ({
    now,
    manager: {
      ping: async () => ({ pid: 1, version: '' }),
      status: async () =>
        sampleStatus({
          classes: [
            sampleClass({
              state,
              lastFailure: state === 'failed' || state === 'cold' ? sampleFailure() : null,
              lastEvent: { at: '2025-01-02T03:04:00.000Z', event: last, text: '' },
            }),
          ],
        }),
      events: async () => ({ schema: 1, startedAt: '', events }),
    },
  });
  t.match(await see('class-state', {}, {}, manager('ready')), {
    statuses: 'ok',
    text: /1 class, none has failed/,
  });
  t.match(await see('class-state', {}, {}, manager('failed')), {
    statuses: 'error',
    text: /hello is failed \[exited-with-error\] .* exited with status 3 .* usher explain hello; then usher retry hello/,
  });
  t.match(await see('class-state', {}, {}, manager('refused')), {
    statuses: 'error',
    text: /hello is refused/,
  });
  t.match(await see('class-state', {}, {}, manager('cold', [], 'class.failed')), {
    statuses: 'error',
    text: /hello: its last start failed \[exited-with-error\]/,
  });
  t.match(
    await see('class-state', {}, {}, manager('cold', [], 'instance.exited')),
    { statuses: 'ok' },
    'a failure that is over',
  );
  const died = (number: number): Event => ({
    number,
    at: '2025-01-02T03:05:00.000Z',
    level: 'warn',
    event: 'instance.exited',
    class: 'hello',
    server: null,
    text: 'killed by SIGSEGV',
  });
  t.match(await see('class-state', {}, {}, manager('ready', [1, 2, 3, 4, 5].map(died))), {
    statuses: 'warning',
    text: /ended 5 times .*SIGSEGV/,
  });
  t.match(await see('class-state', {}, {}, manager('ready', [1, 2, 3, 4].map(died))), {
    statuses: 'ok',
  });
});

t.test('classes are read as the manager reads them, by a program of its own', async (t) => {
  const directive = {
    kind: 'nginx',
    scope: 'static',
    name: 'php',
    place: '/n:1',
    user: 'www-data',
    group: null,
  } as const;
  const asked: ClassesAsked = {
    texts: [
      {
        file: '/f',
        text: 'AppClass /srv/a.fcgi -processes 3 -initial-env DB_PASSWORD=secret\nAppClass x\nExternalAppClass t -protocol ajp -host 10.0.0.1:8009 -secret-file /etc/s\n',
        user: null,
      },
    ],
    directives: [
      {
        ...directive,
        words: [
          'command=/usr/bin/php-cgi -c x',
          'max_class_processes=7',
          'concurrency=2',
          'limit=nofile=99',
          'keep_conn',
        ],
      },
      {
        ...directive,
        kind: 'apache',
        name: 'b',
        words: ['-command', '/bin/b', '-user', 'ann', '-on-demand', '2', '-cwd', '/var'],
      },
      { ...directive, name: 'wrong', words: ['no_such=1'] },
    ],
  };
  const read = await readClasses(thisHost, asked);
  if (read.failure !== null) throw new Error(read.failure);
  t.match(read.errors, [/^\/f:2: x is a name/]);
  t.match(read.classes, [
    { name: '/srv/a.fcgi', program: '/srv/a.fcgi', cwd: '/srv', instances: 3, source: '/f:1' },
    {
      name: 't',
      scope: 'external',
      program: null,
      protocol: 'ajp',
      backends: ['10.0.0.1:8009'],
      secretFile: '/etc/s',
    },
    {
      name: 'php',
      program: '/usr/bin/php-cgi',
      user: 'www-data',
      instances: 7,
      places: 14,
      fileLimit: 99,
    },
    { name: 'b', program: '/bin/b', user: 'ann', instances: 2, cwd: '/var' },
  ]);
  t.equal(read.classes.length, 4);
  t.notMatch(JSON.stringify(read), /secret["}]|php-cgi -c/, 'neither variables nor arguments');
});

t.test('isAllowed', (t) => {
  const file = { mode: 0o640, uid: 5, gid: 6, kind: 'file' as const };
  t.ok(isAllowed(file, { uid: 5, gids: [] }, 'write'));
  t.ok(isAllowed(file, { uid: 7, gids: [6] }, 'read'));
  t.notOk(isAllowed(file, { uid: 7, gids: [6] }, 'write'));
  t.notOk(isAllowed(file, { uid: 7, gids: [] }, 'read'));
  t.notOk(
    isAllowed(file, { uid: 0, gids: [] }, 'execute'),
    'root executes nothing that nobody may',
  );
  t.ok(isAllowed({ ...file, kind: 'directory' }, { uid: 0, gids: [] }, 'execute'));
  t.end();
});
