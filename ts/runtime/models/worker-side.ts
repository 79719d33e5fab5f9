// SPDX-License-Identifier: Apache-2.0
// What a worker does: requests of its link to the servlet, hooks, its end.
import { getHeapStatistics } from 'node:v8';
import { isMainThread, workerData } from 'node:worker_threads';
import { inherited } from '../../serving/accepted-socket.ts';
import { cutBackground, finishBackground } from '../background.ts';
import type { Servlet } from '../exchange.ts';
import { whenIdle } from '../guards/idle.ts';
import { Wear } from '../guards/wear.ts';
import { LinkExchange } from '../link/link-exchange.ts';
import type { MasterMessage, WorkerLink } from '../link/messages.ts';
import { processWorkerLink } from '../link/process-link.ts';
import { threadWorkerLink } from '../link/thread-link.ts';
import { logLine } from '../log-line.ts';
import type { Hooks, ServeSettings } from '../options.ts';
import { refuseSharedMemory } from '../shared-memory.ts';
import { isBuildingSnapshot } from '../snapshot/snapshot.ts';
import { LINK_FD, WORKER_VARIABLE } from './process-worker.ts';
import type { ThreadData } from './thread-worker.ts';

export type WorkerKind = 'process' | 'thread';

/** Read early, as programs that this one starts are no workers; in a start-up snapshot nothing is known yet. */
let kind = isBuildingSnapshot() ? undefined : readKind();

/** What this is; null = a master, or a program without workers. */
export function workerKind(): WorkerKind | null {
  if (kind === undefined) kind = readKind();
  return kind;
}

function readKind(): WorkerKind | null {
  if (!isMainThread) return threadData() === null ? null : 'thread';
  const isWorker = process.env[WORKER_VARIABLE] !== undefined;
  delete process.env[WORKER_VARIABLE]; // programs that the worker starts are none
  return isWorker ? 'process' : null;
}

function threadData(): ThreadData | null {
  const data = workerData as { usherRuntimeWorker?: ThreadData } | null;
  return data?.usherRuntimeWorker ?? null;
}

export interface WorkerSide {
  link: WorkerLink;
  servlet: Servlet;
  hooks: Hooks;
  /** 0 = no limit. */
  maxMemoryMb: number;
  /** What onWorkerStop has at most when the master is gone. */
  stopMs: number;
  /** Bytes in use, of what maxMemoryMb limits. */
  usedBytes(): number;
  /** Ends the worker. */
  exit(status: number): void;
}

/** Serves the requests of the master that has started this; ends with process.exit(). */
export function startWorkerSide(
  servlet: Servlet,
  hooks: Hooks,
  settings: Pick<ServeSettings, 'model' | 'maxMemoryMb' | 'stopMs'>,
): void {
  const { model, maxMemoryMb, stopMs } = settings;
  if (model === 'forking' || model === 'process-pool') refuseSharedMemory();
  const exit = (status: number) => process.exit(status);
  const common = { servlet, hooks, maxMemoryMb, stopMs, exit };
  const thread = threadData();
  if (thread !== null) {
    const link = threadWorkerLink(thread.port);
    runWorker({ ...common, link, usedBytes: () => getHeapStatistics().used_heap_size });
    return;
  }
  // The master leads: a signal to all of the process group is its business.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.on(signal, () => undefined);
  const link = processWorkerLink(inherited(LINK_FD));
  runWorker({ ...common, link, usedBytes: () => process.memoryUsage.rss() });
}

/** For what was sent to be read. */
const CLOSE_MS = 1000;

export function runWorker(side: WorkerSide): void {
  void new RunningWorker(side).start();
}

class RunningWorker {
  readonly #side: WorkerSide;
  readonly #exchanges = new Map<number, LinkExchange>();
  #hasStarted = false;
  #isEnding = false;
  /** null = not asked to stop. */
  #stopMs: number | null = null;
  /** How many requests it may have is the master's to count. */
  readonly #wear: Wear;
  #isRetiring = false;
  #endIdle: () => void = () => undefined;
  #onClosed: () => void = () => undefined;

  constructor(side: WorkerSide) {
    this.#side = side;
    this.#wear = new Wear({ maxRequests: 0, maxMemoryMb: side.maxMemoryMb }, side.usedBytes);
  }

  async start(): Promise<void> {
    const { link, hooks } = this.#side;
    link.onMessage = (message) => this.#onMessage(message);
    link.onClose = () => this.#onClose();
    try {
      await hooks.onWorkerStart?.();
    } catch (error) {
      link.send({ type: 'failed', reason: `onWorkerStart: ${textOf(error)}` });
      await this.#exit(1);
      return;
    }
    this.#hasStarted = true;
    this.#endIdle = whenIdle(
      hooks.onWorkerIdle,
      () => this.#exchanges.size === 0 && !this.#isEnding,
      (error) => logLine(`onWorkerIdle: ${textOf(error)}`),
    );
    if (this.#stopMs === null) link.send({ type: 'ready' });
    else this.#endWhenFree();
  }

  #onMessage(message: MasterMessage): void {
    switch (message.type) {
      case 'request':
        this.#run(message);
        return;
      case 'ping':
        this.#side.link.send({ type: 'pong' });
        return;
      case 'stop':
        this.#stopMs = message.stopMs;
        this.#endWhenFree();
        return;
      default:
        this.#exchanges.get(message.id)?.take(message);
    }
  }

  #run({ id, head }: Extract<MasterMessage, { type: 'request' }>): void {
    const exchange = new LinkExchange(head, id, this.#side.link, () => {
      this.#exchanges.delete(id);
      this.#look();
      this.#endWhenFree();
    });
    this.#exchanges.set(id, exchange);
    this.#side.servlet(exchange);
  }

  #look(): void {
    if (this.#isRetiring) return;
    const reason = this.#wear.afterRequest();
    if (reason === null) return;
    this.#isRetiring = true;
    this.#side.link.send({ type: 'retire', reason });
  }

  #endWhenFree(): void {
    if (this.#stopMs === null || !this.#hasStarted || this.#exchanges.size > 0) return;
    if (this.#isEnding) return;
    this.#isEnding = true;
    void this.#end(this.#stopMs);
  }

  async #end(stopMs: number): Promise<void> {
    this.#endIdle();
    await finishBackground(stopMs);
    await this.#exit(await this.#stopHook());
  }

  async #stopHook(): Promise<number> {
    try {
      await this.#side.hooks.onWorkerStop?.();
      return 0;
    } catch (error) {
      logLine(`onWorkerStop: ${textOf(error)}`);
      return 1;
    }
  }

  /** When the master has read what was sent. */
  async #exit(status: number): Promise<void> {
    const { link, exit } = this.#side;
    this.#isEnding = true;
    const closed = new Promise<void>((resolve) => {
      this.#onClosed = resolve;
      setTimeout(resolve, CLOSE_MS).unref();
    });
    link.close();
    await closed;
    exit(status);
  }

  /** Without a master there is nothing to finish. */
  #onClose(): void {
    this.#onClosed();
    if (this.#isEnding) return;
    this.#isEnding = true;
    const { exit, stopMs } = this.#side;
    setTimeout(() => exit(1), stopMs).unref();
    cutBackground('the master has ended');
    for (const exchange of [...this.#exchanges.values()]) {
      try {
        exchange.cutOff(new Error('the master has ended'));
      } catch (error) {
        logLine(textOf(error));
      }
    }
    this.#endIdle();
    if (!this.#hasStarted) exit(0);
    else void this.#stopHook().then(exit);
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
