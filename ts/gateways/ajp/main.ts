// SPDX-License-Identifier: Apache-2.0
// The program that the launcher starts for a class of -protocol ajp or ajp12: FastCGI in, AJP out. Descriptor 0
// is the endpoint, 3 the link to the manager, 4 the secret file, where there is one; not run by hand.
import { native } from '../../native/native.ts';
import { Connections } from '../connections.ts';
import type { AjpOptions, BackendConfig, Down } from '../link.ts';
import { LinkEnd } from '../link-end.ts';
import { Gateway } from './gateway.ts';
import { isQuiet } from './quiet.ts';
import { readSecret } from './secret.ts';

/** Tells that starting again cannot help (EX_CONFIG). */
const EXIT_CONFIG = 78;

let gateway: Gateway | undefined;
let isDraining = false;

function fail(status: number, error: unknown): never {
  const text = error instanceof Error ? error.message : String(error);
  process.stderr.write(`usher ajp gateway: ${text}\n`);
  process.exit(status);
}

/** Before anything else opens a descriptor. */
function secretOrFail(): Buffer | undefined {
  try {
    return readSecret();
  } catch (error) {
    return fail(EXIT_CONFIG, error);
  }
}

const secret = secretOrFail();

const link = new LinkEnd({
  onMessage: (message) => onMessage(message),
  onEnd: () => {
    // With options it serves on; without it will never get any.
    if (gateway === undefined) fail(1, 'the manager has gone before it sent the options');
  },
});

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
  const { options, backends } = message;
  if (options.protocol === 'cgi') fail(EXIT_CONFIG, 'the options are of another protocol');
  const isFirst = gateway === undefined;
  const former = gateway;
  gateway = created(options, backends);
  former?.close(gateway); // what it has begun goes on
  if (isFirst) listen().catch((error: unknown) => fail(1, error));
}

function created(options: AjpOptions, backends: readonly BackendConfig[]): Gateway {
  try {
    const { nowMs } = native;
    return new Gateway(options, backends, {
      secret,
      now: nowMs,
      send: (up) => link.send(up),
      isQuiet,
    });
  } catch (error) {
    return fail(EXIT_CONFIG, error);
  }
}

async function listen(): Promise<void> {
  await connections.listen();
  link.send({ type: 'ready' });
}

/** Requests that have begun are served to their end. */
async function drain(): Promise<void> {
  if (isDraining) return;
  isDraining = true;
  if (gateway !== undefined) await connections.drain();
  gateway?.close();
  await link.close();
  process.exit(0);
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.on(signal, () => {
    drain().catch((error: unknown) => fail(1, error));
  });
}
process.on('uncaughtException', (error) => fail(1, error.stack ?? error.message));
