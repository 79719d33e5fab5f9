// SPDX-License-Identifier: Apache-2.0
// Asks an AJP 1.2 engine whether it is there, on a connection of its own. Any byte is an answer.
import { connect } from 'node:net';
import { Ajp12ClientDecoder } from '../../../protocols/ajp12/client-decoder.ts';
import { encodeSignal } from '../../../protocols/ajp12/client-encoder.ts';
import type { BackendAddress } from '../address.ts';

export interface PingOptions {
  address: BackendAddress;
  /** All bytes of the secret file; null = the engine sends no challenge. */
  key: Buffer | null;
  /** 0: what the system allows. */
  connectTimeoutMs: number;
  /** Of the challenge and of the answer, each; 0: no limit. */
  answerTimeoutMs: number;
}

/** Returns what calls it off. */
export function pingEngine(options: PingOptions, done: (error: Error | null) => void): () => void {
  const { address, key, connectTimeoutMs, answerTimeoutMs } = options;
  const socket = connect({ ...address, noDelay: true });
  let timer: NodeJS.Timeout | undefined;
  let isSent = false;

  const cancel = (): void => {
    clearTimeout(timer);
    socket.removeAllListeners();
    socket.on('error', () => undefined);
    socket.destroy();
  };
  const finish = (error: Error | null): void => {
    cancel();
    done(error);
  };
  const within = (ms: number, what: string): void => {
    clearTimeout(timer);
    if (ms === 0) return;
    timer = setTimeout(() => finish(new Error(`${what} within ${ms / 1000} s`)), ms);
  };
  const write = (...before: Buffer[]): void => {
    isSent = true;
    within(answerTimeoutMs, 'no answer to a ping');
    socket.write(Buffer.concat([...before, encodeSignal('ping')]));
  };
  const decoder = new Ajp12ClientDecoder(
    {
      onChallenge: (answer) => write(answer),
      onPong: () => finish(null),
      onHead: () => undefined,
      onBody: () => undefined,
      onEnd: () => undefined,
    },
    key,
  );

  decoder.ping();
  within(connectTimeoutMs, 'it does not accept connections');
  socket.once('connect', () => {
    if (key === null) write();
    else within(answerTimeoutMs, NO_CHALLENGE);
  });
  socket.on('data', (bytes) => {
    try {
      decoder.push(bytes);
    } catch (error) {
      finish(error as Error);
    }
  });
  socket.on('error', finish);
  socket.on('end', () => finish(new Error(closedBefore(isSent, key, 'its answer to a ping'))));
  return cancel;
}

export const NO_CHALLENGE =
  'no challenge, which an engine sends that has a secret (-secret-file is for those only),';

/** An engine closes the connection of who does not know its secret, without a word. */
export function closedBefore(isSent: boolean, key: Buffer | null, what: string): string {
  if (!isSent) return 'it closed the connection at once';
  const hint = ': what -secret-file holds may not be its secret key';
  return `it closed the connection without ${what}${key === null ? '' : hint}`;
}
