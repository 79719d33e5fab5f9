// SPDX-License-Identifier: Apache-2.0
// Where a chaos takes place: one or two web servers at one runtime directory, their programs, the load
// on them, and how something in there is killed so that it is known what that may cost.

import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../servers/eventually.ts';
import { Load } from '../../servers/load.ts';
import {
  clientPorts,
  isRunning,
  isStopped,
  signal,
  startTime,
  takenConnections,
  waitingOnlyFor,
} from '../../servers/processes.ts';
import { accepts, Site, type SiteOwner } from '../../servers/site.ts';
import { type ClassStatus, type Status, startInBackground } from '../../servers/usher.ts';
import { standbyOf, type UsherProcesses, usherProcesses } from '../../servers/usher-processes.ts';
import type { WebServer } from '../../servers/web-server.ts';
import { managerStatus } from '../manager.ts';
import { programs } from '../programs.ts';
import { requestTo } from '../requests.ts';
import { Accounts, type Judged } from './accounts.ts';
import { type ChaosClass, chaosTexts, ownClasses, sharedClasses } from './classes.ts';
import { reasonsIn } from './reasons.ts';
import { Draw } from './schedule.ts';

/** How long something may take to be there again on a machine that has much else to do. */
export const patienceMs = 60_000;

/** Who makes requests to each server, and how long each of them thinks between two. */
const clients = 10;
const pauseMs = 10;

export interface Instance {
  pid: number;
  of: ChaosClass;
}

export interface Contestant {
  site: Site;
  classes: readonly ChaosClass[];
  load: Load;
  /** From which port each request was made, by its path. */
  ports: Map<string, number>;
}

/** The step under way: its number, what it is called, and the chance it may use. */
export interface Moment {
  number: number;
  action: string;
  draw: Draw;
}

export class Arena {
  readonly accounts = new Accounts();
  readonly contestants: readonly Contestant[];
  readonly shared: readonly ChaosClass[];
  /** Whatever else is wrong than a lost request. */
  readonly problems: string[] = [];
  readonly marks = new Map<string, number>();
  /** Whether a process waits for the launcher's death, to take its place. */
  hasStandby = false;
  readonly #external: ChildProcess;
  readonly #later = new Set<Promise<void>>();

  private constructor(
    contestants: Contestant[],
    shared: readonly ChaosClass[],
    external: ChildProcess,
  ) {
    this.contestants = contestants;
    this.shared = shared;
    this.#external = external;
  }

  static async start(
    owner: SiteOwner,
    servers: readonly WebServer[],
    seed: number,
  ): Promise<Arena> {
    const sites: Site[] = [];
    for (const server of servers) {
      const runtimeDir = sites[0]?.runtimeDir;
      sites.push(await Site.create(owner, server, runtimeDir === undefined ? {} : { runtimeDir }));
    }
    const [first] = sites as [Site, ...Site[]];
    first.file('notes', '', 0o666);
    const externalPort = first.ports[1]!;
    const external = startInBackground([
      `NOTES=${first.dir}/notes`,
      ...['spawn-fcgi', '-n', '-a', '127.0.0.1', '-p', `${externalPort}`],
      ...['--', first.program('bin/outer')],
    ]);
    owner.teardown(() => external.kill('SIGKILL'));
    await eventually('the external program listens', () => accepts(externalPort));
    const shared = sharedClasses(first, externalPort);
    const draw = new Draw(seed);
    const contestants = sites.map((site) => {
      programs.php.place(site, 'php');
      const classes = [...shared, ...ownClasses(site)];
      return contestantOf(site, classes, draw);
    });
    const arena = new Arena(contestants, shared, external);
    for (const { site, classes } of contestants) {
      await site.start(chaosTexts(first, site, classes, arena.marks));
    }
    await arena.recovered();
    arena.hasStandby = await standbyOf(arena.runtimeDir, 30_000).then(
      () => true,
      () => false,
    );
    return arena;
  }

  get first(): Site {
    return this.contestants[0]!.site;
  }

  get runtimeDir(): string {
    return this.first.runtimeDir;
  }

  get sockets(): string {
    return `${this.runtimeDir}/sockets`;
  }

  get externalPid(): number {
    return this.#external.pid ?? 0;
  }

  endExternal(): void {
    this.#external.kill('SIGKILL');
  }

  // ---- load

  set clients(isOn: boolean) {
    for (const { load } of this.contestants) load.clients = isOn ? clients : 0;
  }

  async stopLoad(): Promise<void> {
    await Promise.all(this.contestants.map(({ load }) => load.stop()));
  }

  get underWay(): number {
    return this.contestants.reduce((sum, { load }) => sum + load.underWay, 0);
  }

  judge(): Judged[] {
    const losses = this.contestants.flatMap(({ site, load, ports }) => {
      const reasonOf = reasonsIn(site);
      return load.losses.map((loss) => {
        const port = ports.get(loss.path);
        return { server: site.server.name, loss, port, reason: reasonOf(loss, port) };
      });
    });
    return this.accounts.judge(losses, `${this.first.dir}/notes`);
  }

  // ---- who is there

  processes(): UsherProcesses {
    return usherProcesses(this.runtimeDir);
  }

  status(): Promise<Status> {
    return managerStatus(this.runtimeDir);
  }

  async classStatus(key: string): Promise<ClassStatus | undefined> {
    return (await this.status()).classes.find(({ name }) => name === key);
  }

  get classes(): ChaosClass[] {
    return [...new Map(this.contestants.flatMap(({ classes }) => classes.map((c) => [c.key, c])))]
      .map(([, known]) => known)
      .filter(({ isExternal }) => !isExternal);
  }

  /** All instances of ours that have a process; throws when no manager answers. */
  async instances(): Promise<Instance[]> {
    const status = await this.status();
    return status.classes.flatMap(({ name, instances }) => {
      const of = this.classes.find(({ key }) => key === name);
      const there = instances.filter(({ pid }) => pid > 0);
      return of === undefined ? [] : there.map(({ pid }) => ({ pid, of }));
    });
  }

  /** Waits until launcher and manager are there and every kept class can serve. */
  async recovered(): Promise<void> {
    await eventually(
      'launcher and manager are there, and kept classes ready',
      async () => {
        const { launcher } = this.processes();
        if (launcher === undefined) throw new Error('no launcher');
        const { classes } = await this.status();
        const kept = this.classes.filter(({ isKept }) => isKept);
        const missing = kept.filter(
          ({ key }) => classes.find(({ name }) => name === key)?.state !== 'ready',
        );
        if (missing.length === 0) return true;
        throw new Error(`not ready: ${missing.map(({ key }) => key).join(', ')}`);
      },
      patienceMs,
    );
  }

  // ---- violence

  /** Lets a process stand still. False when it is gone. */
  async freeze(pid: number): Promise<boolean> {
    if (!signal(pid, 'SIGSTOP')) return false;
    await eventually('it stands still', () => isStopped(pid) || !isRunning(pid));
    return isRunning(pid);
  }

  /** Kills instances at the same moment, knowing which connections they had taken. */
  async slay({ number, action }: Moment, pids: readonly number[]): Promise<void> {
    await Promise.all(pids.map((pid) => this.freeze(pid)));
    for (const pid of pids) {
      this.accounts.slew(number, action, pid, takenConnections(pid, this.sockets));
    }
    for (const pid of pids) signal(pid, 'SIGKILL');
  }

  /** Kills a server's process, knowing whose connections it held. */
  async cut({ number, action }: Moment, { site }: Contestant, pid: number): Promise<void> {
    if (!(await this.freeze(pid))) return;
    this.accounts.cut(number, action, site.server.name, clientPorts(pid, site.port));
    signal(pid, 'SIGKILL');
  }

  /** Kills processes of Usher's own at the same moment. What waits in a socket that only they had is lost. */
  async behead({ number, action }: Moment, pids: readonly number[]): Promise<void> {
    await Promise.all(pids.map((pid) => this.freeze(pid)));
    this.accounts.closed(number, action, waitingOnlyFor(pids, this.sockets));
    for (const pid of pids) signal(pid, 'SIGKILL');
  }

  /** Does something to a process that still runs then, while the chaos goes on. */
  later(delayMs: number, pid: number, action: () => unknown): void {
    const started = startTime(pid);
    const run = async (): Promise<void> => {
      await sleep(delayMs);
      if (startTime(pid) === started) await action();
    };
    const done: Promise<void> = run()
      .catch((error: Error) => void this.problems.push(error.message))
      .finally(() => this.#later.delete(done));
    this.#later.add(done);
  }

  /** Waits for all that was put off. */
  async calm(): Promise<void> {
    while (this.#later.size > 0) await Promise.all(this.#later);
  }
}

function contestantOf(site: Site, classes: readonly ChaosClass[], draw: Draw): Contestant {
  const ports = new Map<string, number>();
  const load = new Load(site.port, (index) => {
    const { name } = draw.oneOf(classes)!;
    // Now and then one takes long enough to be there whatever happens next.
    const sleepMs = index % 50 === 7 ? 300 : draw.between(1, 20);
    const ask = requestTo(`/${name}/page.php`, index, index % 4 === 3, sleepMs);
    const onConnected = (port: number): void => {
      ports.set(ask.path, port);
    };
    const problemIn: typeof ask.problemOf = (answer) => {
      const problem = ask.problemOf?.(answer);
      if (problem === undefined && answer.status === 200) ports.delete(ask.path);
      return problem;
    };
    return { ...ask, problemOf: problemIn, options: { ...ask.options, onConnected } };
  });
  load.keptLosses = 100_000;
  load.pauseMs = pauseMs;
  return { site, classes, load, ports };
}
