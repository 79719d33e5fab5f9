// SPDX-License-Identifier: Apache-2.0
// Instances lent to `usher request`. One that takes a request at a time is kept from the web servers
// meanwhile, by the same word in the table as one that drains: whoever came first has been counted.
import type { Lent } from '../control/messages.ts';
import type { Channel } from '../native/native.ts';
import { type Instance, isServing } from './instance.ts';

/** Who does not give back has died; the instance may still serve that request. */
const LENT_MS = 600_000;

interface Loan {
  instance: Instance;
  untilMs: number;
  isReserved: boolean;
}

export class Lending {
  readonly #channel: Pick<Channel, 'inFlight' | 'setEndpoint'>;
  readonly #loans = new Map<string, Loan>();

  constructor(channel: Pick<Channel, 'inFlight' | 'setEndpoint'>) {
    this.#channel = channel;
  }

  /** null = none is free. @param id Of the loan. */
  lend(id: string, instances: readonly Instance[], nowMs: number): Lent['instance'] | null {
    const ready = instances.filter((one) => one.state === 'ready' && !one.isHung && isServing(one));
    const instance = ready.find((one) => this.#take(id, one, nowMs));
    if (instance === undefined) return null;
    const { pid, endpointId } = instance;
    return { pid, socket: `e${endpointId}`, isReserved: this.#isReserved(id) };
  }

  /** False when there is no such loan. */
  giveBack(id: string): boolean {
    const loan = this.#loans.get(id);
    if (loan === undefined) return false;
    this.#loans.delete(id);
    const { instance, isReserved } = loan;
    if (isReserved && instance.state === 'ready') {
      this.#channel.setEndpoint(instance.ref, 'ready', instance.pid);
    }
    return true;
  }

  /** Nobody else may be sent there. */
  has(instance: Instance): boolean {
    return [...this.#loans.values()].some((loan) => loan.isReserved && loan.instance === instance);
  }

  /** Those that nobody has given back in time: they are to be replaced. */
  takeOverdue(nowMs: number): Instance[] {
    const overdue = [...this.#loans].filter(([, { untilMs }]) => nowMs >= untilMs);
    for (const [id] of overdue) this.#loans.delete(id);
    return overdue.filter(([, { isReserved }]) => isReserved).map(([, { instance }]) => instance);
  }

  #isReserved(id: string): boolean {
    return this.#loans.get(id)?.isReserved === true;
  }

  #take(id: string, instance: Instance, nowMs: number): boolean {
    const isReserved = instance.revision.config.concurrency === 1 && !instance.isShared;
    if (isReserved && !this.#reserve(instance)) return false;
    this.#loans.set(id, { instance, untilMs: nowMs + LENT_MS, isReserved });
    return true;
  }

  /** A request that took the place before keeps it. */
  #reserve(instance: Instance): boolean {
    const { ref, pid } = instance;
    if (this.has(instance) || this.#channel.inFlight(ref) > 0) return false;
    this.#channel.setEndpoint(ref, 'draining', pid);
    if (this.#channel.inFlight(ref) === 0) return true;
    this.#channel.setEndpoint(ref, 'ready', pid);
    return false;
  }
}
