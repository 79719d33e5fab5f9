// SPDX-License-Identifier: Apache-2.0
// What is known of one backend, and whether it gets requests. Decides from what it is told; no clock,
// no I/O.
//
// It has failed when nobody can be reached there: connecting or CPING failed. Failures of requests do
// not say that: one request that breaks its servlet would take the backend from all others. Only when
// requests have failed for errorEscalationMs and none has succeeded in between, it has failed too.
import type {
  Activation,
  BackendConfig,
  BackendState,
  EngineView,
  SharedBackend,
} from '../link.ts';

export interface HealthOptions {
  recoverTimeMs: number;
  errorEscalationMs: number;
}

/** Failures in a row that are needed at least, however long they take. */
const STRIKES_MIN = 3;

/** Who found that it has failed: we, connecting; we, by its answers; another gateway. */
type FailedBy = 'reaching' | 'answers' | 'others';

export class Backend {
  readonly name: string;
  readonly route: string | null;
  readonly weight: number;
  readonly isBackup: boolean;
  readonly #options: HealthOptions;
  readonly #onChange: (backend: Backend) => void;

  /** Of the engine that the manager runs there; null = somebody else does. */
  engine: EngineView | null;
  activation: Activation;
  state: BackendState['state'] = 'ok';
  lastError = '';
  failedUntilMs = 0;
  busyElsewhere = 0;
  /** Requests given to it, divided by its weight and fading; for the balancer. */
  turns = 0;
  #busy = 0;
  #requests = 0;
  #failures = 0;
  #failedBy: FailedBy = 'reaching';
  #strikes = 0;
  #strikesSinceMs = 0;
  /** What the manager told last: only what is new counts. */
  #sharedUntilMs = 0;

  constructor(
    config: BackendConfig,
    options: HealthOptions,
    onChange: (backend: Backend) => void = () => {},
  ) {
    this.name = config.name;
    this.route = config.route;
    this.weight = config.weight;
    this.isBackup = config.isBackup;
    this.activation = config.activation;
    this.engine = config.engine ?? null;
    this.#options = options;
    this.#onChange = onChange;
  }

  get busy(): number {
    return this.#busy;
  }

  /** There is nobody before the manager says so. */
  get isThere(): boolean {
    return this.engine === null || this.engine.isUp;
  }

  /** May it be given a request? One that has failed gets one when its time is over. */
  isReady(nowMs: number): boolean {
    return this.state === 'ok' || (this.state === 'failed' && nowMs >= this.failedUntilMs);
  }

  /** A request goes there. */
  begin(): void {
    this.#busy++;
    this.#requests++;
    if (this.state === 'failed') this.state = 'probing';
    this.#onChange(this);
  }

  /** The request has ended, however. */
  end(nowMs: number): void {
    this.#busy--;
    if (this.#busy === 0 && this.state === 'probing') {
      // Nobody is there any more who could tell: aborted.
      this.state = 'failed';
      this.failedUntilMs = nowMs;
    }
    this.#onChange(this);
  }

  /** A connection stands, and CPING, where it is asked for, was answered. */
  reached(): void {
    if (this.state !== 'ok' && this.#failedBy !== 'answers') this.#recover();
  }

  unreachable(error: string, nowMs: number): void {
    this.#failures++;
    this.#fail('reaching', error, nowMs);
  }

  /** A request was answered to its end. */
  answered(): void {
    this.#strikes = 0;
    if (this.state !== 'ok' && this.#failedBy === 'answers') this.#recover();
  }

  /** A request was not answered, too late, or with one of failOnStatus. */
  strike(error: string, nowMs: number): void {
    this.#failures++;
    if (this.#strikes++ === 0) this.#strikesSinceMs = nowMs;
    const isLong =
      this.#strikes >= STRIKES_MIN &&
      nowMs - this.#strikesSinceMs >= this.#options.errorEscalationMs;
    if (isLong || (this.state === 'probing' && this.#failedBy === 'answers')) {
      this.#fail('answers', error, nowMs);
    } else {
      this.#onChange(this);
    }
  }

  /** What the manager tells of the class's other gateways. */
  share(shared: SharedBackend, nowMs: number): void {
    const wasThere = this.isThere;
    this.activation = shared.activation;
    this.engine = shared.engine ?? null;
    // Another process is there than the one that failed.
    if (!wasThere && this.isThere && this.state !== 'ok') this.#recover();
    this.busyElsewhere = shared.busyElsewhere;
    const until = shared.failedUntilMs;
    const isNews = until > this.#sharedUntilMs;
    this.#sharedUntilMs = until;
    if (isNews && until > nowMs && this.state === 'ok') {
      this.state = 'failed';
      this.#failedBy = 'others';
      this.failedUntilMs = until;
      this.lastError = shared.lastError;
    } else if (until <= nowMs && this.state === 'failed' && this.#failedBy === 'others') {
      this.#recover();
      return;
    }
    this.#onChange(this);
  }

  snapshot(): BackendState {
    return {
      name: this.name,
      activation: this.isThere ? this.activation : 'stopped',
      state: this.state,
      lastError: this.lastError,
      busy: this.#busy,
      requests: this.#requests,
      failures: this.#failures,
      failedUntilMs: this.failedUntilMs,
    };
  }

  #fail(by: FailedBy, error: string, nowMs: number): void {
    this.state = 'failed';
    this.#failedBy = by;
    this.#strikes = 0;
    this.lastError = error;
    this.failedUntilMs = nowMs + this.#options.recoverTimeMs;
    this.#onChange(this);
  }

  #recover(): void {
    this.state = 'ok';
    this.#strikes = 0;
    this.failedUntilMs = 0;
    this.#onChange(this);
  }
}
