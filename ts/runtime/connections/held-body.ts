// SPDX-License-Identifier: Apache-2.0
// An exchange whose peer sends the body when it likes: bytes that nobody has asked for yet are kept, and
// beyond some the peer is stopped. Nothing is told inside a call of the exchange.
import { Exchange } from '../exchange.ts';

/** A small body costs no pause. */
const HELD_BYTES_MAX = 64 << 10;

export abstract class HeldBodyExchange extends Exchange {
  /** null: nothing is held. */
  #held: Buffer[] | null = null;
  #heldBytes = 0;
  #isFlowing = false;
  #isDue = false;
  #isStopped = false;
  #isWhole = false;
  #isEndTold = false;

  override pauseBody(): void {
    this.#isFlowing = false;
  }

  override resumeBody(): void {
    if (this.#isFlowing || this.state === 'over') return;
    this.#isFlowing = true;
    if (this.#held === null && !this.#isWhole) {
      this.#start();
    } else if (!this.#isDue) {
      this.#isDue = true;
      process.nextTick(deliver, this);
    }
  }

  /** Bytes may come: at once, and later. */
  protected abstract startPeer(): void;
  /** No more shall come; some may nevertheless. */
  protected abstract stopPeer(): void;

  /** The body flows, and more of it is to come. */
  protected get isWanted(): boolean {
    return this.#isFlowing && !this.#isWhole && this.#held === null && this.state !== 'over';
  }

  /** @param bytes nobody writes to them again */
  protected takeBody(bytes: Buffer): void {
    const { listener } = this;
    if (this.state === 'over') return;
    if (this.#isFlowing && this.#held === null) {
      listener?.onBody(bytes);
      return;
    }
    this.#held ??= [];
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
    if (this.#heldBytes >= HELD_BYTES_MAX) this.#stop();
  }

  protected takeBodyEnd(): void {
    this.#isWhole = true;
    if (this.#isFlowing && this.#held === null) this.#tellEnd();
  }

  /** @internal */
  deliver(): void {
    this.#isDue = false;
    const held = this.#held ?? [];
    while (held.length > 0) {
      if (!this.#isFlowing || this.state === 'over') return;
      const bytes = held.shift() as Buffer;
      this.#heldBytes -= bytes.length;
      this.listener?.onBody(bytes);
    }
    this.#held = null;
    if (!this.#isFlowing) return;
    if (this.#isWhole) this.#tellEnd();
    else this.#start();
  }

  #tellEnd(): void {
    if (this.#isEndTold) return;
    this.#isEndTold = true;
    this.listener?.onBodyEnd();
  }

  #start(): void {
    this.#isStopped = false;
    this.startPeer();
  }

  #stop(): void {
    if (this.#isStopped || this.state === 'over') return;
    this.#isStopped = true;
    this.stopPeer();
  }
}

function deliver(exchange: HeldBodyExchange): void {
  exchange.deliver();
}
