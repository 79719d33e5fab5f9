// SPDX-License-Identifier: Apache-2.0
// What may happen at any moment of a chaos. Each action waits until what it is for is there, does it,
// and goes: it does not wait for the recovery. What it may cost it notes in the accounts.

import { setTimeout as sleep } from 'node:timers/promises';
import { RawClient } from '../../servers/client.ts';
import { eventually } from '../../servers/eventually.ts';
import type { Loss } from '../../servers/load.ts';
import { descriptorCount, isRunning, signal, takenConnections } from '../../servers/processes.ts';
import { readAgain } from '../../servers/reading-again.ts';
import { run, usherCommand } from '../../servers/usher.ts';
import { standbyOf } from '../../servers/usher-processes.ts';
import { type Arena, type Contestant, type Moment, patienceMs } from './arena.ts';
import { chaosTexts } from './classes.ts';

export interface Action {
  name: string;
  /** For the manual: what happens. */
  title: string;
  /** Takes longer than a short chaos lasts. */
  isLong?: true;
  run: (arena: Arena, moment: Moment) => Promise<unknown>;
}

/** Waits until it is there; throws when it does not come. */
function soon<T>(what: string, find: () => T | undefined | Promise<T | undefined>): Promise<T> {
  return eventually(
    what,
    async () => {
      const found = await find();
      return found === undefined ? undefined : { found };
    },
    patienceMs,
  ).then(({ found }) => found);
}

const launcherOf = (arena: Arena): Promise<number> =>
  soon('a launcher is in charge', () => arena.processes().launcher);

const managerOf = (arena: Arena): Promise<number> =>
  soon('a manager runs', () => arena.processes().manager);

const anyContestant = ({ contestants }: Arena, { draw }: Moment): Contestant =>
  draw.oneOf(contestants)!;

const workerOf = ({ site }: Contestant, { draw }: Moment): Promise<number> =>
  soon(`a worker of ${site.server.name} runs`, () => draw.oneOf(site.workers));

/** One that suits, out of all instances. */
function instanceOf(
  arena: Arena,
  { draw }: Moment,
  suits: (pid: number) => boolean = () => true,
): Promise<number> {
  return soon('an instance that suits', async () => {
    const instances = await arena.instances();
    return draw
      .shuffled(instances.map(({ pid }) => pid))
      .find((pid) => isRunning(pid) && suits(pid));
  });
}

/** What whoever looks after a server does when no Usher is left: reads the configuration again. */
async function helpFromOutside(arena: Arena): Promise<void> {
  for (const { site } of arena.contestants) {
    await readAgain(site, () => signal(site.pid, site.server.reloadSignal));
  }
}

// ---- Usher's own processes

async function killLauncher(arena: Arena, moment: Moment, more: number[] = []): Promise<void> {
  if (arena.hasStandby) await standbyOf(arena.runtimeDir);
  const launcher = await launcherOf(arena);
  await arena.behead(moment, [launcher, ...more]);
  if (!arena.hasStandby) await helpFromOutside(arena);
}

async function killBoth(arena: Arena, moment: Moment): Promise<void> {
  await killLauncher(arena, moment, [await managerOf(arena)]);
}

const isOuter = ({ path }: Loss): boolean => path.startsWith('/outer/');

/** What runs of Usher, all its programs and perhaps the servers' workers; then help comes. */
async function killEverything(arena: Arena, moment: Moment): Promise<void> {
  const instances = await soon('a manager answers', () => arena.instances());
  // Until there is a manager again nobody starts what requests need.
  const over = arena.accounts.scarce(moment.number, moment.action, (loss) => !isOuter(loss));
  if (moment.draw.isTrue()) {
    for (const contestant of arena.contestants) {
      for (const pid of contestant.site.workers) await arena.cut(moment, contestant, pid);
    }
  }
  // A standby that has taken over meanwhile is killed with the rest: nothing may be left.
  for (let left = arena.processes().all; left.length > 0; left = arena.processes().all) {
    for (const pid of left) signal(pid, 'SIGSTOP');
    for (const pid of left) signal(pid, 'SIGKILL');
    await sleep(1);
  }
  for (const { pid } of instances) signal(pid, 'SIGKILL');
  await helpFromOutside(arena);
  await arena.recovered().finally(over);
}

// ---- standing still

const stopping =
  (find: (arena: Arena, moment: Moment) => Promise<number>) =>
  async (arena: Arena, moment: Moment): Promise<void> => {
    const pid = await find(arena, moment);
    if (!signal(pid, 'SIGSTOP')) return;
    arena.later(moment.draw.between(100, 3000), pid, () => signal(pid, 'SIGCONT'));
  };

/** Stands still until the launcher has had enough of it. */
async function hangManager(arena: Arena): Promise<void> {
  const { pid } = await soon('a manager answers', async () => (await arena.status()).manager);
  const isEnded = (): boolean => {
    signal(pid, 'SIGSTOP'); // again, should another step's CONT have come
    return !isRunning(pid);
  };
  await eventually('the manager that hangs is ended', isEnded, patienceMs).finally(() =>
    signal(pid, 'SIGCONT'),
  );
  await arena.recovered();
}

// ---- want

/** Limits that are lowered now, "PID LIMIT": what they were before is known to whoever did it. */
const lowered = new Set<string>();

/** Lowers a limit of a process for a moment; the hard limit stays, so that it can be given back: to
 * those as well that it began meanwhile and that take its place (`heirs`). */
async function lower(
  arena: Arena,
  moment: Moment,
  pid: number,
  limit: string,
  to: number,
  heirs: () => number[] = () => [],
) {
  const key = `${pid} ${limit}`;
  if (lowered.has(key)) return;
  lowered.add(key);
  const set = async (value: string, whom = pid): Promise<void> => {
    await run(['prlimit', '--pid', `${whom}`, `--${limit}=${value}:`]);
  };
  const { output } = await run([
    ...['prlimit', '--pid', `${pid}`, `--${limit}`],
    ...['--raw', '--noheadings', '--output=SOFT'],
  ]);
  const before = output.trim();
  await set(`${to}`);
  // Whether or not it lives by then.
  arena.later(moment.draw.between(200, 800), process.pid, async () => {
    for (const whom of [pid, ...heirs()]) await set(before, whom);
    lowered.delete(key);
  });
}

/** How long a class that could not be started may go on refusing: its back-off, and a manager that hangs. */
const refusesForMs = 30_000;

/** Excuses 503s of classes that could not be started for want of this, and say so. */
function startsMayFail(arena: Arena, { number, action }: Moment): void {
  const want = /Resource temporarily unavailable|Too many open files/;
  const over = arena.accounts.scarce(
    number,
    action,
    ({ status }, _, reason) => status === 503 && want.test(reason),
  );
  void sleep(refusesForMs, undefined, { ref: false }).then(over);
}

/** Something has to be started now: one of several instances of a class dies, and the others serve. */
async function needStart(arena: Arena, moment: Moment): Promise<void> {
  const instances = await soon('a manager answers', () => arena.instances());
  const several = instances.filter(({ of }) => of.key === 'c').map(({ pid }) => pid);
  const victim = moment.draw.oneOf(several);
  if (victim !== undefined && several.length > 1) await arena.slay(moment, [victim]);
}

async function fewFilesOfLauncher(arena: Arena, moment: Moment): Promise<void> {
  startsMayFail(arena, moment);
  const pid = await launcherOf(arena);
  await lower(arena, moment, pid, 'nofile', descriptorCount(pid) + moment.draw.between(0, 2));
  await needStart(arena, moment);
}

async function fewFilesOfManager(arena: Arena, moment: Moment): Promise<void> {
  const pid = await managerOf(arena);
  await lower(arena, moment, pid, 'nofile', descriptorCount(pid) + moment.draw.between(0, 2));
}

async function fewFilesOfWorker(arena: Arena, moment: Moment): Promise<void> {
  const contestant = anyContestant(arena, moment);
  const { name } = contestant.site.server;
  const over = arena.accounts.scarce(
    moment.number,
    moment.action,
    ({ status }, server) => server === name && status >= 500,
  );
  arena.later(1500, process.pid, over);
  const pid = await workerOf(contestant, moment);
  await lower(arena, moment, pid, 'nofile', descriptorCount(pid) + moment.draw.between(0, 4));
}

async function fewProcesses(arena: Arena, moment: Moment): Promise<void> {
  startsMayFail(arena, moment);
  const launcher = await launcherOf(arena);
  await lower(arena, moment, launcher, 'nproc', 1, () => arena.processes().all);
  await needStart(arena, moment);
}

// ---- what administrators do

async function reload(arena: Arena, moment: Moment): Promise<void> {
  const { site } = anyContestant(arena, moment);
  await readAgain(site, () => signal(site.pid, site.server.reloadSignal));
}

/** Another configuration of one class, in every server that has it. */
async function reconfigure(arena: Arena, moment: Moment): Promise<void> {
  const { name } = moment.draw.oneOf(arena.classes)!;
  arena.marks.set(name, moment.number);
  for (const { site, classes } of arena.contestants) {
    if (!classes.some((known) => known.name === name)) continue;
    await readAgain(site, () => site.reload(chaosTexts(arena.first, site, classes, arena.marks)));
  }
}

async function restartClass(arena: Arena, moment: Moment): Promise<void> {
  const { key } = moment.draw.oneOf(arena.classes.filter(({ isKept }) => isKept))!;
  await command(arena, 'restart', key);
}

/** Repeated while no manager answers. */
async function command({ runtimeDir }: Arena, ...words: string[]): Promise<void> {
  await eventually(
    `usher ${words.join(' ')}`,
    async () => {
      const { status, output } = await usherCommand(runtimeDir, ...words);
      if (status === 0) return true;
      throw new Error(output);
    },
    patienceMs,
  );
}

// ---- clients

/** Uploads that stall, and answers nobody reads, for some seconds. */
async function slowClients(arena: Arena, moment: Moment): Promise<void> {
  const { site } = anyContestant(arena, moment);
  const head = 'POST /c/page.php HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\nhalf';
  for (let i = 0; i < 4; i += 1) {
    const client = i % 2 === 0 ? await RawClient.connect(site.port) : await reader(site.port);
    if (i % 2 === 0) client.send(head);
    arena.later(moment.draw.between(500, 3000), process.pid, () => client.leave());
  }
}

async function reader(port: number): Promise<RawClient> {
  const client = await RawClient.get(port, '/c/page.php?bytes=2000000');
  client.socket.pause();
  return client;
}

/** Clients that ask and leave at any time, some in the middle of what they say. */
async function leavingClients(arena: Arena, moment: Moment): Promise<void> {
  const { draw } = moment;
  const { site, classes } = anyContestant(arena, moment);
  for (let i = 0; i < 20; i += 1) {
    const { name } = draw.oneOf(classes)!;
    const client = await RawClient.get(site.port, `/${name}/page.php?as=text&sleep=50`);
    arena.later(draw.between(0, 100), process.pid, () => client.leave());
  }
}

export const actions: readonly Action[] = [
  {
    name: 'kill-manager',
    title: 'the manager gets KILL',
    run: async (arena, moment) => arena.behead(moment, [await managerOf(arena)]),
  },
  {
    name: 'kill-launcher',
    title: 'the launcher gets KILL',
    run: killLauncher,
  },
  {
    name: 'kill-both',
    title: 'manager and launcher get KILL together',
    run: killBoth,
  },
  {
    name: 'kill-standby',
    title: 'the standby gets KILL',
    run: async (arena) => signal(await standbyOf(arena.runtimeDir), 'SIGKILL'),
  },
  {
    name: 'kill-everything',
    title:
      'manager, launcher, standby and all instances get KILL, half of the times the workers too; then the servers are reloaded',
    run: killEverything,
  },
  {
    name: 'kill-idle',
    title: 'an instance without a request gets KILL',
    run: async (arena, moment) => {
      const isIdle = (pid: number): boolean => takenConnections(pid, arena.sockets) === 0;
      await arena.slay(moment, [await instanceOf(arena, moment, isIdle)]);
    },
  },
  {
    name: 'kill-busy',
    title: 'an instance with a request gets KILL',
    run: async (arena, moment) => {
      const isBusy = (pid: number): boolean => takenConnections(pid, arena.sockets) > 0;
      await arena.slay(moment, [await instanceOf(arena, moment, isBusy)]);
    },
  },
  {
    name: 'kill-worker',
    title: "a server's worker gets KILL",
    run: async (arena, moment) => {
      const contestant = anyContestant(arena, moment);
      await arena.cut(moment, contestant, await workerOf(contestant, moment));
    },
  },
  {
    name: 'stop-manager',
    title: 'the manager stands still for up to 3 s (STOP, CONT)',
    run: stopping(managerOf),
  },
  {
    name: 'stop-launcher',
    title: 'the launcher does',
    run: stopping(launcherOf),
  },
  {
    name: 'stop-worker',
    title: 'a worker does',
    run: stopping((arena, moment) => workerOf(anyContestant(arena, moment), moment)),
  },
  {
    name: 'stop-instance',
    title: 'an instance does',
    run: stopping(instanceOf),
  },
  {
    name: 'hang-manager',
    title: 'the manager stands still until the launcher kills it, after 15 s',
    isLong: true,
    run: hangManager,
  },
  {
    name: 'few-files-launcher',
    title: 'the launcher can open no more files for up to 0.8 s, and has to start an instance',
    run: fewFilesOfLauncher,
  },
  {
    name: 'few-files-manager',
    title: 'the manager cannot',
    run: fewFilesOfManager,
  },
  {
    name: 'few-files-worker',
    title: 'a worker cannot',
    run: fewFilesOfWorker,
  },
  {
    name: 'few-processes',
    title: 'what the launcher has to start may be no process more of its user, for up to 0.8 s',
    run: fewProcesses,
  },
  {
    name: 'reload',
    title: 'a server reads its configuration again (HUP; graceful)',
    run: reload,
  },
  {
    name: 'reconfigure',
    title: 'a class is configured differently',
    run: reconfigure,
  },
  {
    name: 'restart-class',
    title: '`usher restart CLASS`',
    run: restartClass,
  },
  {
    name: 'upgrade',
    title: '`usher upgrade`',
    run: (arena) => command(arena, 'upgrade'),
  },
  {
    name: 'slow-clients',
    title: 'uploads stall and answers are not read for up to 3 s',
    run: slowClients,
  },
  {
    name: 'leaving-clients',
    title: '20 clients ask and leave',
    run: leavingClients,
  },
];
