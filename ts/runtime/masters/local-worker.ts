// SPDX-License-Identifier: Apache-2.0
// A master without workers is the worker as well: its hooks around its requests.
import { finishBackground } from '../background.ts';
import type { Exchange } from '../exchange.ts';
import { whenIdle } from '../guards/idle.ts';
import { logLine } from '../log-line.ts';
import type { LocalModel } from '../models/local.ts';
import type { Model, ModelCounts } from '../models/model.ts';
import type { Hooks } from '../options.ts';

export class LocalWorker implements Model {
  readonly #model: LocalModel;
  readonly #hooks: Hooks;
  #endIdle: () => void = () => undefined;

  constructor(model: LocalModel, hooks: Hooks) {
    this.#model = model;
    this.#hooks = hooks;
  }

  async start(): Promise<void> {
    await this.#hooks.onWorkerStart?.();
    await this.#model.start();
    this.#endIdle = whenIdle(
      this.#hooks.onWorkerIdle,
      () => this.#model.counts().running === 0,
      (error) => logLine(`onWorkerIdle: ${String(error)}`),
    );
  }

  run(exchange: Exchange): void {
    this.#model.run(exchange);
  }

  counts(): ModelCounts {
    return this.#model.counts();
  }

  async stop(stopMs: number): Promise<void> {
    const endMs = performance.now() + stopMs;
    await this.#model.stop(stopMs);
    this.#endIdle();
    await finishBackground(Math.max(0, endMs - performance.now()));
    await this.#hooks.onWorkerStop?.();
  }
}
