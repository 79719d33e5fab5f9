// SPDX-License-Identifier: Apache-2.0
// A class that somebody else runs: its addresses are endpoints with places, and nothing is started.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { ClassStatus } from '../control/messages.ts';
import type { Address, Channel, Ref } from '../native/native.ts';
import type { ClassConfig } from './class-config.ts';
import type { Log } from './log.ts';
import { totalsOf } from './totals.ts';

interface Backend {
  address: string;
  ref: Ref;
}

export class ExternalClass {
  readonly label: string;
  readonly server: string | null;
  readonly ref: Ref;
  config: ClassConfig;
  isRetiring = false;
  #channel: Channel;
  #log: Log;
  #backends: Backend[] = [];
  #draining: Backend[] = [];

  constructor(
    channel: Channel,
    log: Log,
    label: string,
    server: string | null,
    config: ClassConfig,
    ref: Ref,
  ) {
    this.#channel = channel;
    this.#log = log;
    this.label = label;
    this.server = server;
    this.config = config;
    this.ref = ref;
    void this.#resolve();
  }

  get isGone(): boolean {
    return this.isRetiring && this.#backends.length === 0 && this.#draining.length === 0;
  }

  reconfigure(config: ClassConfig): void {
    this.config = config;
    this.#channel.setLimits(this.ref, config.limits);
    this.#drainAll();
    void this.#resolve();
  }

  retire(): void {
    this.isRetiring = true;
    this.#drainAll();
  }

  pass(): void {
    this.#draining = this.#draining.filter(({ ref }) => {
      if (this.#channel.inFlight(ref) > 0) return true;
      this.#channel.removeEndpoint(ref);
      return false;
    });
  }

  status(): ClassStatus {
    const load = this.#channel.load(this.ref);
    return {
      name: this.label,
      kind: 'external',
      protocol: 'fastcgi',
      state: this.isRetiring ? 'removed' : this.#backends.length > 0 ? 'ready' : 'failed',
      wanted: 0,
      inFlight: load.inFlight,
      waiting: load.waiting,
      instances: [],
      backends: [...this.#backends, ...this.#draining].map(({ address, ref }) => ({
        address,
        state: this.#backends.some((one) => one.ref === ref) ? 'up' : 'draining',
        inFlight: this.#channel.inFlight(ref),
      })),
      lastEvent: null,
      totals: totalsOf(load),
      lastFailure: null,
    };
  }

  #drainAll(): void {
    for (const backend of this.#backends) this.#channel.setEndpoint(backend.ref, 'draining', 0);
    this.#draining.push(...this.#backends.splice(0));
  }

  async #resolve(): Promise<void> {
    const config = this.config;
    const found: { name: string; address: Address }[] = [];
    const troubles: string[] = [];
    if (config.socket !== null) {
      found.push({ name: config.socket, address: { kind: 'unix', path: config.socket } });
    }
    for (const host of config.hosts) {
      try {
        found.push({ name: host, address: await addressOf(host) });
      } catch (error) {
        troubles.push(`${host}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    if (this.isRetiring || this.config !== config) return;
    for (const { name, address } of found) {
      const ref = this.#channel.addEndpoint(this.ref, address, config.concurrency, 'ready', 0);
      this.#backends.push({ address: name, ref });
    }
    for (const trouble of troubles) {
      this.#log('error', 'backend.unresolved', { class: this.label, text: trouble });
    }
    if (this.#backends.length > 0) this.#channel.setClass(this.ref, 'ready', 0, 0, '');
    else this.#channel.setClass(this.ref, 'failed', 503, 5, troubles.join('; '));
  }
}

/** "127.0.0.1:9000", "[::1]:9000", "name:9000". */
async function addressOf(host: string): Promise<Address> {
  const at = host.lastIndexOf(':');
  const name = host.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  const port = Number(host.slice(at + 1));
  const family = isIP(name);
  if (family !== 0) return { kind: family === 6 ? 'inet6' : 'inet', host: name, port };
  const resolved = await lookup(name);
  return { kind: resolved.family === 6 ? 'inet6' : 'inet', host: resolved.address, port };
}
