// SPDX-License-Identifier: Apache-2.0
// The public address of a class (-socket, -port): one listening socket, bound once for the class's
// life and shared by all its instances. The kernel deals the connections, also those of clients that
// know nothing of us; what they do is seen from outside.
import type { Address } from '../native/native.ts';
import type { KeptEndpoint } from '../process/launcher.ts';
import type { ClassConfig, PublicAddress } from './class-config.ts';
import type { ClassContext } from './context.ts';

/** Connections are counted at most this often while there are any, and otherwise. */
const COUNT_MS = 100;
const COUNT_IDLE_MS = 200;
/** Those accepted at a TCP port, which take milliseconds to count. */
const COUNT_TCP_MS = 500;

/** Connections now. */
export interface Connections {
  /** Of the accept queue. */
  waiting: number;
  /** Accepted by an instance and not closed: requests, and connections that clients keep open. */
  accepted: number;
}

export interface BoundSocket {
  /** The launcher's id. */
  endpointId: number;
  inode: number;
}

const none: Connections = { waiting: 0, accepted: 0 };

export class PublicSocket {
  /** As the launcher is told. */
  readonly listen: string;
  #context: ClassContext;
  #address: PublicAddress;
  #bound: BoundSocket | null = null;
  #binding: Promise<BoundSocket> | null = null;
  #isClosed = false;
  #connections = none;
  #countedAtMs = Number.NEGATIVE_INFINITY;
  #countedAllAtMs = Number.NEGATIVE_INFINITY;

  constructor(context: ClassContext, address: PublicAddress) {
    this.#context = context;
    this.#address = address;
    this.listen = listenOf(address);
  }

  /** null = not bound (yet). */
  get bound(): BoundSocket | null {
    return this.#bound;
  }

  /** Where our own shims connect. */
  get address(): Address {
    return this.#address.kind === 'unix'
      ? { kind: 'unix', path: this.#address.path }
      : reachable(this.#address.listen);
  }

  /** Binds the first time. Rejects with a LauncherError; the next call tries again. */
  bind(config: ClassConfig, tag: string): Promise<BoundSocket> {
    this.#binding ??= this.#bind(config, tag).catch((error: unknown) => {
      this.#binding = null;
      throw error;
    });
    return this.#binding;
  }

  /** What a former manager bound. */
  adopt(kept: KeptEndpoint): void {
    this.#bound = { endpointId: kept.id, inode: kept.inode };
    this.#binding = Promise.resolve(this.#bound);
  }

  /** The connections of now, counted no more often than is good for the machine. */
  count(): Connections {
    if (this.#bound === null) return none;
    const now = this.#context.now();
    const isBusy = this.#connections.waiting + this.#connections.accepted > 0;
    if (now - this.#countedAtMs < (isBusy ? COUNT_MS : COUNT_IDLE_MS)) return this.#connections;
    this.#countedAtMs = now;
    const { inode } = this.#bound;
    const path = this.#address.kind === 'unix' ? this.#address.path : '';
    const onlyWaiting = path === '' && now - this.#countedAllAtMs < COUNT_TCP_MS;
    if (!onlyWaiting) this.#countedAllAtMs = now;
    const port = portOf(this.#address);
    const counted = this.#context.connections(inode, path, port, onlyWaiting) ?? none;
    const { accepted } = onlyWaiting ? this.#connections : counted;
    this.#connections = { waiting: counted.waiting, accepted };
    return this.#connections;
  }

  /** Nobody can start behind it: those who wait are told so. */
  refuseWaiting(refusal: { reason: string; retryAfterS: number }): void {
    if (this.#bound) this.#context.launcher.refuseWaiting(this.#bound.endpointId, refusal);
  }

  /** No new instance; a UNIX socket has no name any more. Instances that live go on serving. */
  close(): void {
    this.#isClosed = true;
    if (this.#bound) this.#close(this.#bound.endpointId);
  }

  async #bind(config: ClassConfig, tag: string): Promise<BoundSocket> {
    const { launcher, nextId } = this.#context;
    const endpointId = nextId();
    const { user, group } = config;
    const owner = { user, group };
    const inode = await launcher.bindPublic(endpointId, `e${endpointId}`, tag, this.listen, owner);
    this.#bound = { endpointId, inode };
    if (this.#isClosed) this.#close(endpointId);
    this.#context.log('info', 'address.bound', { class: config.key, address: this.listen });
    return this.#bound;
  }

  #close(endpointId: number): void {
    this.#context.launcher.closeEndpoint(endpointId).catch((error: unknown) => {
      this.#context.log('error', 'endpoint.close-failed', {
        address: this.listen,
        text: String(error),
      });
    });
  }
}

/** As the launcher is told it. */
export function listenOf(address: PublicAddress): string {
  return address.kind === 'unix' ? `unix:${address.path}` : `tcp:${address.listen}`;
}

function portOf(address: PublicAddress): number {
  return address.kind === 'unix' ? 0 : Number(address.listen.replace(/^.*:/, ''));
}

/** "9000", "0.0.0.0:9000" and "[::]:9000" are every interface: ours is the nearest. */
function reachable(listen: string): Address {
  const port = Number(listen.replace(/^.*:/, ''));
  const host = listen.includes(':') ? listen.slice(0, listen.lastIndexOf(':')) : '0.0.0.0';
  if (!host.startsWith('[')) {
    return { kind: 'inet', host: host === '0.0.0.0' ? '127.0.0.1' : host, port };
  }
  const bare = host.slice(1, -1);
  return { kind: 'inet6', host: isUnspecified(bare) ? '::1' : bare, port };
}

function isUnspecified(ipv6: string): boolean {
  return /^[0:]+$/.test(ipv6);
}
