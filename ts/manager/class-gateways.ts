// SPDX-License-Identifier: Apache-2.0
// What a class has whose instances are gateways: their links, the backends behind them, and the servlet
// engines that are started there.
import { Socket } from 'node:net';
import type { BackendStatus } from '../control/messages.ts';
import type { Activation } from '../gateways/link.ts';
import type { ClassConfig } from './class-config.ts';
import type { ClassMemory } from './class-memory.ts';
import type { EnginesConfig } from './engines/engine-config.ts';
import { Engines, type EnginesOwner } from './engines/engines.ts';
import type { GatewayConfig } from './gateway-config.ts';
import { Gateways } from './gateways.ts';

type Owner = Omit<EnginesOwner, 'isDrained' | 'answered' | 'onChange'>;
type Config = Pick<ClassConfig, 'engines'> & { gateway: GatewayConfig };

export class ClassGateways {
  #owner: Owner;
  #config: Config;
  #gateways: Gateways;
  #engines: Engines | null;

  constructor(owner: Owner, config: Config) {
    const { label, note } = owner;
    this.#owner = owner;
    this.#config = config;
    this.#gateways = new Gateways(label, config.gateway, (level, event, text) =>
      note(level, event, {}, text),
    );
    this.#engines = config.engines && this.#start(config.engines);
    this.#gateways.tellEngines(this.#engines?.facts ?? []);
  }

  /** null = it starts none. */
  get engines(): Engines | null {
    return this.#engines;
  }

  configure(config: Config): void {
    this.#config = config;
    const { engines } = config;
    if (this.#engines)
      this.#engines.configure(engines ?? { ...this.#engines.config, backends: [] });
    else if (engines) this.#engines = this.#start(engines);
    this.#tellMembers();
  }

  /** @param fd The manager's end of a gateway's link; closed with it. */
  attach(id: number, fd: number): void {
    this.#gateways.attach(id, new Socket({ fd, readable: true, writable: true }));
  }

  detach(id: number): void {
    this.#gateways.detach(id);
  }

  /** False when there is no such backend. */
  activate(backend: string, activation: Activation): boolean {
    return this.#gateways.activate(backend, activation);
  }

  status(nowMs: number): BackendStatus[] {
    return this.#gateways.status(nowMs).map((one) => {
      return { ...one, engine: this.#engines?.statusOf(one.address) ?? null };
    });
  }

  /** For the next manager, and from the former one. */
  get memory(): Pick<ClassMemory, 'activations' | 'engines'> {
    return { activations: this.#gateways.activations, engines: this.#engines?.save() ?? [] };
  }

  recall({ activations, engines }: Pick<ClassMemory, 'activations' | 'engines'>): void {
    this.#gateways.restore(activations);
    this.#engines?.restore(engines);
  }

  close(): void {
    this.#gateways.close();
  }

  #start(config: EnginesConfig): Engines {
    const owner: EnginesOwner = {
      ...this.#owner,
      isDrained: (name) => this.#gateways.isDrained(name),
      answered: (name) => this.#gateways.answered(name),
      onChange: (what) => {
        if (what === 'members') this.#tellMembers();
        else this.#gateways.tellEngines(this.#engines?.facts ?? []);
      },
    };
    return new Engines(owner, config);
  }

  /** Engines that are to end may have requests still: gateways know them until then. */
  #tellMembers(): void {
    const { gateway } = this.#config;
    const names = new Set(gateway.backends.map(({ name }) => name));
    const leaving = this.#engines?.leaving.filter(({ name }) => !names.has(name)) ?? [];
    this.#gateways.configure({ ...gateway, backends: [...gateway.backends, ...leaving] });
    this.#gateways.tellEngines(this.#engines?.facts ?? []);
  }
}
