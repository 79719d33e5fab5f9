// SPDX-License-Identifier: Apache-2.0
// One server under load with one program, as a scenario sees it: what it can do to it, and what it can
// wait for.

import { eventually } from '../servers/eventually.ts';
import { type Ask, Load } from '../servers/load.ts';
import { descriptorCount, parentOf } from '../servers/processes.ts';
import { Site, type SiteOwner, type Texts } from '../servers/site.ts';
import type { Tomcat } from '../servers/tomcat.ts';
import type { ClassStatus, Status } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';
import { configurationFor, type TorturedClass } from './configuration.ts';
import { EventCounts, managerStatus, pidsIn } from './manager.ts';
import { type ClassOptions, engineSecret, type Program } from './programs.ts';
import { requestTo } from './requests.ts';

/** How long something may take on a machine that has much else to do. */
export const patienceMs = 60_000;

export type Methods = 'GET' | 'POST' | 'both';

export interface Setting {
  server: WebServer;
  program: Program;
  classes: number;
  options: ClassOptions;
  methods: Methods;
  /** What each request takes at the program. */
  sleepMs: number;
}

/** The options of a class that engines serve. */
function hosted(site: Site, engines: readonly Tomcat[], options: ClassOptions): ClassOptions {
  const secretFile = site.file('secret', `${engineSecret}\n`, 0o600);
  const host = engines.map(({ address }) => address);
  return { ...options, host, 'secret-file': secretFile };
}

export class Tortured {
  readonly site: Site;
  readonly setting: Setting;
  readonly classes: readonly TorturedClass[];
  readonly texts: Texts;
  /** Of a program that is served by some. */
  readonly engines: readonly Tomcat[];
  readonly load: Load;
  readonly log: EventCounts;
  /** Whatever else is wrong than a lost request. */
  readonly problems: string[] = [];
  /** Figures worth telling. */
  readonly notes: string[] = [];
  /** Of the thing that the scenario repeats. */
  events = 0;

  private constructor(
    site: Site,
    setting: Setting,
    classes: TorturedClass[],
    texts: Texts,
    engines: Tomcat[],
  ) {
    this.site = site;
    this.setting = setting;
    this.classes = classes;
    this.texts = texts;
    this.engines = engines;
    this.load = new Load(site.port, (index) => this.ask(index));
    this.log = new EventCounts(site.runtimeDir);
  }

  static async start(owner: SiteOwner, setting: Setting): Promise<Tortured> {
    const site = await Site.create(owner, setting.server);
    const classes = Array.from({ length: setting.classes }, (_, i) => {
      const name = `class${i}`;
      return { name, file: setting.program.place(site, name) };
    });
    const engines = (await setting.program.engines?.(owner, `/${classes[0]!.name}`)) ?? [];
    const options = engines.length === 0 ? setting.options : hosted(site, engines, setting.options);
    const texts = configurationFor(site, setting.program, classes, options);
    await site.start(texts);
    const tortured = new Tortured(site, setting, classes, texts, engines);
    await tortured.statusSoon();
    return tortured;
  }

  // ---- requests

  /** The request of this number; the classes take turns. */
  ask(index: number, { name } = this.classes[index % this.classes.length]!): Ask {
    const { methods, sleepMs, program } = this.setting;
    const hasBody = methods === 'POST' || (methods === 'both' && index % 4 === 3);
    return requestTo(`/${name}/${program.page ?? 'page.php'}`, index, hasBody, sleepMs);
  }

  /** A load on one class alone, counted together with the others' by the driver. */
  loadOn(known: TorturedClass): Load {
    const load = new Load(this.site.port, (index) => this.ask(index, known));
    this.otherLoads.push(load);
    return load;
  }

  readonly otherLoads: Load[] = [];

  // ---- what the manager says

  status(): Promise<Status> {
    return managerStatus(this.site.runtimeDir);
  }

  statusSoon(): Promise<Status> {
    return eventually('a manager answers', () => this.status(), patienceMs);
  }

  async classStatus(known = this.classes[0]!): Promise<ClassStatus | undefined> {
    return (await this.statusSoon()).classes.find(({ name }) => name === known.name);
  }

  /** The instances of a class that are ready, once there are `count` and, if given, they suit. */
  ready(
    count: number,
    suits: (pids: number[]) => boolean = () => true,
    known = this.classes[0]!,
  ): Promise<number[]> {
    return eventually(
      `${count} instances of ${known.name} are ready`,
      async () => {
        const status = await this.classStatus(known);
        const pids = pidsIn(status, 'ready');
        if (pids.length === count && suits(pids)) return pids;
        const seen = status?.instances.map(({ pid, state }) => `${pid} ${state}`);
        throw new Error(`${seen?.join(', ')}; ${JSON.stringify(status?.lastEvent)}`);
      },
      patienceMs,
    );
  }

  // ---- at the end

  /** Descriptors of manager and launcher. */
  async descriptors(): Promise<number[]> {
    const { pid } = (await this.statusSoon()).manager;
    return [pid, parentOf(pid)].map(descriptorCount);
  }

  async settled(): Promise<void> {
    await eventually(
      'no request is in flight or waits',
      async () => {
        const { classes } = await this.statusSoon();
        const busy = classes.filter(({ inFlight, waiting }) => inFlight !== 0 || waiting !== 0);
        if (busy.length === 0) return true;
        throw new Error(
          busy.map((c) => `${c.name}: ${c.inFlight} in flight, ${c.waiting} waiting`).join('; '),
        );
      },
      patienceMs,
    );
  }
}
