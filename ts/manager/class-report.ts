// SPDX-License-Identifier: Apache-2.0
// What a class says of itself: to people in the log, to workers in the table, to the next manager.
import type { ClassEvent, Journey } from '../control/messages.ts';
import type { ClassState, Ref } from '../native/native.ts';
import { type ClassMemory, formatMemory } from './class-memory.ts';
import type { ClassContext } from './context.ts';
import { errorPage } from './error-page.ts';
import type { Refusal } from './failures.ts';
import type { ManagedClass } from './managed-class.ts';

type Level = 'info' | 'warn' | 'error';

export class ClassReport {
  lastEvent: ClassEvent | null = null;
  #context: ClassContext;
  #owner: ManagedClass;
  #published = '';
  #isFull = false;
  #remembered = '';
  /** The error page that workers find: of this start; null = there is none. */
  #page: { start: string; html: string } | null = null;

  constructor(context: ClassContext, owner: ManagedClass) {
    this.#context = context;
    this.#owner = owner;
  }

  note(level: Level, event: string, fields: Record<string, unknown>, text: string): void {
    this.#context.log(level, event, { class: this.#owner.label, ...fields, text });
    this.lastEvent = { at: new Date().toISOString(), event, text };
  }

  noteFailure(event: string, journey: Journey, retryMs: number, text: string): void {
    const { command, steps, output } = journey;
    this.note('error', event, { command, retryMs, steps, output }, text);
  }

  /** @param refusal What requests are told while the class is `failed`. */
  publish(ref: Ref, state: ClassState, { reason, retryAfterS }: Refusal): void {
    const failed = state === 'failed';
    const retryS = failed ? retryAfterS : 0;
    const why = failed ? reason : '';
    const text = `${state} ${retryS} ${why}`;
    if (text === this.#published) return;
    this.#published = text;
    this.#context.channel.setClass(ref, state, failed ? 503 : 0, retryS, why);
  }

  /** @param isFull It has all the instances that it may have, and they are ready. */
  publishFull(ref: Ref, isFull: boolean): void {
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    this.#context.channel.setFull(ref, isFull);
  }

  /** @param journey Whose page browsers are to get while the class is `failed`; null = none. */
  showPage(ref: Ref, journey: Journey | null): void {
    if (this.#page?.start === journey?.id) return;
    this.#page = journey && { start: journey.id, html: errorPage(journey) };
    const servers = this.#context.serversOf(this.#owner);
    this.#context.launcher.page(ref, servers, this.#page?.html ?? null);
  }

  /** The workers of a server that came later. */
  sharePage(ref: Ref, server: string): void {
    if (this.#page) this.#context.launcher.page(ref, [server], this.#page.html);
  }

  /** For requests that wait while the class fails. */
  get page(): string | undefined {
    return this.#page?.html;
  }

  remember(memory: ClassMemory): void {
    const text = formatMemory(memory);
    if (text === this.#remembered) return;
    this.#remembered = text;
    this.#context.remember(this.#owner, text);
  }
}
