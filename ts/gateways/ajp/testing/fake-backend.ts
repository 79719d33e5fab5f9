// SPDX-License-Identifier: Apache-2.0
// A servlet container for tests that does what it is told, also what none should do. Packets are made
// and read here by hand, so that it shares no mistake with ts/protocols.
import { createServer, type Server, type Socket } from 'node:net';

const METHODS = ['', 'OPTIONS', 'GET', 'HEAD', 'POST', 'PUT'];
const HEADERS = [
  'accept accept-charset accept-encoding accept-language authorization connection content-type',
  'content-length cookie cookie2 host pragma referer user-agent',
].flatMap((line) => line.split(' '));
const ATTRIBUTES = [
  '? context servlet_path remote_user auth_type query_string route ssl_cert ssl_cipher ssl_session',
  'other ssl_key_size secret stored_method',
].flatMap((line) => line.split(' '));

export interface ReceivedRequest {
  method: string;
  uri: string;
  remoteAddr: string;
  serverName: string;
  serverPort: number;
  isSsl: boolean;
  headers: Record<string, string>;
  attributes: Record<string, string>;
}

/** Names and values without the codes of the protocol. */
function parse(packet: Buffer): ReceivedRequest {
  let at = 0;
  const byte = () => packet.readUInt8(at++);
  const number = () => {
    at += 2;
    return packet.readUInt16BE(at - 2);
  };
  const text = (): string => {
    const length = number();
    if (length === 0xffff) return '';
    at += length + 1;
    return packet.toString('latin1', at - length - 1, at - 1);
  };
  const pair = (): string => {
    const coded = packet.readUInt16BE(at) >= 0xa000;
    return coded ? (HEADERS[number() - 0xa001] ?? '?') : text().toLowerCase();
  };
  if (byte() !== 2) throw new Error(`no FORWARD_REQUEST: ${packet.toString('hex')}`);
  const method = METHODS[byte()] ?? 'stored';
  text(); // protocol
  const uri = text();
  const remoteAddr = text();
  text(); // remote host
  const serverName = text();
  const serverPort = number();
  const isSsl = byte() === 1;
  const headers: Record<string, string> = {};
  for (let left = number(); left > 0; left--) headers[pair()] = text();
  const attributes: Record<string, string> = {};
  for (let code = byte(); code !== 0xff; code = byte()) {
    const name = ATTRIBUTES[code] ?? '?';
    if (name === 'other') attributes[text()] = text();
    else attributes[name] = name === 'ssl_key_size' ? String(number()) : text();
  }
  return { method, uri, remoteAddr, serverName, serverPort, isSsl, headers, attributes };
}

function packet(...parts: Buffer[]): Buffer {
  const payload = Buffer.concat(parts);
  const head = Buffer.from('41420000', 'hex');
  head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function text(value: string): Buffer {
  return Buffer.concat([uint16(value.length), Buffer.from(value, 'latin1'), Buffer.from([0])]);
}

/** SEND_HEADERS. */
export function head(status = 200, fields: Record<string, string> = {}): Buffer {
  const pairs = Object.entries(fields).flatMap(([name, value]) => [text(name), text(value)]);
  const count = uint16(Object.keys(fields).length);
  return packet(Buffer.from([4]), uint16(status), text(String(status)), count, ...pairs);
}

/** SEND_BODY_CHUNK. */
export function chunk(bytes: Buffer | string): Buffer {
  const data = Buffer.from(bytes as string);
  return packet(Buffer.from([3]), uint16(data.length), data, Buffer.from([0]));
}

/** END_RESPONSE. */
export function end(reuse = true): Buffer {
  return packet(Buffer.from([5, reuse ? 1 : 0]));
}

/** GET_BODY_CHUNK. */
export function getBody(wanted: number): Buffer {
  return packet(Buffer.from([6]), uint16(wanted));
}

export const pong = packet(Buffer.from([9]));
const PING = '0a';

export function whole(body: string, status = 200, fields: Record<string, string> = {}): Buffer {
  return Buffer.concat([head(status, fields), chunk(body), end()]);
}

export class BackendConnection {
  readonly socket: Socket;
  pings = 0;
  isClosed = false;
  readonly #backend: FakeBackend;
  #buffered: Buffer = Buffer.alloc(0);
  readonly #packets: Buffer[] = [];
  #waiters: (() => void)[] = [];

  constructor(socket: Socket, backend: FakeBackend) {
    this.socket = socket;
    this.#backend = backend;
    socket.on('data', (bytes) => this.#onData(bytes));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  send(...parts: Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Payloads that came and were not asked for yet. */
  get unread(): number {
    return this.#packets.length;
  }

  /** The payload of the next packet; undefined: the connection has ended. */
  async packet(): Promise<Buffer | undefined> {
    for (;;) {
      const next = this.#packets.shift();
      if (next !== undefined || this.isClosed) return next;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  async request(): Promise<ReceivedRequest> {
    const payload = await this.packet();
    if (payload === undefined) throw new Error('the connection ended before a request');
    return parse(payload);
  }

  /** The bytes of the next data packet. */
  async data(): Promise<Buffer> {
    const payload = await this.packet();
    if (payload === undefined) throw new Error('the connection ended before data');
    if (payload.length === 0) return payload;
    if (payload.readUInt16BE(0) !== payload.length - 2) throw new Error('no data packet');
    return payload.subarray(2);
  }

  async closed(): Promise<void> {
    while (!this.isClosed) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  #onData(bytes: Buffer): void {
    this.#buffered = Buffer.concat([this.#buffered, bytes]);
    while (this.#buffered.length >= 4) {
      if (this.#buffered.readUInt16BE(0) !== 0x1234) throw new Error('no packet of a web server');
      const whole = 4 + this.#buffered.readUInt16BE(2);
      if (this.#buffered.length < whole) break;
      this.#onPacket(this.#buffered.subarray(4, whole));
      this.#buffered = this.#buffered.subarray(whole);
    }
    this.#wake();
  }

  #onPacket(payload: Buffer): void {
    if (payload.toString('hex') === PING) {
      this.pings++;
      if (this.#backend.answersPings) this.send(pong);
    } else if (this.#backend.onRequest !== undefined && payload[0] === 2) {
      this.#backend.onRequest(parse(payload), this);
    } else {
      this.#packets.push(payload);
    }
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }
}

export class FakeBackend {
  readonly name: string;
  readonly connections: BackendConnection[] = [];
  answersPings = true;
  /** Takes all requests; without it they are read by request(). */
  onRequest: ((request: ReceivedRequest, connection: BackendConnection) => void) | undefined;
  readonly #server: Server;
  #taken = 0;
  #waiters: (() => void)[] = [];

  private constructor(server: Server, name: string) {
    this.#server = server;
    this.name = name;
    server.on('connection', (socket) => {
      socket.setNoDelay(true);
      this.connections.push(new BackendConnection(socket, this));
      for (const waiter of this.#waiters.splice(0)) waiter();
    });
  }

  /** @param where A path, or an IP address. */
  static async listen(where: string): Promise<FakeBackend> {
    const server = createServer();
    const isPath = where.startsWith('/');
    const target = isPath ? { path: where } : { host: where, port: 0 };
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(target, resolve);
    });
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const host = where.includes(':') ? `[${where}]` : where;
    return new FakeBackend(server, isPath ? `unix:${where}` : `${host}:${port}`);
  }

  /** The next connection that is made. */
  async connection(): Promise<BackendConnection> {
    for (;;) {
      const next = this.connections[this.#taken];
      if (next !== undefined) {
        this.#taken++;
        return next;
      }
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  /** The next connection, and the request on it. */
  async request(): Promise<[ReceivedRequest, BackendConnection]> {
    const connection = await this.connection();
    return [await connection.request(), connection];
  }

  /** Nobody is there until restart(). */
  async stop(): Promise<void> {
    this.close();
    await new Promise((resolve) => this.#server.once('close', resolve));
  }

  async restart(): Promise<void> {
    const path = this.name.slice('unix:'.length);
    await new Promise<void>((resolve) => this.#server.listen(path, resolve));
  }

  close(): void {
    this.#server.close();
    for (const { socket } of this.connections) socket.destroy();
  }
}
