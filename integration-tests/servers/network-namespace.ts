// SPDX-License-Identifier: Apache-2.0
// A host of its own on this machine: a network namespace with one wire to us. Needs root, and a system that
// lets it.

import type { Test } from 'tap';
import { type Outcome, run } from './usher.ts';

let made = 0;

export class NetworkNamespace {
  /** Our end of the wire, and the other one. */
  readonly ours: string;
  readonly address: string;
  readonly #name: string;
  readonly #wire: string;

  private constructor() {
    made += 1;
    this.#name = `usher-test-${process.pid}-${made}`;
    this.#wire = `ush${process.pid}.${made}`; // 15 characters at most
    const net = `198.18.${process.pid % 256}`; // for measurements between networks (RFC 2544)
    this.ours = `${net}.${4 * made + 1}`;
    this.address = `${net}.${4 * made + 2}`;
  }

  /** Goes with the test. A text: why there is none. */
  static async create(t: Pick<Test, 'teardown'>): Promise<NetworkNamespace | string> {
    const host = new NetworkNamespace();
    t.teardown(() => host.remove());
    const { status, output } = await host.#make();
    return status === 0 ? host : output;
  }

  /** Before a command that is to run there. */
  get command(): string[] {
    return ['ip', 'netns', 'exec', this.#name];
  }

  async unplug(): Promise<void> {
    await this.#ip('-n', this.#name, 'link', 'set', 'wire', 'down');
  }

  async plug(): Promise<void> {
    await this.#ip('-n', this.#name, 'link', 'set', 'wire', 'up');
  }

  /** With its end of the wire, and by that with ours. */
  async remove(): Promise<void> {
    await this.#ip('netns', 'delete', this.#name);
  }

  async #make(): Promise<Outcome> {
    const there = ['-n', this.#name];
    const ends = ['type', 'veth', 'peer', 'name', 'wire', 'netns', this.#name];
    const steps = [
      ['netns', 'add', this.#name],
      ['link', 'add', this.#wire, ...ends],
      ['address', 'add', `${this.ours}/30`, 'dev', this.#wire],
      ['link', 'set', this.#wire, 'up'],
      [...there, 'address', 'add', `${this.address}/30`, 'dev', 'wire'],
      [...there, 'link', 'set', 'lo', 'up'],
      [...there, 'link', 'set', 'wire', 'up'],
    ];
    for (const step of steps) {
      const outcome = await this.#ip(...step);
      if (outcome.status !== 0) return outcome;
    }
    return { status: 0, output: '' };
  }

  #ip(...words: string[]): Promise<Outcome> {
    return run(['ip', ...words]);
  }
}
