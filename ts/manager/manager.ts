// SPDX-License-Identifier: Apache-2.0
// Joins everything: servers' registrations → classes → instances → table. One pass per ring of the
// doorbell, ten a second while anything happens, else one or two (rest.ts); all state changes happen in
// passes and in launcher events.
import { randomUUID } from 'node:crypto';
import { closeSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseDialect, type Registration } from '../config/dialect.ts';
import type {
  BackendAsked,
  ClassAsked,
  ClassChanged,
  ClassOutput,
  Events,
  EventsAsked,
  ExplainAsked,
  Explanation,
  GiveBackAsked,
  HistoryAsked,
  Journey,
  LendAsked,
  Lent,
  LoadHistory,
  LogsAsked,
  LogsReopened,
  Reloaded,
  ScaleAsked,
  Status,
  Stopping,
  UpgradeRequest,
  Upgrading,
} from '../control/messages.ts';
import { answerGet, ControlError, type ControlHandlers, TextAnswer } from '../control/server.ts';
import { probeEngine, shutDownEngine } from '../gateways/ajp/engine-probe.ts';
import { type Channel, native } from '../native/native.ts';
import type { Exit, Launcher, LauncherEvents, Welcome } from '../process/launcher.ts';
import { type ClassConfig, fingerprint, optionsHash, runHash } from './class-config.ts';
import { parseMemory } from './class-memory.ts';
import type { ClassContext } from './context.ts';
import { DamageWatch } from './damage.ts';
import { Dashboards } from './dashboards.ts';
import { desiredClasses } from './desired.ts';
import { type DynamicAnswer, type Refusal, resolveDynamic } from './dynamic.ts';
import { explain } from './explain.ts';
import { ExternalClass } from './external-class.ts';
import { isGone } from './gone.ts';
import { Inheritance } from './inheritance.ts';
import { Leftovers } from './leftovers.ts';
import { LoadRecorder } from './load-recorder.ts';
import type { Log } from './log.ts';
import { ManagedClass } from './managed-class.ts';
import { type ClassFigures, writeMetrics } from './metrics.ts';
import { MetricsListeners } from './metrics-listeners.ts';
import { OomCounters } from './out-of-memory.ts';
import { DynamicPool } from './pool.ts';
import { ProgramOutput } from './program-output.ts';
import { Programs } from './programs.ts';
import { RecentEvents } from './recent-events.ts';
import { Refusals } from './refusals.ts';
import { restMs } from './rest.ts';
import type { Revision } from './revision.ts';
import { newestOf, type Server, Servers } from './servers.ts';
import { StartRequests } from './start-requests.ts';
import { parseTag, type Tag } from './tag.ts';

/** Look whether workers live at most this often. */
const SETTLE_MS = 200;
/** A dynamic class without instances and requests is forgotten after this. */
const FORGET_MS = 600_000;
/** Requests get this long to end when classes are stopped while servers live. */
const STOP_DRAIN_MS = 5_000;
/** Between two passes while anything happens. */
const PASS_MS = 100;
/** So often the launcher hears that the manager does not hang. */
const ALIVE_MS = 500;
/** Between two tries to read registrations that cannot be read. */
const READ_AGAIN_MS = 100;
/** Between two looks for an instance that is free. */
const LEND_AGAIN_MS = 20;
/** The answer to `usher upgrade` gets so long to leave. */
const UPGRADE_AFTER_MS = 50;
/** An embedded manager waits this long for the server that started it. */
const FIRST_SERVER_MS = 15_000;

type AnyClass = ManagedClass | ExternalClass;

/** What each server says to a path as a dynamic class, by server. */
type Answers = ReadonlyMap<string, DynamicAnswer>;

export interface ManagerParts {
  channel: Channel;
  launcher: Launcher;
  welcome: Welcome;
  log: Log;
  version: string;
}

export class Manager implements ControlHandlers {
  #channel: Channel;
  #launcher: Launcher;
  #welcome: Welcome;
  #log: Log;
  #version: string;
  #startedAt = new Date().toISOString();
  #startedMs = native.nowMs();
  #loads = new LoadRecorder(native.nowMs());
  #events = new RecentEvents(this.#startedAt);
  #startRequests = new StartRequests();
  #metricsListeners: MetricsListeners;
  #dashboards: Dashboards;
  #servers: Servers;
  #own: Registration | null = null;
  #classes = new Map<string, AnyClass>();
  /** Who asked for a dynamic class first. */
  #askers = new Map<string, string>();
  #owners = new Map<number, ManagedClass>();
  #refusals: Refusals;
  #pool = new DynamicPool(() => this.#dynamicClasses(), native.nowMs);
  #inheritance: Inheritance | null = null;
  #leftovers: Leftovers;
  #damage: DamageWatch;
  #oomCounters = new OomCounters();
  /** Of classes that a former manager knew, by label; until they are made again. */
  #memories: Map<string, string>;
  #context: ClassContext;
  #output: ProgramOutput;
  /** Paths of start requests that the launcher is looking at, and what came of it. */
  #asking = new Set<string>();
  /** Registrations read so far: an answer to an older question does not count. */
  #registered = 0;
  #aliveMs = 0;
  #settledMs = 0;
  #forgotMs = 0;
  #stopping: { remove: boolean } | null = null;
  #lastLook: 'no' | 'asked' = 'no';
  #isRunning = false;

  constructor(parts: ManagerParts) {
    this.#channel = parts.channel;
    this.#launcher = parts.launcher;
    this.#welcome = parts.welcome;
    this.#version = parts.version;
    const { channel, launcher, welcome } = parts;
    const log = this.#events.recording(parts.log);
    this.#log = log;
    this.#servers = new Servers(channel, launcher, welcome.runtimeDir, log, () => {
      this.#registered += 1;
      if (this.#isRunning && !this.#stopping) this.#sync();
    });
    this.#output = new ProgramOutput(log, native.nowMs);
    this.#metricsListeners = new MetricsListeners(log, (accept) => this.metrics(accept));
    this.#dashboards = new Dashboards(log, (url) => answerGet(this, url));
    this.#leftovers = new Leftovers(launcher);
    this.#damage = new DamageWatch(channel, log);
    this.#memories = new Map(welcome.memories);
    const programs = new Programs((path) => launcher.identify(path));
    this.#refusals = new Refusals(parts.channel);
    this.#context = {
      channel,
      launcher,
      log,
      output: (source, text) => this.#output.add(source, text),
      now: native.nowMs,
      acceptQueue: native.acceptQueue,
      connections: native.connections,
      remember: (asker, memory) => launcher.remember(asker.label, memory),
      programIdentity: (path) => programs.identity(path),
      engineTools: { probe: probeEngine, shutDown: shutDownEngine },
      nextId: () => launcher.nextId(),
      own: (id, owner) => this.#owners.set(id, owner),
      disown: (id) => this.#owners.delete(id),
      rouse: () => this.#rouse(),
      serversOf: (asker) => (asker.server ? [asker.server] : [...this.#servers.byName.keys()]),
      oomKills: () => this.#oomCounters.read(),
      tagOf: (asker, revision, journey) => this.#tagOf(asker, revision, journey),
      engineTagOf: (asker, { name, run, epoch }) => {
        return JSON.stringify({ ...this.#tag(asker), run, epoch, program: '', engine: name });
      },
      poolFacts: (asker) => this.#pool.facts(asker),
      admitDynamic: (asker) => this.#pool.admit(asker),
      spareDynamic: (asker) => this.#pool.spare(asker),
    };
  }

  /** Take over what a former manager left, read the configuration, begin. Rejects with a ConfigError
   * when usher.conf is wrong. */
  async start(): Promise<void> {
    const { config, configFd } = this.#welcome;
    if (config !== null && configFd >= 0) {
      const text = readFileSync(configFd, 'utf8');
      closeSync(configFd);
      this.#own = parseDialect(text, config, native);
    }
    this.#inheritance = new Inheritance(
      this.#channel,
      this.#launcher,
      this.#welcome,
      this.#leftovers,
      this.#oomCounters.read(),
    );
    await this.#readRegistrations();
    const answers = await this.#answersForTags();
    this.#isRunning = true;
    this.#sync();
    this.#inheritance.handOver((tag) => this.#ownerOfTag(tag, answers));
    this.#launcher.subscribe(this.#launcherEvents());
    this.#channel.setManagerState('running', process.pid);
    this.#channel.beat();
    this.#channel.listen(PASS_MS, (rang) => this.#pass(rang));
    this.#launcher.ready();
    this.#log('info', 'manager.ready', {
      pid: process.pid,
      version: this.#version,
      runtimeDir: this.#welcome.runtimeDir,
      adopted: this.#owners.size,
    });
    this.#pass(true);
  }

  /** All of them: instances of a server that is not known would be ended. */
  async #readRegistrations(): Promise<void> {
    await this.#servers.refresh(native.nowMs());
    while (!this.#servers.isComplete && this.#servers.look(native.nowMs(), true)) {
      await sleep(READ_AGAIN_MS);
    }
  }

  ping(): { pid: number; version: string } {
    return { pid: process.pid, version: this.#version };
  }

  status(): Status {
    return {
      schema: 1,
      manager: {
        pid: process.pid,
        version: this.#version,
        startedAt: this.#startedAt,
        configuration: this.#welcome.config,
      },
      servers: this.#servers.status(),
      classes: [...this.#classes.values()].map((one) => one.status()),
    };
  }

  explain({ of }: ExplainAsked): Explanation {
    const classes = [...this.#classes.values()].filter((one) => !one.isRetiring);
    return explain(classes, of, new Date());
  }

  history({ class: name }: HistoryAsked): LoadHistory {
    if (name === undefined || this.#classes.has(name)) return this.#loads.of(name ?? null);
    throw new ControlError(404, 'no-such-class', `there is no class "${name}"`);
  }

  events({ after }: EventsAsked): Events {
    return this.#events.after(after);
  }

  async metrics(accept: string): Promise<TextAnswer> {
    const { contentType, text } = await writeMetrics(
      accept,
      {
        version: this.#version,
        startedAt: this.#startedAt,
        startRequests: this.#startRequests,
        servers: this.#servers.status().map((one) => ({
          ...one,
          startRequestsRefused: this.#servers.byName.get(one.name)?.info.startRequestsRefused ?? 0,
        })),
      },
      this.#figures(),
    );
    return new TextAnswer(contentType, text);
  }

  /** Also while it is read classes may go: those are passed over. */
  *#figures(): Generator<ClassFigures> {
    for (const one of [...this.#classes.values()]) {
      if (this.#classes.get(one.label) === one) yield one.figures();
    }
  }

  stop(request: { force: boolean }): Stopping {
    const instances = this.#owners.size;
    this.#beginStop('asked by usher stop', request.force ? 0 : STOP_DRAIN_MS);
    return { pid: process.pid, instances };
  }

  restart(request: ClassAsked): Promise<ClassChanged> {
    return this.#change(request, 'restart', (one) => one.restart());
  }

  retry(request: ClassAsked): Promise<ClassChanged> {
    return this.#change(request, 'retry', (one) => one.retry());
  }

  scale(request: ScaleAsked): Promise<ClassChanged> {
    const most = native.limits.classEndpointsMax ?? 0;
    if ((request.instances ?? 1) > most) {
      throw new ControlError(409, 'too-many', `a class has at most ${most} instances`);
    }
    return this.#change(request, 'scale', (one) => one.scale(request.instances));
  }

  async reload(): Promise<Reloaded> {
    if (this.#stopping) throw new ControlError(409, 'stopping', 'everything is being stopped');
    if (this.#welcome.config !== null) await this.#rereadConfig(this.#welcome.config);
    await this.#servers.refresh(native.nowMs());
    this.#sync();
    const living = [...this.#classes.values()].filter((one) => !one.isRetiring);
    return {
      configuration: this.#welcome.config,
      classes: living.map(({ label, config }) => ({ name: label, options: optionsHash(config) })),
    };
  }

  async #rereadConfig(path: string): Promise<void> {
    try {
      const fd = await this.#launcher.config();
      const text = readFileSync(fd, 'utf8');
      closeSync(fd);
      this.#own = parseDialect(text, path, native);
    } catch (error) {
      throw new ControlError(409, 'config', messageOf(error));
    }
    this.#log('info', 'config.read', { path, classes: this.#own.classes.length });
  }

  backend(request: BackendAsked): BackendAsked {
    const { class: name, backend, activation } = request;
    const known = this.#classesNamed(name).filter((one) => one.activate(backend, activation));
    if (known.length > 0) return request;
    const names = this.#classesNamed(name)
      .flatMap((one) => one.config.gateway?.backends ?? [])
      .map((one) => one.name);
    const text = `class "${name}" has no backend "${backend}"; known: ${names.join(', ') || 'none'}`;
    throw new ControlError(404, 'no-such-backend', text);
  }

  async logs({ class: name, after, lines, waitMs }: LogsAsked): Promise<ClassOutput> {
    const deadline = native.nowMs() + waitMs;
    for (;;) {
      const classes = this.#classesNamed(name);
      const found = classes.flatMap(({ label }) => this.#output.read(label, after, lines));
      const leftMs = deadline - native.nowMs();
      if (found.length === 0 && leftMs > 0) {
        await this.#output.next(leftMs);
        continue;
      }
      const since = classes.map(({ label }) => this.#output.since(label)).sort();
      return {
        class: name,
        lines: found.sort((a, b) => a.id - b.id).slice(-lines),
        since: since.at(-1) ?? this.#startedAt,
        log: this.#welcome.log,
        files: [...new Set(classes.flatMap(({ config }) => config.logFile ?? []))],
      };
    }
  }

  async lend({ class: name, waitMs }: LendAsked): Promise<Lent> {
    const deadline = native.nowMs() + waitMs;
    const id = randomUUID();
    for (;;) {
      const classes = this.#classesNamed(name);
      for (const one of classes) {
        const lent = one.lend(id);
        if (lent !== null) return lent;
      }
      const failure = classes.find((one) => one.failure !== null)?.failure;
      if (failure !== undefined) throw new ControlError(409, 'failed', `"${name}": ${failure}`);
      if (native.nowMs() >= deadline) {
        const text = `no instance of "${name}" was free within ${waitMs / 1000} s`;
        throw new ControlError(409, 'busy', text);
      }
      await sleep(LEND_AGAIN_MS);
    }
  }

  giveBack(request: GiveBackAsked): GiveBackAsked {
    for (const one of this.#classes.values()) {
      if (one instanceof ManagedClass && one.giveBack(request.id)) return request;
    }
    throw new ControlError(404, 'no-such-loan', 'nothing is lent under this id');
  }

  async reopenLogs(): Promise<LogsReopened> {
    const { path, fd } = await this.#launcher.reopenLog();
    if (fd !== null) this.#beginLog(fd);
    return { log: path };
  }

  /** Log and errors of ours go there from now on; no line meets a moment without a file. */
  #beginLog(fd: number): void {
    for (const to of [1, 2]) native.duplicateTo(fd, to);
    closeSync(fd);
    this.#log('info', 'log.reopened', { path: this.#welcome.log });
  }

  /** After the answer has left: nothing of ours is sent once the launcher has been told. */
  upgrade({ layoutVersion }: UpgradeRequest): Upgrading {
    if (this.#stopping) throw new ControlError(409, 'stopping', 'everything is being stopped');
    if (layoutVersion !== native.limits.layoutVersion) {
      const text = `the installed version has channel layout ${layoutVersion}, the running one ${native.limits.layoutVersion}: stop web servers and manager, and start them again`;
      throw new ControlError(409, 'layout', text);
    }
    this.#log('info', 'manager.upgrading', { pid: process.pid, version: this.#version });
    setTimeout(() => this.#launcher.upgrade(), UPGRADE_AFTER_MS);
    return this.ping();
  }

  async #change(
    { class: name, wait }: ClassAsked,
    what: 'restart' | 'retry' | 'scale',
    change: (one: ManagedClass) => Promise<void>,
  ): Promise<ClassChanged> {
    const classes = this.#classesNamed(name);
    const before = new Set(classes.flatMap(pidsOf));
    const changes = Promise.allSettled(classes.map(change));
    const results = wait ? await changes : [];
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw new ControlError(409, `${what}-failed`, messageOf(failed.reason));
    const pids = classes.flatMap(pidsOf);
    return { class: name, pids, replaced: [...before].filter((pid) => !pids.includes(pid)) };
  }

  /** One class, or those of all servers that configure the name differently. */
  #classesNamed(name: string): ManagedClass[] {
    const all = [...this.#classes.values()].filter((one) => !one.isRetiring);
    const exact = all.filter((one) => one.label === name);
    const found = exact.length > 0 ? exact : all.filter((one) => one.config.key === name);
    if (found.length === 0) {
      const known = all.map((one) => one.label).join(', ') || 'none';
      throw new ControlError(404, 'no-such-class', `there is no class "${name}"; known: ${known}`);
    }
    const managed = found.filter((one) => one instanceof ManagedClass);
    if (managed.length > 0) return managed;
    throw new ControlError(409, 'external', `class "${name}" is external: nothing of it runs here`);
  }

  /** @param rang The doorbell did. */
  #pass(rang: boolean): void {
    const now = native.nowMs();
    this.#channel.beat();
    this.#launcher.flush();
    if (now - this.#aliveMs >= ALIVE_MS) {
      this.#aliveMs = now;
      this.#launcher.alive();
    }
    if (!this.#servers.look(now, rang)) this.#beginStop('the runtime directory was removed', 0);
    if (now - this.#settledMs >= SETTLE_MS) {
      this.#settledMs = now;
      if (this.#servers.settle(now) && !this.#stopping) this.#sync();
      this.#output.tell();
      this.#damage.look(this.#servers.byName.values(), now);
    }
    const indices = new Set(this.#channel.changed());
    this.#answerStartRequests();
    for (const one of this.#classes.values()) one.pass(indices.has(one.ref.index));
    this.#loads.pass(now, this.#classes.values());
    this.#metricsListeners.pass(now);
    this.#dashboards.pass(now);
    this.#refusals.expire(now);
    this.#leftovers.pass(now);
    this.#removeGone();
    this.#finishIfDone(now);
    this.#channel.rest(rang ? 0 : this.#restMs(now));
  }

  #restMs(now: number): number {
    if (this.#stopping || this.#asking.size > 0) return 0;
    return restMs([this.#servers, this.#refusals, this.#leftovers, ...this.#classes.values()], now);
  }

  /** Something has changed outside of a pass: the next one is due. */
  #rouse(): void {
    this.#channel.rest(0);
  }

  // ---- configured classes

  /** Make the classes fit what the servers ask for now. */
  #sync(): void {
    this.#rouse();
    const desired = desiredClasses(
      this.#servers.byName.values(),
      this.#own,
      this.#welcome.uid === 0,
    );
    for (const { key, sources } of desired.disagreements) {
      this.#log('warn', 'class.disagreement', {
        class: key,
        text: `${key} has different options at ${sources.join(' and ')}: each server gets its own`,
      });
    }
    for (const [label, { server, config }] of desired.classes) {
      const known = this.#classes.get(label);
      if (known?.isRetiring) continue; // made again when the old one is gone
      if (!known) this.#create(label, server, config);
      else if (fingerprint(known.config) !== fingerprint(config)) known.reconfigure(config);
    }
    for (const [label, one] of this.#classes) {
      if (one.isRetiring || desired.classes.has(label) || !this.#servers.isComplete) continue;
      if (one.config.kind === 'dynamic') void this.#review(one);
      else this.#retire(one, Number.POSITIVE_INFINITY);
    }
    this.#linkServers();
    this.#metricsListeners.configure(this.#addresses('metrics'));
    this.#dashboards.configure(this.#addresses('dashboards'));
  }

  /** Of usher.conf, and of what each server registered last. */
  #addresses(what: 'metrics' | 'dashboards'): ReadonlySet<string> {
    const newest = [...this.#servers.byName.values()].map(newestOf);
    return new Set([...(this.#own?.[what] ?? []), ...newest.flatMap((one) => one[what])]);
  }

  #create(label: string, server: string | null, config: ClassConfig): AnyClass | null {
    this.#refusals.clear(config.key, server);
    try {
      const ref =
        this.#inheritance?.take(label) ??
        this.#channel.addClass(config.kind, config.key, server, config.limits);
      this.#channel.setLimits(ref, config.limits);
      const created =
        config.kind === 'external'
          ? new ExternalClass(this.#channel, this.#log, label, server, config, ref)
          : new ManagedClass(this.#context, label, server, config, ref);
      this.#classes.set(label, created);
      if (created instanceof ManagedClass) this.#recall(created);
      return created;
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.#log('error', 'class.not-created', { class: label, source: config.source, text });
      return null;
    }
  }

  #recall(one: ManagedClass): void {
    const memory = parseMemory(this.#memories.get(one.label) ?? '');
    this.#memories.delete(one.label);
    if (memory) one.recall(memory);
  }

  #retire(one: AnyClass, drainMs: number): void {
    this.#log('info', 'class.removed', { class: one.label });
    // Requests that come now wait until the record is gone, and then look the key up again.
    this.#channel.setClass(one.ref, 'cold', 0, 0, '');
    one.retire(drainMs);
  }

  #removeGone(): void {
    let removed = false;
    for (const [label, one] of this.#classes) {
      if (!one.isGone) continue;
      this.#channel.removeClass(one.ref);
      if (one instanceof ManagedClass) this.#launcher.remember(label, '');
      this.#classes.delete(label);
      this.#askers.delete(label);
      this.#output.forget(label);
      removed = true;
    }
    if (removed && !this.#stopping) this.#sync();
  }

  /** Workers of a server that came later must reach the instances of shared classes. */
  #linkServers(): void {
    for (const one of this.#classes.values()) {
      if (!(one instanceof ManagedClass) || one.server !== null) continue;
      for (const server of this.#servers.byName.keys()) one.linkServer(server);
    }
  }

  // ---- dynamic classes

  #answerStartRequests(): void {
    if (this.#stopping || !this.#servers.isComplete) return; // they wait
    for (const server of this.#servers.byName.values()) {
      for (const { entry, key } of this.#channel.startRequests(server.handle)) {
        this.#startRequests.seen(server, entry, native.nowMs());
        if (this.#isAnswered(server, key)) this.#finishStartRequest(server, entry, key);
        else void this.#askForClass(server, key);
      }
    }
  }

  #finishStartRequest(server: Server, entry: number, key: string): void {
    this.#channel.finishStartRequest(server.handle, entry);
    const answer = this.#refusals.has(key, server.name) ? 'refusal' : 'class';
    this.#startRequests.finished(server, entry, answer, native.nowMs());
  }

  /** False also while a class of that key is just ending: then it must be asked again. */
  #isAnswered(server: Server, key: string): boolean {
    const known = this.#classes.get(`${key}@${server.name}`) ?? this.#classes.get(key);
    if (known) return !known.isRetiring;
    return this.#refusals.has(key, server.name);
  }

  /** Find out whether the class may be, and make it. */
  async #askForClass(server: Server, key: string): Promise<void> {
    const question = `${server.name} ${key}`;
    if (this.#asking.has(question)) return;
    const known = this.#classes.get(`${key}@${server.name}`) ?? this.#classes.get(key);
    if (known) return; // it is ending
    this.#asking.add(question);
    const answers = await this.#answersFor(key);
    this.#asking.delete(question);
    const answer = answers.get(server.name);
    if (this.#stopping || !answer) return; // the server is gone, or it is asked again
    if (this.#isAnswered(server, key)) return this.#answerStartRequests();
    if ('refusal' in answer) this.#refuse(server, key, answer.refusal);
    else this.#createDynamic(server, key, answer.config, answers);
    this.#answerStartRequests();
  }

  #refuse(server: Server, key: string, refusal: Refusal): void {
    const { status, reason } = refusal;
    this.#log('warn', 'class.refused', { server: server.name, class: key, status, text: reason });
    this.#refusals.add(key, server.name, refusal, native.nowMs());
  }

  #createDynamic(server: Server, key: string, config: ClassConfig, answers: Answers): void {
    const shared = agree(answers, config);
    const label = shared ? key : `${key}@${server.name}`;
    this.#askers.set(label, server.name);
    const created = this.#create(label, shared ? null : server.name, config);
    if (created instanceof ManagedClass) created.askedFor();
    else this.#askers.delete(label);
  }

  /** What every server says to the path; empty when registrations changed meanwhile. */
  async #answersFor(key: string): Promise<Answers> {
    const registered = this.#registered;
    const answers = new Map<string, DynamicAnswer>();
    for (const server of [...this.#servers.byName.values()]) {
      answers.set(server.name, await this.#answerOf(server, key));
    }
    return registered === this.#registered ? answers : new Map();
  }

  #answerOf(server: Server, key: string): Promise<DynamicAnswer> {
    return resolveDynamic(key, newestOf(server), (path) =>
      this.#launcher.resolve(server.name, path),
    );
  }

  /** What its server, or all servers, would run today; the class ends when nobody would any more, or
   * not everybody the same. */
  async #review(one: AnyClass): Promise<void> {
    const registered = this.#registered;
    const answers = await this.#answersFor(one.config.key);
    // A newer registration has its own review.
    if (registered !== this.#registered || one.isRetiring || this.#stopping) return;
    const config = configFor(one.server, answers);
    if (config === null) this.#retire(one, Number.POSITIVE_INFINITY);
    else if (fingerprint(config) !== fingerprint(one.config)) one.reconfigure(config);
  }

  #dynamicClasses(): ManagedClass[] {
    return [...this.#classes.values()].filter(
      (one): one is ManagedClass => one instanceof ManagedClass && one.config.kind === 'dynamic',
    );
  }

  // ---- a former manager's instances

  /** For the dynamic classes that it left: what their askers say to them today, by label. */
  async #answersForTags(): Promise<Answers> {
    const { endpoints, instances } = this.#welcome;
    const answers = new Map<string, DynamicAnswer>();
    for (const { tag: text } of [...endpoints, ...instances]) {
      const tag = parseTag(text);
      const server = this.#servers.byName.get(tag?.asker ?? '');
      if (!tag || !server || tag.kind !== 'dynamic' || answers.has(tag.label)) continue;
      answers.set(tag.label, await this.#answerOf(server, tag.key));
    }
    return answers;
  }

  #ownerOfTag(tag: Tag, answers: Answers): ManagedClass | null {
    const known = this.#classes.get(tag.label);
    if (known) return known instanceof ManagedClass ? known : null;
    const answer = answers.get(tag.label);
    if (!answer || 'refusal' in answer) return null;
    const created = this.#create(tag.label, tag.server, answer.config);
    if (!(created instanceof ManagedClass)) return null;
    this.#askers.set(tag.label, tag.asker ?? '');
    return created;
  }

  #tagOf(asker: ManagedClass, revision: Revision, journey?: Journey): string {
    const { config, epoch, program } = revision;
    const run = runHash(config);
    return JSON.stringify({ ...this.#tag(asker), run, epoch, program, start: journey?.id });
  }

  #tag(asker: ManagedClass): Omit<Tag, 'run' | 'epoch' | 'program' | 'start'> {
    return {
      label: asker.label,
      key: asker.config.key,
      kind: asker.config.kind,
      server: asker.server,
      asker: this.#askers.get(asker.label) ?? null,
      index: asker.ref.index,
      generation: asker.ref.generation,
    };
  }

  // ---- the launcher's events

  #launcherEvents(): LauncherEvents {
    return {
      onStarted: (id, pid, facts) => this.#roused(id)?.onStarted(id, pid, facts),
      onReady: (id) => this.#roused(id)?.onReady(id),
      onOutput: (id, text) => this.#roused(id)?.onOutput(id, text),
      onExited: (id, exit: Exit) => {
        const owner = this.#roused(id);
        if (owner) owner.onExited(id, exit);
        else {
          this.#leftovers.forget(id);
          this.#launcher.forget(id);
        }
      },
      onDropped: (bytes, id) => {
        const label = id === null ? undefined : this.#owners.get(id)?.label;
        if (label !== undefined) this.#output.dropped(label, bytes);
        else this.#log('warn', 'output.dropped', { bytes });
      },
      onLog: (fd) => this.#beginLog(fd),
      onTerminate: () => this.#beginStop('the launcher was asked to terminate', STOP_DRAIN_MS),
      onLastLook: () => void this.#onLastLook(),
      onSnapshot: (id, text) => this.#owners.get(id)?.onSnapshot(id, text),
    };
  }

  /** Whose instance it is. */
  #roused(id: number): ManagedClass | undefined {
    this.#rouse();
    return this.#owners.get(id);
  }

  // ---- the end

  #finishIfDone(now: number): void {
    if (this.#stopping) {
      if (this.#classes.size === 0) this.#quit();
      return;
    }
    if (this.#lastLook !== 'no') return;
    if (now - this.#forgotMs >= FORGET_MS / 100) {
      this.#forgotMs = now;
      for (const one of this.#dynamicClasses()) {
        if (one.instanceCount === 0 && one.idleForMs > FORGET_MS) this.#retire(one, 0);
      }
    }
    const nobodyCame =
      this.#welcome.mode === 'embedded' &&
      this.#servers.byName.size === 0 &&
      now - this.#startedMs > FIRST_SERVER_MS;
    if (this.#servers.gone(now).length > 0 || nobodyCame) {
      this.#lastLook = 'asked';
      this.#launcher.finish();
    }
  }

  /** The runtime directory is ours alone: no server can register between this look and what follows. */
  async #onLastLook(): Promise<void> {
    await this.#servers.refresh(native.nowMs());
    const now = native.nowMs();
    this.#servers.settle(now);
    for (const server of this.#servers.gone(now)) this.#servers.remove(server);
    this.#lastLook = 'no';
    if (this.#servers.byName.size === 0 && this.#welcome.mode === 'embedded') {
      if (this.#stopping) return;
      this.#stopping = { remove: true };
      this.#rouse();
      this.#log('info', 'manager.stopping', { text: 'the last server is gone' });
      this.#channel.setManagerState('stopped', process.pid);
      for (const one of this.#classes.values()) this.#retire(one, 0);
      return; // the lock is kept until the end
    }
    this.#launcher.resume();
    if (!this.#stopping) this.#sync();
  }

  #beginStop(text: string, drainMs: number): void {
    if (this.#stopping) return;
    this.#rouse();
    this.#log('info', 'manager.stopping', { text });
    // Servers that live find this channel again when a manager comes back.
    this.#stopping = { remove: this.#servers.byName.size === 0 || this.#isDirectoryGone() };
    this.#channel.setManagerState('stopped', process.pid);
    for (const one of this.#classes.values()) this.#retire(one, drainMs);
  }

  #isDirectoryGone(): boolean {
    return isGone(this.#welcome.runtimeDir);
  }

  #quit(): void {
    if (!this.#stopping) return;
    const { remove } = this.#stopping;
    this.#stopping = null;
    this.#lastLook = 'asked';
    this.#log('info', 'manager.stopped', { removesRuntimeDir: remove });
    this.#launcher.quit(remove);
  }
}

/** What that server would run, or all of them (null); null = nothing, or not all the same. */
function configFor(server: string | null, answers: Answers): ClassConfig | null {
  const [first] = server === null ? answers.values() : [answers.get(server)];
  if (first === undefined || 'refusal' in first) return null;
  return server !== null || agree(answers, first.config) ? first.config : null;
}

/** Would every server run this path the same way? */
function agree(answers: Answers, config: ClassConfig): boolean {
  return answers.size > 0 && [...answers.values()].every((answer) => isSame(answer, config));
}

function isSame(answer: DynamicAnswer, config: ClassConfig): boolean {
  return 'config' in answer && fingerprint(answer.config) === fingerprint(config);
}

function pidsOf(one: ManagedClass): number[] {
  return [...one.processes.map(({ pid }) => pid), ...one.enginePids];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
