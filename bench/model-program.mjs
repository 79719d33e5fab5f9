// SPDX-License-Identifier: Apache-2.0
// What the programs of bench/models.mjs do: an initialisation, and answers of 1000 bytes at once, after some
// work, or after a wait. Work is turns of a loop, the same number for all models.

import { serve } from '../dist/runtime/index.js';

const text = 'x'.repeat(1000);

/** @returns what depends on all turns, so that none can be left out */
export function work(turns) {
  let value = 1;
  for (let turn = 0; turn < turns; turn++) value = (Math.imul(value, 1664525) + 1013904223) | 0;
  return value;
}

function answer(res, marker) {
  res.setHeader('Content-Type', 'text/plain');
  res.setHeader('Cache-Control', 'no-store');
  if (marker !== undefined) res.setHeader('X-Marker', String(marker));
  res.end(text);
}

/** @param options of serve() */
export async function run({ turnsPerMs, initialiseMs, ...options }) {
  const index = work(initialiseMs * turnsPerMs);
  const answers = {
    '/page': (res) => answer(res),
    '/compute': (res) => answer(res, work(5 * turnsPerMs)),
    '/wait': (res) => setTimeout(answer, 20, res),
    '/slow-compute': (res) => answer(res, work(1000 * turnsPerMs)),
    '/slow-wait': (res) => setTimeout(answer, 1000, res),
    '/crash': () =>
      setImmediate(() => {
        throw new Error('a bug that nobody catches');
      }),
  };
  await serve((req, res) => {
    const { pathname } = new URL(req.url, 'http://host');
    const found = answers[pathname.slice(pathname.lastIndexOf('/'))];
    if (found !== undefined) return found(res);
    res.statusCode = 404;
    return res.end(String(index));
  }, options);
}
