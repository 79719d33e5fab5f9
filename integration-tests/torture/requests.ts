// SPDX-License-Identifier: Apache-2.0
// The requests of a load: each can be told from all others, and its answer shows whether the program
// saw this one, with its whole body.

import { randomInt } from 'node:crypto';
import { type Answer, checksum, fieldsOf, hex, pattern } from '../servers/client.ts';
import type { Ask } from '../servers/load.ts';

const bodies = [100, 5_000, 40_000].map((bytes) => {
  const body = pattern(bytes);
  return { body, bytes: `${bytes}`, crc32: hex(checksum(body)) };
});

function problemOf(
  answer: Answer,
  query: string,
  bytes: string,
  crc32: string,
): string | undefined {
  const fields = fieldsOf(answer.text);
  if (fields.QUERY_STRING !== query) return `answer to "${fields.QUERY_STRING}", not to "${query}"`;
  if (fields.body_bytes !== bytes) return `saw a body of ${fields.body_bytes} bytes, not ${bytes}`;
  if (fields.body_crc32 !== crc32) return 'saw another body than was sent';
  return undefined;
}

/** The request of this number, as a POST if it has a body; its program takes sleepMs for it. */
export function requestTo(file: string, index: number, hasBody: boolean, sleepMs: number): Ask {
  const query = `as=text&sleep=${sleepMs}&token=${index}-${randomInt(1e9)}`;
  const path = `${file}?${query}`;
  if (!hasBody) return { path, problemOf: (answer) => problemOf(answer, query, '0', '00000000') };
  const { body, bytes, crc32 } = bodies[index % bodies.length]!;
  const headers: [string, string][] = [['Content-Type', 'application/octet-stream']];
  return {
    path,
    options: { method: 'POST', body, headers },
    problemOf: (answer) => problemOf(answer, query, bytes, crc32),
  };
}
