// SPDX-License-Identifier: Apache-2.0
// The parameters of a request. Their names are nearly always those of a request before, in the same order: a
// web server's configuration has few places, and browsers send the same headers. So orders of names are
// remembered, and of a request only where its values lie.
import { cutShort, readLength } from './pairs.ts';

/** Orders of names that are remembered, counted by their names. They are forgotten all at once. */
const REMEMBERED_MAX = 8192;
/** Longer names, and names behind so many, are not remembered: who sends them pays for them. */
const NAME_BYTES_MAX = 64;
const NAMES_MAX = 256;

/** An order of names, and what follows from it. */
export interface ParamsOrder {
  /** As they came, with those that came twice. */
  readonly names: readonly string[];
  /** Where among them the one is that counts. */
  readonly places: ReadonlyMap<string, number>;
}

/** A name, after those before it. */
class Step {
  readonly name: string;
  /** The same, to be compared with bytes: a call into V8's strings for each name costs twice as much. */
  readonly #bytes: Uint8Array;
  readonly #before: Step | null;
  /** How many names there are up to this one. */
  readonly #length: number;
  #after: Step[] = [];
  /** Which of them came last. */
  #latest: Step | null = null;
  #order: ParamsOrder | null = null;

  constructor(name: string, before: Step | null) {
    this.name = name;
    this.#bytes = Uint8Array.from(name, (character) => character.charCodeAt(0));
    this.#before = before;
    this.#length = before === null ? 0 : before.#length + 1;
  }

  get order(): ParamsOrder {
    this.#order ??= orderOf(this.#names());
    return this.#order;
  }

  next(bytes: Buffer, at: number, length: number): Step {
    const latest = this.#latest;
    if (latest?.is(bytes, at, length)) return latest;
    for (const step of this.#after) {
      if (!step.is(bytes, at, length)) continue;
      this.#latest = step;
      return step;
    }
    return this.#learn(bytes.toString('latin1', at, at + length));
  }

  forget(): void {
    this.#after = [];
    this.#latest = null;
  }

  /** Names differ most often in their last letters. */
  is(bytes: Buffer, at: number, length: number): boolean {
    const own = this.#bytes;
    if (own.length !== length) return false;
    for (let i = length - 1; i >= 0; i--) if (own[i] !== bytes[at + i]) return false;
    return true;
  }

  #learn(name: string): Step {
    if (name.length > NAME_BYTES_MAX || this.#length >= NAMES_MAX) return new Step(name, this);
    if (remembered === REMEMBERED_MAX) {
      remembered = 0;
      beginning.forget();
    }
    remembered += 1;
    // As the name of a property it is the very string that literals are, and holds no other text.
    const step = new Step(Object.keys({ [name]: 0 })[0] as string, this);
    this.#after.push(step);
    this.#latest = step;
    return step;
  }

  #names(): string[] {
    const names: string[] = [];
    for (
      let step: Step | null = this;
      step !== null && step.#before !== null;
      step = step.#before
    ) {
      names.push(step.name);
    }
    return names.reverse();
  }
}

const beginning = new Step('', null);
let remembered = 0;

/** The last value of a name counts, but the first one of USHER_…: those are our own modules', and only
 * the web server's configuration can have said them again behind. */
function orderOf(names: readonly string[]): ParamsOrder {
  const places = new Map<string, number>();
  names.forEach((name, place) => {
    if (!name.startsWith('USHER_') || !places.has(name)) places.set(name, place);
  });
  return { names, places };
}

/** An array that need not grow is half the cost of one that does. */
let spansLately = 0;

/** @throws ProtocolError when the bytes end within a pair */
export function decodeParams(bytes: Buffer): Params {
  // One call for all texts: the strings cut out of it are cheaper than one call for each. A string that
  // is kept keeps them all.
  const text = bytes.toString('latin1');
  const end = bytes.length;
  const spans: number[] = new Array(spansLately);
  let count = 0;
  let step = beginning;
  let at = 0;
  while (at < end) {
    const begin = at;
    let nameBytes = bytes[at++] as number;
    if (nameBytes > 127) {
      nameBytes = readLength(bytes, begin, begin);
      at += 3;
    }
    if (at >= end) throw cutShort(begin, end);
    const valueAt = at;
    let valueBytes = bytes[at++] as number;
    if (valueBytes > 127) {
      valueBytes = readLength(bytes, valueAt, begin);
      at += 3;
    }
    if (nameBytes + valueBytes > end - at) throw cutShort(begin, end);
    step = step.next(bytes, at, nameBytes);
    at += nameBytes;
    spans[count] = at;
    at += valueBytes;
    spans[count + 1] = at;
    count += 2;
  }
  spans.length = count;
  spansLately = count;
  return new Params(text, spans, step.order);
}

export class Params implements ReadonlyMap<string, string> {
  readonly order: ParamsOrder;
  /** As they came, bytes as Latin-1 characters: decodeParams() reads them again. */
  readonly encoded: string;
  /** Where in it values begin and end. */
  readonly #spans: readonly number[];

  constructor(text: string, spans: readonly number[], order: ParamsOrder) {
    this.order = order;
    this.encoded = text;
    this.#spans = spans;
  }

  get size(): number {
    return this.order.places.size;
  }

  get(name: string): string | undefined {
    const place = this.order.places.get(name);
    return place === undefined ? undefined : this.valueAt(place);
  }

  has(name: string): boolean {
    return this.order.places.has(name);
  }

  /** @param place Of order.names. */
  valueAt(place: number): string {
    return this.encoded.slice(this.#spans[2 * place], this.#spans[2 * place + 1]);
  }

  forEach(call: (value: string, name: string, params: ReadonlyMap<string, string>) => void): void {
    for (const [name, value] of this) call(value, name, this);
  }

  *entries(): MapIterator<[string, string]> {
    for (const [name, place] of this.order.places) yield [name, this.valueAt(place)];
  }

  keys(): MapIterator<string> {
    return this.order.places.keys();
  }

  *values(): MapIterator<string> {
    for (const place of this.order.places.values()) yield this.valueAt(place);
  }

  [Symbol.iterator](): MapIterator<[string, string]> {
    return this.entries();
  }
}
