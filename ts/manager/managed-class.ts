// SPDX-License-Identifier: Apache-2.0
// One class whose instances we run: carries out what the policy wants, replaces what has to be
// replaced, publishes what workers need to know. Driven by pass() and by the launcher's events.
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { isAbsolute } from 'node:path';
import type { ClassStatus, Journey, Lent } from '../control/messages.ts';
import type { Activation } from '../gateways/link.ts';
import type { ClassState, Load, Ref } from '../native/native.ts';
import type { Exit, KeptEndpoint, StartFacts } from '../process/launcher.ts';
import { type ClassConfig, optionsHash, runFingerprint } from './class-config.ts';
import { ClassGateways } from './class-gateways.ts';
import type { ClassMemory } from './class-memory.ts';
import { ClassReport } from './class-report.ts';
import type { ClassContext } from './context.ts';
import type { KeptEngine } from './engines/engine.ts';
import type { Engines } from './engines/engines.ts';
import { aboutStart, Failures, type Refusal } from './failures.ts';
import { History } from './history.ts';
import { type Endpoint, type Instance, isServing } from './instance.ts';
import {
  addFacts,
  addStep,
  describeExit,
  endBeforeReady,
  endEarly,
  hang,
  lastLine,
  noteExit,
  roundMs as round,
  succeed,
  timeOut,
} from './journeys.ts';
import { Lending } from './lending.ts';
import type { LoadSample } from './load-recorder.ts';
import type { ClassFigures } from './metrics.ts';
import { Orphans } from './orphans.ts';
import { oomVerdict } from './out-of-memory.ts';
import { rssBytes } from './proc.ts';
import { listenOf } from './public-socket.ts';
import { PublicSockets } from './public-sockets.ts';
import { Retirement } from './retirement.ts';
import type { Revision } from './revision.ts';
import { rolloutStep } from './rollout.ts';
import { Scaling } from './scaling.ts';
import { type Masker, maskerOf } from './secrets.ts';
import { type FailedStart, Starter } from './starter.ts';
import { Tally } from './tally.ts';
import { totalsOf } from './totals.ts';
import { Updates } from './updates.ts';
import { Usage } from './usage.ts';
import { canWear, findWorn } from './wear.ts';

const REPAIR_MS = 1_000;
/** Memory, age and the program's file are looked at this often. */
const INSPECT_MS = 1_000;

/** A class where nothing happens is passed this often, with instances and without: a thousand of
 * them must cost nothing. One without instances that wants none changes only when it is asked for. */
const QUIET_MS = 500;
const COLD_MS = 60_000;

export class ManagedClass {
  readonly label: string;
  readonly server: string | null;
  readonly ref: Ref;
  /** Left the configuration, or the manager stops: drains and ends. */
  isRetiring = false;
  /** Then what is left of a class that retires is stopped. */
  #endsAtMs = Number.POSITIVE_INFINITY;

  #context: ClassContext;
  #scaling: Scaling;
  #starter: Starter;
  #retirement: Retirement;
  #orphans: Orphans;
  #sockets: PublicSockets;
  #revision: Revision;
  #updates = new Updates();
  #instances = new Map<number, Instance>();
  #failures = new Failures();
  #activeAtMs: number;
  #repairedAtMs = 0;
  #inspectedAtMs = 0;
  #quietUntilMs = 0;
  #isAskedFor = false;
  #load: Load;
  /** So many instances, whatever the policy thinks: an administrator said so. null = as configured. */
  #scaledTo: number | null = null;
  /** The most at one moment since the last sample. */
  #peak = { inFlight: 0, waiting: 0 };
  #tally = new Tally();
  #usage = new Usage();
  #lending: Lending;
  #report: ClassReport;
  #history = new History();
  /** Where the instances are gateways. */
  #gateways: ClassGateways | null = null;

  constructor(
    context: ClassContext,
    label: string,
    server: string | null,
    config: ClassConfig,
    ref: Ref,
  ) {
    this.#context = context;
    this.#report = new ClassReport(context, this);
    this.#lending = new Lending(context.channel);
    this.#scaling = new Scaling(config.policy, context.now());
    this.#sockets = new PublicSockets(context, ref, config);
    this.#starter = new Starter(context, this, this.#sockets);
    this.#orphans = new Orphans(context);
    this.#retirement = new Retirement(context, (instance, event, text) =>
      this.#report.note('info', event, { pid: instance.pid }, text),
    );
    this.label = label;
    this.server = server;
    this.ref = ref;
    this.#revision = { config, epoch: 0, program: this.#watchedProgram(config) };
    this.#equip(config);
    this.#activeAtMs = context.now();
    this.#load = context.channel.load(ref);
    this.#publish();
  }

  get lastFailure(): Journey | null {
    return this.#history.lastFailure;
  }

  /** Newest first: of its instances, and of those that are remembered. */
  get journeys(): readonly Journey[] {
    const living = this.instances.map(({ journey }) => journey);
    const remembered = this.#history.journeys.filter((one) => !living.includes(one));
    return [...living, ...remembered].sort((a, b) => b.startedAt.localeCompare(a.startedAt));
  }

  /** What requests are told, and for how long; null = the class has not failed. */
  get refusal(): (Refusal & { leftMs: number }) | null {
    const { untilMs } = this.#failures;
    if (untilMs === null) return null;
    const now = this.#context.now();
    const leftMs = Math.max(0, untilMs - now);
    return { ...this.#refuse(now), leftMs };
  }

  get config(): ClassConfig {
    return this.#revision.config;
  }

  get instances(): readonly Instance[] {
    return [...this.#instances.values()];
  }

  /** Instances that have a process: not those that are just being started. */
  get processes(): readonly Instance[] {
    return this.instances.filter(({ pid }) => pid > 0);
  }

  /** Instances that count against -maxProcesses. */
  get instanceCount(): number {
    return this.#instances.size + this.#starter.pending;
  }

  get isGone(): boolean {
    const areEnginesGone = this.#engines?.areGone ?? true;
    return this.isRetiring && this.instanceCount === 0 && this.#orphans.isEmpty && areEnginesGone;
  }

  get enginePids(): readonly number[] {
    return this.#engines?.pids ?? [];
  }

  /** Resolves when a gateway has somebody to speak to. */
  async enginesUp(): Promise<void> {
    await this.#engines?.whenUp();
  }

  /** Something happens or waits: look again at the next pass even if no counter changes. */
  get isBusy(): boolean {
    return this.#load.waiting > 0 || this.#load.inFlight > 0;
  }

  /** Until then only what rings, is counted or told by the launcher makes another look worth while. */
  get dueMs(): number {
    if (this.isRetiring || this.#sockets.isPublic) return 0; // foreign clients ring nothing
    return Math.min(this.#quietUntilMs, this.#engines?.dueMs ?? Number.POSITIVE_INFINITY);
  }

  get idleForMs(): number {
    return this.isBusy ? 0 : this.#context.now() - this.#activeAtMs;
  }

  /** New options. What a running instance cannot change makes a new revision. */
  reconfigure(config: ClassConfig): void {
    const before = this.config;
    if (config.policy !== before.policy) {
      this.#scaling.beginWith(config.policy, this.#instances.size, this.#context.now());
    }
    this.#context.channel.setLimits(this.ref, config.limits);
    this.#equip(config);
    if (runFingerprint(config) === runFingerprint(before)) {
      this.#revision.config = config;
      return;
    }
    this.#beginRevision(config, this.#revision.epoch, 'its options changed');
  }

  /** Replace every instance, the new ones first. Resolves when no old one is left, rejects when the
   * new ones cannot start: then the old ones go on. */
  restart(): Promise<void> {
    if (this.#engines) {
      this.#context.rouse();
      return this.#engines.restart(); // gateways lose nothing by serving on
    }
    this.#beginRevision(this.config, this.#revision.epoch + 1, 'a restart was asked for');
    const done = this.#updates.wait('updated');
    this.pass(true);
    return done;
  }

  /** Try again now what failed. Resolves when an instance is ready, rejects when it fails again. */
  retry(): Promise<void> {
    this.#forgetFailures();
    this.#engines?.retry();
    const done = this.#updates.wait('ready');
    this.askedFor();
    return done;
  }

  /** Have so many instances from now on, null: as configured. Resolves when that is so, rejects when
   * one cannot start. */
  scale(instances: number | null): Promise<void> {
    this.#scaledTo = instances;
    const text = instances === null ? 'is scaled as configured again' : `is to have ${instances}`;
    this.#report.note('info', 'class.scaled', { instances }, text);
    if (instances === null) {
      this.pass(true);
      return Promise.resolve();
    }
    this.#forgetFailures();
    const done = this.#updates.wait('scaled');
    this.pass(true);
    return done;
  }

  /** An instance for a request of `usher request`; null = none is free now, and one is on its way if
   * none is there. @param id Of the loan. */
  lend(id: string): Lent | null {
    const instance = this.#lending.lend(id, this.#serving(), this.#context.now());
    if (instance === null) {
      if (this.instanceCount === 0) this.askedFor();
      return null;
    }
    const { config } = this;
    const listen = config.publicAddress === null ? null : listenOf(config.publicAddress);
    const program = isAbsolute(config.key) ? config.key : '';
    return { id, class: this.label, protocol: config.protocol, program, instance, listen };
  }

  giveBack(id: string): boolean {
    const isKnown = this.#lending.giveBack(id);
    if (isKnown) this.pass(true);
    return isKnown;
  }

  /** Why it starts nothing for now; null = it may. */
  get failure(): string | null {
    return this.#failures.untilMs === null ? null : this.#failures.reason;
  }

  /** What a former manager knew of it. */
  recall(memory: ClassMemory): void {
    this.#scaledTo = memory.scaledTo;
    if (memory.failures) this.#failures.restore(memory.failures);
    this.#history.recall(memory.lastFailure);
    this.#gateways?.recall(memory);
    this.#failures.expire(this.#context.now());
    this.#publish();
  }

  /** The revision of an instance that a former manager started. */
  revisionOf(started: { isOfToday: boolean; epoch: number; program: string }): Revision {
    const { config } = this;
    if (!started.isOfToday) return { config: { ...config }, epoch: -1, program: '' };
    if (started.epoch > this.#revision.epoch) {
      this.#revision = { ...this.#revision, epoch: started.epoch };
    }
    this.#learnProgram(started.program);
    const { epoch, program } = this.#revision;
    const isCurrent =
      started.epoch === epoch && (!config.autoUpdate || started.program === program);
    return isCurrent ? this.#revision : { config, epoch: started.epoch, program: started.program };
  }

  /** An instance that a former manager started and the launcher kept. @param linkFd Of a gateway. */
  adopt(instance: Instance, linkFd: number | null): void {
    this.#instances.set(instance.id, instance);
    this.#attach(instance.id, linkFd);
    this.#context.own(instance.id, this);
    this.#scaling.beginWith(this.config.policy, this.#instances.size, this.#context.now());
    this.#publish();
  }

  /** A servlet engine that a former manager started. False when it is none of today's. */
  adoptEngine(name: string, kept: KeptEngine): boolean {
    return this.#engines?.adopt(name, kept) ?? false;
  }

  /** A socket that a former manager bound and never used. Requests may wait in it. */
  resume(endpoint: Endpoint): void {
    this.#orphans.keep(endpoint);
  }

  /** A public socket that a former manager bound; false when it is not the class's any more. */
  adoptSocket(kept: KeptEndpoint): boolean {
    return this.#sockets.adopt(kept);
  }

  /** The share of it that one more instance has. */
  shareSocket(kept: KeptEndpoint): Endpoint {
    return this.#sockets.share(this.config, { endpointId: kept.id, inode: kept.inode });
  }

  /** Of a backend of its gateways. @returns False when there is none of that name. */
  activate(backend: string, activation: Activation): boolean {
    const isKnown = this.#gateways?.activate(backend, activation) === true;
    if (isKnown) this.#remember();
    return isKnown;
  }

  /** A start request asks for the class: as good as a waiting request, which shows only later. */
  askedFor(): void {
    this.#isAskedFor = true;
    this.pass(true);
  }

  /** Make the instances' sockets reachable for a server that came later. */
  linkServer(server: string): void {
    this.#report.sharePage(this.ref, server);
    for (const instance of this.#instances.values()) {
      if (instance.linked.has(server)) continue;
      instance.linked.add(server);
      this.#context.launcher.linkServer(instance.endpointId, server).catch((error: unknown) => {
        const text = error instanceof Error ? error.message : String(error);
        this.#context.log('error', 'endpoint.link-failed', { class: this.label, server, text });
      });
    }
  }

  /** One look at the class. `changed`: its load data changed since the last pass. */
  pass(changed: boolean): void {
    const now = this.#context.now();
    this.#passInstances(changed, now);
    this.#engines?.pass(now, this.#needsEngines);
  }

  #passInstances(changed: boolean, now: number): void {
    const seen = this.#sockets.isBusy();
    if (!changed && !seen && now < this.#quietUntilMs) return;
    if (changed || seen || this.isBusy) this.#refreshLoad(now);
    if (changed) this.#noteAnswers(now);
    this.#repairHints(now);
    this.#inspect(now, changed);
    for (const instance of this.#lending.takeOverdue(now)) {
      this.#retirement.drain(instance, 'was lent to usher request, which did not give it back');
    }
    for (const instance of this.#instances.values()) this.#retirement.pass(instance);
    if (this.isRetiring) {
      this.#passLastOrphans(now);
      return;
    }
    this.#failures.expire(now);
    this.#passSockets(now);
    if (!this.#orphans.isEmpty) this.#passOrphans(now);
    this.#decide(now);
    this.#publish();
    this.#remember();
    this.#settleUpdates();
    this.#quietUntilMs = this.#isQuiet() ? this.#nextLookMs(now) : 0;
    if (this.#quietUntilMs === 0) this.#context.rouse();
  }

  /** Those with instances all at the same moments: the manager wakes up for all of them at once. */
  #nextLookMs(now: number): number {
    if (this.#instances.size === 0) return now + COLD_MS;
    return (Math.floor(now / QUIET_MS) + 1) * QUIET_MS;
  }

  /** Drain and end every instance; those still busy after `drainMs` are stopped all the same. */
  retire(drainMs: number): void {
    const now = this.#context.now();
    this.#endsAtMs = Math.min(this.#endsAtMs, now + drainMs);
    this.#quietUntilMs = 0;
    this.#context.rouse();
    if (!this.isRetiring) this.#sockets.close();
    this.#showPage(false);
    this.isRetiring = true;
    this.#updates.fail('the class was removed');
    this.#passLastOrphans(now);
    this.#drainAll();
  }

  #drainAll(): void {
    for (const instance of this.#instances.values()) {
      this.#retirement.drain(instance, 'belongs to a class that ends', this.#endsAtMs);
    }
  }

  /** Drain an instance to make room for another class; true when one goes. */
  giveUp(which: 'idle' | 'any'): boolean {
    const { channel } = this.#context;
    const leastLoaded = this.#serving()
      .filter((instance) => instance.state === 'ready')
      .map((instance) => ({ instance, inFlight: channel.inFlight(instance.ref) }))
      .sort((a, b) => a.inFlight - b.inFlight)[0];
    if (!leastLoaded || (which === 'idle' && (leastLoaded.inFlight > 0 || this.isBusy))) {
      return false;
    }
    this.#retirement.drain(leastLoaded.instance, 'makes room for another class (-maxProcesses)');
    return true;
  }

  onStarted(id: number, pid: number, facts: StartFacts): void {
    if (this.#engines?.onStarted(id, pid, facts)) return;
    const instance = this.#instances.get(id);
    if (!instance) return;
    instance.pid = pid;
    const { journey } = instance;
    journey.pid = pid;
    addFacts(journey, facts, instance.beganMs);
    this.#context.channel.setEndpoint(instance.ref, channelState(instance), pid);
    const { id: start, command } = journey;
    this.#report.note('info', 'instance.started', { pid, start, command }, 'was started');
  }

  onReady(id: number): void {
    const instance = this.#instances.get(id);
    if (!instance || instance.wasReady) return;
    instance.wasReady = true;
    const now = this.#context.now();
    const ms = now - instance.startedAtMs;
    succeed(instance.journey, now - instance.beganMs, 'it waits for connections, or took one');
    this.#history.succeeded(instance.journey);
    this.#scaling.noteStart(ms);
    this.#tally.startTimes.observe(ms);
    if (this.#isCurrent(instance)) this.#updates.succeeded();
    this.#report.note(
      'info',
      'instance.ready',
      { pid: instance.pid, startMs: round(ms) },
      'is ready',
    );
    if (instance.state !== 'starting') return; // it drains, and needed to be ready for that
    instance.state = 'ready';
    this.#context.channel.setEndpoint(instance.ref, 'ready', instance.pid);
    this.pass(true);
  }

  onOutput(id: number, text: string): void {
    if (this.#engines?.onOutput(id, text)) return;
    const pid = this.#instances.get(id)?.pid ?? 0;
    this.#context.output({ class: this.label, pid }, text);
  }

  onSnapshot(id: number, text: string): void {
    if (this.#engines?.onSnapshot(id, text)) return;
    const instance = this.#instances.get(id);
    if (!instance) return;
    instance.journey.snapshot = this.#masker.text(text);
    this.#context.log('warn', 'instance.snapshot', { class: this.label, pid: instance.pid, text });
  }

  onExited(id: number, told: Exit): void {
    if (this.#engines?.onExited(id, told)) return;
    const exit = { ...told, output: this.#masker.text(told.output) };
    const instance = this.#instances.get(id);
    this.#context.launcher.forget(id);
    if (!instance) return;
    this.#instances.delete(id);
    this.#usage.end(id, exit.cpuS);
    this.#gateways?.detach(id);
    this.#context.disown(id);
    const how = describeExit(exit);
    const fields = {
      pid: instance.pid,
      livedMs: round(exit.livedMs),
      output: lastLine(exit.output),
    };
    if (instance.timedOut) {
      noteExit(instance.journey, exit, null); // the signal was ours
      timeOut(instance.journey, instance.revision.config.startTimeoutMs, exit.output);
      this.#afterEnd(instance, exit, { wasReady: false, couldNotStart: true });
    } else if (instance.state === 'stopping') {
      this.#report.note('info', 'instance.stopped', fields, `${how} after being asked to stop`);
      this.#closeEndpoint(instance);
    } else {
      const oom = oomVerdict(instance.oomKills, this.#context.oomKills());
      if (instance.wasReady) endEarly(instance.journey, exit, oom);
      else endBeforeReady(instance.journey, exit, oom);
      const level = exit.exitCode === 0 ? 'info' : 'warn';
      this.#report.note(level, 'instance.exited', fields, how);
      this.#afterEnd(instance, exit, { wasReady: instance.wasReady, couldNotStart: false });
    }
    this.pass(true);
  }

  status(): ClassStatus {
    const load = this.#context.channel.load(this.ref);
    const { inFlight, waiting } = this.#sockets.seen(load);
    return {
      name: this.label,
      kind: this.config.kind,
      protocol: this.config.protocol,
      state: this.isRetiring ? 'removed' : this.#state(),
      wanted: this.#scaling.wanted,
      scaledTo: this.#scaledTo,
      source: this.config.source,
      options: optionsHash(this.config),
      inFlight,
      waiting,
      instances: this.processes.map((instance) => ({
        pid: instance.pid,
        state: instance.state,
        startedAt: instance.startedAt,
        requests: this.#served(instance),
        rssBytes: rssBytes(instance.pid),
      })),
      backends: this.#gateways?.status(this.#context.now()) ?? [],
      lastEvent: this.#report.lastEvent,
      totals: totalsOf(load),
      lastFailure: this.lastFailure,
    };
  }

  get #masker(): Masker {
    return maskerOf(this.config.env, this.config.secretEnv);
  }

  /** For metrics. */
  figures(): ClassFigures {
    return {
      status: this.status(),
      load: this.#context.channel.loadAndTimes(this.ref),
      own: { tally: this.#tally, used: this.#usage.read(this.processes) },
    };
  }

  /** For the history of its load. */
  sample(): LoadSample {
    const { finished, failed, aborted, inFlight, waiting } = this.#load;
    const { inFlight: inFlightMost, waiting: waitingMost } = this.#peak;
    this.#peak = { inFlight, waiting };
    return {
      requests: finished + failed + aborted,
      inFlight: Math.max(inFlight, inFlightMost),
      waiting: Math.max(waiting, waitingMost),
      instances: count(this.instances, 'ready'),
    };
  }

  // ---- what the class looks like

  #refreshLoad(now: number): void {
    const load = this.#sockets.seen(this.#context.channel.load(this.ref));
    const before = this.#load;
    const moved = load.arrivals !== before.arrivals || load.finished !== before.finished;
    this.#load = load;
    this.#peak.inFlight = Math.max(this.#peak.inFlight, load.inFlight);
    this.#peak.waiting = Math.max(this.#peak.waiting, load.waiting);
    if (moved || this.isBusy) this.#activeAtMs = now;
  }

  /** Nothing is under way that only another look can bring forward. */
  #isQuiet(): boolean {
    if (!this.#orphans.isEmpty) return false;
    if (this.isBusy || this.#failures.untilMs !== null || this.#starter.pending > 0) return false;
    if (this.#instances.size !== this.#scaling.wanted) return false;
    return this.instances.every((one) => one.state === 'ready' && this.#isCurrent(one));
  }

  /** A worker that died at a bad moment leaves shared hints too high; only an idle class shows it. */
  #repairHints(now: number): void {
    if (this.isBusy || now - this.#repairedAtMs < REPAIR_MS) return;
    this.#repairedAtMs = now;
    this.#context.channel.repairHints(this.ref);
  }

  /** The first request that ended there is the last step of a start. */
  #noteAnswers(now: number): void {
    for (const instance of this.#instances.values()) {
      if (instance.hasAnswered || !instance.wasReady) continue;
      if (this.#served(instance) === 0) continue;
      instance.hasAnswered = true;
      addStep(instance.journey, 'answer', now - instance.beganMs, 'the first request has ended');
    }
  }

  /** Which instances have served their time, which hang, is there a new program? */
  #inspect(now: number, changed: boolean): void {
    const { config } = this;
    if (config.limits.requestTimeoutMs > 0 && changed) this.#findHung(now);
    const isDue = now - this.#inspectedAtMs >= INSPECT_MS;
    if (isDue) {
      this.#inspectedAtMs = now;
      this.#watchProgram();
    }
    if (canWear(config) && (isDue || (changed && config.maxRequests > 0))) {
      this.#findWorn(now, isDue);
    }
  }

  #findHung(now: number): void {
    if (this.#sockets.isPublic) return; // which of those that share the socket has it?
    for (const instance of this.#instances.values()) {
      if (instance.isHung || instance.state === 'stopping') continue;
      if (this.#context.channel.hung(instance.ref) === 0) continue;
      const { requestTimeoutMs } = this.config.limits;
      hang(instance.journey, requestTimeoutMs);
      this.#history.failed(instance.journey);
      this.#tally.failed(instance.journey);
      this.#tally.restarted('hung');
      this.#report.note(
        'error',
        'instance.hung',
        { pid: instance.pid },
        instance.journey.explanation,
      );
      this.#retirement.hang(instance, 'hangs', now + requestTimeoutMs);
    }
  }

  /** Requests that have ended there. */
  #served({ ref, servedBefore }: Instance): number {
    return this.#context.channel.served(ref) - servedBefore;
  }

  #findWorn(now: number, measures: boolean): void {
    const served = (instance: Instance) => this.#served(instance);
    for (const instance of findWorn(this.#serving(), this.config, served, now, measures)) {
      const text = `is to be replaced: it ${instance.worn}`;
      this.#report.note('info', 'instance.worn', { pid: instance.pid }, text);
    }
  }

  /** -autoUpdate; and a class that cannot start may try again as soon as its program is another. */
  #watchProgram(): void {
    const { config } = this;
    const path = config.args[0] ?? '';
    if (!config.autoUpdate && this.#failures.untilMs === null) return;
    const program = this.#context.programIdentity(path);
    if (this.#failures.hasOtherProgram(program)) {
      this.#forgetFailures();
      this.#report.note('info', 'class.retried', { command: path }, 'its program has changed');
    }
    if (!config.autoUpdate || program === null) return;
    this.#learnProgram(program);
    if (this.#updates.hasChanged(program, this.#revision)) {
      this.#beginRevision(config, this.#revision.epoch, `${path} has changed (-autoUpdate)`);
    }
  }

  /** The program of the revision, where it could not be looked at when that began. */
  #learnProgram(program: string): void {
    const former = this.#revision;
    const { config, epoch } = former;
    if (former.program !== '' || program === '') return;
    this.#revision = { config, epoch, program };
    for (const instance of this.#instances.values()) {
      if (instance.revision === former) instance.revision = this.#revision;
    }
  }

  /** '' where nobody wants to know. */
  #watchedProgram(config: ClassConfig): string {
    return config.autoUpdate ? (this.#context.programIdentity(config.args[0] ?? '') ?? '') : '';
  }

  /** The public address, where there is one. */
  #passSockets(now: number): void {
    const { config } = this;
    this.#sockets.tidy(this.#instances.values());
    if (this.#bounds.min === 0) {
      this.#sockets.open(
        config,
        () => this.#context.tagOf(this, this.#revision),
        (text) => this.#report.note('error', 'address.failed', { source: config.source }, text),
      );
    }
    if (this.#failures.untilMs === null) return;
    this.#sockets.refuseWaiting(this.#refuse(now));
  }

  // ---- how many, and which

  #decide(now: number): void {
    const serving = this.#serving();
    this.#scaling.decide(
      { ...this.config, ...this.#bounds },
      {
        ready: count(serving, 'ready'),
        starting: count(serving, 'starting') + this.#starter.pending + this.#failures.delayed,
        load: this.#load,
        isAskedFor: this.#isAskedFor || this.#updates.awaitsReady,
        idleForMs: this.idleForMs,
        pool: this.config.kind === 'dynamic' ? this.#context.poolFacts(this) : null,
      },
      now,
    );
    this.#isAskedFor = false;
    const old = serving.filter((instance) => !this.#isCurrent(instance));
    if (old.length > 0) this.#rollOut(serving, old, now);
    else this.#scale(serving, now);
    this.#failures.limitDelayed(
      this.#scaling.wanted - this.#serving().length - this.#starter.pending,
    );
  }

  get #bounds(): { min: number; max: number } {
    const { min, max } = this.config;
    return this.#scaledTo === null ? { min, max } : { min: this.#scaledTo, max: this.#scaledTo };
  }

  #scale(serving: readonly Instance[], now: number): void {
    const missing = this.#scaling.wanted - serving.length - this.#starter.pending;
    if (missing > 0) this.#startSome(missing, now);
    if (serving.length > this.#scaling.wanted)
      this.#drainSome(serving, serving.length - this.#scaling.wanted);
  }

  /** Some instances are to be replaced: new ones first. */
  #rollOut(serving: readonly Instance[], old: readonly Instance[], now: number): void {
    const fresh = serving.filter((instance) => this.#isCurrent(instance));
    const step = rolloutStep({
      wanted: this.#scaling.wanted,
      ready: count(fresh, 'ready'),
      starting: count(fresh, 'starting') + this.#starter.pending,
      oldReady: count(old, 'ready'),
      oldStarting: count(old, 'starting'),
    });
    if (step.start > 0 && this.#updates.mayStart(now)) this.#startSome(step.start, now);
    const starting = old.filter((instance) => instance.state === 'starting');
    const ready = old.filter((instance) => instance.state === 'ready');
    for (const instance of [...starting, ...ready].slice(0, step.drain)) {
      this.#tally.restarted(instance.worn ? 'worn' : 'updated');
      this.#retirement.drain(instance, instance.worn || 'is replaced');
    }
  }

  #startSome(missing: number, now: number): void {
    if (!this.#failures.mayStart(now)) return;
    const paced = this.config.initStartDelayMs > 0 ? 1 : missing;
    for (let started = 0; started < paced; started += 1) {
      if (this.config.kind === 'dynamic' && !this.#context.admitDynamic(this)) return;
      this.#failures.pace(now, this.config.initStartDelayMs);
      this.#start(null);
    }
  }

  /** The newest of the least loaded. One that serves is not given up to shrink, unless it serves
   * several at once: such a class may never have an idle one. */
  #drainSome(serving: readonly Instance[], surplus: number): void {
    const { channel } = this.#context;
    const spare = this.config.kind === 'dynamic' ? this.#context.spareDynamic(this) : surplus;
    const candidates = serving
      .filter((instance) => instance.state === 'ready')
      .map((instance, age) => ({ instance, age, inFlight: channel.inFlight(instance.ref) }))
      .filter(({ inFlight }) => inFlight === 0 || this.config.concurrency > 1)
      .sort((a, b) => a.inFlight - b.inFlight || b.age - a.age);
    for (const { instance } of candidates.slice(0, Math.min(surplus, spare))) {
      if (instance.isShared) this.#retirement.endIfIdle(instance, 'is one more than needed');
      else this.#retirement.drain(instance, 'is one more than needed');
    }
  }

  // ---- starting, and what follows an end

  #start(reused: Endpoint | null): void {
    this.#tally.starts += 1;
    void this.#starter
      .start(
        this.#revision,
        reused,
        (instance) => {
          this.#instances.set(instance.id, instance);
          this.#context.own(instance.id, this);
          this.#publish();
        },
        (instance, linkFd) => this.#attach(instance.id, linkFd),
        (failed, instance) => {
          if (instance) {
            this.#instances.delete(instance.id);
            this.#context.disown(instance.id);
          }
          this.#afterEnd(failed, null, { wasReady: false, couldNotStart: true });
        },
      )
      .then(() => {
        if (this.isRetiring) this.#drainAll();
        this.#publish();
      });
  }

  /** The servlet engines that it starts, if it does. */
  get #engines(): Engines | null {
    return this.#gateways?.engines ?? null;
  }

  /** Where its instances are gateways, they are told what is to be done. */
  #equip({ gateway, engines }: ClassConfig): void {
    if (gateway === null) {
      this.#gateways?.close();
      this.#gateways = null;
    } else if (this.#gateways) this.#gateways.configure({ gateway, engines });
    else this.#gateways = new ClassGateways(this.#gatewaysOwner(), { gateway, engines });
  }

  #gatewaysOwner(): ConstructorParameters<typeof ClassGateways>[0] {
    return {
      context: this.#context,
      label: this.label,
      tagOf: (engine) => this.#context.engineTagOf(this, engine),
      own: (id) => this.#context.own(id, this),
      note: (level, event, fields, text) => this.#report.note(level, event, fields, text),
      onUp: () => this.#onEngineUp(),
      onFailed: (journey) => {
        this.#history.failed(journey);
        this.#tally.failed(journey);
      },
    };
  }

  /** What gateways could not be started for is over. */
  #onEngineUp(): void {
    if (this.#failures.untilMs === null) return;
    this.#forgetFailures();
    this.pass(true);
  }

  /** While there are gateways, or will be. */
  get #needsEngines(): boolean {
    if (this.isRetiring) return this.#instances.size > 0;
    return this.#scaling.wanted > 0 || this.instanceCount > 0;
  }

  /** @param fd Closed here if nobody takes it. */
  #attach(id: number, fd: number | null): void {
    if (fd === null) return;
    if (this.#gateways && this.#instances.has(id)) this.#gateways.attach(id, fd);
    else closeSync(fd);
  }

  #afterEnd(
    ended: FailedStart | Instance,
    exit: Exit | null,
    how: { wasReady: boolean; couldNotStart: boolean },
  ): void {
    const endpoint = 'endpointId' in ended ? ended : ended.endpoint;
    const now = this.#context.now();
    if (!how.wasReady) this.#history.failed(ended.journey);
    this.#count(ended.journey, exit, how.wasReady);
    this.#refreshLoad(now);
    if (
      !how.wasReady &&
      this.#serving().some((one) => one.state === 'ready' && !this.#isCurrent(one))
    ) {
      const reason = aboutStart(ended.journey.id) + this.#failUpdate(ended.journey, now);
      if (endpoint) this.#closeEndpoint(endpoint, { reason, retryAfterS: 1 });
      return;
    }
    // First nobody new, then a look at who is there: what follows decides about all of them.
    if (endpoint) this.#context.channel.setEndpoint(endpoint.ref, 'draining', 0);
    const queued = endpoint ? this.#orphans.queueOf(endpoint) : 0;
    const verdict = this.#failures.judge(
      {
        policy: this.config.policy,
        kind: this.config.kind === 'dynamic' ? 'dynamic' : 'static',
        ...how,
        exitCode: exit?.exitCode ?? null,
        wasKilled: exit?.exitSignal === constants.signals.SIGKILL,
        livedMs: exit?.livedMs ?? 0,
        minServerLifeMs: this.config.minServerLifeMs,
        restartDelayMs: this.config.restartDelayMs,
        ...this.#siblingFacts(now, how.wasReady),
        isWanted: queued > 0 || (!this.isRetiring && this.#isWanted()),
        restart: this.config.restart,
        keepsLast: this.config.classic.singleThreshold === 0,
      },
      'startedAtMs' in ended ? ended.startedAtMs : null,
      now,
    );
    if (verdict.action === 'replace' && endpoint && (queued > 0 || !this.isRetiring)) {
      this.#replaceAt(endpoint);
      return;
    }
    if (verdict.action === 'fail') this.#fail(ended.journey, now, verdict.delayMs);
    // Published before the endpoint closes: requests whose connection breaks now find the verdict.
    this.#publish();
    if (!endpoint) return;
    const isNeeded = this.#isReusable(endpoint) && !this.#orphans.isDeserted(endpoint);
    if (verdict.action === 'fail') {
      this.#closeEndpoint(endpoint, this.#refuse(now));
    } else if (isNeeded) this.#orphans.keep(endpoint);
    else this.#closeEndpoint(endpoint);
  }

  /** One that served and ends in good order has not failed. */
  #count(journey: Journey, exit: Exit | null, wasReady: boolean): void {
    if (!wasReady || exit?.exitCode !== 0) this.#tally.failed(journey);
    if (wasReady) this.#tally.restarted('ended');
  }

  /** Requests wait for the class, or it is to have more instances in any case. */
  #isWanted(): boolean {
    return this.#load.waiting > 0 || this.#serving().length < this.#bounds.min;
  }

  /** Sockets of instances that ended: those with requests in them get the next instance. */
  #passOrphans(now: number): void {
    for (const endpoint of this.#orphans.takeDeserted()) this.#closeEndpoint(endpoint);
    if (!this.#failures.mayStart(now)) return;
    for (const endpoint of this.#orphans.takeQueued()) this.#replaceAt(endpoint);
  }

  /** The same while the class ends: until it is over, or the class fails. */
  #passLastOrphans(now: number): void {
    if (now < this.#endsAtMs && this.#failures.untilMs === null) {
      this.#passOrphans(now);
      return;
    }
    const refusal =
      this.#failures.untilMs === null
        ? { reason: 'the class ends', retryAfterS: 1 }
        : this.#refuse(now);
    for (const one of this.#orphans.takeAll()) this.#closeEndpoint(one, refusal);
  }

  /** A shared one stays in any case, one of a former launcher takes no program; a class at a public
   * address starts nothing elsewhere. */
  #isReusable(endpoint: Endpoint): boolean {
    return !endpoint.isShared && !endpoint.isDetached && !this.#sockets.isPublic;
  }

  /** On the same socket, where it is the instance's own: nobody who waits in it notices. */
  #replaceAt(endpoint: Endpoint): void {
    if (!this.#isReusable(endpoint)) {
      this.#closeEndpoint(endpoint);
      this.#start(null);
      return;
    }
    const state = this.isRetiring ? 'draining' : 'starting';
    this.#context.channel.setEndpoint(endpoint.ref, state, 0);
    this.#start(endpoint);
  }

  /** @param wasReady The one that ended had served: others that are only starting will as well. Of a
   * program that could not start they prove nothing. */
  #siblingFacts(now: number, wasReady: boolean): { siblings: number; oldestSiblingMs: number } {
    const serving = this.#serving();
    const ready = serving.filter((instance) => instance.state === 'ready');
    const oldest = Math.min(now, ...ready.map((instance) => instance.startedAtMs));
    const siblings = wasReady ? serving.length : ready.length;
    return { siblings, oldestSiblingMs: now - oldest };
  }

  #fail(journey: Journey, now: number, delayMs: number): void {
    const program = this.#context.programIdentity(this.config.args[0] ?? '');
    this.#history.failed(journey);
    this.#failures.fail(journey.explanation, journey.id, program, now + delayMs);
    this.#showPage(true);
    this.#report.noteFailure('class.failed', journey, delayMs, journey.explanation);
    this.#updates.fail(journey.explanation);
    const refusal = this.#refuse(now);
    for (const one of this.#orphans.takeAll()) this.#closeEndpoint(one, refusal);
  }

  #closeEndpoint(endpoint: Endpoint, refusal?: Refusal): void {
    this.#context.channel.removeEndpoint(endpoint.ref);
    if (endpoint.isShared) return;
    this.#context.launcher.closeEndpoint(endpoint.endpointId, refusal).catch((error: unknown) => {
      this.#context.log('error', 'endpoint.close-failed', {
        class: this.label,
        error: String(error),
      });
    });
  }

  // ---- revisions

  #beginRevision(config: ClassConfig, epoch: number, why: string): void {
    this.#sockets.reconfigure(config);
    this.#revision = { config, epoch, program: this.#watchedProgram(config) };
    this.#forgetFailures();
    this.#updates.begin();
    const instances = this.#serving().length;
    this.#report.note('info', 'class.updating', { source: config.source, instances }, why);
  }

  #forgetFailures(): void {
    this.#failures.forget();
    this.#updates.succeeded();
  }

  /** New instances cannot start: the old ones stay. @returns What is said about it. */
  #failUpdate(journey: Journey, now: number): string {
    const delayMs = this.#updates.failed(now);
    const text = `${journey.explanation}; the old instances go on serving`;
    this.#report.noteFailure('class.update-failed', journey, delayMs, text);
    this.#updates.fail(text);
    return text;
  }

  /** Tell those who wait for an update or a retry. */
  #settleUpdates(): void {
    const stillOld = this.instances.some((instance) => instance.revision !== this.#revision);
    const starting = this.#starter.pending > 0 || count(this.#serving(), 'starting') > 0;
    const ready = count(this.#serving(), 'ready');
    if (ready > 0) this.#updates.reached('ready');
    if (ready === this.#scaledTo && this.#instances.size === ready) this.#updates.reached('scaled');
    if (stillOld || starting) return;
    if (this.#updates.done())
      this.#report.note('info', 'class.updated', {}, 'has new instances only');
  }

  // ---- state

  #isCurrent(instance: Instance): boolean {
    return instance.revision === this.#revision && instance.worn === '';
  }

  /** Instances that take requests, or will; in the order they were started. */
  #serving(): Instance[] {
    return this.instances.filter(isServing);
  }

  #state(): ClassState {
    const states = new Set(this.instances.map((instance) => instance.state));
    if (states.has('ready')) return 'ready';
    if (states.has('starting') || this.#starter.pending > 0) return 'starting';
    return this.#failures.untilMs === null ? 'cold' : 'failed';
  }

  #publish(): void {
    if (this.isRetiring) return;
    const state = this.#state();
    this.#showPage(state === 'failed');
    const { reason, start } = this.#failures;
    const { retryAfterS } = this.#refuse(this.#context.now());
    // The shims name the class.
    this.#report.publish(this.ref, state, { reason: aboutStart(start) + reason, retryAfterS });
    this.#report.publishFull(this.ref, this.#isFull);
  }

  /** Requests that wait are no news: there is nothing to be started, replaced or tried again. */
  get #isFull(): boolean {
    const { instances } = this;
    if (instances.length === 0 || instances.length < this.#bounds.max) return false;
    return instances.every((one) => one.state === 'ready' && this.#isCurrent(one));
  }

  #showPage(hasFailed: boolean): void {
    const isShown = hasFailed && this.config.showErrors;
    this.#report.showPage(this.ref, isShown ? this.lastFailure : null);
  }

  /** What requests are told while the class has failed. */
  #refuse(now: number): Refusal {
    return { ...this.#failures.refusal(this.label, now), page: this.#report.page };
  }

  #remember(): void {
    const failures = this.#failures.save();
    const behind = this.#gateways?.memory ?? { activations: [], engines: [] };
    const { lastFailure } = this;
    this.#report.remember({ failures, lastFailure, scaledTo: this.#scaledTo, ...behind });
  }
}

function count(instances: readonly Instance[], state: 'ready' | 'starting'): number {
  return instances.filter((instance) => instance.state === state).length;
}

function channelState(instance: Instance): 'starting' | 'ready' | 'draining' {
  return instance.state === 'stopping' ? 'draining' : instance.state;
}
