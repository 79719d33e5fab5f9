// SPDX-License-Identifier: Apache-2.0
// What happens when: a heap, earliest first; of one time, first put in first.

interface Entry<Event> {
  atMs: number;
  order: number;
  event: Event;
}

export class Events<Event> {
  #heap: Entry<Event>[] = [];
  #order = 0;

  put(atMs: number, event: Event): void {
    const heap = this.#heap;
    const entry = { atMs, order: this.#order++, event };
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as Entry<Event>;
      if (!isEarlier(entry, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = entry;
  }

  take(): { atMs: number; event: Event } | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (!first || !last || heap.length === 0) return first;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      const right = heap[child + 1];
      if (right && isEarlier(right, heap[child] as Entry<Event>)) child += 1;
      const lower = heap[child] as Entry<Event>;
      if (!isEarlier(lower, last)) break;
      heap[at] = lower;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isEarlier(a: Entry<unknown>, b: Entry<unknown>): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
