// SPDX-License-Identifier: Apache-2.0
import net from 'node:net';

let ports = 20_000 + (process.pid % 1_000) * 12;

/** One that the system gives to nobody who asks for any. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = ports++;
    const server = net.createServer().listen(port, '127.0.0.1');
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('listening', () => resolve(true));
      server.once('error', () => resolve(false));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
