// SPDX-License-Identifier: Apache-2.0
// Asks a servlet engine whether it is there: CPING (AJP 1.3), or the signal 0 (AJP 1.2).
import { connect } from 'node:net';
import { encodeSignal } from '../../protocols/ajp12/client-encoder.ts';
import { CPING } from '../../protocols/ajp13/client-encoder.ts';
import { parseAddress } from './address.ts';
import { oneLine } from './messages.ts';

/**
 * `silent`: somebody is there and says nothing, as an engine whose threads are all busy; `hidden`: its
 * UNIX socket is there, and not for us.
 */
export type EngineLook =
  | { outcome: 'up' }
  | { outcome: 'silent' | 'hidden' | 'down'; error: string };

/** What is said to it, and then one byte is waited for. */
export interface Question {
  address: string;
  protocol: 'ajp' | 'ajp12';
  /** It says something first, which is enough. */
  authenticates: boolean;
}

export type EngineProbe = (question: Question, timeoutMs: number) => Promise<EngineLook>;

/** Of AJP 1.2 any byte will do. */
const CPONG = Buffer.from('4142000109', 'hex');

export function probeEngine(question: Question, timeoutMs: number): Promise<EngineLook> {
  const { address, protocol, authenticates } = question;
  const wanted = protocol === 'ajp' ? CPONG : Buffer.alloc(0);
  return new Promise((resolve) => {
    const socket = connect(parseAddress(address));
    let isConnected = false;
    let heard = Buffer.alloc(0);
    const done = (look: EngineLook): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(look);
    };
    const timer = setTimeout(() => {
      const error = `no answer within ${timeoutMs / 1000} s`;
      done({ outcome: isConnected ? 'silent' : 'down', error });
    }, timeoutMs);
    socket.once('connect', () => {
      isConnected = true;
      if (protocol === 'ajp') socket.write(CPING);
      else if (!authenticates) socket.write(encodeSignal('ping'));
    });
    socket.on('data', (bytes) => {
      heard = Buffer.concat([heard, bytes]);
      if (heard.length < wanted.length) return;
      if (heard.subarray(0, wanted.length).equals(wanted)) done({ outcome: 'up' });
      else done({ outcome: 'silent', error: 'what answers there does not speak AJP 1.3' });
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const isHidden = error.code === 'EACCES' || error.code === 'EPERM';
      const nobody = isHidden ? 'hidden' : 'down';
      done({ outcome: isConnected ? 'silent' : nobody, error: oneLine(error) });
    });
    socket.on('close', () => done({ outcome: 'silent', error: 'it closed the connection' }));
  });
}

/** AJP 1.2 has a word for it, which engines obey that authenticate nobody. It has no answer. */
export function shutDownEngine(address: string): void {
  const socket = connect(parseAddress(address), () => socket.end(encodeSignal('shutdown')));
  socket.on('error', () => undefined); // it gets a signal next
  socket.unref();
}
