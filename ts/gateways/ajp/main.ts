// SPDX-License-Identifier: Apache-2.0
// The AJP gateway: FastCGI in, AJP 1.3 out. A program that the manager has started as an instance.
// Descriptors: 0 the socket where web servers connect, 3 the link to the manager, 4 the secret file.

import { native } from '../../native/native.ts';
import { Connections } from '../connections.ts';
import type { Down } from '../link.ts';
import { LinkEnd } from '../link-end.ts';
import { Gateway } from './gateway.ts';
import { isQuiet } from './quiet.ts';
import { readSecret } from './secret.ts';

let secret: string | undefined;
let gateway: Gateway | undefined;
let isListening = false;
let isEnding = false;

const link = new LinkEnd({ onMessage: (message) => onMessage(message) });
const connections = new Connections({
  onRequest: (web) => (gateway as Gateway).serve(web),
  onBroken: (error) => link.log('warn', 'fastcgi.broken', error.message),
  onError: (error) => link.log('error', 'accept.failed', error.message),
});

function onMessage(message: Down): void {
  if (message.type === 'backends') {
    gateway?.share(message.backends);
    return;
  }
  if (message.options.protocol === 'cgi') {
    void fail(new Error('configured as a gateway for CGI'));
    return;
  }
  try {
    const next = new Gateway(message.options, message.backends, {
      secret,
      now: native.nowMs,
      send: (up) => link.send(up),
      isQuiet,
    });
    gateway?.close(); // requests that it has go on
    gateway = next;
  } catch (error) {
    void fail(error as Error);
    return;
  }
  if (!isListening) void listen();
}

async function listen(): Promise<void> {
  isListening = true;
  try {
    await connections.listen();
    link.send({ type: 'ready' });
  } catch (error) {
    await fail(error as Error);
  }
}

/** What cannot be served: said, and ended. */
async function fail(error: Error): Promise<void> {
  process.stderr.write(`usher: AJP gateway: ${error.message}\n`);
  link.log('error', 'gateway.failed', error.message);
  await link.close();
  process.exit(1);
}

/** Requests that have begun are served to their end. */
async function drain(): Promise<void> {
  if (isEnding) return;
  isEnding = true;
  if (isListening) await connections.drain();
  gateway?.close();
  await link.close();
  process.exit(0);
}

process.on('SIGTERM', () => void drain());

try {
  secret = readSecret();
} catch (error) {
  await fail(error as Error);
}
