// SPDX-License-Identifier: Apache-2.0
// A listening socket and its connections, whatever their protocol.
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { Signal } from '../../protocols/ajp12/types.ts';
import { accepted } from '../../serving/accepted-socket.ts';
import type { ServerConnection } from '../../serving/server-connection.ts';
import type { ListenOptions, ListenProtocol } from '../options.ts';
import { ajp12Connection } from './ajp12-connection.ts';
import { ajp13Connection } from './ajp13-connection.ts';
import { allowList } from './allow-list.ts';
import type { ConnectionOwner } from './connection-owner.ts';
import { fastcgiConnection } from './fastcgi-connection.ts';
import { httpServer } from './http-connections.ts';
import { type Bound, bind } from './listen-address.ts';

export interface ListenerOwner extends ConnectionOwner {
  /** AJP 1.2: a web server that has the secret, or is on this host, wants it. */
  onSignal?(signal: Exclude<Signal, 'ping'>): void;
}

export interface Listener {
  readonly protocol: ListenProtocol;
  /** As it was given, the port as chosen. */
  readonly address: string;
  /** Accepts no more. Idle connections end at once, others after their exchange; what has arrived by now
   * is served. Resolves when all are closed. */
  stop(): Promise<void>;
  /** Ends all connections at once: their exchanges are aborted. */
  destroy(): void;
}

/** Resolves when connections are accepted. Rejects with an error that names the address and what to do. */
export async function listen(options: ListenOptions, owner: ListenerOwner): Promise<Listener> {
  const mayConnect = options.allow === undefined ? () => true : allowList(options.allow);
  if (options.protocol === 'http') {
    const { server, close } = httpServer(owner);
    const connections = new SocketSet();
    // Before Node's own, which would read the request.
    server.prependListener('connection', (socket) => {
      connections.add(socket);
      if (!mayConnect(socket.remoteAddress)) socket.destroy();
    });
    const bound = await bindFor(server, options, owner);
    return listener(options, bound, server, close, () => connections.destroy());
  }
  const connect = connectionsOf(options, owner);
  const connections = new Set<ServerConnection>();
  let isStopping = false;
  const accepting = { allowHalfOpen: true, noDelay: true, pauseOnConnect: true };
  const server = createServer(accepting, (socket) => {
    if (!mayConnect(socket.remoteAddress)) {
      socket.destroy();
      return;
    }
    const connection = connect(accepted(socket), () => connections.delete(connection));
    connections.add(connection);
    if (isStopping) connection.close();
  });
  const bound = await bindFor(server, options, owner);
  return listener(
    options,
    bound,
    server,
    () => {
      isStopping = true;
      for (const connection of [...connections]) connection.close();
    },
    () => {
      for (const connection of [...connections]) connection.destroy();
    },
  );
}

type Connect = (socket: Socket, onClose: () => void) => ServerConnection;

function connectionsOf(options: ListenOptions, owner: ListenerOwner): Connect {
  const { protocol, secretFile } = options;
  const secret = secretFile === undefined ? null : readSecret(secretFile);
  if (protocol === 'ajp13') {
    const { attributes, packetBytes } = options;
    const ajp13 = {
      secret: secret === null ? null : firstLine(secret, secretFile as string),
      ...(attributes && { attributes }),
      ...(packetBytes !== undefined && { packetBytes }),
    };
    return (socket, onClose) => ajp13Connection(socket, ajp13, owner, onClose);
  }
  if (protocol === 'ajp12') {
    const ajp12 = { key: secret, challengeBytes: options.challengeBytes };
    return (socket, onClose) => ajp12Connection(socket, ajp12, owner, onClose);
  }
  return (socket, onClose) => fastcgiConnection(socket, owner, onClose);
}

function readSecret(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Error(`secretFile ${file} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function firstLine(secret: Buffer, file: string): string {
  const line = secret.toString('latin1').split(/\r?\n/, 1)[0] ?? '';
  if (line === '') throw new Error(`secretFile ${file}: its first line is empty`);
  return line;
}

async function bindFor(
  server: Server,
  options: ListenOptions,
  owner: ListenerOwner,
): Promise<Bound> {
  const bound = await bind(server, options.address, options.mode);
  const isAjp = options.protocol === 'ajp13' || options.protocol === 'ajp12';
  if (isAjp && !bound.isLocal && options.secretFile === undefined) {
    server.close();
    throw new Error(
      `cannot listen at ${options.address}: whoever can connect by AJP is believed about clients; ` +
        'give a secretFile, or listen at a loopback address or a Unix socket',
    );
  }
  server.on('error', (error) => owner.log(`cannot accept at ${bound.address}: ${error.message}`));
  return bound;
}

function listener(
  { protocol }: ListenOptions,
  bound: Bound,
  server: Server,
  close: () => void,
  destroy: () => void,
): Listener {
  let stopped: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    bound.remove();
    // Who has connected is accepted first: closing the socket would cut them off.
    await turnOfEvents();
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      close();
    });
  };
  return {
    protocol,
    address: bound.address,
    stop: async () => {
      stopped ??= stop();
      await stopped;
    },
    destroy,
  };
}

/** All that has arrived is accepted or read. */
async function turnOfEvents(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
}

class SocketSet {
  readonly #sockets = new Set<Socket>();

  add(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
  }

  destroy(): void {
    for (const socket of [...this.#sockets]) socket.destroy();
  }
}
