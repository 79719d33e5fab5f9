// SPDX-License-Identifier: Apache-2.0
// CVE-2008-5519, CVE-2009-1191, CVE-2005-3164: every request carries a number, every answer says it
// again in its head and all through its body. Under load, with clients that leave, backends that break
// off, and answers after the end, no number reaches another request.
import t from 'tap';
import type { Answer } from '../testing/client.ts';
import { type BackendConnection, chunk, end, head, whole } from './testing/fake-backend.ts';
import { request, World } from './testing/world.ts';

const WORKERS = 24;
const REQUESTS = 60;

/** The same sequence in each run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function body(tag: string, size: number): Buffer {
  return Buffer.from(`<${tag}>`.repeat(size));
}

/** What the backends do, one after the other. */
const behaviours: ((connection: BackendConnection, tag: string) => void)[] = [
  (connection, tag) => connection.send(whole(`<${tag}>`, 200, { 'X-Tag': tag })),
  (connection, tag) => {
    connection.send(head(200, { 'X-Tag': tag }));
    setTimeout(() => connection.send(chunk(body(tag, 500)), end()), 2);
  },
  (connection, tag) => {
    const parts = Array.from({ length: 20 }, () => chunk(body(tag, 600)));
    connection.send(head(200, { 'X-Tag': tag }), ...parts, end());
  },
  (connection, tag) => {
    setTimeout(() => connection.send(whole(`<${tag}>`, 200, { 'X-Tag': tag })), 3);
  },
  (connection, tag) => {
    connection.send(
      whole(`<${tag}>`, 200, { 'X-Tag': tag }),
      whole('<stray>', 200, { 'X-Tag': 'stray' }),
    );
  },
  (connection, tag) => {
    connection.send(whole(`<${tag}>`, 200, { 'X-Tag': tag }));
    setImmediate(() => connection.send(whole('<stray>', 200, { 'X-Tag': 'stray' })));
  },
  (connection, tag) => {
    connection.send(head(200, { 'X-Tag': tag }), chunk(body(tag, 5)));
    setTimeout(() => connection.socket.destroy(), 1);
  },
  (connection) => connection.socket.destroy(),
  (connection, tag) => {
    connection.send(head(200, { 'X-Tag': tag }), chunk(`<${tag}>`), end(false));
  },
];

interface Tally {
  whole: number;
  broken: number;
  aborted: number;
  wrong: string[];
}

function judge(tag: string, answer: Answer, tally: Tally): void {
  const text = answer.stdout.toString('latin1');
  const [, found] = /\r\nX-Tag: (.*)\r\n/.exec(text) ?? [];
  const tags = new Set(text.match(/<[^>]*>/g) ?? []);
  tags.delete(`<${tag}>`);
  const isForeign = (found !== undefined && found !== tag) || tags.size > 0;
  if (isForeign) tally.wrong.push(`${tag} got ${found} and ${[...tags].slice(0, 3).join(' ')}`);
  else if (answer.status === 0 && found === tag) tally.whole++;
  else tally.broken++;
}

t.test('no answer reaches another request', async (t) => {
  const w = await World.begin(t, {
    backends: [{}, {}],
    options: { poolMax: 8, errorEscalationMs: 3_600_000 },
  });
  let turn = 0;
  for (const backend of w.backends) {
    backend.onRequest = ({ uri }, connection) => {
      const behaviour = behaviours[turn++ % behaviours.length];
      behaviour?.(connection, uri.slice(1));
    };
  }
  const tally: Tally = { whole: 0, broken: 0, aborted: 0, wrong: [] };

  const work = async (worker: number): Promise<void> => {
    const next = random(worker + 1);
    let client = w.client();
    for (let i = 0; i < REQUESTS; i++) {
      const tag = `${worker}.${i}`;
      if (client.isClosed) client = w.client();
      client.send({ params: request({ DOCUMENT_URI: `/${tag}` }), keepConn: true });
      const choice = next();
      if (choice < 0.15) {
        await new Promise((resolve) => setTimeout(resolve, next() * 4));
        client.destroy();
        client = w.client();
        tally.aborted++;
      } else {
        if (choice < 0.25) client.abort();
        judge(tag, await client.answer(), tally);
      }
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)));

  t.same(tally.wrong, []);
  t.equal(tally.whole + tally.broken + tally.aborted, WORKERS * REQUESTS, 'each was answered');
  t.ok(tally.whole > (WORKERS * REQUESTS) / 3, `most of them well: ${tally.whole}`);
  t.ok(tally.broken > 0 && tally.aborted > 0, `and not all: ${tally.broken}, ${tally.aborted}`);
  for (const i of [0, 1]) await w.state(i, ({ busy }) => busy === 0);
});
