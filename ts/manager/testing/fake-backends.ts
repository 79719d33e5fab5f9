// SPDX-License-Identifier: Apache-2.0
// An external class in a world of which the test says who answers, what names stand for and how late
// it is.
import type { Channel, ClassState, EndpointState, Ref } from '../../native/native.ts';
import type { Look } from '../backends-probe.ts';
import { externalConfig } from '../class-config.ts';
import { ExternalClass } from '../external-class.ts';
import { owner } from './fake-world.ts';

export class FakeBackends {
  nowMs = 1_000;
  /** By address; those not named are up. */
  readonly looks = new Map<string, Look>();
  /** By name; those not named cannot be resolved. */
  readonly names = new Map<string, string[]>();
  readonly probed: string[] = [];
  readonly endpoints = new Map<number, { address: string; state: EndpointState; places: number }>();
  readonly unreached = new Map<string, number>();
  readonly busy = new Map<string, number>();
  readonly events: string[] = [];
  published: { state: ClassState; verdict: number; retryAfterS: number; reason: string } = {
    state: 'cold',
    verdict: 0,
    retryAfterS: 0,
    reason: '',
  };
  /** Endpoints that the table takes. */
  room = 100;
  readonly external: ExternalClass;
  #nextRef = 0;

  constructor(options: Record<string, string | string[] | number>) {
    this.external = new ExternalClass(
      this.#channel() as Channel,
      (_level, event, { address, name }) => this.events.push(`${event} ${address ?? name ?? ''}`),
      'app',
      null,
      externalConfig('app', options, owner, 'x:1'),
      { index: 0, generation: 1 },
      {
        now: () => this.nowMs,
        probe: async (address) => {
          const text = textOf(address);
          this.probed.push(text);
          return this.looks.get(text) ?? { outcome: 'up' };
        },
        resolve: async (name) => {
          const found = this.names.get(name);
          if (found) return found;
          throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
        },
      },
    );
  }

  refuse(...addresses: string[]): void {
    for (const address of addresses) {
      this.looks.set(address, { outcome: 'down', error: 'connection refused' });
    }
  }

  /** A request found nobody there. */
  miss(address: string): void {
    this.unreached.set(address, (this.unreached.get(address) ?? 0) + 1);
  }

  reconfigure(options: Record<string, string | string[] | number>): void {
    this.external.reconfigure(externalConfig('app', options, owner, 'x:1'));
  }

  async pass(advanceMs = 0, changed = true): Promise<void> {
    this.nowMs += advanceMs;
    this.external.pass(changed);
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** What the shims see, by address. */
  get states(): Record<string, EndpointState> {
    return Object.fromEntries([...this.endpoints.values()].map((one) => [one.address, one.state]));
  }

  #channel(): Partial<Channel> {
    const addressOf = (ref: Ref): string => this.endpoints.get(ref.index)?.address ?? '';
    return {
      load: () => ({ inFlight: 0, waiting: 0 }) as ReturnType<Channel['load']>,
      setLimits: () => undefined,
      setFull: () => undefined,
      setClass: (_ref, state, verdict, retryAfterS, reason) => {
        this.published = { state, verdict, retryAfterS, reason };
      },
      addEndpoint: (_class, address, places, state) => {
        if (this.endpoints.size >= this.room) throw new Error('the class has 256 endpoints');
        const ref = { index: this.#nextRef++, generation: 1 };
        this.endpoints.set(ref.index, { address: textOf(address), state, places });
        return ref;
      },
      setEndpoint: (ref, state) => {
        const endpoint = this.endpoints.get(ref.index);
        if (endpoint) endpoint.state = state;
      },
      removeEndpoint: (ref) => {
        this.endpoints.delete(ref.index);
      },
      inFlight: (ref) => this.busy.get(addressOf(ref)) ?? 0,
      served: () => 0,
      unreached: (ref) => this.unreached.get(addressOf(ref)) ?? 0,
    };
  }
}

function textOf(address: Parameters<Channel['addEndpoint']>[1]): string {
  if ('host' in address) {
    return address.kind === 'inet6'
      ? `[${address.host}]:${address.port}`
      : `${address.host}:${address.port}`;
  }
  return 'path' in address ? address.path : address.name;
}
