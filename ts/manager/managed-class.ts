// SPDX-License-Identifier: Apache-2.0
// One class whose instances we run: carries out what the policy wants, publishes what workers need
// to know, keeps the record of what happened. Driven by pass() and by the launcher's events.
import type { ClassEvent, ClassStatus, Journey } from '../control/messages.ts';
import type { ClassState, Load, Ref } from '../native/native.ts';
import { policies } from '../policy/policies.ts';
import type { Policy } from '../policy/policy.ts';
import { afterEnd, type EndVerdict } from '../policy/restart.ts';
import { type Exit, LauncherError } from '../process/launcher.ts';
import { type ClassConfig, runFingerprint } from './class-config.ts';
import type { ClassContext } from './context.ts';
import type { Instance } from './instance.ts';
import {
  beginJourney,
  describeExit,
  endBeforeReady,
  failStep,
  lastLine,
  timeOut,
} from './journeys.ts';
import { rssBytes } from './proc.ts';
import { totalsOf } from './totals.ts';

const SIGTERM = 15;
const SIGKILL = 9;
/** Between a stop signal of the class's own, TERM and KILL. */
const ESCALATION_MS = 2_000;
const REPAIR_MS = 1_000;
/** What may wait in one instance's socket: as much as the kernel allows (net.core.somaxconn). */
const BACKLOG = 4096;

type Endpoint = Pick<Instance, 'endpointId' | 'inode' | 'ref' | 'linked'>;

export class ManagedClass {
  readonly label: string;
  readonly server: string | null;
  readonly ref: Ref;
  config: ClassConfig;
  lastFailure: Journey | null = null;
  /** Left the configuration, or the manager stops: drains and ends. */
  isRetiring = false;

  #context: ClassContext;
  #policy: Policy;
  #memory: unknown;
  #instances = new Map<number, Instance>();
  #pendingStarts = 0;
  #wanted = 0;
  #failures = 0;
  #failedUntilMs: number | null = null;
  #failReason = '';
  #notBeforeMs = 0;
  #coldSinceMs: number | null = null;
  #activeAtMs: number;
  /** What the last start took until it was ready. */
  #startMs = 0;
  #repairedAtMs = 0;
  #isAskedFor = false;
  #load: Load;
  #published: string;
  #drainDeadlineMs = Number.POSITIVE_INFINITY;
  #lastEvent: ClassEvent | null = null;

  constructor(
    context: ClassContext,
    label: string,
    server: string | null,
    config: ClassConfig,
    ref: Ref,
  ) {
    this.#context = context;
    this.#policy = policies[config.policy];
    this.#memory = this.#policy.initial(0, context.now());
    this.label = label;
    this.server = server;
    this.config = config;
    this.ref = ref;
    this.#activeAtMs = context.now();
    this.#load = context.channel.load(ref);
    this.#published = '';
    this.#publish();
  }

  get instances(): readonly Instance[] {
    return [...this.#instances.values()];
  }

  /** Instances that count against -maxProcesses. */
  get instanceCount(): number {
    return this.#instances.size + this.#pendingStarts;
  }

  get isGone(): boolean {
    return this.isRetiring && this.#instances.size === 0 && this.#pendingStarts === 0;
  }

  /** Something happens or waits: look again at the next pass even if no counter changes. */
  get isBusy(): boolean {
    return this.#load.waiting > 0 || this.#load.inFlight > 0;
  }

  get idleForMs(): number {
    return this.isBusy ? 0 : this.#context.now() - this.#activeAtMs;
  }

  get failedUntilMs(): number | null {
    return this.#failedUntilMs;
  }

  /** New options. What a running instance cannot change makes new instances, the old ones drain. */
  reconfigure(config: ClassConfig): void {
    const rolls = runFingerprint(config) !== runFingerprint(this.config);
    if (!rolls) for (const instance of this.#instances.values()) instance.config = config;
    if (config.policy !== this.config.policy) {
      this.#policy = policies[config.policy];
      this.#memory = this.#policy.initial(this.#instances.size, this.#context.now());
    }
    this.config = config;
    this.#context.channel.setLimits(this.ref, config.limits);
    if (rolls) {
      this.#failedUntilMs = null;
      this.#failures = 0;
      this.#note('info', 'class.changed', { source: config.source }, 'its options changed');
    }
  }

  /** An instance that a former manager started and the launcher kept. */
  adopt(instance: Instance): void {
    this.#instances.set(instance.id, instance);
    this.#context.own(instance.id, this);
    // It was needed when it was started: it goes as slowly as if nothing had happened.
    this.#memory = this.#policy.initial(this.#instances.size, this.#context.now());
    this.#publish();
  }

  /** A start request asks for the class: as good as a waiting request, which shows only later. */
  askedFor(): void {
    this.#isAskedFor = true;
    this.pass(true);
  }

  /** Make the instances' sockets reachable for a server that came later. */
  linkServer(server: string): void {
    for (const instance of this.#instances.values()) {
      if (instance.linked.has(server)) continue;
      instance.linked.add(server);
      this.#context.launcher.linkServer(instance.endpointId, server).catch((error: unknown) => {
        this.#context.log('error', 'endpoint.link-failed', {
          class: this.label,
          server,
          text: error instanceof Error ? error.message : String(error),
        });
      });
    }
  }

  /** One look at the class. `changed`: its load data changed since the last pass. */
  pass(changed: boolean): void {
    const now = this.#context.now();
    if (changed || this.isBusy) this.#refreshLoad(now);
    this.#repairHints(now);
    for (const instance of this.#instances.values()) this.#passInstance(instance, now);
    if (this.isRetiring) return;
    if (this.#failedUntilMs !== null && now >= this.#failedUntilMs) this.#failedUntilMs = null;
    this.#decide(now);
    this.#publish();
  }

  /** Drain and end every instance; those still busy after `drainMs` are stopped all the same. */
  retire(drainMs: number): void {
    const now = this.#context.now();
    this.#drainDeadlineMs = Math.min(this.#drainDeadlineMs, now + drainMs);
    this.isRetiring = true;
    for (const instance of this.#instances.values()) {
      if (instance.state === 'starting') this.#stop(instance, now);
      else this.#drain(instance);
    }
  }

  /** Drain an idle instance to make room for another class. */
  giveUpIdle(): boolean {
    const idle = this.#serving().find(
      (instance) =>
        instance.state === 'ready' && this.#context.channel.inFlight(instance.ref) === 0,
    );
    if (!idle || this.isBusy) return false;
    this.#drain(idle);
    return true;
  }

  onStarted(id: number, pid: number): void {
    const instance = this.#instances.get(id);
    if (!instance) return;
    instance.pid = pid;
    const { journey } = instance;
    journey.steps.push({ name: 'exec', ms: round(this.#context.now() - instance.startedAtMs) });
    this.#context.channel.setEndpoint(instance.ref, channelState(instance), pid);
    this.#note('info', 'instance.started', { pid, command: journey.command }, 'was started');
  }

  onReady(id: number): void {
    const instance = this.#instances.get(id);
    if (instance?.state !== 'starting') return;
    instance.state = 'ready';
    const ms = this.#context.now() - instance.startedAtMs;
    this.#startMs = ms;
    instance.journey.steps.push({ name: 'ready', ms: round(ms) });
    instance.journey.outcome = 'ready';
    this.#failures = 0;
    this.#context.channel.setEndpoint(instance.ref, 'ready', instance.pid);
    this.#note('info', 'instance.ready', { pid: instance.pid, startMs: round(ms) }, 'is ready');
    this.pass(true);
  }

  onOutput(id: number, text: string): void {
    const instance = this.#instances.get(id);
    for (const line of text.split('\n')) {
      if (line === '') continue;
      this.#context.log('info', 'instance.output', {
        class: this.label,
        pid: instance?.pid ?? 0,
        line,
      });
    }
  }

  onExited(id: number, exit: Exit): void {
    const instance = this.#instances.get(id);
    this.#context.launcher.forget(id);
    if (!instance) return;
    this.#instances.delete(id);
    this.#context.disown(id);
    const how = describeExit(exit);
    const fields = {
      pid: instance.pid,
      livedMs: round(exit.livedMs),
      output: lastLine(exit.output),
    };
    if (instance.timedOut) {
      timeOut(instance.journey, instance.config.startTimeoutMs, exit.output);
      this.#afterEnd(instance, exit, { wasReady: false, couldNotStart: true });
    } else if (instance.stopDeadlineMs !== Number.POSITIVE_INFINITY || this.isRetiring) {
      this.#note('info', 'instance.stopped', fields, `${how} after being asked to stop`);
      this.#closeEndpoint(instance);
    } else {
      const wasReady = instance.state !== 'starting';
      if (!wasReady) endBeforeReady(instance.journey, exit);
      const level = exit.exitCode === 0 ? 'info' : 'warn';
      this.#note(level, 'instance.exited', fields, how);
      this.#afterEnd(instance, exit, { wasReady, couldNotStart: false });
    }
    if (!this.isRetiring) this.pass(true);
  }

  status(): ClassStatus {
    const load = this.#context.channel.load(this.ref);
    return {
      name: this.label,
      kind: this.config.kind,
      protocol: 'fastcgi',
      state: this.isRetiring ? 'removed' : this.#state(),
      wanted: this.#wanted,
      inFlight: load.inFlight,
      waiting: load.waiting,
      instances: [...this.#instances.values()].map((instance) => ({
        pid: instance.pid,
        state: instance.state,
        startedAt: instance.startedAt,
        requests: this.#context.channel.served(instance.ref),
        rssBytes: rssBytes(instance.pid),
      })),
      backends: [],
      lastEvent: this.#lastEvent,
      totals: totalsOf(load),
      lastFailure: this.lastFailure,
    };
  }

  #refreshLoad(now: number): void {
    const load = this.#context.channel.load(this.ref);
    const before = this.#load;
    const moved = load.arrivals !== before.arrivals || load.finished !== before.finished;
    this.#load = load;
    if (moved || this.isBusy) this.#activeAtMs = now;
  }

  /** A worker that died at a bad moment leaves shared hints too high; only an idle class shows it. */
  #repairHints(now: number): void {
    if (this.isBusy || now - this.#repairedAtMs < REPAIR_MS) return;
    this.#repairedAtMs = now;
    this.#context.channel.repairHints(this.ref);
  }

  #decide(now: number): void {
    const ready = this.#count('ready');
    const waits = this.#load.waiting + this.#load.inFlight > 0;
    if (ready > 0 || !waits) this.#coldSinceMs = null;
    else this.#coldSinceMs ??= now;
    const waiting = Math.max(this.#load.waiting, this.#isAskedFor ? 1 : 0);
    const decision = this.#policy.decide(
      {
        min: this.config.min,
        max: this.config.max,
        concurrency: this.config.concurrency,
        ready,
        starting: this.#count('starting') + this.#pendingStarts,
        inFlight: this.#load.inFlight,
        waiting,
        arrivals: this.#load.arrivals,
        completed: this.#load.finished + this.#load.failed,
        servingMs: this.#load.servingUs / 1000,
        startMs: this.#startMs,
        classic: this.config.classic,
        pool: this.config.kind === 'dynamic' ? this.#context.poolFacts(this) : null,
        coldForMs: this.#coldSinceMs === null ? 0 : now - this.#coldSinceMs,
        idleForMs: this.idleForMs,
        idleStopMs: this.config.idleStopMs,
        startDelayMs: this.config.startDelayMs,
      },
      this.#memory,
      now,
    );
    this.#isAskedFor = false;
    this.#memory = decision.memory;
    this.#wanted = decision.wanted;
    this.#scale(now);
  }

  #scale(now: number): void {
    const serving = this.#serving();
    const existing = serving.length + this.#pendingStarts;
    if (existing < this.#wanted && this.#failedUntilMs === null && now >= this.#notBeforeMs) {
      this.#startSome(this.#wanted - existing, now);
    }
    if (serving.length > this.#wanted) this.#drainSome(serving, serving.length - this.#wanted);
    const covered = this.#wanted === 0 || serving.some((instance) => instance.state === 'ready');
    if (!covered) return;
    for (const instance of this.#instances.values()) {
      if (!this.#isCurrent(instance) && instance.state === 'ready') this.#drain(instance);
      if (!this.#isCurrent(instance) && instance.state === 'starting') this.#stop(instance, now);
    }
  }

  #startSome(count: number, now: number): void {
    const paced = this.config.initStartDelayMs > 0 ? 1 : count;
    for (let started = 0; started < paced; started += 1) {
      if (this.config.kind === 'dynamic' && !this.#context.admitDynamic(this)) return;
      this.#notBeforeMs = now + this.config.initStartDelayMs;
      void this.#start(null);
    }
  }

  /** Retires the newest idle ones; a busy one is never given up to shrink. */
  #drainSome(serving: readonly Instance[], count: number): void {
    const idle = serving.filter(
      (instance) =>
        instance.state === 'ready' && this.#context.channel.inFlight(instance.ref) === 0,
    );
    const spare = this.config.kind === 'dynamic' ? this.#context.spareDynamic(this) : count;
    for (const instance of idle.reverse().slice(0, Math.min(count, spare))) this.#drain(instance);
  }

  /** Start an instance, on the endpoint of one that just ended when there is such. */
  async #start(reused: Endpoint | null): Promise<void> {
    const { launcher, now } = this.#context;
    const config = this.config;
    const beganMs = now();
    const journey = beginJourney(config.key, config.args, config.user);
    let endpoint = reused;
    let instance: Instance | null = null;
    this.#pendingStarts += 1;
    try {
      endpoint ??= await this.#bind(config);
      journey.steps.push({ name: 'endpoint', ms: round(now() - beganMs) });
      const { endpointId, inode, ref, linked } = endpoint;
      instance = {
        endpointId,
        inode,
        ref,
        linked,
        id: this.#context.nextId(),
        config,
        pid: 0,
        state: 'starting',
        startedAtMs: beganMs,
        startedAt: journey.startedAt,
        journey,
        stopDeadlineMs: Number.POSITIVE_INFINITY,
        harderSignals: [],
        timedOut: false,
      };
      this.#instances.set(instance.id, instance);
      this.#context.own(instance.id, this);
      this.#pendingStarts -= 1;
      this.#publish();
      await launcher.start(instance.id, {
        endpointId,
        tag: this.#context.tagOf(this),
        args: config.args,
        env: config.env,
        cwd: config.cwd,
        user: config.user,
        group: config.group,
        nice: config.nice,
        startTimeoutMs: config.startTimeoutMs,
      });
    } catch (error) {
      const step = error instanceof LauncherError ? error.step : 'start';
      const text = error instanceof Error ? error.message : String(error);
      failStep(journey, step, round(now() - beganMs), text);
      if (instance === null) this.#pendingStarts -= 1;
      else {
        this.#instances.delete(instance.id);
        this.#context.disown(instance.id);
      }
      this.#afterEnd({ config, journey, endpoint }, null, { wasReady: false, couldNotStart: true });
    }
    if (this.isRetiring) this.retire(0);
    this.#publish();
  }

  async #bind(config: ClassConfig): Promise<Endpoint> {
    const { channel, launcher } = this.#context;
    const endpointId = this.#context.nextId();
    const name = `e${endpointId}`;
    const servers = this.#context.serversOf(this);
    const inode = await launcher.bind(
      endpointId,
      name,
      this.#context.tagOf(this),
      BACKLOG,
      servers,
    );
    try {
      const address = { kind: 'serverSocket', name } as const;
      const ref = channel.addEndpoint(this.ref, address, config.concurrency, 'starting', 0);
      return { endpointId, inode, ref, linked: new Set(servers) };
    } catch (error) {
      await launcher.closeEndpoint(endpointId);
      throw error;
    }
  }

  #afterEnd(
    ended: { config: ClassConfig; journey: Journey; endpoint: Endpoint | null } | Instance,
    exit: Exit | null,
    how: { wasReady: boolean; couldNotStart: boolean },
  ): void {
    const endpoint = 'endpointId' in ended ? ended : ended.endpoint;
    const now = this.#context.now();
    if (!how.wasReady) this.lastFailure = ended.journey;
    if (this.isRetiring) {
      if (endpoint) this.#closeEndpoint(endpoint);
      return;
    }
    this.#refreshLoad(now);
    const queued = endpoint ? Math.max(0, this.#context.acceptQueue(endpoint.inode)) : 0;
    const verdict = afterEnd({
      kind: this.config.kind === 'dynamic' ? 'dynamic' : 'static',
      ...how,
      exitCode: exit?.exitCode ?? null,
      livedMs: exit?.livedMs ?? 0,
      minServerLifeMs: this.config.minServerLifeMs,
      restartDelayMs: this.config.restartDelayMs,
      failures: this.#failures,
      isWanted: this.#load.waiting + queued > 0 || this.#serving().length < this.config.min,
      restart: this.config.restart,
    });
    this.#failures = verdict.failures;
    if (verdict.action === 'replace' && endpoint) {
      this.#context.channel.setEndpoint(endpoint.ref, 'starting', 0);
      void this.#start(endpoint);
      return;
    }
    if (verdict.action === 'delay') this.#notBeforeMs = now + verdict.delayMs;
    if (verdict.action === 'fail') this.#fail(ended.journey, now, verdict.delayMs);
    // Published before the endpoint closes: requests whose connection breaks now find the verdict.
    this.#publish();
    if (endpoint) this.#closeEndpoint(endpoint, this.#refusalFor(verdict));
  }

  /** What requests in the socket of a program that cannot start are told. Elsewhere a broken
   * connection is better: the web server may then ask another instance. */
  #refusalFor(verdict: EndVerdict): { reason: string; retryAfterS: number } | undefined {
    if (verdict.action !== 'fail') return undefined;
    const reason = `class "${this.label}": ${this.#failReason}`;
    return { reason, retryAfterS: Math.ceil(verdict.delayMs / 1000) };
  }

  #fail(journey: Journey, now: number, delayMs: number): void {
    this.#failedUntilMs = now + delayMs;
    this.#failReason = journey.explanation;
    this.#note(
      'error',
      'class.failed',
      { command: journey.command, retryMs: delayMs, output: journey.output },
      journey.explanation,
    );
  }

  #passInstance(instance: Instance, now: number): void {
    switch (instance.state) {
      case 'starting':
        if (now - instance.startedAtMs >= instance.config.startTimeoutMs && !instance.timedOut) {
          instance.timedOut = true;
          this.#context.launcher.signal(instance.id, SIGKILL);
        }
        break;
      case 'draining': {
        const { channel } = this.#context;
        const idle =
          channel.inFlight(instance.ref) === 0 && this.#context.acceptQueue(instance.inode) <= 0;
        if (idle || now >= this.#drainDeadlineMs) this.#stop(instance, now);
        break;
      }
      case 'stopping':
        if (now >= instance.stopDeadlineMs) {
          this.#context.launcher.signal(instance.id, instance.harderSignals.shift() ?? SIGKILL);
          instance.stopDeadlineMs = now + ESCALATION_MS;
        }
        break;
      case 'ready':
        break;
    }
  }

  #drain(instance: Instance): void {
    if (instance.state !== 'ready') return;
    instance.state = 'draining';
    this.#context.channel.setEndpoint(instance.ref, 'draining', instance.pid);
    this.#note('info', 'instance.draining', { pid: instance.pid }, 'takes no more requests');
    this.#passInstance(instance, this.#context.now());
  }

  #stop(instance: Instance, now: number): void {
    if (instance.state === 'stopping') return;
    instance.state = 'stopping';
    this.#context.channel.setEndpoint(instance.ref, 'draining', instance.pid);
    const patience = this.isRetiring
      ? Math.min(instance.config.stopTimeoutMs, ESCALATION_MS)
      : instance.config.stopTimeoutMs;
    instance.stopDeadlineMs = now + patience;
    const { stopSignal } = instance.config;
    instance.harderSignals = stopSignal === SIGTERM ? [SIGKILL] : [SIGTERM, SIGKILL];
    this.#context.launcher.signal(instance.id, stopSignal);
  }

  #closeEndpoint(endpoint: Endpoint, refusal?: { reason: string; retryAfterS: number }): void {
    this.#context.channel.removeEndpoint(endpoint.ref);
    this.#context.launcher.closeEndpoint(endpoint.endpointId, refusal).catch((error: unknown) => {
      this.#context.log('error', 'endpoint.close-failed', {
        class: this.label,
        error: String(error),
      });
    });
  }

  #isCurrent(instance: Instance): boolean {
    return instance.config === this.config;
  }

  /** Instances with today's options that take requests, or will; in the order they were started. */
  #serving(): Instance[] {
    return [...this.#instances.values()].filter(
      (instance) =>
        this.#isCurrent(instance) && (instance.state === 'ready' || instance.state === 'starting'),
    );
  }

  #count(state: 'ready' | 'starting'): number {
    return this.#serving().filter((instance) => instance.state === state).length;
  }

  #state(): ClassState {
    const states = new Set([...this.#instances.values()].map((instance) => instance.state));
    if (states.has('ready')) return 'ready';
    if (states.has('starting') || this.#pendingStarts > 0) return 'starting';
    return this.#failedUntilMs === null ? 'cold' : 'failed';
  }

  #publish(): void {
    if (this.isRetiring) return;
    const state = this.#state();
    const failed = state === 'failed';
    const retryS = failed
      ? Math.max(1, Math.ceil(((this.#failedUntilMs ?? 0) - this.#context.now()) / 1000))
      : 0;
    const text = `${state} ${retryS} ${this.#failReason}`;
    if (text === this.#published) return;
    this.#published = text;
    const reason = failed ? this.#failReason : '';
    this.#context.channel.setClass(this.ref, state, failed ? 503 : 0, retryS, reason);
  }

  #note(
    level: 'info' | 'warn' | 'error',
    event: string,
    fields: Record<string, unknown>,
    text: string,
  ): void {
    this.#context.log(level, event, { class: this.label, ...fields, text });
    this.#lastEvent = { at: new Date().toISOString(), event, text };
  }
}

function channelState(instance: Instance): 'starting' | 'ready' | 'draining' {
  return instance.state === 'stopping' ? 'draining' : instance.state;
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
