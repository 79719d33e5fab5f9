// SPDX-License-Identifier: Apache-2.0
// One servlet engine: a program that listens at an address by itself. It is started, asked until it
// answers, watched, and ended when nobody needs it or another one is to take its place.
import { constants } from 'node:os';
import type { EngineStatus, Journey } from '../../control/messages.ts';
import type { EngineProbe, Question } from '../../gateways/ajp/engine-probe.ts';
import type { Activation, BackendConfig, EngineView } from '../../gateways/link.ts';
import { ENGINE_LIVED_MS, engineBackOffMs } from '../../policy/engine-back-off.ts';
import { type Exit, LauncherError, type StartFacts } from '../../process/launcher.ts';
import type { FailedStep } from '../causes.ts';
import type { ClassContext } from '../context.ts';
import {
  addFacts,
  addStep,
  beginJourney,
  conclude,
  describeExit,
  endBeforeReady,
  failStep,
  lastLine,
  noteExit,
  roundMs,
  signalName,
} from '../journeys.ts';
import { type OomKills, oomVerdict } from '../out-of-memory.ts';
import { rssBytes } from '../proc.ts';
import { Masker } from '../secrets.ts';
import { type EnginesConfig, environmentOf, hashOf } from './engine-config.ts';

const { SIGTERM, SIGKILL } = constants.signals;

/** While it starts it is asked so often, and may take so long to answer. */
const ASK_MS = 250;
const ASK_TIMEOUT_MS = 2_000;
/** The same for one that serves: JServ's, or so often that one lost question does not matter. */
const WATCH_MS = 10_000;
const QUESTIONS = 4;
/** Between TERM and KILL, where -stop-timeout is over. */
const ESCALATION_MS = 2_000;
/** Requests wait for one that is away no longer than this. */
const SHORT_MS = 1_000;

/**
 * launching: the launcher was asked; starting: it has a process and does not answer yet; draining: it
 * serves its sessions, then what it has begun, and is stopped.
 */
export type EngineState = 'off' | 'launching' | 'starting' | 'up' | 'draining' | 'stopping';

/** What an engine needs of its class. */
export interface EngineHost {
  readonly context: ClassContext;
  readonly label: string;
  readonly config: EnginesConfig;
  /** Restarts that were asked for. */
  readonly epoch: number;
  readonly probe: EngineProbe;
  /** Tells it to end, in the words of AJP 1.2. */
  shutDown(address: string): void;
  tagOf(engine: Engine): string;
  own(id: number): void;
  note(
    level: 'info' | 'warn' | 'error',
    event: string,
    fields: Record<string, unknown>,
    text: string,
  ): void;
  /** No gateway has a request there, and none will send one. */
  isDrained(name: string): boolean;
  /** Requests that it has answered. */
  answered(name: string): number;
  onUp(engine: Engine): void;
  onFailed(engine: Engine, journey: Journey): void;
}

/** What the next manager must know, or an engine that loops would be tried at once again. */
export interface SavedEngine {
  name: string;
  failures: number;
  notBeforeMs: number;
  isBroken: boolean;
  text: string;
}

/** A process that a former manager started. */
export interface KeptEngine {
  /** The launcher's. */
  id: number;
  pid: number;
  startedMs: number;
  /** What it was started from; '' = not known. */
  hash: string;
  epoch: number;
}

export class Engine {
  readonly name: string;
  backend: BackendConfig;
  state: EngineState = 'off';
  /** The launcher's id of its process; 0 = it has none. */
  id = 0;
  pid = 0;
  /** What the process was started from. */
  hash = '';
  epoch = 0;
  /** Why it is to be replaced; '' = it is not. */
  worn = '';
  /** A former manager's: it may serve, though it has not answered us yet. */
  isAdopted = false;
  /** It is not configured any more. */
  isLeaving = false;
  /** It ended before it answered, when it was last tried. */
  isBroken = false;
  /** Why it is not up. */
  text = 'is not started yet';

  #host: EngineHost;
  #isWanted = false;
  #startedAtMs = 0;
  #startedAt: string | null = null;
  #journey: Journey | null = null;
  #oomKills: OomKills = { machine: null, group: null };
  #starts = 0;
  #failures = 0;
  #notBeforeMs = 0;
  #timedOut = false;
  #hung = false;
  #isAsking = false;
  #askAtMs = 0;
  /** When it, or a request there, was last answered. */
  #signOfLifeMs = 0;
  #answered = 0;
  #silence = '';
  /** Draining: sessions are served until then. */
  #sessionsUntilMs = 0;
  #stopDeadlineMs = 0;
  #harderSignals: number[] = [];

  constructor(host: EngineHost, backend: BackendConfig) {
    this.#host = host;
    this.name = backend.name;
    this.backend = backend;
  }

  /** What gateways are told. */
  get view(): EngineView {
    const isServing = this.state === 'up' || this.#servesSessions;
    return { isUp: isServing, isAwaited: !isServing && this.#isAwaited, text: this.text };
  }

  /** When it is to be looked at again; 0 = at the next pass. */
  get dueMs(): number {
    if (this.isLeaving || this.worn !== '' || this.#isAsking) return 0;
    if (this.state === 'up') return this.#askAtMs;
    return this.state === 'off' && !this.#isWanted ? Number.POSITIVE_INFINITY : 0;
  }

  /** Stricter than what administrators say; null = that counts. */
  get activation(): Activation | null {
    return this.#servesSessions ? 'disabled' : null;
  }

  get startedAtMs(): number {
    return this.#startedAtMs;
  }

  get status(): EngineStatus {
    const isWaiting = this.state === 'off' && this.#isWanted;
    return {
      pid: this.pid || null,
      state: this.state === 'launching' || isWaiting ? 'waiting' : this.state,
      startedAt: this.id === 0 ? null : this.#startedAt,
      rssBytes: rssBytes(this.pid),
      starts: this.#starts,
      failures: this.#failures,
    };
  }

  /** It may be up in a moment: who asks waits for it. */
  isPending(nowMs: number): boolean {
    if (this.state === 'off') return !this.isBroken || nowMs >= this.#notBeforeMs;
    return this.state !== 'draining';
  }

  get #masker(): Masker {
    return new Masker(environmentOf(this.#host.config.program, this.backend));
  }

  // ---- what the class says

  /** @param wanted The class needs engines. */
  pass(nowMs: number, wanted: boolean): void {
    this.#isWanted = wanted && !this.isLeaving;
    switch (this.state) {
      case 'off':
        if (this.#isWanted && nowMs >= this.#notBeforeMs) void this.#launch(nowMs);
        break;
      case 'launching':
        break;
      case 'starting':
        if (this.#isWanted) this.#passStart(nowMs);
        else this.stop('is not needed any more');
        break;
      case 'up':
        if (wanted) this.#watch(nowMs);
        else this.stop('is not needed any more');
        break;
      case 'draining':
        if (wanted) this.#passDrain(nowMs);
        else this.stop('is not needed any more');
        break;
      case 'stopping':
        this.#escalate(nowMs);
        break;
    }
  }

  /** It is stopped when its sessions have had their time and its requests are over. */
  drain(why: string, sessionsMs: number): void {
    if (this.state !== 'up') return;
    this.state = 'draining';
    this.#sessionsUntilMs = this.#host.context.now() + sessionsMs;
    this.text = why;
    const sessions = sessionsMs > 0 ? ` but those of its sessions, for ${sessionsMs / 1000} s` : '';
    this.#note('info', 'engine.draining', `gets no more requests${sessions}: it ${why}`);
  }

  stop(why: string): void {
    if (this.id === 0 || this.state === 'stopping') return;
    const { context, config } = this.#host;
    const { protocol, authenticates, stopSignal, stopTimeoutMs } = config;
    this.state = 'stopping';
    this.text = why;
    const patienceMs = this.#hung ? Math.min(stopTimeoutMs, ESCALATION_MS) : stopTimeoutMs;
    this.#stopDeadlineMs = context.now() + patienceMs;
    const harder = stopSignal === SIGTERM ? [SIGKILL] : [SIGTERM, SIGKILL];
    const hasWord = protocol === 'ajp12' && !authenticates && !this.#hung;
    this.#harderSignals = hasWord ? [stopSignal, ...harder] : harder;
    if (hasWord) this.#host.shutDown(this.name);
    else context.launcher.signal(this.id, stopSignal);
    this.#note('info', 'engine.stopping', `is asked to end: it ${why}`);
  }

  /** What failed may be tried at once. */
  forget(): void {
    this.#failures = 0;
    this.#notBeforeMs = 0;
  }

  isOutdated(): boolean {
    if (this.id === 0) return false;
    const { config, epoch } = this.#host;
    return (
      this.worn !== '' || this.epoch < epoch || this.hash !== hashOf(config.program, this.backend)
    );
  }

  // ---- of a former manager

  save(): SavedEngine | null {
    if (this.#failures === 0) return null;
    const { name, isBroken, text } = this;
    return { name, failures: this.#failures, notBeforeMs: this.#notBeforeMs, isBroken, text };
  }

  restore(saved: SavedEngine): void {
    this.#failures = saved.failures;
    this.#notBeforeMs = saved.notBeforeMs;
    this.isBroken = saved.isBroken;
    this.text = saved.text;
  }

  /** Its process lives, or has ended meanwhile: then exited() follows. */
  adopt(kept: KeptEngine): void {
    const now = this.#host.context.now();
    this.#begin(kept.startedMs, kept.hash, kept.epoch);
    this.id = kept.id;
    this.pid = kept.pid;
    // What is older has answered; younger ones are asked, which takes no time if they are there.
    const isOld = now - kept.startedMs >= this.#host.config.startTimeoutMs;
    this.state = isOld ? 'up' : 'starting';
    this.text = 'is being started';
    this.isAdopted = true;
    this.#signOfLifeMs = now;
  }

  // ---- what the launcher says

  onStarted(pid: number, facts: StartFacts): void {
    this.pid = pid;
    this.state = 'starting';
    this.#askAtMs = 0;
    if (this.#journey) {
      this.#journey.pid = pid;
      addFacts(this.#journey, facts, this.#startedAtMs);
    }
    const command = this.#journey?.command;
    this.#note('info', 'engine.started', 'was started', { command });
  }

  onExited(told: Exit): void {
    const exit = { ...told, output: this.#masker.text(told.output) };
    const wasUp = this.state === 'up' || this.state === 'draining';
    const wasStopped = this.state === 'stopping' && !this.#hung;
    const journey = this.#journey;
    const fields = { livedMs: roundMs(exit.livedMs), output: lastLine(exit.output) };
    if (wasStopped) {
      this.#note('info', 'engine.stopped', `${describeExit(exit)} after being asked to`, fields);
      this.#ended();
      this.#notBeforeMs = 0;
      return;
    }
    if (journey) {
      const oom = oomVerdict(this.#oomKills, this.#host.context.oomKills());
      if (this.#timedOut || this.#hung) {
        noteExit(journey, exit, null); // the signal was ours
        journey.explanation = this.text;
        conclude(journey, this.#hung ? 'hung' : 'not-ready-in-time');
      } else if (wasUp) {
        noteExit(journey, exit, oom);
        journey.explanation = describeExit(exit);
      } else endBeforeReady(journey, exit, oom);
    }
    const isBroken = !wasUp && !this.#hung;
    this.#failed(journey?.explanation ?? describeExit(exit), isBroken, exit.livedMs, fields);
  }

  // ---- start

  async #launch(nowMs: number): Promise<void> {
    const { context, config, epoch, probe } = this.#host;
    const { program } = config;
    this.state = 'launching';
    this.#begin(nowMs, hashOf(program, this.backend), epoch);
    this.#starts += 1;
    this.text = 'is being started';
    const what = { ...program, key: this.#host.label, gateway: null };
    const journey = beginJourney(what, this.#masker);
    this.#journey = journey;
    this.#oomKills = context.oomKills();
    try {
      const look = await probe(this.#question, ASK_TIMEOUT_MS);
      if (look.outcome === 'up' || look.outcome === 'silent') {
        throw new Error(`another program listens at ${this.name} already`);
      }
      if (!this.#isWanted) {
        this.#ended();
        return;
      }
      this.id = context.nextId();
      this.#host.own(this.id);
      const tag = this.#host.tagOf(this);
      const env = environmentOf(program, this.backend);
      await context.launcher.startService(this.id, { ...program, env, tag });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (error instanceof LauncherError) addFacts(journey, error.facts, nowMs);
      failStep(journey, failedStepOf(error), context.now() - nowMs, text);
      this.#failed(journey.explanation, true, 0, {});
    }
  }

  #begin(startedAtMs: number, hash: string, epoch: number): void {
    const agoMs = this.#host.context.now() - startedAtMs;
    this.#startedAtMs = startedAtMs;
    this.#startedAt = new Date(Date.now() - agoMs).toISOString();
    this.hash = hash;
    this.epoch = epoch;
    this.worn = '';
    this.isAdopted = false;
    this.#timedOut = false;
    this.#hung = false;
    this.#journey = null;
  }

  #passStart(nowMs: number): void {
    const { context, config } = this.#host;
    if (this.#timedOut) return;
    if (nowMs - this.#startedAtMs >= config.startTimeoutMs) {
      this.#timedOut = true;
      this.text = `did not answer within ${config.startTimeoutMs / 1000} s of its start (-start-timeout): ${this.#silence}`;
      context.launcher.snapshot(this.id);
      context.launcher.signal(this.id, SIGKILL);
    } else if (!this.#isAsking && nowMs >= this.#askAtMs) {
      this.#askAtMs = nowMs + ASK_MS;
      void this.#ask(ASK_TIMEOUT_MS);
    }
  }

  #becameUp(): void {
    const { context } = this.#host;
    const ms = roundMs(context.now() - this.#startedAtMs);
    if (this.#journey) addStep(this.#journey, 'ready', ms, `it answers at ${this.name}`);
    if (this.#journey) this.#journey.outcome = 'ready';
    this.state = 'up';
    this.isBroken = false;
    this.#answered = this.#host.answered(this.name);
    this.#note('info', 'engine.up', 'answers', { startMs: ms });
    this.#host.onUp(this);
  }

  // ---- life

  get #question(): Question {
    const { protocol, authenticates } = this.#host.config;
    return { address: this.name, protocol, authenticates };
  }

  async #ask(timeoutMs: number): Promise<void> {
    const { id } = this;
    this.#isAsking = true;
    const look = await this.#host.probe(this.#question, timeoutMs);
    this.#isAsking = false;
    if (this.id !== id) return;
    // That it made its socket is all that can be seen of one that hides it from us.
    if (look.outcome !== 'up' && look.outcome !== 'hidden') {
      this.#silence = look.error;
      return;
    }
    this.#signOfLifeMs = this.#host.context.now();
    if (this.state === 'starting' && !this.#timedOut) this.#becameUp();
  }

  /** An engine whose threads are all busy does not answer us: what it answers to others counts. */
  #watch(nowMs: number): void {
    const { livenessTimeoutMs } = this.#host.config;
    if (!this.#isAsking && nowMs >= this.#askAtMs) {
      const intervalMs = Math.min(WATCH_MS, livenessTimeoutMs / QUESTIONS || WATCH_MS);
      this.#askAtMs = nowMs + intervalMs;
      void this.#ask(intervalMs);
      const answered = this.#host.answered(this.name);
      if (answered !== this.#answered) this.#signOfLifeMs = nowMs;
      this.#answered = answered;
    }
    if (livenessTimeoutMs === 0 || nowMs - this.#signOfLifeMs < livenessTimeoutMs) return;
    if (this.#host.answered(this.name) !== this.#answered) return;
    const why = `has answered neither us nor a request for ${livenessTimeoutMs / 1000} s (-liveness-timeout): ${this.#silence}`;
    this.#hung = true;
    this.#note('error', 'engine.hung', why);
    this.#host.context.launcher.snapshot(this.id);
    this.stop(why);
  }

  // ---- end

  get #servesSessions(): boolean {
    return this.state === 'draining' && this.#host.context.now() < this.#sessionsUntilMs;
  }

  get #isAwaited(): boolean {
    if (this.isLeaving || this.isBroken || !this.#isWanted) return false;
    return this.state !== 'off' || this.#notBeforeMs - this.#host.context.now() <= SHORT_MS;
  }

  #passDrain(nowMs: number): void {
    if (nowMs < this.#sessionsUntilMs) return;
    if (this.#host.isDrained(this.name)) this.stop(this.text);
  }

  #escalate(nowMs: number): void {
    if (nowMs < this.#stopDeadlineMs) return;
    const signal = this.#harderSignals.shift() ?? SIGKILL;
    this.#stopDeadlineMs = nowMs + ESCALATION_MS;
    this.#note('warn', 'engine.stubborn', `does not end: it gets ${signalName(signal)}`);
    this.#host.context.launcher.signal(this.id, signal);
  }

  #failed(
    explanation: string,
    isBroken: boolean,
    livedMs: number,
    fields: Record<string, unknown>,
  ): void {
    if (livedMs > ENGINE_LIVED_MS) this.#failures = 0;
    this.#failures += 1;
    const retryMs = engineBackOffMs(this.#failures);
    this.#notBeforeMs = this.#host.context.now() + retryMs;
    this.isBroken = isBroken;
    const journey = this.#journey;
    this.#note('error', 'engine.failed', `${explanation}; the next try is in ${retryMs / 1000} s`, {
      ...fields,
      retryMs,
      output: journey?.output,
    });
    this.#ended();
    this.text = explanation;
    if (journey) this.#host.onFailed(this, journey);
  }

  #ended(): void {
    if (this.id !== 0) this.#host.context.disown(this.id);
    this.state = 'off';
    this.id = 0;
    this.pid = 0;
  }

  #note(
    level: 'info' | 'warn' | 'error',
    event: string,
    text: string,
    fields: Record<string, unknown> = {},
  ): void {
    const own = { engine: this.name, pid: this.pid, ...fields };
    this.#host.note(level, event, own, `engine ${this.name} ${text}`);
  }
}

/** Nothing but another program at its address fails here without the launcher. */
function failedStepOf(error: unknown): FailedStep {
  if (error instanceof LauncherError) {
    return { step: error.step, errno: error.errno, cause: error.causeWord };
  }
  return { step: 'address', errno: 0, cause: 'address-in-use' };
}
