// SPDX-License-Identifier: Apache-2.0
// When a server counts as gone, and what is done where registrations cannot be read.
import { openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Channel, ServerInfo } from '../native/native.ts';
import { LauncherError } from '../process/launcher.ts';
import { type Registry, Servers } from './servers.ts';

const nobody: ServerInfo = {
  workers: 0,
  settled: 0,
  generation: 1,
  oldestGeneration: 0,
  startRequestsRefused: 0,
  lockTimeouts: 0,
  lockSuccessions: 0,
};

t.test('a server that reads its configuration again on a slow machine', async (t) => {
  const dir = t.testdir({});
  let files: string[] = [];
  let living: number[] = [];
  const channel = {
    attachServer: () => 0,
    settle: () => ({ ...nobody, workers: living.length }),
    generationLives: (_: number, generation: number) => living.includes(generation),
  } as unknown as Channel;
  const open = (file: string): number => openSync(join(dir, file), 'r');
  const registry = {
    registrations: async () => files,
    registration: async (name: string) => open(name),
    attach: async () => ({ cells: open(files[0] ?? ''), live: 0 }),
    removeRegistration: () => undefined,
  } as unknown as Registry;
  const servers = new Servers(
    channel,
    registry,
    dir,
    () => undefined,
    () => undefined,
  );
  const register = async (generation: number, nowMs: number): Promise<void> => {
    const file = `apache-1.${generation}.conf`;
    const words = `-generation ${generation} -kind apache -pid 1 -user u -group g -configuration /c`;
    writeFileSync(join(dir, file), `UsherServer apache-1 ${words}\n`);
    files = [...files, file];
    await servers.refresh(nowMs);
  };
  const isGone = (nowMs: number): boolean => {
    servers.settle(nowMs);
    return servers.gone(nowMs).length > 0;
  };

  await register(1, 0);
  t.notOk(isGone(9000), 'it is given time for its first worker');
  living = [1];
  t.notOk(isGone(9500));
  t.equal(servers.dueMs, Number.POSITIVE_INFINITY, 'all is well: who comes next rings');

  await register(2, 20_000);
  t.notOk(isGone(20_000), 'the old workers live');
  t.equal(servers.dueMs, 0, 'until new ones have come');
  living = [];
  t.notOk(isGone(26_000), 'they have ended, the new ones have not come: it is given time again');
  living = [2];
  t.notOk(isGone(29_000));
  living = [];
  t.notOk(isGone(31_000));
  t.equal(servers.dueMs, 0, 'nobody lives');
  t.notOk(isGone(33_500), 'until a moment before the look that saw nobody somebody may have lived');
  t.ok(isGone(34_500), 'but without either it is gone soon');
});

/** Registrations in `dir` of a launcher that fails with an errno where one is set. */
function registryIn(
  dir: string,
  failing: { list?: number | undefined; file?: number | undefined },
): Registry {
  const check = (errno: number | undefined): void => {
    if (errno !== undefined) throw new LauncherError('registration', errno, 'it does not work');
  };
  const open = (file: string): number => openSync(join(dir, file), 'r');
  return {
    registrations: async () => {
      check(failing.list);
      return ['apache-1.1.conf'];
    },
    registration: async (name: string) => {
      check(failing.file);
      return open(name);
    },
    attach: async () => ({ cells: open('apache-1.1.conf'), live: 0 }),
    removeRegistration: () => undefined,
    removeServer: () => undefined,
  };
}

const channelOfOne = {
  attachServer: () => 0,
  settle: () => nobody,
} as unknown as Channel;

const words = '-generation 1 -kind apache -pid 1 -user u -group g -configuration /c';
const registration = { 'apache-1.1.conf': `UsherServer apache-1 ${words}\n` };
const EMFILE = 24;
const ENOENT = 2;

t.test('a launcher without descriptors is asked again', async (t) => {
  const dir = t.testdir({ ...registration, servers: {} });
  const failing: { list?: number | undefined; file?: number | undefined } = { list: EMFILE };
  const events: string[] = [];
  let changes = 0;
  const servers = new Servers(
    channelOfOne,
    registryIn(dir, failing),
    dir,
    (_level, event) => events.push(event),
    () => {
      changes += 1;
    },
  );
  const look = async (): Promise<void> => {
    t.ok(servers.look(0, false));
    await servers.refresh(0);
  };
  await look();
  t.notOk(servers.isComplete, 'not even the list is known');
  failing.list = undefined;
  failing.file = EMFILE;
  await look();
  await look();
  t.notOk(servers.isComplete, 'what stands in it is not known');
  t.same(events, ['registration.invalid'], 'told once');
  t.equal(servers.byName.size, 0);
  failing.file = undefined;
  await look();
  t.ok(servers.isComplete);
  t.same([...servers.byName.keys()], ['apache-1']);
  t.equal(changes, 1);
});

t.test('a registration that is gone when it is read is nobody’s', async (t) => {
  const dir = t.testdir({ ...registration, servers: {} });
  const servers = new Servers(
    channelOfOne,
    registryIn(dir, { file: ENOENT }),
    dir,
    () => undefined,
    () => undefined,
  );
  await servers.refresh(0);
  t.ok(servers.isComplete);
  t.equal(servers.byName.size, 0);
});

t.test('where the manager may not look the launcher is asked', async (t) => {
  const dir = t.testdir(registration);
  const failing: { list?: number } = {};
  const hidden = `/${'x'.repeat(300)}`; // cannot be looked at by anybody
  const servers = new Servers(
    channelOfOne,
    registryIn(dir, failing),
    hidden,
    () => undefined,
    () => undefined,
  );
  t.ok(servers.look(1_000, false));
  await servers.refresh(1_000);
  t.equal(servers.byName.size, 1);
  t.ok(servers.look(1_050, true));
  t.equal(servers.dueMs, 1_250, 'who rings may have registered');
  failing.list = ENOENT;
  t.ok(servers.look(1_100, false), 'not at every pass');
  t.ok(servers.look(1_300, false));
  await servers.refresh(1_300);
  t.notOk(servers.look(1_400, false), 'the launcher says that it is gone');
});
