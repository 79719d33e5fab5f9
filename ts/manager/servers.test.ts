// SPDX-License-Identifier: Apache-2.0
// When a server counts as gone.
import { openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Channel, ServerInfo } from '../native/native.ts';
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

  await register(2, 20_000);
  t.notOk(isGone(20_000), 'the old workers live');
  living = [];
  t.notOk(isGone(26_000), 'they have ended, the new ones have not come: it is given time again');
  living = [2];
  t.notOk(isGone(29_000));
  living = [];
  t.notOk(isGone(31_000));
  t.ok(isGone(33_000), 'but without either it is gone soon');
});
