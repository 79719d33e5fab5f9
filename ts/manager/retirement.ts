// SPDX-License-Identifier: Apache-2.0
// How an instance ends without losing a request: it takes no more, what it has ends, then its stop
// signal, TERM and KILL, each by a deadline and to the whole process group.
import type { ClassContext } from './context.ts';
import type { Instance } from './instance.ts';

const SIGTERM = 15;
const SIGKILL = 9;
/** Between a stop signal of the class's own, TERM and KILL; and for an instance known to hang. */
const ESCALATION_MS = 2_000;
/** An instance at a shared socket that does not end is spared so long while it has requests. */
const SPARED_MS = 20_000;
/** So often an instance that drains and does not end is looked at: a worker that is stopped or hostile
 * can count a request where there is none. */
const STUCK_MS = 30_000;

type Note = (instance: Instance, event: string, text: string) => void;

export class Retirement {
  #context: ClassContext;
  #note: Note;

  constructor(context: ClassContext, note: Note) {
    this.#context = context;
    this.#note = note;
  }

  /**
   * No more requests; it is stopped when those it has are over.
   * @param why End of a sentence: "is one more than needed".
   * @param deadlineMs When it is stopped all the same; Infinity = never.
   */
  drain(instance: Instance, why: string, deadlineMs = Number.POSITIVE_INFINITY): void {
    instance.drainDeadlineMs = Math.min(instance.drainDeadlineMs, deadlineMs);
    if (instance.state !== 'ready' && instance.state !== 'starting') return;
    instance.state = 'draining';
    instance.lookAtMs = this.#context.now() + STUCK_MS;
    this.#context.channel.setEndpoint(instance.ref, 'draining', instance.pid);
    this.#note(instance, 'instance.draining', `takes no more requests: it ${why}`);
    this.pass(instance);
  }

  /** One of those that share a socket: nobody can keep the next connection from it, so it ends if it
   * has none at this moment, and stays as it is otherwise. */
  endIfIdle(instance: Instance, why: string): void {
    this.#look(instance, instance.revision.config.stopSignal, () => {
      this.#note(instance, 'instance.draining', `takes no more requests: it ${why}`);
      this.#markStopping(instance);
    });
  }

  /** A request timed out there: its state is recorded for people, then it goes. Other requests it
   * serves get until `deadlineMs`. */
  hang(instance: Instance, why: string, deadlineMs: number): void {
    instance.isHung = true;
    this.#context.launcher.snapshot(instance.id);
    this.drain(instance, why, deadlineMs);
  }

  /** Sends the stop signal; the harder ones follow by pass(). */
  stop(instance: Instance, patienceMs = instance.revision.config.stopTimeoutMs): void {
    if (instance.state === 'stopping') return;
    this.#markStopping(instance, patienceMs);
    this.#context.launcher.signal(instance.id, instance.revision.config.stopSignal);
  }

  #markStopping(instance: Instance, patienceMs = instance.revision.config.stopTimeoutMs): void {
    instance.state = 'stopping';
    const { channel, now } = this.#context;
    channel.setEndpoint(instance.ref, 'draining', instance.pid);
    instance.stopDeadlineMs = now() + patienceMs;
    const { stopSignal } = instance.revision.config;
    instance.harderSignals = stopSignal === SIGTERM ? [SIGKILL] : [SIGTERM, SIGKILL];
  }

  /** `onIdle` when it has nothing to do, and has got the signal. */
  #look(instance: Instance, signal: number, onIdle: () => void): void {
    if (instance.isLookedAt) return;
    instance.isLookedAt = true;
    this.#context.launcher.look(instance.id, signal, (idle) => {
      instance.isLookedAt = false;
      if (idle) onIdle();
    });
  }

  /** What is due for one instance. */
  pass(instance: Instance): void {
    switch (instance.state) {
      case 'ready':
        break;
      case 'starting':
        this.#passStart(instance);
        break;
      case 'draining':
        this.#passDrain(instance);
        break;
      case 'stopping':
        this.#escalate(instance);
        break;
    }
  }

  /** Killed when it does not accept a connection in time; onExited says so. */
  #passStart(instance: Instance): void {
    const { launcher, now } = this.#context;
    const { startTimeoutMs } = instance.revision.config;
    if (instance.wasReady || instance.timedOut) return;
    if (now() - instance.startedAtMs < startTimeoutMs) return;
    instance.timedOut = true;
    launcher.snapshot(instance.id);
    launcher.signal(instance.id, SIGKILL);
  }

  #passDrain(instance: Instance): void {
    const { channel, now } = this.#context;
    if (instance.isShared && now() < instance.drainDeadlineMs) {
      const { stopSignal } = instance.revision.config;
      this.#look(instance, stopSignal, () => this.#markStopping(instance));
      this.#passStart(instance);
    } else if (this.#isEmpty(instance)) {
      this.stop(instance, instance.isHung ? this.#shortPatience(instance) : undefined);
    } else if (now() >= instance.drainDeadlineMs) {
      const left = channel.inFlight(instance.ref);
      this.#note(instance, 'instance.cut-off', `is stopped with ${left} requests unfinished`);
      this.stop(instance, this.#shortPatience(instance));
    } else {
      this.#passStart(instance);
      this.#passStuck(instance);
    }
  }

  /** Who has a place has a connection, or will be told that there is none to be had. */
  #passStuck(instance: Instance): void {
    const { channel, now } = this.#context;
    if (now() < instance.lookAtMs) return;
    instance.lookAtMs = now() + STUCK_MS;
    this.#look(instance, instance.revision.config.stopSignal, () => {
      const counted = channel.inFlight(instance.ref);
      const text = `is stopped: ${counted} requests are counted there, but it has no connection`;
      this.#note(instance, 'instance.miscounted', text);
      this.#markStopping(instance);
    });
  }

  /** Nobody has a place there, and no connection waits to be accepted. */
  #isEmpty(instance: Instance): boolean {
    const { channel, acceptQueue } = this.#context;
    if (instance.isShared) return false; // what it has is not known
    return channel.inFlight(instance.ref) === 0 && acceptQueue(instance.inode) <= 0;
  }

  #shortPatience(instance: Instance): number {
    return Math.min(instance.revision.config.stopTimeoutMs, ESCALATION_MS);
  }

  #escalate(instance: Instance): void {
    const { launcher, now } = this.#context;
    if (now() < instance.stopDeadlineMs) return;
    const harder = instance.harderSignals[0] ?? SIGKILL;
    const escalate = () => {
      instance.harderSignals.shift();
      instance.stopDeadlineMs = now() + ESCALATION_MS;
    };
    // One that does not heed its signal may go on accepting from the shared socket.
    const mayHaveMore = instance.isShared && instance.drainDeadlineMs === Number.POSITIVE_INFINITY;
    if (mayHaveMore && now() < instance.stopDeadlineMs + SPARED_MS) {
      this.#look(instance, harder, escalate);
      return;
    }
    launcher.signal(instance.id, harder);
    escalate();
  }
}
