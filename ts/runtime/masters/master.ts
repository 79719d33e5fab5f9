// SPDX-License-Identifier: Apache-2.0
// The process that listens: its listeners, the model that runs what comes, hooks, signals, its end.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Listener, listen } from '../connections/listener.ts';
import type { Servlet } from '../exchange.ts';
import { whenIdle } from '../guards/idle.ts';
import { watchFiles } from '../guards/watch-files.ts';
import { logLine } from '../log-line.ts';
import { createPool } from '../models/create-pool.ts';
import { LocalModel } from '../models/local.ts';
import type { Model } from '../models/model.ts';
import type { Pool } from '../models/pool.ts';
import type { ListenOptions, Served, ServeSettings } from '../options.ts';
import { LocalWorker } from './local-worker.ts';

export interface Places {
  listen: readonly ListenOptions[];
  /** Somebody tries the program: it is said where it can be seen. */
  isDevelopment: boolean;
}

/** What cut-off requests get to tell their peers, before connections are closed. */
const FAREWELL_MS = 500;

export class Master {
  readonly #settings: ServeSettings;
  readonly #model: Model;
  /** null: no workers. */
  #pool: Pool | null = null;
  readonly #listeners: Listener[] = [];
  readonly #releasers: (() => void)[] = [];
  #stopped: Promise<void> | null = null;

  private constructor(servlet: Servlet, settings: ServeSettings, reloads: boolean) {
    this.#settings = settings;
    this.#model = reloads ? this.#reloadingModel() : this.#makeModel(servlet);
  }

  static async start(servlet: Servlet, settings: ServeSettings, places: Places): Promise<Served> {
    const isHttp = places.listen.some(({ protocol }) => protocol === 'http');
    const reloads = isHttp && (settings.reload ?? places.isDevelopment);
    const master = new Master(servlet, settings, reloads);
    await master.#start(places);
    return {
      addresses: master.#listeners.map(({ protocol, address }) => ({ protocol, address })),
      model: settings.model,
      stop: () => master.#stop(),
    };
  }

  #makeModel(servlet: Servlet): Model {
    const { model } = this.#settings;
    if (model !== 'sequential' && model !== 'concurrent') {
      this.#pool = createPool(this.#settings, model);
      return this.#pool;
    }
    const atATime = model === 'sequential' ? 1 : Number.POSITIVE_INFINITY;
    const owner = {
      onWorn: (reason: string) => {
        logLine(`the program ends: ${reason}`);
        void this.#exit();
      },
    };
    const local = new LocalModel(servlet, { ...this.#settings, atATime }, owner);
    return new LocalWorker(local, this.#settings);
  }

  #reloadingModel(): Model {
    const { model } = this.#settings;
    const isPool = model !== 'sequential' && model !== 'concurrent';
    this.#pool = createPool(this.#settings, isPool ? model : 'reload');
    const program = process.argv[1];
    if (program !== undefined) {
      const onChange = (file: string) => void this.#replaceWorkers(`${file} has changed`);
      this.#releasers.push(watchFiles(program, onChange));
    }
    return this.#pool;
  }

  async #replaceWorkers(why: string): Promise<void> {
    try {
      if (this.#pool === null) throw new Error('this model has no workers');
      await this.#pool.replaceAll();
      logLine(`${why}: all workers are new`);
    } catch (error) {
      logLine(`${why}: no new workers, so those before go on: ${error}`);
    }
  }

  /** All or nothing: what has begun is ended when something fails. */
  async #start({ listen: places, isDevelopment }: Places): Promise<void> {
    const { onMasterStart, onMasterIdle } = this.#settings;
    await onMasterStart?.();
    await this.#model.start();
    try {
      for (const place of places) this.#listeners.push(await this.#listen(place));
    } catch (error) {
      await this.#stop();
      throw error;
    }
    this.#listenToSignals(places);
    const isIdle = () => this.#model.counts().running + this.#model.counts().waiting === 0;
    const onError = (error: unknown) => {
      logLine(`onMasterIdle: ${error}: the program ends`);
      void this.#exit(1);
    };
    this.#releasers.push(whenIdle(onMasterIdle, isIdle, onError));
    if (!isDevelopment) return;
    for (const { address } of this.#listeners) logLine(`for development, at http://${address}/`);
  }

  #listen(place: ListenOptions): Promise<Listener> {
    return listen(place, {
      run: (exchange) => this.#model.run(exchange),
      log: logLine,
      onSignal: (signal) => {
        const why = `a web server asks for a ${signal} (AJP 1.2)`;
        if (signal === 'restart') {
          void this.#replaceWorkers(why);
        } else {
          logLine(why);
          void this.#exit();
        }
      },
    });
  }

  #listenToSignals(places: readonly ListenOptions[]): void {
    const signals: NodeJS.Signals[] = ['SIGTERM', 'SIGINT'];
    // Process managers of FastCGI have asked with it for an end without loss.
    if (places.some(({ protocol }) => protocol === 'fastcgi')) signals.push('SIGUSR1');
    for (const signal of signals) {
      const onSignal = () => {
        if (this.#stopped !== null) process.exit(1); // the second one
        void this.#exit();
      };
      process.on(signal, onSignal);
      this.#releasers.push(() => process.off(signal, onSignal));
    }
  }

  async #exit(status = 0): Promise<void> {
    try {
      await this.#stop();
    } catch (error) {
      logLine(`at the end: ${error}`);
      process.exit(1);
    }
    process.exit(status);
  }

  #stop(): Promise<void> {
    this.#stopped ??= this.#end();
    return this.#stopped;
  }

  async #end(): Promise<void> {
    const { stopMs, onMasterStop } = this.#settings;
    const endMs = performance.now() + stopMs;
    const leftMs = () => Math.max(0, endMs - performance.now());
    const closed = Promise.all(this.#listeners.map((listener) => listener.stop()));
    await within(closed, stopMs);
    await this.#model.stop(leftMs());
    await within(closed, FAREWELL_MS);
    for (const listener of this.#listeners) listener.destroy();
    await closed;
    await onMasterStop?.();
    for (const release of this.#releasers.reverse()) release();
  }
}

async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  const timer = new AbortController();
  const late = sleep(ms, undefined, { signal: timer.signal, ref: false }).catch(() => undefined);
  await Promise.race([promise, late]);
  timer.abort();
}
