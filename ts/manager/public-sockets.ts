// SPDX-License-Identifier: Apache-2.0
// What is different for a class with a public address: its instances share a socket, its requests are
// seen as connections, and there may be clients that count nothing for us.
import type { Load, Ref } from '../native/native.ts';
import { type KeptEndpoint, LauncherError } from '../process/launcher.ts';
import type { ClassConfig } from './class-config.ts';
import type { ClassContext } from './context.ts';
import type { Endpoint, Instance } from './instance.ts';
import { type BoundSocket, PublicSocket } from './public-socket.ts';

/** Between two tries to bind the address of a class that is started on demand. */
const BIND_AGAIN_MS = 2_000;

export class PublicSockets {
  #context: ClassContext;
  #classRef: Ref;
  /** The one of today's options; null = every instance has a socket of its own. */
  #current: PublicSocket | null;
  /** Of former options; until no instance is left on them. */
  #former: PublicSocket[] = [];
  #isOpening = false;
  #openAgainMs = 0;
  #trouble = '';

  constructor(context: ClassContext, classRef: Ref, config: ClassConfig) {
    this.#context = context;
    this.#classRef = classRef;
    const { publicAddress } = config;
    this.#current = publicAddress && new PublicSocket(context, publicAddress);
  }

  get isPublic(): boolean {
    return this.#current !== null;
  }

  /** New options: a socket at the same address is kept. */
  reconfigure(config: ClassConfig): void {
    const { publicAddress } = config;
    const next = publicAddress && new PublicSocket(this.#context, publicAddress);
    if (next?.listen === this.#current?.listen) return;
    if (this.#current) this.#former.push(this.#current);
    const again = this.#former.findIndex((one) => one.listen === next?.listen);
    this.#current = again < 0 ? next : (this.#former.splice(again, 1)[0] ?? null);
    this.#openAgainMs = 0;
  }

  /** A socket that a former manager bound. False when it is not, or no more, the class's. */
  adopt(kept: KeptEndpoint): boolean {
    if (this.#current?.listen !== kept.listen) return false;
    this.#current.adopt(kept);
    return true;
  }

  /** One more instance's share of the socket that is bound. */
  share(config: ClassConfig, socket: BoundSocket): Endpoint {
    if (!this.#current) throw new Error('a class without a public address has nothing to share');
    const { address } = this.#current;
    const { concurrency } = config;
    const ref = this.#context.channel.addEndpoint(
      this.#classRef,
      address,
      concurrency,
      'starting',
      0,
    );
    return { ...socket, ref, linked: new Set(), isShared: true, isDetached: false };
  }

  /** Where a new instance listens. Rejects with a LauncherError. */
  async bind(config: ClassConfig, tag: string): Promise<Endpoint | null> {
    if (!this.#current) return null;
    return this.share(config, await this.#current.bind(config, tag));
  }

  /** A class that is started on demand has its socket before anything runs. */
  open(config: ClassConfig, tag: () => string, onTrouble: (text: string) => void): void {
    const socket = this.#current;
    const now = this.#context.now();
    if (!socket || socket.bound || this.#isOpening || now < this.#openAgainMs) return;
    this.#isOpening = true;
    this.#openAgainMs = now + BIND_AGAIN_MS;
    socket
      .bind(config, tag())
      .then(() => {
        this.#trouble = '';
      })
      .catch((error: unknown) => {
        const text = error instanceof LauncherError ? error.message : String(error);
        if (text !== this.#trouble) onTrouble(text);
        this.#trouble = text;
      })
      .finally(() => {
        this.#isOpening = false;
      });
  }

  /** Is something there, or was just now, that no counter shows? */
  isBusy(): boolean {
    if (!this.#current) return false;
    const { waiting, accepted } = this.#current.count();
    return waiting + accepted > 0;
  }

  /** The load data with what foreign clients do: nobody counts their requests, so what is there now
   * is all that is known, of all of them. */
  seen(load: Load): Load {
    if (!this.#current) return load;
    const { waiting, accepted } = this.#current.count();
    const inFlight = Math.max(accepted, load.inFlight);
    const uncounted = { arrivals: 0, finished: 0, failed: 0, servingUs: 0 };
    return { ...load, ...uncounted, waiting: load.waiting + waiting, inFlight };
  }

  refuseWaiting(refusal: { reason: string; retryAfterS: number }): void {
    if ((this.#current?.count().waiting ?? 0) > 0) this.#current?.refuseWaiting(refusal);
  }

  /** Let go of former addresses that nobody listens at any more. */
  tidy(instances: Iterable<Instance>): void {
    if (this.#former.length === 0) return;
    const used = new Set([...instances].map(({ endpointId }) => endpointId));
    this.#former = this.#former.filter((socket) => {
      if (socket.bound && used.has(socket.bound.endpointId)) return true;
      socket.close();
      return false;
    });
  }

  close(): void {
    for (const socket of this.#former.splice(0)) socket.close();
    this.#current?.close();
  }
}
