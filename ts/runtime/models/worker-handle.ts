// SPDX-License-Identifier: Apache-2.0
// A process or thread that answers requests, as pools see it.
import type { MasterLink } from '../link/messages.ts';

export interface WorkerHandle {
  /** For logs: "process 4711", "thread 3". */
  readonly name: string;
  readonly link: MasterLink;
  /** How it ended, as the end of a sentence: "ended with status 3". Never rejects; nothing comes from the
   * link after it. */
  readonly exited: Promise<string>;
  /** At once, whatever it does; harmless when it has ended. */
  kill(): void;
}

export type StartWorker = () => WorkerHandle;

/** One that could not even be started. */
export function deadWorker(kind: string, how: string): WorkerHandle {
  const link: MasterLink = {
    send: () => undefined,
    onMessage: () => undefined,
    onClose: () => undefined,
    close: () => undefined,
  };
  return { name: `a ${kind}`, link, exited: Promise.resolve(how), kill: () => undefined };
}
