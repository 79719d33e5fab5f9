// SPDX-License-Identifier: Apache-2.0
// Clients of programs that are made with usher/runtime, one for each protocol; of FastCGI and AJP, our own
// codecs' other sides.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { Ajp12ClientDecoder } from '../../protocols/ajp12/client-decoder.ts';
import { encodeRequest } from '../../protocols/ajp12/client-encoder.ts';
import { AjpClientDecoder } from '../../protocols/ajp13/client-decoder.ts';
import {
  bodyBytesMax,
  encodeBody,
  encodeForwardRequest,
} from '../../protocols/ajp13/client-encoder.ts';
import { PACKET_BYTES } from '../../protocols/ajp13/types.ts';
import { CgiHeadDecoder } from '../../protocols/cgi/index.ts';
import * as records from '../../protocols/fastcgi/testing/web-server.ts';
import { Call, type Client, type Field, type Question } from './calls.ts';

export type Address = string;

/** @throws Error when nobody listens. */
export async function connect(address: Address): Promise<net.Socket> {
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? [];
  const socket = net.connect(
    port === undefined ? { path: address } : { host: host as string, port: Number(port) },
  );
  await once(socket, 'connect');
  socket.setNoDelay(true);
  return socket;
}

function split(url: string): { path: string; query: string } {
  const at = url.indexOf('?');
  return at === -1
    ? { path: url, query: '' }
    : { path: url.slice(0, at), query: url.slice(at + 1) };
}

/** CGI/1.1, as FastCGI and CGI have it. */
function parametersOf(question: Question): Record<string, string> {
  const { method = 'GET', url, fields = [], bodyBytes, remoteUser } = question;
  const { path, query } = split(url);
  const parameters: Record<string, string> = {
    REQUEST_METHOD: method,
    REQUEST_URI: url,
    SCRIPT_NAME: '',
    PATH_INFO: decodeURIComponent(path),
    QUERY_STRING: query,
    SERVER_PROTOCOL: 'HTTP/1.1',
    SERVER_NAME: 'shop.example',
    SERVER_PORT: '80',
    REMOTE_ADDR: '192.0.2.7',
    REMOTE_PORT: '4711',
    HTTP_HOST: 'shop.example',
  };
  if (remoteUser) Object.assign(parameters, { REMOTE_USER: remoteUser, AUTH_TYPE: 'Basic' });
  if (typeof bodyBytes === 'number') parameters.CONTENT_LENGTH = String(bodyBytes);
  if (bodyBytes === null) parameters.HTTP_TRANSFER_ENCODING = 'chunked';
  for (const [name, value] of fields) {
    const key = name.toUpperCase().replaceAll('-', '_');
    parameters[key === 'CONTENT_TYPE' ? key : `HTTP_${key}`] = value;
  }
  return parameters;
}

// ---- FastCGI

class FastcgiCall extends Call {
  readonly #socket: net.Socket;
  #held = Buffer.alloc(0);
  #decoder = new CgiHeadDecoder();
  #hasHead = false;

  constructor(socket: net.Socket, question: Question) {
    super();
    this.#socket = socket;
    socket.write(records.begin(1, 1, 0));
    socket.write(records.params(1, parametersOf(question)));
    socket.on('data', (bytes) => this.#read(bytes));
    socket.on('error', (error) => this.gotFailure(error.message));
    socket.on('close', () => this.gotFailure('the connection ended before the answer'));
  }

  send(bytes: Buffer): void {
    if (bytes.length > 0 && this.#socket.writable) {
      this.#socket.write(records.stream(5, 1, bytes).subarray(0, -8)); // without its end
    }
  }

  endBody(): void {
    if (this.#socket.writable) this.#socket.write(records.record(5, 1, Buffer.alloc(0)));
  }

  leave(): void {
    this.#socket.destroy();
  }

  #read(bytes: Buffer): void {
    this.#held = Buffer.concat([this.#held, bytes]);
    while (this.#held.length >= 8) {
      const length = this.#held.readUInt16BE(4);
      const end = 8 + length + this.#held.readUInt8(6);
      if (this.#held.length < end) return;
      const type = this.#held.readUInt8(1);
      const content = this.#held.subarray(8, 8 + length);
      this.#held = this.#held.subarray(end);
      if (type === 6) this.#stdout(content);
      if (type === 3) {
        this.gotEnd();
        this.#socket.end();
      }
    }
  }

  #stdout(bytes: Buffer): void {
    if (this.#hasHead) {
      this.gotBody(bytes);
      return;
    }
    const read = this.#decoder.push(bytes);
    if (read === null) return;
    this.#hasHead = true;
    if (read.head.kind === 'local-redirect') throw new Error('a local redirect');
    this.gotHead(read.head.status, read.head.fields);
    this.gotBody(read.body);
  }
}

export class FastcgiClient implements Client {
  readonly #address: Address;

  constructor(address: Address) {
    this.#address = address;
  }

  async open(question: Question): Promise<Call> {
    return new FastcgiCall(await connect(this.#address), question);
  }

  end(): void {}
}

// ---- AJP 1.3

class AjpCall extends Call {
  readonly #client: AjpClient;
  readonly #socket: net.Socket;
  readonly decoder: AjpClientDecoder;
  #body = Buffer.alloc(0);
  #isBodyEnd = false;
  #wanted = 0;

  constructor(client: AjpClient, socket: net.Socket, question: Question) {
    super();
    this.#client = client;
    this.#socket = socket;
    this.decoder = new AjpClientDecoder({
      onHead: (status, _reason, fields) => this.gotHead(status, fields),
      onBody: (bytes) => this.gotBody(bytes),
      onGetBody: (wanted) => {
        this.#wanted = Math.min(wanted, bodyBytesMax(PACKET_BYTES));
        this.#give();
      },
      onEnd: (reuse) => {
        this.gotEnd();
        if (reuse) this.#client.keep(this.#socket);
        else this.#socket.end();
      },
      onPong: () => undefined,
    });
    socket.on('data', (bytes) => this.#read(bytes));
    socket.on('error', (error) => this.gotFailure(error.message));
    socket.on('close', () => this.gotFailure('the connection ended before the answer'));
    this.decoder.begin();
    this.#begin(question);
  }

  #begin(question: Question): void {
    const { method = 'GET', url, fields = [], bodyBytes, remoteUser } = question;
    const { path, query } = split(url);
    const length: Field[] = bodyBytes === null ? [] : [['Content-Length', `${bodyBytes ?? 0}`]];
    const attributes = {
      ...(query === '' ? {} : { queryString: query }),
      ...(remoteUser ? { remoteUser, authType: 'Basic' } : {}),
      others: [['AJP_REMOTE_PORT', '4711']] as Field[],
    };
    const head = encodeForwardRequest({
      method,
      protocol: 'HTTP/1.1',
      uri: path,
      remoteAddr: '192.0.2.7',
      remoteHost: null,
      serverName: 'shop.example',
      serverPort: 80,
      isSsl: false,
      fields: [['Host', 'shop.example'], ...length, ...fields],
      attributes,
    });
    this.#socket.write(head);
    if (bodyBytes) this.#wanted = bodyBytesMax(PACKET_BYTES); // the first packet comes unasked
  }

  send(bytes: Buffer): void {
    this.#body = Buffer.concat([this.#body, bytes]);
    this.#give();
  }

  endBody(): void {
    this.#isBodyEnd = true;
    this.#give();
  }

  leave(): void {
    this.#socket.destroy();
  }

  #give(): void {
    if (this.#wanted === 0 || !this.#socket.writable) return;
    if (this.#body.length === 0 && !this.#isBodyEnd) return;
    const piece = this.#body.subarray(0, this.#wanted);
    this.#body = this.#body.subarray(piece.length);
    this.#wanted = 0;
    for (const part of encodeBody(piece)) this.#socket.write(part);
  }

  #read(bytes: Buffer): void {
    try {
      this.decoder.push(bytes);
    } catch (error) {
      this.gotFailure(String(error));
      this.#socket.destroy();
    }
  }
}

export class AjpClient implements Client {
  readonly #address: Address;
  readonly #kept: net.Socket[] = [];

  constructor(address: Address) {
    this.#address = address;
  }

  async open(question: Question): Promise<Call> {
    let socket = this.#kept.pop();
    while (socket !== undefined && !socket.writable) socket = this.#kept.pop();
    return new AjpCall(this, socket ?? (await connect(this.#address)), question);
  }

  keep(socket: net.Socket): void {
    socket.removeAllListeners();
    socket.on('error', () => undefined);
    this.#kept.push(socket);
  }

  end(): void {
    for (const socket of this.#kept.splice(0)) socket.destroy();
  }
}

// ---- AJP 1.2

class Ajp12Call extends Call {
  readonly #socket: net.Socket;

  constructor(socket: net.Socket, question: Question) {
    super();
    this.#socket = socket;
    const decoder = new Ajp12ClientDecoder(
      {
        onChallenge: () => undefined,
        onHead: (status, _reason, fields) => this.gotHead(status, fields),
        onBody: (bytes) => this.gotBody(bytes),
        onEnd: () => this.gotEnd(),
        onPong: () => undefined,
      },
      null,
    );
    const attempt = (call: () => void) => {
      try {
        call();
      } catch (error) {
        this.gotFailure(String(error));
        socket.destroy();
      }
    };
    socket.on('data', (bytes) => attempt(() => decoder.push(bytes)));
    socket.on('end', () => attempt(() => decoder.end()));
    socket.on('error', (error) => this.gotFailure(error.message));
    socket.on('close', () => this.gotFailure('the connection ended before the answer'));
    const { method = 'GET', url, fields = [], bodyBytes, remoteUser = '' } = question;
    const { path, query } = split(url);
    decoder.begin(method);
    socket.write(
      encodeRequest({
        method,
        zone: '',
        servlet: '',
        engineHost: '',
        documentRoot: '',
        pathInfo: '',
        pathTranslated: '',
        queryString: query,
        remoteAddr: '192.0.2.7',
        remoteHost: '',
        remoteUser,
        authType: remoteUser === '' ? '' : 'Basic',
        requestUri: path,
        scriptFilename: '',
        scriptName: '',
        serverName: 'shop.example',
        serverPort: 80,
        serverProtocol: 'HTTP/1.1',
        serverSignature: '',
        serverSoftware: 'test',
        route: '',
        environment: [['REMOTE_PORT', '4711']],
        fields: [['Host', 'shop.example'], ['Content-Length', `${bodyBytes ?? 0}`], ...fields],
      }),
    );
  }

  send(bytes: Buffer): void {
    if (this.#socket.writable) this.#socket.write(bytes);
  }

  endBody(): void {}

  leave(): void {
    this.#socket.destroy();
  }
}

export class Ajp12Client implements Client {
  readonly #address: Address;

  constructor(address: Address) {
    this.#address = address;
  }

  async open(question: Question): Promise<Call> {
    return new Ajp12Call(await connect(this.#address), question);
  }

  end(): void {}
}

// ---- HTTP

class HttpCall extends Call {
  readonly #request: http.ClientRequest;

  constructor(agent: http.Agent, address: Address, question: Question) {
    super();
    const { method = 'GET', url, fields = [], bodyBytes, remoteUser } = question;
    const headers: string[] = ['Host', 'shop.example', ...fields.flat()];
    if (typeof bodyBytes === 'number') headers.push('Content-Length', `${bodyBytes}`);
    if (bodyBytes === null) headers.push('Transfer-Encoding', 'chunked');
    if (remoteUser) headers.push('X-Remote-User', remoteUser);
    const at = address.lastIndexOf(':');
    const place = { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
    const options = { agent, ...place, method, path: url, setDefaultHeaders: false };
    this.#request = http.request({ ...options, headers } as http.RequestOptions);
    this.#request.on('error', (error) => this.gotFailure(error.message));
    this.#request.on('response', (response) => {
      const raw = response.rawHeaders;
      const pairs = Array.from(
        { length: raw.length / 2 },
        (_, i) => [raw[2 * i] ?? '', raw[2 * i + 1] ?? ''] as const,
      );
      this.gotHead(response.statusCode ?? 0, pairs);
      response.on('data', (bytes) => this.gotBody(bytes));
      response.on('end', () => this.gotEnd());
      response.on('error', (error) => this.gotFailure(error.message));
    });
    if (bodyBytes !== undefined) this.#request.flushHeaders();
  }

  send(bytes: Buffer): void {
    this.#request.write(bytes);
  }

  endBody(): void {
    this.#request.end();
  }

  leave(): void {
    this.#request.destroy();
  }
}

export class HttpClient implements Client {
  readonly #address: Address;
  readonly #agent = new http.Agent({ keepAlive: true });

  constructor(address: Address) {
    this.#address = address;
  }

  async open(question: Question): Promise<Call> {
    return new HttpCall(this.#agent, this.#address, question);
  }

  end(): void {
    this.#agent.destroy();
  }
}

// ---- CGI

class CgiCall extends Call {
  readonly #program: ChildProcess;

  constructor(command: readonly string[], env: NodeJS.ProcessEnv, question: Question) {
    super();
    const parameters = { ...parametersOf(question), GATEWAY_INTERFACE: 'CGI/1.1' };
    const [file = '', ...arguments_] = command;
    const program = spawn(file, arguments_, {
      env: { PATH: process.env.PATH, ...env, ...parameters },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#program = program;
    const decoder = new CgiHeadDecoder();
    let hasHead = false;
    program.stdin.on('error', () => undefined);
    program.stdout.on('data', (bytes: Buffer) => {
      const read = hasHead ? null : decoder.push(bytes);
      if (hasHead) this.gotBody(bytes);
      if (read === null) return;
      hasHead = true;
      if (read.head.kind === 'local-redirect') throw new Error('a local redirect');
      this.gotHead(read.head.status, read.head.fields);
      this.gotBody(read.body);
    });
    program.on('close', (status, signal) => {
      if (status === 0) this.gotEnd();
      else this.gotFailure(`the program ended with ${signal ?? status}`);
    });
  }

  send(bytes: Buffer): void {
    this.#program.stdin?.write(bytes);
  }

  endBody(): void {
    this.#program.stdin?.end();
  }

  /** As web servers do it: its output is read no more. */
  leave(): void {
    this.#program.stdout?.destroy();
    this.#program.stdin?.destroy();
  }
}

export class CgiClient implements Client {
  readonly #command: readonly string[];
  readonly #env: NodeJS.ProcessEnv;

  /** A process of it for each request. */
  constructor(command: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#command = command;
    this.#env = env;
  }

  async open(question: Question): Promise<Call> {
    return new CgiCall(this.#command, this.#env, question);
  }

  end(): void {}
}
