// SPDX-License-Identifier: Apache-2.0
// Which backend gets a request. Decides from what it is told; no clock, no I/O.
import type { AjpOptions } from '../link.ts';
import type { Backend } from './backend.ts';
import { Failure } from './failure.ts';

export type BalancingOptions = Pick<AjpOptions, 'method' | 'stickySession' | 'stickyForce'>;

/** What a backend got so long ago no longer counts much. */
const FADE_MS = 60_000;

/**
 * In this order: those that can be reached; the backups among them; those that have failed, the one
 * that has been so for longest first: where nobody else is left, trying costs nothing, and a single
 * backend that is back serves at once.
 */
const RANK_FAILED = 2;

export class Balancer {
  readonly #backends: readonly Backend[];
  readonly #options: BalancingOptions;
  readonly #byRoute = new Map<string, Backend>();
  #fadedMs: number;

  constructor(backends: readonly Backend[], options: BalancingOptions, nowMs: number) {
    this.#backends = backends;
    this.#options = options;
    this.#fadedMs = nowMs;
    for (const backend of backends) {
      if (backend.route !== null) this.#byRoute.set(backend.route, backend);
    }
  }

  /**
   * @param routes Of the request's session, see sessionRoutes.
   * @param tried Backends that this request could not reach.
   */
  choose(routes: readonly string[], tried: readonly Backend[], nowMs: number): Backend | Failure {
    if (nowMs - this.#fadedMs >= FADE_MS) this.#fade(nowMs);
    const own = this.#options.stickySession ? this.#bySession(routes, tried, nowMs) : undefined;
    const chosen = own ?? this.#best(tried, nowMs);
    if (chosen === undefined) return this.#nobody(tried);
    if (chosen instanceof Failure) return chosen;
    if (chosen.state !== 'ok') this.catchUp(chosen);
    chosen.turns += 1 / chosen.weight;
    return chosen;
  }

  /** It has not been given requests for a while, and shall not get all of the next ones for that. */
  catchUp(backend: Backend): void {
    for (const other of this.#backends) backend.turns = Math.max(backend.turns, other.turns);
  }

  #bySession(
    routes: readonly string[],
    tried: readonly Backend[],
    nowMs: number,
  ): Backend | Failure | undefined {
    let refusal: Failure | undefined;
    for (const route of routes) {
      const own = this.#byRoute.get(route);
      if (own === undefined) continue;
      const isPossible = own.activation !== 'stopped' && own.isThere && !tried.includes(own);
      if (isPossible && (own.isReady(nowMs) || this.#options.stickyForce)) return own;
      const text = `the session's backend ${own.name} ${why(own)}`;
      refusal ??= new Failure(503, text, isAwaited(own));
    }
    return this.#options.stickyForce ? refusal : undefined;
  }

  #best(tried: readonly Backend[], nowMs: number): Backend | undefined {
    let best: Backend | undefined;
    let bestRank = 0;
    for (const backend of this.#backends) {
      if (backend.activation !== 'active' || !backend.isThere || tried.includes(backend)) continue;
      const isReady = backend.isReady(nowMs);
      const rank = (isReady ? 0 : RANK_FAILED) + (backend.isBackup ? 1 : 0);
      if (
        best === undefined ||
        rank < bestRank ||
        (rank === bestRank && this.#isBetter(backend, best, isReady))
      ) {
        best = backend;
        bestRank = rank;
      }
    }
    return best;
  }

  #isBetter(one: Backend, other: Backend, isReady: boolean): boolean {
    if (!isReady) return one.failedUntilMs < other.failedUntilMs;
    // One that has failed and whose time is over is tried by the next request.
    if (one.state !== other.state) return one.state !== 'ok';
    if (this.#options.method === 'busyness') {
      const difference = load(one) - load(other);
      if (difference !== 0) return difference < 0;
    }
    return one.turns < other.turns;
  }

  #fade(nowMs: number): void {
    this.#fadedMs = nowMs;
    for (const backend of this.#backends) backend.turns /= 2;
  }

  #nobody(tried: readonly Backend[]): Failure {
    const causes = this.#backends.map((backend) => `${backend.name} ${why(backend)}`);
    // One whose engine has just died is told to be away a moment later.
    const isPassing = this.#backends.some((one) => isAwaited(one) || isDoubtful(one, tried));
    return new Failure(503, `no backend: ${causes.join(', ')}`, isPassing);
  }
}

function load(backend: Backend): number {
  return (backend.busy + backend.busyElsewhere) / backend.weight;
}

function isAwaited({ activation, engine }: Backend): boolean {
  return activation !== 'stopped' && engine !== null && engine.isAwaited;
}

/** The manager says that it is there, and it could not be reached. */
function isDoubtful(backend: Backend, tried: readonly Backend[]): boolean {
  return (
    backend.activation !== 'stopped' && backend.engine?.isUp === true && tried.includes(backend)
  );
}

function why(backend: Backend): string {
  if (backend.activation === 'active' && backend.engine?.isUp === false) return backend.engine.text;
  if (backend.activation !== 'active') return `is ${backend.activation}`;
  return `has failed: ${backend.lastError || 'it was tried already'}`;
}
