// SPDX-License-Identifier: Apache-2.0
// An AJP 1.2 engine for tests, with the decoder of our own server side, that answers what it is told.
import { createServer, type Server, type Socket } from 'node:net';
import type { Test } from 'tap';
import { encodeChallenge } from '../../../protocols/ajp12/challenge.ts';
import { Ajp12ServerDecoder } from '../../../protocols/ajp12/server-decoder.ts';
import { PONG } from '../../../protocols/ajp12/server-encoder.ts';
import type { Ajp12Request, Signal } from '../../../protocols/ajp12/types.ts';

const challenge = Buffer.from('0102030405', 'hex');

export class EngineConnection {
  readonly socket: Socket;
  request: Ajp12Request | null = null;
  /** And whether it came with the secret. */
  signal: [Signal, isAuthenticated: boolean] | null = null;
  isBodyWhole = false;
  isClosed = false;
  error: Error | null = null;
  readonly #parts: Buffer[] = [];

  constructor(socket: Socket, engine: FakeEngine) {
    this.socket = socket;
    const { key } = engine;
    const decoder = new Ajp12ServerDecoder(
      {
        onRequest: (request) => {
          this.request = request;
          engine.onRequest?.(request, this);
        },
        onBody: (bytes) => this.#parts.push(Buffer.from(bytes)),
        onBodyEnd: () => {
          this.isBodyWhole = true;
        },
        onSignal: (signal, isAuthenticated) => {
          this.signal = [signal, isAuthenticated];
          if (signal === 'ping' && engine.answersPings) this.end(PONG);
          if (signal !== 'ping') this.end();
        },
      },
      { authentication: key === null ? null : { challenge, key } },
    );
    if (key !== null) socket.write(encodeChallenge(challenge));
    socket.on('data', (bytes) => {
      try {
        decoder.push(bytes);
      } catch (error) {
        this.error = error as Error;
        socket.destroy();
      }
      engine.wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
      engine.wake();
    });
  }

  get body(): Buffer {
    return Buffer.concat(this.#parts);
  }

  send(bytes: Buffer | string): void {
    this.socket.write(bytes as Buffer);
  }

  /** The answer is complete. */
  end(bytes: Buffer | string = ''): void {
    this.socket.end(bytes as Buffer);
  }
}

export interface EngineOptions {
  /** Bytes of its secret file. */
  key?: Buffer | null;
}

export class FakeEngine {
  readonly name: string;
  readonly key: Buffer | null;
  readonly connections: EngineConnection[] = [];
  answersPings = true;
  /** Takes all requests; without it they are read by request(). */
  onRequest: ((request: Ajp12Request, connection: EngineConnection) => void) | undefined;
  readonly #server: Server;
  #waiters: (() => void)[] = [];
  #taken = new Set<EngineConnection>();

  private constructor(server: Server, name: string, key: Buffer | null) {
    this.#server = server;
    this.name = name;
    this.key = key;
    server.on('connection', (socket) => {
      this.connections.push(new EngineConnection(socket, this));
      this.wake();
    });
  }

  /** Closed with the test. */
  static async listen(t: Test, { key = null }: EngineOptions = {}): Promise<FakeEngine> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const engine = new FakeEngine(server, `127.0.0.1:${port}`, key);
    t.teardown(() => engine.close());
    return engine;
  }

  get pings(): number {
    return this.connections.filter(({ signal }) => signal?.[0] === 'ping').length;
  }

  get requests(): number {
    return this.connections.filter(({ request }) => request !== null).length;
  }

  wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  async until<Value>(find: () => Value | undefined | false): Promise<Value> {
    for (;;) {
      const found = find();
      if (found !== undefined && found !== false) return found;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  /** The next request, and its connection. */
  async request(): Promise<[Ajp12Request, EngineConnection]> {
    const next = await this.until(() =>
      this.connections.find((one) => one.request !== null && !this.#taken.has(one)),
    );
    this.#taken.add(next);
    return [next.request as Ajp12Request, next];
  }

  close(): void {
    this.#server.close();
    for (const { socket } of this.connections) socket.destroy();
  }
}
