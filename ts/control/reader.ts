// SPDX-License-Identifier: Apache-2.0
// Questions of a child process that may read what the manager knows and do nothing: the dashboard. It has
// no control socket; its parent, the manager or `usher dashboard`, answers over the channel between them.
import type { ChildProcess } from 'node:child_process';

export interface Question {
  id: number;
  /** Route and query: "/v1/history?class=php". */
  url: string;
}

export interface Answered {
  id: number;
  httpStatus: number;
  /** JSON. */
  body: string;
}

/** Before the first question: the child listens, or cannot. */
export type Begun = { listening: string } | { failed: string };

const readable = new Set(['/v1/status', '/v1/history', '/v1/events', '/v1/explain']);

export function mayBeRead(url: string): boolean {
  return readable.has(url.split('?')[0] ?? '');
}

/**
 * Answers what the child asks, as long as it lives.
 * @param answer Called for routes that may be read only; a rejection becomes an answer 500.
 */
export function answerReader(
  child: ChildProcess,
  answer: (url: string) => Promise<Omit<Answered, 'id'>>,
  onBegun: (begun: Begun) => void,
): void {
  child.on('message', (message) => {
    if (isBegun(message)) onBegun(message);
    if (isQuestion(message)) void answerOne(message);
  });

  async function answerOne({ id, url }: Question): Promise<void> {
    const asked = mayBeRead(url)
      ? answer(url)
      : Promise.resolve(errorAnswer(404, 'not-found', url));
    const answered = await asked.catch((error: unknown) => {
      return errorAnswer(500, 'internal', messageOf(error));
    });
    if (child.connected) child.send({ id, ...answered }, () => undefined); // it may end just now
  }
}

export function errorAnswer(
  httpStatus: number,
  code: string,
  message: string,
): Omit<Answered, 'id'> {
  return { httpStatus, body: JSON.stringify({ error: { code, message } }) };
}

function isQuestion(message: unknown): message is Question {
  const { id, url } = (message ?? {}) as Partial<Question>;
  return typeof id === 'number' && typeof url === 'string';
}

function isBegun(message: unknown): message is Begun {
  return typeof message === 'object' && message !== null && !('id' in message);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
