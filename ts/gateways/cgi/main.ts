// SPDX-License-Identifier: Apache-2.0
// The program that the launcher starts for a class of -protocol cgi. Descriptor 0 is the endpoint, 3
// the link to the manager; not run by hand.
import type { CgiOptions, Down } from '../link.ts';
import { LinkEnd } from '../link-end.ts';
import { parseArguments } from './arguments.ts';
import { CgiGateway } from './gateway.ts';

/** Tells that starting again cannot help (EX_CONFIG). */
const EXIT_CONFIG = 78;

let gateway: CgiGateway | null = null;
let isDraining = false;

function fail(status: number, text: string): never {
  process.stderr.write(`usher cgi gateway: ${text}\n`);
  process.exit(status);
}

/** Variables are decoded as UTF-8; programs get bytes, a Latin-1 character each. */
function ownEnvironment(): string[] {
  return Object.entries(process.env).map(([name, value]) =>
    Buffer.from(`${name}=${value ?? ''}`, 'utf8').toString('latin1'),
  );
}

const link = new LinkEnd({
  onMessage: (message) => {
    onMessage(message).catch((error: unknown) => fail(1, String(error)));
  },
  onEnd: () => {
    // With options it serves on; without it will never get any.
    if (gateway === null) fail(1, 'the manager has gone before it sent the options');
  },
});

async function onMessage(message: Down): Promise<void> {
  if (message.type !== 'configure') return;
  if (message.options.protocol !== 'cgi') fail(EXIT_CONFIG, 'the options are of another protocol');
  if (gateway !== null) gateway.configure(message.options);
  else await begin(message.options);
}

async function begin(options: CgiOptions): Promise<void> {
  try {
    gateway = new CgiGateway({
      arguments: parseArguments(process.argv.slice(2)),
      environment: ownEnvironment(),
      cgi: options,
      log: (level, event, text) => link.log(level, event, text),
      logLine: (line) => process.stderr.write(`${line}\n`),
    });
  } catch (error) {
    fail(EXIT_CONFIG, error instanceof Error ? error.message : String(error));
  }
  await gateway.listen();
  link.send({ type: 'ready' });
}

async function drain(): Promise<void> {
  if (isDraining) return;
  isDraining = true;
  await gateway?.drain();
  await link.close();
  process.exit(0);
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.on(signal, () => {
    drain().catch((error: unknown) => fail(1, String(error)));
  });
}
process.on('uncaughtException', (error) => fail(1, error.stack ?? error.message));
