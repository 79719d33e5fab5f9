// SPDX-License-Identifier: Apache-2.0
// JServ's -s and -r: a signal of AJP 1.2 to the engine that runs.
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { JservProperties } from '../config/jserv-properties.ts';
import { Ajp12ClientDecoder } from '../protocols/ajp12/client-decoder.ts';
import { encodeSignal } from '../protocols/ajp12/client-encoder.ts';
import type { Signal } from '../protocols/ajp12/types.ts';
import { engineAddress, spelled } from './engine-address.ts';

const PATIENCE_MS = 10_000;

/** Resolves when the engine has heard it. Rejects with an error that names the address. */
export function sendSignal(properties: JservProperties, signal: Signal): Promise<void> {
  const { secretKeyFile } = properties;
  const address = engineAddress(properties);
  const key = secretKeyFile === null ? null : readFileSync(secretKeyFile);
  return new Promise((resolve, reject) => {
    const socket = connect(address);
    const fail = (reason: string) => {
      socket.destroy();
      reject(new Error(`the engine at ${spelled(address)}: ${reason}`));
    };
    socket.setTimeout(PATIENCE_MS, () => fail(`no word within ${PATIENCE_MS} ms`));
    const send = () => socket.end(encodeSignal(signal));
    const decoder = new Ajp12ClientDecoder(
      {
        onChallenge: (answer) => {
          socket.write(answer);
          send();
        },
        onHead: () => undefined,
        onBody: () => undefined,
        onEnd: () => undefined,
        onPong: () => undefined,
      },
      key,
    );
    socket.on('connect', () => {
      if (key === null) send();
    });
    socket.on('data', (bytes) => {
      try {
        decoder.push(bytes);
      } catch (error) {
        fail(String(error));
      }
    });
    socket.on('error', (error) => fail(error.message));
    socket.on('close', () => resolve());
  });
}
